// Status and expiry of one node as one JSON document:
//   node look.js --address 192.168.10.11:7443 --cluster production --node n1 --ca ca.crt --cert observer.crt --key observer.key
import { parseArgs } from "node:util";

import { Agent, moment } from "./agent.js";

const option = { type: "string" };
const { values: given } = parseArgs({
  options: { address: option, cluster: option, node: option, ca: option, cert: option, key: option, protos: option },
});
const missing = ["address", "cluster", "node", "ca", "cert", "key"].filter((name) => !given[name]);
if (missing.length) {
  console.error(`missing: ${missing.map((name) => `--${name}`).join(" ")}`);
  process.exit(2);
}

const agent = new Agent(given.address, given.cluster, given.node, given, given.protos);
try {
  const [{ node }, expiry] = await Promise.all([agent.call("GetNode"), agent.call("GetExpiry")]);
  const now = moment(expiry.clock);
  const certificates = [...expiry.certificates, ...(expiry.served ? [expiry.served] : []), ...expiry.control_plane];
  console.log(
    JSON.stringify(
      {
        cluster: node.cluster,
        node: node.name,
        agent_version: node.agent_version,
        live: { state: node.live.state, bundle_digest: node.live.bundle_digest },
        enable_ssl: node.enable_ssl.server,
        phase: node.transaction.phase,
        processes: node.processes.map((process) => process.name).sort(),
        findings: node.findings.map((finding) => finding.code),
        certificates: certificates.map((certificate) => ({
          file: certificate.file,
          kind: certificate.kind,
          fingerprint: certificate.fingerprint,
          not_after: moment(certificate.not_after).toISOString(),
          days_left: Math.floor((moment(certificate.not_after) - now) / 86_400_000),
        })),
      },
      null,
      2,
    ),
  );
} catch (refusal) {
  console.error(refusal instanceof Error ? refusal.stack : JSON.stringify(refusal));
  process.exitCode = 1;
} finally {
  agent.close();
}
