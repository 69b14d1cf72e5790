"""A plan of three nodes, and what is kept of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from gausscert_common.findings import Finding, Severity
from gausscert_common.model import ClusterState, CmNode, SslSwitch, SslValue
from gausscert_coordinator.plan_record import Origin, record
from gausscert_coordinator.report import Plan, PlannedNode, ReplaceOptions
from support.cli_fakes import certificate

MADE = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
ORIGIN = Origin("/srv/new bundle", MADE, "ann@ops", MADE + timedelta(days=7))


def planned(number: int) -> PlannedNode:
    return PlannedNode(
        f"n{number}",
        certificate(),
        certificate(fingerprint="bb" * 32),
        "d1" * 32,
        SslSwitch(SslValue.ON, SslValue.ON),
        3,
        cm_node_id=number,
    )


def cm_node(number: int) -> CmNode:
    return CmNode(number, f"db{number}", f"10.0.0.{number}", 5000, f"10.0.0.{number}")


def warning(code: str = "CERTIFICATE_EXPIRES_SOON", node: str = "", cause: str = "80 days") -> Finding:
    return Finding(code, Severity.WARNING, cause, "mend it", node, "server.crt")


PLAN = Plan(
    cluster="prod",
    bundle_digest="e1" * 32,
    options=ReplaceOptions(),
    nodes=(planned(1), planned(2), planned(3)),
    findings=(warning(),),
    unreachable=(),
    blocked=(),
    cluster_state=ClusterState("Normal", {1: "Primary", 2: "Standby"}),
    outage="CM and the database of all nodes, at most 95 s",
    topology=(cm_node(1), cm_node(2), cm_node(3)),
)
KEPT = record(PLAN, ORIGIN)
