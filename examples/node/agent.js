// One gausscert agent, from the .proto files alone: who it must be, how long to wait, what to repeat, why it failed.
import crypto from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";

const HERE = path.dirname(fileURLToPath(import.meta.url));
const SERVICE = "gausscert.v1.AgentService";
const DETAILS = "grpc-status-details-bin";

// Only calls that change nothing, and only where the node has not looked at the call (AIP-194).
const REPEATED = ["GetNode", "GetExpiry"];
const SERVICE_CONFIG = {
  methodConfig: [
    {
      name: REPEATED.map((method) => ({ service: SERVICE, method })),
      retryPolicy: {
        maxAttempts: 4,
        initialBackoff: "0.2s",
        maxBackoff: "2s",
        backoffMultiplier: 2,
        retryableStatusCodes: ["UNAVAILABLE"],
      },
    },
  ],
};

// The name in a node's certificate, whatever its address is; never resolved. It tells cluster and node apart by a digest,
// because DNS names know neither capitals nor underscores.
export function nodeDnsName(cluster, node) {
  const digest = crypto.createHash("sha256").update(`${cluster}/${node}`).digest("hex").slice(0, 32);
  const readable = node.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "");
  return `${readable.slice(0, 30)}-${digest}.node.gausscert.internal`;
}

export class Agent {
  // address: "host:port"; credential: files {ca, cert, key}, as `gausscert pki issue` writes them.
  constructor(address, cluster, node, credential, protos = path.join(HERE, "../../protos")) {
    this.definition = protoLoader.loadSync(["gausscert/v1/agent_service.proto", "google/rpc/status.proto"], {
      includeDirs: [protos, HERE],
      keepCase: true,
      longs: Number,
      enums: String,
      defaults: true,
    });
    const read = (name) => fs.readFileSync(credential[name]);
    const tls = grpc.credentials.createSsl(read("ca"), read("key"), read("cert"));
    const { AgentService } = grpc.loadPackageDefinition(this.definition).gausscert.v1;
    this.stub = new AgentService(address, tls, {
      "grpc.ssl_target_name_override": nodeDnsName(cluster, node),
      "grpc.service_config": JSON.stringify(SERVICE_CONFIG),
      "grpc.max_receive_message_length": 4 * 1024 * 1024,
    });
  }

  // Every call has a deadline; those of the table in docs/deadlines.md are right.
  call(method, request = {}, deadlineSeconds = 30) {
    return new Promise((resolve, reject) => {
      const deadline = Date.now() + deadlineSeconds * 1000;
      this.stub[method](request, { deadline }, (error, answer) =>
        error ? reject(this.refusal(error)) : resolve(answer),
      );
    });
  }

  // The agent's own words: a stable reason, node, file and remedy; without them gRPC itself has failed.
  refusal(error) {
    const found = { code: grpc.status[error.code], message: error.details, reason: "", node: "", file: "", remedy: "" };
    const [serialized] = error.metadata?.get(DETAILS) ?? [];
    if (!serialized) return found;
    const status = this.definition["google.rpc.Status"].deserialize(serialized);
    for (const detail of status.details) {
      if (!detail.type_url.endsWith("/google.rpc.ErrorInfo")) continue;
      const info = this.definition["google.rpc.ErrorInfo"].deserialize(detail.value);
      if (info.domain === "gausscert") Object.assign(found, info.metadata, { reason: info.reason });
    }
    return found;
  }

  close() {
    this.stub.close();
  }
}

// google.protobuf.Timestamp
export const moment = (stamp) => new Date(stamp.seconds * 1000 + stamp.nanos / 1e6);
