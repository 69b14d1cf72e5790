"""What the reports mean, for tables and documents alike. Pure; the node's own clock decides about days."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import starmap
from typing import TYPE_CHECKING, Final

from gausscert_common import certset, identity
from gausscert_common.findings import Finding, Severity
from gausscert_common.model import CertificateKind, SetState

from gausscert_coordinator import live_sets, objections, recovery_view
from gausscert_coordinator.exit_codes import ExitCode, exit_code

if TYPE_CHECKING:
    from datetime import datetime

    from gausscert_common.model import Certificate, CertificateSet, ExpiryReport, NodeReport

    from gausscert_coordinator.report import ClusterStatus, InFlight, NodeExpiry

SECONDS_PER_DAY: Final = 86_400
CONTROL_PLANE_DAYS: Final = {
    CertificateKind.CREDENTIAL: identity.CREDENTIAL_WARNED_DAYS,
    CertificateKind.CREDENTIAL_CA: identity.CA_WARNED_DAYS,
}
"""What has nothing to do with CM has thresholds of its own."""
CM_PROCESSES: Final = ("cm_server", "cm_agent")


class ExpiryState(StrEnum):
    """Where a certificate stands."""

    OK = "ok"
    EXPIRING = "expiring"
    EXPIRED = "expired"
    NOT_YET_VALID = "not yet valid"


@dataclass(frozen=True, slots=True)
class ExpiryLine:
    """One certificate on one node."""

    node: str
    certificate: Certificate
    days_left: int
    """Whole days; negative once it has expired."""
    state: ExpiryState

    @property
    def is_of_control_plane(self) -> bool:
        """Whether it has nothing to do with the set."""
        return self.certificate.kind in CONTROL_PLANE_DAYS


def days_between(now: datetime, then: datetime) -> int:
    """Whole days, rounded towards the past: 0 is less than a day ahead, -1 is up to a day ago."""
    return int((then - now).total_seconds() // SECONDS_PER_DAY)


def days_left(report: NodeReport) -> int | None:
    """Until the first certificate or CRL of the live set expires; None without one that counts."""
    counted = [each for each in report.live.certificates if each.kind is not CertificateKind.EXTRA]
    if not counted:
        return None
    return days_between(report.clock, min(each.not_after for each in counted))


def modes_ok(live: CertificateSet) -> bool | None:
    """Whether CM will accept the modes (facts section 2); None without a whole set."""
    if live.state is not SetState.WHOLE:
        return None
    return all(file.mode == certset.FILE_MODE for file in live.files if file.name in certset.NAMES)


def cm_running(report: NodeReport) -> bool:
    """Whether a cm_server or cm_agent runs."""
    return any(process.name in CM_PROCESSES for process in report.processes)


def node_findings(report: NodeReport) -> tuple[Finding, ...]:
    """What the node says is wrong, and what its report shows without saying so."""
    found = [*report.findings]
    codes = {each.code for each in found}
    if report.live.state is SetState.ABSENT and "NODE_NO_LIVE_SET" not in codes:
        cause = f"there is no live set in {report.paths.set_directory or 'share/sslcert/cm'}"
        remedy = "nothing, if CM has never had certificates; else look whether the agent's `home` is right"
        found.append(Finding("NODE_NO_LIVE_SET", Severity.WARNING, cause, remedy, report.name))
    if not report.capabilities.cm_ctl and not any("cm_ctl" in each.cause for each in found):
        cause = "`cm_ctl view` tells the agent nothing"
        remedy = "run gausscert-agent check-config there, and `cm_ctl view` as the agent's user"
        found.append(Finding("NODE_CM_CTL_FAILS", Severity.WARNING, cause, remedy, report.name))
    return tuple(found)


def cluster_findings(status: ClusterStatus) -> tuple[Finding, ...]:
    """What only all nodes together show."""
    reports = {node.node: node.report for node in status.nodes if node.report is not None}
    found = live_sets.finding(reports)
    behind = recovery_view.left_behind(reports, [node.node for node in status.nodes])
    return (*([found] if found else []), *starmap(objections.still_behind, behind.items()))


def beyond_inventory(status: ClusterStatus) -> tuple[str, ...]:
    """Nodes that CM lists and the inventory lacks, as far as that is certain: a node that does not answer
    may be any one of those that CM lists."""
    reports = [node.report for node in status.nodes if node.report is not None]
    listed = {node.id: node.name for report in reports for node in report.topology.nodes}
    for report in reports:
        listed.pop(report.topology.local_node_id, None)
    silent = [node.node for node in status.nodes if node.report is None]
    others = [name for _, name in sorted(listed.items()) if name not in silent]
    return tuple(others) if len(listed) > len(silent) else ()


def flights(status: ClusterStatus) -> tuple[InFlight, ...]:
    """Every transaction that is not over."""
    reports = {node.node: node.report for node in status.nodes if node.report is not None}
    return recovery_view.flights(reports, status.gone, [node.node for node in status.nodes])


def in_doubt(status: ClusterStatus) -> bool:
    """Whether some node is in a transaction that has not ended, whoever may still be at it; one that is
    committed and only waits for excluded nodes is not in doubt."""
    return any(not flight.waits for flight in flights(status))


def status_code(status: ClusterStatus) -> ExitCode:
    """Doubt weighs more than a node that does not answer, and that more than a transaction that waits; a node
    whose journal is damaged is a doubt, too."""
    errors = [node.error for node in status.nodes if node.error is not None]
    if in_doubt(status) or ExitCode.IN_DOUBT in map(exit_code, errors):
        return ExitCode.IN_DOUBT
    if any(node.report is None for node in status.nodes):
        return ExitCode.UNREACHABLE
    return ExitCode.IN_DOUBT if flights(status) else ExitCode.DONE


def expiry_lines(nodes: tuple[NodeExpiry, ...]) -> list[ExpiryLine]:
    """Every certificate on every node, soonest first."""
    lines = [
        ExpiryLine(
            node.node,
            each,
            days_between(node.report.clock, each.not_after),
            _state(each, node.report.clock, _warned_days(each, node.report)),
        )
        for node in nodes
        if node.report is not None
        for each in (*node.report.everything, *node.report.control_plane)
    ]
    return sorted(lines, key=lambda line: (line.certificate.not_after, line.node, line.certificate.file))


def _warned_days(certificate: Certificate, report: ExpiryReport) -> int:
    """How long before its end the node warns of a certificate."""
    return CONTROL_PLANE_DAYS.get(certificate.kind, report.alert_threshold_days)


def _state(certificate: Certificate, now: datetime, threshold_days: int) -> ExpiryState:
    if certificate.not_after <= now:
        return ExpiryState.EXPIRED
    if certificate.not_before > now:
        return ExpiryState.NOT_YET_VALID
    if days_between(now, certificate.not_after) < threshold_days:
        return ExpiryState.EXPIRING
    return ExpiryState.OK


def server_fingerprint(live: CertificateSet) -> str:
    """Of the certificate that cm_server loads: the first one in server.crt, or ""."""
    return live.fingerprint(CertificateKind.SERVER)
