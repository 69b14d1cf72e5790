"""What `gausscert history --output json` writes, under the rules of `documents`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gausscert_coordinator.cli.documents import Document, time

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gausscert_coordinator.history_reader import (
        Account,
        Agent,
        Certificate,
        Evidence,
        Failure,
        Finding,
        Node,
        Run,
        Step,
    )


def runs(cluster: str, path: Path, shown: Sequence[Run]) -> Document:
    """`gausscert history`."""
    return {"cluster": cluster, "file": str(path), "runs": [_run(each) for each in shown]}


def transaction(cluster: str, path: Path, shown: Sequence[Account]) -> Document:
    """`gausscert history ID`."""
    return {
        "cluster": cluster,
        "file": str(path),
        "transaction_id": shown[0].run.transaction_id,
        "runs": [_account(each) for each in shown],
    }


def _run(shown: Run) -> Document:
    return {
        "transaction_id": shown.transaction_id,
        "kind": shown.kind,
        "holder": shown.holder,
        "gausscert_version": shown.version,
        "begun_at": time(shown.begun_at),
        "ended_at": time(shown.ended_at),
        "duration_s": round(shown.duration_s, 3) if shown.duration_s is not None else None,
        "verdict": shown.verdict,
        "why": shown.why,
        "interrupted": shown.interrupted,
        "last_stage": shown.last_stage,
        "epoch": shown.epoch,
        "participants": shown.participants,
        "options": {
            "enable_ssl": shown.ssl_wish,
            "restart": shown.restart,
            "drop_crls": shown.drop_crls,
            "take_over": shown.take_over,
            "accept_state": shown.accept_state,
            "exclude": shown.excluded.split(",") if shown.excluded else [],
        },
        "bundle_digest": shown.bundle_digest,
        "generation": shown.generation,
        "new_server_fingerprint": shown.new_server,
        "cluster_state": shown.cluster_state,
        "server_roles": shown.roles or None,
        "before": {"cluster_state": shown.state_before, "server_roles": shown.roles_before or None},
    }


def _account(shown: Account) -> Document:
    return {
        **_run(shown.run),
        "nodes": [_node(each) for each in shown.nodes],
        "certificates": [_certificate(each) for each in shown.certificates],
        "steps": [_step(each) for each in shown.steps],
        "evidence": [_evidence(each) for each in shown.evidence],
        "findings": [_finding(each) for each in shown.findings],
        "failures": [_failure(each) for each in shown.failures],
        "agents": [_agent(each) for each in shown.agents],
    }


def _agent(shown: Agent) -> Document:
    return {
        "node": shown.node,
        "former_release": shown.former,
        "release": shown.release,
        "state": shown.state,
        "done": shown.done.split(",") if shown.done else [],
        "failed_at": shown.failed_at or None,
    }


def _node(shown: Node) -> Document:
    return {
        "node": shown.node,
        "old_digest": shown.old_digest,
        "old_server_fingerprint": shown.old_server,
        "new_digest": shown.new_digest,
        "new_server_fingerprint": shown.new_server,
    }


def _certificate(shown: Certificate) -> Document:
    return {
        "file": shown.file,
        "kind": shown.kind,
        "subject": shown.subject,
        "issuer": shown.issuer,
        "serial": shown.serial,
        "fingerprint": shown.fingerprint,
        "not_before": time(shown.not_before),
        "not_after": time(shown.not_after),
    }


def _step(shown: Step) -> Document:
    return {
        "stage": shown.stage,
        "node": shown.node,
        "mark": shown.mark,
        "at": time(shown.at),
        "ended_at": time(shown.ended_at),
        "retries": shown.retries,
        "reason": shown.reason,
        "detail": shown.detail,
    }


def _evidence(shown: Evidence) -> Document:
    return {
        "stage": shown.stage,
        "seen_from": shown.seen_from,
        "cm_node_id": shown.cm_node_id,
        "target": shown.target,
        "state": shown.state,
        "fingerprint": shown.fingerprint,
        "chain_verified": shown.chain_verified,
        "not_after": time(shown.not_after),
        "cause": shown.cause,
    }


def _finding(shown: Finding) -> Document:
    return {
        "code": shown.code,
        "severity": shown.severity,
        "node": shown.node,
        "file": shown.file,
        "cause": shown.cause,
        "remedy": shown.remedy,
    }


def _failure(shown: Failure) -> Document:
    return {
        "reason": shown.reason,
        "node": shown.node,
        "file": shown.file,
        "message": shown.message,
        "remedy": shown.remedy,
    }
