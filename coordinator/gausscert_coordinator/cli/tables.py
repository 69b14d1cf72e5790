"""What people see of reports and plans. Values in, renderables out; `render` prints them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gausscert_common.findings import Severity
from gausscert_common.model import ServedState, SslValue
from gausscert_common.protocol.words import Phase

from gausscert_coordinator import objections
from gausscert_coordinator.cli import judge
from gausscert_coordinator.cli.layout import BAD, DOUBTFUL, FAINT, GOOD, STRONG, cell, counted, fitted, short
from gausscert_coordinator.cli.overlap_text import overlap_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gausscert_common.errors import GausscertError
    from gausscert_common.findings import Finding
    from gausscert_common.model import Certificate, ClusterState, NodeReport, RetiredSet, Served, SslSwitch
    from rich.console import RenderableType
    from rich.text import Text

    from gausscert_coordinator.report import (
        ClusterStatus,
        InFlight,
        NodeExpiry,
        NodeStatus,
        Plan,
        PlannedNode,
    )

READABLE: Final = 32
"""Columns below which a sentence in a table column is no longer read but spelled."""
_READABLE_SUBJECT: Final = 20
"""The same of a distinguished name."""

SOON_DAYS: Final = 30
"""`status` marks what expires sooner; `expiry` uses the threshold of the node."""

_EXPIRY_STYLE: Final = {
    judge.ExpiryState.OK: GOOD,
    judge.ExpiryState.EXPIRING: DOUBTFUL,
    judge.ExpiryState.EXPIRED: BAD,
    judge.ExpiryState.NOT_YET_VALID: BAD,
}


def status(shown: ClusterStatus, width: int, *, verbose: bool = False) -> list[RenderableType]:
    """One line per node, then what is wrong."""
    headings = ("node", "live", "served", "days left", "modes", "enable_ssl", "CM", "transaction", "drift")
    parts: list[RenderableType] = [
        _heading(shown.cluster, len(shown.nodes), sum(node.report is None for node in shown.nodes)),
        fitted(headings, [_status_row(node) for node in shown.nodes], width),
    ]
    parts.extend(generations(shown, width))
    if verbose:
        parts.extend(_detail(node.report) for node in shown.nodes if node.report is not None)
    parts.extend(failures([node.error for node in shown.nodes if node.error is not None]))
    answered = [node.report for node in shown.nodes if node.report is not None]
    found = [each for report in answered for each in judge.node_findings(report)]
    if found:
        parts.append(findings(found, width))
    if of_all := judge.cluster_findings(shown):
        parts.append(findings(of_all, width, about="cluster"))
    if others := judge.beyond_inventory(shown):
        names = ", ".join(others)
        parts.append(cell(f"CM also lists {names}, which the inventory does not have: add it", DOUBTFUL))
    return [*parts, *in_flight(judge.flights(shown))]


def _detail(report: NodeReport) -> Text:
    """What the table has no room for."""
    running = ", ".join(f"{each.name} ({each.pid})" for each in report.processes) or "nothing"
    return cell(
        f"{report.name}: agent {report.agent_version}, CM {report.cm_version or 'of unknown version'},"
        f" runs {running}"
    )


def generations(shown: ClusterStatus, width: int) -> list[RenderableType]:
    """What a rollback may go back to, newest first; a line for each set that nodes have of it."""
    kept: dict[tuple[str, str], list[tuple[str, RetiredSet]]] = {}
    for node in shown.nodes:
        for retired in node.report.retired if node.report is not None else ():
            kept.setdefault((retired.generation, retired.server_fingerprint), []).append((node.node, retired))
    if not kept:
        return []
    rows = [
        [
            cell(generation),
            cell(_first_moment(retired for _, retired in held)),
            cell(short(fingerprint)),
            cell("all nodes" if len(held) == len(shown.nodes) else ", ".join(node for node, _ in held)),
        ]
        for (generation, fingerprint), held in kept.items()
    ]
    return [fitted(("generation", "retired (UTC)", "server certificate", "kept by"), rows, width)]


def _first_moment(retired: Iterable[RetiredSet]) -> str:
    moments = [each.retired_at for each in retired if each.retired_at is not None]
    return f"{min(moments):%Y-%m-%d %H:%M}" if moments else "-"


def _status_row(node: NodeStatus) -> list[Text]:
    if node.report is None:
        reason = node.error.reason.value if node.error is not None else "no answer"
        return [cell(node.node, BAD), cell(f"({reason})", BAD), *(cell("") for _ in range(7))]
    report = node.report
    live = short(judge.server_fingerprint(report.live))
    return [
        cell(node.node),
        cell(live if live != "-" else report.live.state.value, "" if live != "-" else DOUBTFUL),
        _served(node.served),
        _days(judge.days_left(report)),
        _modes(judge.modes_ok(report.live)),
        cell(switches(report.enable_ssl)),
        cell("running", GOOD) if judge.cm_running(report) else cell("stopped", DOUBTFUL),
        _transaction(report),
        _drift(node),
    ]


def _heading(cluster: str, nodes: int, unreachable: int) -> Text:
    lost = f", {unreachable} unreachable" if unreachable else ""
    return cell(f"cluster {cluster}, {counted(nodes, 'node')}{lost}", STRONG)


def _drift(node: NodeStatus) -> Text:
    if not node.drift_known:
        return cell("?", DOUBTFUL)
    return cell("DRIFT", BAD) if node.drift else cell("no")


def _served(served: Served | None) -> Text:
    if served is None:
        return cell("-")
    if served.state is ServedState.SSL_ON:
        return cell(short(served.fingerprint))
    style = DOUBTFUL if served.state is ServedState.SSL_OFF else BAD
    return cell(served.state.value, style)


def _days(days: int | None) -> Text:
    if days is None:
        return cell("-")
    style = BAD if days < 0 else DOUBTFUL if days < SOON_DAYS else GOOD
    return cell(str(days), style)


def _modes(fine: bool | None) -> Text:
    if fine is None:
        return cell("-")
    return cell("ok", GOOD) if fine else cell("WRONG", BAD)


def _transaction(report: NodeReport) -> Text:
    if report.transaction.phase is Phase.NONE:
        return cell("none")
    return cell(report.transaction.phase.value, DOUBTFUL)


def switches(switch: SslSwitch) -> str:
    """`enable_ssl` of cm_server.conf and cm_agent.conf; one word where they agree."""
    if switch.server is switch.agent:
        return switch.server.value
    if switch.server is SslValue.ABSENT:
        return f"{switch.agent.value} (agent only)"
    return f"{switch.server.value}/{switch.agent.value}"


def expiry(nodes: tuple[NodeExpiry, ...], width: int) -> list[RenderableType]:
    """Every certificate on every node, soonest first; what is the same on several nodes in one line."""
    headings = ("days left", "state", "file", "expires (UTC)", "fingerprint", "nodes", "subject")
    alike: dict[tuple[object, ...], list[judge.ExpiryLine]] = {}
    for line in judge.expiry_lines(nodes):
        one = line.certificate
        kind = (line.days_left, line.state, one.file, one.kind, one.not_after, one.fingerprint, one.subject)
        alike.setdefault(kind, []).append(line)
    rows = [_expiry_row(lines, len(nodes)) for lines in alike.values()]
    parts: list[RenderableType] = [cell("no certificates")]
    if rows:
        parts = [fitted(headings, rows, width, flexible=_READABLE_SUBJECT)]
    parts.extend(failures([node.error for node in nodes if node.error is not None]))
    found = [each for node in nodes if node.report is not None for each in node.report.findings]
    return [*parts, findings(found, width)] if found else parts


def _expiry_row(lines: Sequence[judge.ExpiryLine], nodes: int) -> list[Text]:
    first = lines[0]
    return [
        cell(str(first.days_left), _EXPIRY_STYLE[first.state]),
        cell(first.state.value, _EXPIRY_STYLE[first.state]),
        cell(first.certificate.file),
        cell(f"{first.certificate.not_after:%Y-%m-%d %H:%M}"),
        cell(short(first.certificate.fingerprint)),
        cell("all nodes" if len(lines) == nodes > 1 else ", ".join(line.node for line in lines)),
        cell(first.certificate.subject),
    ]


def certificates(held: Sequence[Certificate], width: int) -> RenderableType:
    """What a bundle holds."""
    headings = ("file", "kind", "valid from (UTC)", "until (UTC)", "fingerprint", "subject")
    rows = [
        [
            cell(each.file),
            cell(each.kind.value),
            cell(f"{each.not_before:%Y-%m-%d %H:%M}"),
            cell(f"{each.not_after:%Y-%m-%d %H:%M}"),
            cell(short(each.fingerprint)),
            cell(each.subject),
        ]
        for each in held
    ]
    return fitted(headings, rows, width, flexible=READABLE)


def plan(shown: Plan, width: int) -> list[RenderableType]:
    """What would happen, and what speaks against it."""
    headings = ("node", "old", "new", "valid from (UTC)", "until (UTC)", "enable_ssl")
    wish = shown.options.ssl_wish.value
    answered = {node.node for node in shown.nodes}
    lost = {error.node for error in (*shown.unreachable, *shown.excluded)} - answered
    parts: list[RenderableType] = [_heading(shown.cluster, len(answered | lost), len(lost))]
    if shown.in_flight:
        return [*parts, *in_flight(shown.in_flight), *failures(shown.unreachable)]
    if shown.generation:
        parts.append(cell(f"back to generation {shown.generation}"))
    if shown.only_ssl:
        parts.append(cell(f"enable_ssl becomes {wish}; the sets stay as they are"))
    if shown.nodes:
        parts.append(fitted(headings, [_planned_row(node, wish) for node in shown.nodes], width))
    parts.extend(cell(f"without {error.node}: {error.message}", DOUBTFUL) for error in shown.excluded)
    parts.append(cell(f"restart: {shown.options.restart.value}"))
    if shown.outage:
        parts.append(cell(f"outage: {shown.outage}"))
    if shown.overlap is not None:
        parts.extend(cell(line) for line in overlap_text(shown.overlap))
        parts.append(cell(f"that means: {shown.overlap.meaning}"))
    if shown.cluster_state is not None:
        now = shown.cluster_state.cluster_state or "unknown: `cm_ctl query` works on no node"
        parts.append(cell(f"cluster now: {now}{roles(shown.cluster_state)}"))
    if shown.options.accept_state:
        parts.append(cell("its state is accepted: afterwards it must be no worse", DOUBTFUL))
    if shown.findings:
        about = "bundle" if shown.generation is None else "generation"
        parts.append(findings(shown.findings, width, about))
    parts.extend(failures([*shown.unreachable, *shown.blocked]))
    return parts


def roles(state: ClusterState) -> str:
    """What each cm_server is, behind the word for the cluster; "" where nothing is known."""
    told = ", ".join(f"{node} {role}" for node, role in sorted(state.server_roles.items()))
    return f"; cm_server {told}" if told else ""


def in_flight(flights: Iterable[InFlight], *, recovering: bool = False) -> list[RenderableType]:
    """Transactions that are not over, and how each is ended. Whatever else is found while there is one
    describes a cluster in the middle of a replacement; to act on that would be wrong.

    Args:
        flights: The transactions.
        recovering: What ends one in doubt is what the operator is about to do.
    """
    parts: list[RenderableType] = []
    for flight in flights:
        phases = ", ".join(f"{node} {phase.value}" for node, phase in flight.phases)
        since = f" since {flight.since:%Y-%m-%d %H:%M:%S %Z}" if flight.since is not None else ""
        state = objections.waiting_text(flight) if flight.waits else "in doubt"
        if not flight.waits and flight.lease_left_s > 0:
            who = flight.held_by or "its coordinator"
            state = f"not over; {who} holds the nodes for at most {flight.lease_left_s:.0f} s more"
        parts.append(
            cell(f"transaction {flight.transaction_id} of {flight.holder or 'nobody known'}{since}: {phases}")
        )
        if flight.held_by and flight.lease_left_s <= 0:
            parts.append(cell(f"{flight.held_by} has taken it over", DOUBTFUL))
        bad = flight.lease_left_s <= 0 and not flight.waits
        parts.append(cell(f"it is {state}", BAD if bad else DOUBTFUL))
        if not (recovering and bad):
            parts.append(cell(f"  do: {objections.end_of(flight)}", FAINT))
    return parts


def _planned_row(node: PlannedNode, wish: str) -> list[Text]:
    now = switches(node.enable_ssl)
    new = node.new_server
    return [
        cell(node.node),
        cell(short(node.old_server.fingerprint) if node.old_server is not None else "none"),
        cell(f"-> {short(new.fingerprint)}" if new is not None else "-> ?", STRONG),
        cell(f"{new.not_before:%Y-%m-%d %H:%M}" if new is not None else ""),
        cell(f"{new.not_after:%Y-%m-%d %H:%M}" if new is not None else ""),
        cell(now if wish in ("keep", now) else f"{now} -> {wish}"),
    ]


_ABOUT: Final = {"HISTORY_": "history", "PLAN_": "plan", "CLUSTER_": "cluster", "ROLES_": "cluster"}
"""By how their codes begin: findings about this machine's record of what was done, a plan on file, and what
CM says of the whole cluster."""


def findings(found: Iterable[Finding], width: int, about: str = "bundle") -> RenderableType:
    """All of them, worst first, each with what to do; those of no node are about what all nodes get."""
    ranked = sorted(found, key=lambda each: each.severity is not Severity.ERROR)
    rows = [
        [
            cell(each.severity.value, BAD if each.severity is Severity.ERROR else DOUBTFUL),
            cell(each.code),
            cell(each.node or _about(each.code, about)),
            cell(each.file),
            _cause_and_remedy(each.cause, each.remedy),
        ]
        for each in ranked
    ]
    return fitted(
        ("severity", "code", "where", "file", "what, and what to do"), rows, width, flexible=READABLE
    )


def _about(code: str, otherwise: str) -> str:
    return next((what for begins, what in _ABOUT.items() if code.startswith(begins)), otherwise)


def _cause_and_remedy(cause: str, remedy: str) -> Text:
    text = cell(cause)
    if remedy:
        text.append("\n")
        text.append(cell(f"do: {remedy}", FAINT))
    return text


def demo(
    seen: Sequence[tuple[str, Mapping[str, str]]], claims: int, failed: int, duration_s: float, width: int
) -> list[RenderableType]:
    """What was served at each moment of the demo, and how it ended."""
    nodes = list(seen[0][1]) if seen else []
    rows = [[cell(moment), *(cell(short(served[node])) for node in nodes)] for moment, served in seen]
    verdict = f"{counted(claims, 'claim')}, each checked; {counted(failed, 'failure')}; {duration_s:.0f} s"
    return [
        cell("served by the simulated cm_servers", STRONG),
        fitted(("moment", *nodes), rows, width),
        cell(f"demo of gausscert on a simulated CM: {verdict}", BAD if failed else GOOD),
    ]


def failures(errors: Sequence[GausscertError]) -> list[RenderableType]:
    """Each with its node, cause and remedy."""
    return [part for error in errors for part in failure(error)]


def of_result(errors: Sequence[GausscertError]) -> list[RenderableType]:
    """As `failures`, and what several nodes see alike is said once: all nodes look at all cm_servers."""
    alike: dict[tuple[object, ...], list[GausscertError]] = {}
    for error in errors:
        key = (error.reason, error.file, error.message, error.remedy, error.findings)
        alike.setdefault(key, []).append(error)
    parts: list[RenderableType] = []
    for first, *others in alike.values():
        parts += failure(first, also=[each.node for each in others if each.node])
    return parts


def verdict(error: GausscertError) -> list[RenderableType]:
    """An error that sums up what was said of each node already."""
    text = cell(error.message, BAD)
    return [text, cell(f"  do: {error.remedy}", FAINT)] if error.remedy else [text]


def says_its_findings(error: GausscertError) -> bool:
    """Whether the message only joins what the findings say."""
    return bool(error.findings) and all(each.cause in error.message for each in error.findings)


def _where(error: GausscertError, also: Sequence[str]) -> str:
    nodes = ", ".join(dict.fromkeys(each for each in (error.node, *also) if each))
    return ": ".join(part for part in (nodes, error.file) if part)


def _several(error: GausscertError, also: Sequence[str]) -> list[RenderableType]:
    """Several things wrong with one file, say: a line for each instead of one that joins them."""
    text = cell("")
    text.append(cell("error ", BAD))
    text.append(cell(f"{error.reason.value} ", STRONG))
    where = _where(error, also)
    count = counted(len(error.findings), "thing")
    text.append(cell(f"{where}: {count} to mend" if where else f"{count} to mend"))
    parts: list[RenderableType] = [text]
    for each in error.findings:
        node = each.node if each.node != error.node else ""
        file = each.file if each.file != error.file else ""
        parts.append(cell("  " + ": ".join(part for part in (node, file, each.cause) if part)))
        parts.append(cell(f"    do: {each.remedy}", FAINT))
    return parts


def failure(error: GausscertError, also: Sequence[str] = ()) -> list[RenderableType]:
    """One error, as lines that wrap.

    Args:
        error: The error.
        also: Other nodes of which the same is to be said.
    """
    if len(error.findings) > 1 and says_its_findings(error):
        return _several(error, also)
    where = _where(error, also)
    text = cell("")
    text.append(cell("error ", BAD))
    text.append(cell(f"{error.reason.value} ", STRONG))
    text.append(cell(f"{where}: {error.message}" if where else error.message))
    return [text, cell(f"  do: {error.remedy}", FAINT)] if error.remedy else [text]
