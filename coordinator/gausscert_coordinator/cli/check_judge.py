"""What `gausscert check` makes of a cluster: problems, the state that follows, and performance data. Pure.

States and their order are those of the Monitoring Plugins: CRITICAL, WARNING, UNKNOWN, OK.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gausscert_common.errors import GausscertError, Reason, Unreachable
from gausscert_common.findings import Severity
from gausscert_common.model import RESTARTED_IN, Certificate, CertificateKind, ServedState, SslValue
from gausscert_common.protocol.exclusion import Return
from gausscert_common.protocol.words import Phase

from gausscert_coordinator import objections, recovery_view
from gausscert_coordinator.cli import judge
from gausscert_coordinator.exit_codes import CheckState

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from gausscert_common.findings import Finding
    from gausscert_common.model import ExpiryReport, NodeReport

    from gausscert_coordinator.report import ClusterStatus, InFlight, NodeExpiry, NodeStatus

_WORST_FIRST: Final = (CheckState.CRITICAL, CheckState.WARNING, CheckState.UNKNOWN, CheckState.OK)
_CRITICAL_SHARE: Final = 3
"""Without --critical: a third of the time before expiry at which the node itself warns."""

_OF_FINDING: Final = {Severity.ERROR: CheckState.CRITICAL, Severity.WARNING: CheckState.WARNING}
_JUDGED_HERE: Final = ("_EXPIRED", "_EXPIRING", "_NOT_YET_VALID")
"""Codes of findings about the dates of certificates, which have limits of their own here."""
_CREDENTIAL: Final = "NODE_CREDENTIAL_"
_SUMMARY: Final = "NODE_ALARM"
"""The node's own summary of what is judged here, too."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Days before expiry; None: by the threshold of each node."""

    warning: float | None = None
    critical: float | None = None

    def of(self, threshold_days: float) -> tuple[float, float]:
        """Both for a node, the second never above the first."""
        if self.warning is not None and self.critical is not None:
            return self.warning, self.critical
        if self.warning is not None:
            return self.warning, min(self.warning, threshold_days / _CRITICAL_SHARE)
        if self.critical is not None:
            return max(self.critical, threshold_days), self.critical
        return threshold_days, threshold_days / _CRITICAL_SHARE


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that makes the state worse than OK."""

    state: CheckState
    node: str
    """"" when it concerns the cluster."""
    code: str
    """Of a finding, a reason, or one of our own in the same spelling."""
    text: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Datum:
    """One value for whoever draws curves. Values below (a limit with a colon) or above a limit are bad."""

    label: str
    value: float
    warning: str = ""
    critical: str = ""


@dataclass(frozen=True, slots=True)
class Checked:
    """The whole answer."""

    state: CheckState
    problems: tuple[Problem, ...]
    """Worst first."""
    summary: str
    """Where there is no problem."""
    data: tuple[Datum, ...]


def check(
    status: ClusterStatus,
    expiries: tuple[NodeExpiry, ...],
    limits: Limits,
    own: tuple[Finding, ...] = (),
) -> Checked:
    """Judge what the nodes have answered, and what is to be said of the caller's own credential."""
    reports = {node.node: node.report for node in status.nodes if node.report is not None}
    dated = {node.node: node.report for node in expiries if node.report is not None}
    busy = _busy(status)
    problems = [
        *_silent(status, expiries),
        *(_of("", found) for found in own),
        *_transactions(judge.flights(status), reports),
        *_served(status, busy),
        *_findings(reports, dated),
        *_of_all(status, reports),
        *(problem for name, report in dated.items() for problem in _certificates(name, report, limits)),
    ]
    ranked = sorted(dict.fromkeys(problems), key=lambda each: _WORST_FIRST.index(each.state))
    state = ranked[0].state if ranked else CheckState.OK
    data = (*_days(dated, limits), *_counts(status, reports, busy))
    return Checked(state, tuple(ranked), _summary(dated), data)


def _silent(status: ClusterStatus, expiries: tuple[NodeExpiry, ...]) -> Iterator[Problem]:
    """Each node once, whatever it was asked."""
    errors = {node.node: node.error for node in expiries if node.error is not None}
    errors |= {node.node: node.error for node in status.nodes if node.error is not None}
    for name, error in errors.items():
        yield Problem(_of_error(error), name, error.reason.value, error.message, error.remedy)


def _of_error(error: GausscertError) -> CheckState:
    """A node that does not answer watches nothing, either; one that refuses this caller may be well."""
    if isinstance(error, Unreachable) or error.reason is Reason.JOURNAL_DAMAGED:
        return CheckState.CRITICAL
    return CheckState.UNKNOWN


def _busy(status: ClusterStatus) -> frozenset[str]:
    """Nodes that somebody restarts: disk and cm_server differ there on purpose. Where nobody is at work on a
    transaction, and where it is proven, they must not."""
    flights = (each for each in judge.flights(status) if not each.waits and each.lease_left_s > 0)
    return frozenset(node for flight in flights for node, phase in flight.phases if phase in RESTARTED_IN)


def _transactions(flights: Iterable[InFlight], reports: Mapping[str, NodeReport]) -> Iterator[Problem]:
    for flight in flights:
        nodes = ", ".join(node for node, _ in flight.phases)
        what = f"transaction {flight.transaction_id} of {flight.holder or 'nobody known'} on {nodes}"
        if flight.waits:
            yield from _waiting(flight, reports)
        elif flight.lease_left_s > 0:
            yield Problem(CheckState.WARNING, "", "IN_TRANSACTION", f"{what} is at work")
        else:
            yield Problem(CheckState.CRITICAL, "", "IN_DOUBT", f"{what} is in doubt", "run gausscert recover")


def _waiting(flight: InFlight, reports: Mapping[str, NodeReport]) -> Iterator[Problem]:
    """Nodes that were left out, as long as anybody waits for them. One that runs with another set than the
    others is what leaving it out was never to lead to."""
    what = f"transaction {flight.transaction_id} is {objections.waiting_text(flight)}"
    yield Problem(CheckState.WARNING, "", Reason.NODES_EXCLUDED.value, what, objections.end_of(flight))
    for node, returned in flight.excluded:
        report = reports.get(node)
        if report is None or returned is not Return.BACK or report.transaction.phase is not Phase.NONE:
            continue
        if recovery_view.cm_runs(report):
            text = f"CM runs here, but not with what transaction {flight.transaction_id} gave the others"
            remedy = objections.end_of(flight)
            yield Problem(CheckState.CRITICAL, node, Reason.NODES_EXCLUDED.value, text, remedy)


def _served(status: ClusterStatus, busy: Collection[str]) -> Iterator[Problem]:
    """Of the nodes that nobody restarts. A node whose cm_server is down is one standby less; without any
    there is no cluster."""
    deaf = _not_serving(status, busy)
    doubtful = _in_doubt(status)
    none_serves = not busy and not any(_serves(node) for node in status.nodes)
    for node in status.nodes:
        if node.node in deaf:
            state = CheckState.CRITICAL if none_serves else CheckState.WARNING
            yield _not_served(node, state, in_doubt=node.node in doubtful)
        elif node.node not in busy:
            yield from _drift(node)


def _not_serving(status: ClusterStatus, busy: Collection[str]) -> frozenset[str]:
    """Nodes whose own cm_server does not serve although one belongs there."""
    return frozenset(
        node.node
        for node in status.nodes
        if node.node not in busy
        and node.served is not None
        and node.served.state in (ServedState.UNREACHABLE, ServedState.REFUSED)
    )


def _serves(node: NodeStatus) -> bool:
    return node.served is not None and node.served.state in (ServedState.SSL_ON, ServedState.SSL_OFF)


def _in_doubt(status: ClusterStatus) -> frozenset[str]:
    """Nodes of a transaction at which nobody is at work."""
    flights = (each for each in judge.flights(status) if not each.waits and each.lease_left_s <= 0)
    return frozenset(node for flight in flights for node, _ in flight.phases)


def _not_served(node: NodeStatus, state: CheckState, *, in_doubt: bool) -> Problem:
    """Where a transaction is in doubt nobody may start CM by hand: another node may hold another set."""
    cause = "" if node.served is None else node.served.cause or node.served.state.value
    text, remedy = f"cm_server does not serve: {cause}", "look at the log of cm_server"
    if node.report is None or not _runs_server(node.report):
        text, remedy = "no cm_server runs here, although one belongs here", "start CM: cm_ctl start"
        if node.report is not None and node.report.manually_stopped:
            text += "; CM was stopped on purpose"
    if in_doubt:
        remedy = "run gausscert recover; do not start CM by hand"
    return Problem(state, node.node, "NOT_SERVED", text, remedy)


def _drift(node: NodeStatus) -> Iterator[Problem]:
    served = node.served
    if served is not None and node.drift:
        state = CheckState.WARNING if served.chain_verified else CheckState.CRITICAL
        text = "the running cm_server serves another certificate than lies on the disk"
        text += "" if served.chain_verified else f", which is not accepted: {served.cause}"
        yield Problem(state, node.node, "DRIFT", text, "find out who replaced the files, then restart CM")
    elif served is None and _belongs(node):
        text = "what cm_server serves could not be looked at"
        yield Problem(CheckState.WARNING, node.node, "NOT_SERVED", text, "see gausscert status --verbose")


def _belongs(node: NodeStatus) -> bool:
    local = None if node.report is None else node.report.topology.local
    return local is not None and bool(local.server_address)


def _runs_server(report: NodeReport) -> bool:
    return any(process.name == "cm_server" for process in report.processes)


def _findings(reports: Mapping[str, NodeReport], dated: Mapping[str, ExpiryReport]) -> Iterator[Problem]:
    for name, report in reports.items():
        found = [*judge.node_findings(report)]
        if name in dated:
            codes = {each.code for each in found}
            found += [each for each in dated[name].findings if each.code not in codes]
        yield from (_of(name, each) for each in found if not _is_judged_here(each))
        if judge.modes_ok(report.live) is False and all(each.code != "NODE_SET_MODE" for each in found):
            wrong = ", ".join(
                f"{file.name} {file.mode:04o}" for file in report.live.files if file.mode != 0o400
            )
            text = f"files of the live set are not 0400: {wrong}"
            yield Problem(CheckState.WARNING, name, "NODE_SET_MODE", text, "chmod 0400")


def _of_all(status: ClusterStatus, reports: Mapping[str, NodeReport]) -> Iterator[Problem]:
    """Nodes with different sets do not talk to each other any more once they use them."""
    on = any(SslValue.ON in (each.enable_ssl.server, each.enable_ssl.agent) for each in reports.values())
    for found in judge.cluster_findings(status):
        state = CheckState.CRITICAL if on else _OF_FINDING[found.severity]
        yield Problem(state, found.node, found.code, found.cause, found.remedy)


def _is_judged_here(found: Finding) -> bool:
    if found.code.startswith(_CREDENTIAL):
        return False
    return found.code == _SUMMARY or found.code.endswith(_JUDGED_HERE)


def _of(node: str, found: Finding) -> Problem:
    text = f"{found.file}: {found.cause}" if found.file else found.cause
    return Problem(_OF_FINDING[found.severity], node, found.code, text, found.remedy)


def _certificates(name: str, report: ExpiryReport, limits: Limits) -> Iterator[Problem]:
    warning, critical = limits.of(report.alert_threshold_days)
    # What is served from the disk is told as what lies there.
    for one in report.certificates if report.served_from_disk else report.everything:
        left = _days_left(report, one)
        what = f"{one.file} ({one.kind} {one.subject})"
        remedy = "make a new bundle and replace the set: gausscert bundle new, gausscert replace"
        if one.not_before > report.clock:
            text = f"{what} is not valid before {one.not_before:%Y-%m-%d %H:%M} UTC"
            yield _graded(CheckState.CRITICAL, name, one, "NOT_YET_VALID", text, "compare the clocks")
        elif left <= 0:
            text = f"{what} expired {-left:.0f} days ago"
            yield _graded(CheckState.CRITICAL, name, one, "EXPIRED", text, remedy)
        elif left < max(warning, critical):
            state = CheckState.CRITICAL if left < critical else CheckState.WARNING
            yield _graded(state, name, one, "EXPIRING", f"{what} expires in {math.floor(left)} days", remedy)


def _graded(state: CheckState, node: str, one: Certificate, code: str, text: str, remedy: str) -> Problem:
    """CM ignores further certificates of a .crt file (facts section 4): they are never critical."""
    ignored = one.kind is CertificateKind.EXTRA and state is CheckState.CRITICAL
    return Problem(CheckState.WARNING if ignored else state, node, code, text, remedy)


def _days_left(report: ExpiryReport, one: Certificate) -> float:
    return (one.not_after - report.clock).total_seconds() / judge.SECONDS_PER_DAY


def _days(dated: Mapping[str, ExpiryReport], limits: Limits) -> Iterator[Datum]:
    """The soonest of each file of each node; the reports have the soonest first."""
    for name, report in dated.items():
        warning, critical = limits.of(report.alert_threshold_days)
        soonest: dict[str, Certificate] = {}
        for one in report.everything:
            soonest.setdefault(one.file, one)
        for file, one in sorted(soonest.items()):
            days = round(_days_left(report, one), 2)
            yield Datum(f"{name} {file}", days, f"{warning:g}:", f"{critical:g}:")
        # Their alarms are the node's own findings, which are judged with all others.
        for one in report.control_plane:
            what = one.kind.value if one.index == 0 else f"{one.kind.value} {one.index}"
            limit = judge.CONTROL_PLANE_DAYS[one.kind]
            yield Datum(f"{name} {what}", round(_days_left(report, one), 2), f"{limit:g}:", "0:")


def _counts(
    status: ClusterStatus, reports: Mapping[str, NodeReport], busy: Collection[str]
) -> Iterator[Datum]:
    drifting = sum(node.drift and node.node not in busy for node in status.nodes)
    yield Datum("nodes", len(status.nodes))
    yield Datum("silent", len(status.nodes) - len(reports), critical="0")
    yield Datum("drift", drifting, warning="0")
    yield Datum("not_serving", len(_not_serving(status, busy)), warning="0")
    yield Datum("transactions", len(recovery_view.in_flight(reports)), warning="0")


def _summary(dated: Mapping[str, ExpiryReport]) -> str:
    first = min(
        (
            (_days_left(report, one), name, one)
            for name, report in dated.items()
            for one in report.certificates
        ),
        key=lambda each: (each[0], each[1], each[2].file),
        default=None,
    )
    count = sum(len(report.certificates) for report in dated.values())
    text = f"{count} certificates on {len(dated)} nodes"
    if first is None:
        return text
    days, name, one = first
    return f"{text}, the first ({one.file} on {name}) expires in {math.floor(days)} days"
