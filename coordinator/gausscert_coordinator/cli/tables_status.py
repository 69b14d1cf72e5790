"""What people see of `status`. Values in, renderables out; `render` prints them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gausscert_common.model import ServedState
from gausscert_common.protocol.words import Phase

from gausscert_coordinator.cli import judge, tables, tables_errors, tables_plan
from gausscert_coordinator.cli.layout import BAD, DOUBTFUL, GOOD, cell, fitted, short

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gausscert_common.model import NodeReport, RetiredSet, Served
    from rich.console import RenderableType
    from rich.text import Text

    from gausscert_coordinator.report import ClusterStatus, NodeStatus

SOON_DAYS: Final = 30
"""`status` marks what expires sooner; `expiry` uses the threshold of the node."""


def status(shown: ClusterStatus, width: int, *, verbose: bool = False) -> list[RenderableType]:
    """One line per node, then what is wrong."""
    headings = ("node", "live", "served", "days left", "modes", "enable_ssl", "CM", "transaction", "drift")
    parts: list[RenderableType] = [
        tables.heading(shown.cluster, len(shown.nodes), sum(node.report is None for node in shown.nodes)),
        fitted(headings, [_status_row(node) for node in shown.nodes], width),
    ]
    parts.extend(generations(shown, width))
    if verbose:
        parts.extend(_detail(node.report) for node in shown.nodes if node.report is not None)
    parts.extend(tables_errors.failures([node.error for node in shown.nodes if node.error is not None]))
    answered = [node.report for node in shown.nodes if node.report is not None]
    found = [each for report in answered for each in judge.node_findings(report)]
    if found:
        parts.append(tables.findings(found, width))
    if of_all := judge.cluster_findings(shown):
        parts.append(tables.findings(of_all, width, about="cluster"))
    if others := judge.beyond_inventory(shown):
        names = ", ".join(others)
        parts.append(cell(f"CM also lists {names}, which the inventory does not have: add it", DOUBTFUL))
    return [*parts, *tables_plan.in_flight(judge.flights(shown))]


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
        cell(tables.switches(report.enable_ssl)),
        cell("running", GOOD) if judge.cm_running(report) else cell("stopped", DOUBTFUL),
        _transaction(report),
        _drift(node),
    ]


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
