"""What `--output json` writes, field by field: stable, so nothing here follows a dataclass by itself.

Names are snake_case, times ISO 8601 in UTC, fingerprints and digests whole. A field may be added; none
is renamed or given another meaning within a schema.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gausscert_coordinator.cli import judge

if TYPE_CHECKING:
    from gausscert_common.errors import GausscertError
    from gausscert_common.findings import Finding
    from gausscert_common.model import (
        Certificate,
        CertificateSet,
        ClusterState,
        NodeReport,
        Overlap,
        OverlapRefusal,
        Served,
        SslSwitch,
        TransactionReport,
    )

    from gausscert_coordinator.cli.judge import ExpiryLine
    from gausscert_coordinator.report import (
        ClusterStatus,
        InFlight,
        NodeExpiry,
        NodeRecovery,
        NodeStatus,
        OverlapVerdict,
        Plan,
        PlannedNode,
        Result,
    )

Document = dict[str, Any]


def schema(verb: str) -> str:
    """The name of a verb's document."""
    return f"gausscert/{verb.replace(' ', '-')}/v1"


def time(moment: datetime | None) -> str | None:
    """ISO 8601 in UTC."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z") if moment is not None else None


def finding(found: Finding) -> Document:
    """One finding."""
    return {
        "code": found.code,
        "severity": found.severity.value,
        "node": found.node,
        "file": found.file,
        "cause": found.cause,
        "remedy": found.remedy,
    }


def error(raised: GausscertError) -> Document:
    """One error."""
    return {
        "reason": raised.reason.value,
        "message": raised.message,
        "node": raised.node,
        "file": raised.file,
        "remedy": raised.remedy,
        "findings": [finding(found) for found in raised.findings],
    }


def certificate(shown: Certificate) -> Document:
    """One certificate or CRL."""
    return {
        "file": shown.file,
        "index": shown.index,
        "kind": shown.kind.value,
        "subject": shown.subject,
        "issuer": shown.issuer,
        "serial": shown.serial,
        "fingerprint": shown.fingerprint,
        "not_before": time(shown.not_before),
        "not_after": time(shown.not_after),
    }


def certificate_set(shown: CertificateSet) -> Document:
    """The files of one directory."""
    return {
        "state": shown.state.value,
        "digest": shown.digest,
        "bundle_digest": shown.bundle_digest,
        "files": [{"name": file.name, "mode": f"{file.mode:04o}", "size": file.size} for file in shown.files],
        "certificates": [certificate(each) for each in shown.certificates],
    }


def served(shown: Served) -> Document:
    """What one cm_server serves."""
    return {
        "cm_node_id": shown.cm_node_id,
        "target": shown.target,
        "state": shown.state.value,
        "fingerprint": shown.fingerprint,
        "chain_verified": shown.chain_verified,
        "not_after": time(shown.not_after),
        "cause": shown.cause,
    }


def cluster_state(shown: ClusterState | None) -> Document | None:
    """`cm_ctl query`, read."""
    if shown is None:
        return None
    roles = {str(node): role for node, role in sorted(shown.server_roles.items())}
    return {"cluster_state": shown.cluster_state, "server_roles": roles, "cause": shown.cause}


def enable_ssl(shown: SslSwitch) -> Document:
    """Both switches."""
    return {"server": shown.server.value, "agent": shown.agent.value}


def transaction(shown: TransactionReport) -> Document | None:
    """The transaction a node takes part in, or None."""
    if not shown.transaction_id:
        return None
    return {
        "transaction_id": shown.transaction_id,
        "phase": shown.phase.value,
        "epoch": shown.fence.epoch,
        "step": shown.fence.step.name,
        "holder": shown.holder,
        "held_since": time(shown.held_since),
        "lease_left_s": shown.lease_left_s,
        "participants": list(shown.participants),
        "excluded": list(shown.excluded),
        "joins": shown.joins,
        "old_digest": shown.old_digest,
        "new_digest": shown.new_digest,
        "live_state": shown.live_state.value if shown.live_state is not None else None,
        "restart": shown.restart.value if shown.restart is not None else None,
        "ssl_wish": shown.ssl_wish.value,
        "begun_at": time(shown.begun_at),
        "begun_by": shown.begun_by,
    }


def status(shown: ClusterStatus) -> Document:
    """`gausscert status`."""
    return {
        "cluster": shown.cluster,
        "in_doubt": judge.in_doubt(shown),
        "waiting": [_in_flight(each) for each in judge.flights(shown) if each.waits],
        "unreachable": [node.node for node in shown.nodes if node.report is None],
        "nodes": [_node_status(node) for node in shown.nodes],
        "findings": [finding(found) for found in judge.cluster_findings(shown)],
    }


def _node_status(shown: NodeStatus) -> Document:
    head: Document = {
        "node": shown.node,
        "address": shown.address,
        "reachable": shown.report is not None,
        "error": error(shown.error) if shown.error is not None else None,
        "served": served(shown.served) if shown.served is not None else None,
        "drift": shown.drift,
        "drift_known": shown.drift_known,
        "report": _report(shown.report) if shown.report is not None else None,
    }
    return head


def _report(shown: NodeReport) -> Document:
    return {
        "agent_version": shown.agent_version,
        "cm_version": shown.cm_version,
        "clock": time(shown.clock),
        "cm_home": shown.paths.cm_home,
        "set_directory": shown.paths.set_directory,
        "layout": shown.capabilities.layout,
        "live": certificate_set(shown.live),
        "days_left": judge.days_left(shown),
        "modes_ok": judge.modes_ok(shown.live),
        "enable_ssl": enable_ssl(shown.enable_ssl),
        "processes": [
            {"name": process.name, "pid": process.pid, "started_at": time(process.started_at)}
            for process in shown.processes
        ],
        "cm_running": judge.cm_running(shown),
        "manually_stopped": shown.manually_stopped,
        "paused": shown.paused,
        "upgrading": shown.upgrading,
        "transaction": transaction(shown.transaction),
        "retired": [
            {
                "generation": retired.generation,
                "digest": retired.digest,
                "server_fingerprint": retired.server_fingerprint,
                "retired_at": time(retired.retired_at),
            }
            for retired in shown.retired
        ],
        "findings": [finding(found) for found in judge.node_findings(shown)],
    }


def _expiry_line(line: ExpiryLine) -> Document:
    return {
        "node": line.node,
        **certificate(line.certificate),
        "days_left": line.days_left,
        "state": line.state.value,
    }


def expiry(shown: tuple[NodeExpiry, ...]) -> Document:
    """`gausscert expiry`."""
    lines = judge.expiry_lines(shown)
    return {
        "certificates": [_expiry_line(line) for line in lines if not line.is_of_control_plane],
        "control_plane": [_expiry_line(line) for line in lines if line.is_of_control_plane],
        "unreachable": [error(node.error) for node in shown if node.error is not None],
        "findings": [
            finding(found) for node in shown if node.report is not None for found in node.report.findings
        ],
    }


def plan(shown: Plan) -> Document:
    """`gausscert plan`."""
    return {
        "cluster": shown.cluster,
        "bundle_digest": shown.bundle_digest,
        "generation": shown.generation,
        "only_ssl": shown.only_ssl,
        "feasible": shown.feasible,
        "options": {
            "enable_ssl": shown.options.ssl_wish.value,
            "restart": shown.options.restart.value,
            "drop_crls": shown.options.drop_crls,
            "take_over": shown.options.take_over,
            "accept_state": shown.options.accept_state,
            "exclude": list(shown.options.exclude),
        },
        "outage": shown.outage,
        "overlap": _overlap_verdict(shown.overlap) if shown.overlap is not None else None,
        "nodes": [_planned_node(node) for node in shown.nodes],
        "served": [served(each) for each in shown.served],
        "cluster_state": cluster_state(shown.cluster_state),
        "findings": [finding(found) for found in shown.findings],
        "unreachable": [error(each) for each in shown.unreachable],
        "blocked": [error(each) for each in shown.blocked],
        "excluded": [error(each) for each in shown.excluded],
        "in_flight": [_in_flight(each) for each in shown.in_flight],
    }


def _overlap_verdict(shown: OverlapVerdict) -> Document:
    return {
        "meeting": shown.meeting.value,
        "accepting": shown.accepting.value if shown.accepting is not None else None,
        "refusals": [{"nodes": list(each.nodes), **_refusal(each.refusal)} for each in shown.refusals],
        "unknown": list(shown.unknown),
        "meaning": shown.meaning,
    }


def _in_flight(shown: InFlight) -> Document:
    return {
        "transaction_id": shown.transaction_id,
        "holder": shown.holder,
        "since": time(shown.since),
        "phases": {node: phase.value for node, phase in shown.phases},
        "lease_left_s": shown.lease_left_s,
        "waits": shown.waits,
        "excluded": {node: each.value for node, each in shown.excluded},
        "held_by": shown.held_by,
    }


def _planned_node(shown: PlannedNode) -> Document:
    return {
        "node": shown.node,
        "old_server": certificate(shown.old_server) if shown.old_server is not None else None,
        "new_server": certificate(shown.new_server) if shown.new_server is not None else None,
        "old_digest": shown.old_digest,
        "new_digest": shown.new_digest,
        "enable_ssl": enable_ssl(shown.enable_ssl),
        "promised_epoch": shown.promised_epoch,
    }


def result(shown: Result) -> Document:
    """How a transaction ended."""
    return {
        "transaction_id": shown.transaction_id,
        "verdict": shown.verdict.value,
        "why": shown.why,
        "interrupted": shown.interrupted,
        "taken_over": shown.taken_over,
        "waiting": list(shown.waiting),
        "last_stage": shown.last_stage.value if shown.last_stage is not None else None,
        "duration_s": round(shown.duration_s, 3),
        "failures": [error(failure) for failure in shown.failures],
        "proof": [{"seen_from": proof.seen_from, **served(proof.served)} for proof in shown.proof],
        "cluster_state": cluster_state(shown.cluster_state),
        "findings": [finding(found) for found in shown.findings],
        "overlap": {node: overlap(found) for node, found in shown.overlaps.items()},
        "nodes": [_recovered_node(node) for node in shown.nodes],
    }


def _recovered_node(shown: NodeRecovery) -> Document:
    return {
        "node": shown.node,
        "phase": shown.phase.value,
        "transaction_id": shown.transaction_id,
        "live": shown.live.value if shown.live is not None else None,
        "outcome": shown.outcome.value if shown.outcome is not None else None,
        "begun_by": shown.begun_by,
        "holder": shown.holder,
        "lease_left_s": shown.lease_left_s,
        "did": [step.name for step in shown.did],
    }


def overlap(shown: Overlap) -> Document:
    """Whether the former and the new set of a node could talk; null where it is not known."""
    return {
        "can_talk": shown.can_talk,
        "same_ca": shown.same_ca,
        "refusals": [_refusal(each) for each in shown.refusals],
        "unknown": shown.unknown,
    }


def _refusal(shown: OverlapRefusal) -> Document:
    return {
        "connecting": shown.connecting.value,
        "refusing": shown.refusing.value,
        "cause": shown.cause,
        "detail": shown.detail,
        "links": list(shown.links),
        "versions": list(shown.versions),
    }
