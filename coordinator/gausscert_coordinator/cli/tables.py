"""What people see of reports and plans. Values in, renderables out; `render` prints them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gausscert_common.findings import Severity
from gausscert_common.model import SslValue

from gausscert_coordinator.cli import judge, tables_errors
from gausscert_coordinator.cli.layout import BAD, DOUBTFUL, FAINT, GOOD, STRONG, cell, counted, fitted, short

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gausscert_common.findings import Finding
    from gausscert_common.model import Certificate, SslSwitch
    from rich.console import RenderableType
    from rich.text import Text

    from gausscert_coordinator.report import (
        NodeExpiry,
    )

READABLE: Final = 32
"""Columns below which a sentence in a table column is no longer read but spelled."""
_READABLE_SUBJECT: Final = 20
"""The same of a distinguished name."""

_EXPIRY_STYLE: Final = {
    judge.ExpiryState.OK: GOOD,
    judge.ExpiryState.EXPIRING: DOUBTFUL,
    judge.ExpiryState.EXPIRED: BAD,
    judge.ExpiryState.NOT_YET_VALID: BAD,
}


def heading(cluster: str, nodes: int, unreachable: int) -> Text:
    """Which cluster, and how many of its nodes did not answer."""
    lost = f", {unreachable} unreachable" if unreachable else ""
    return cell(f"cluster {cluster}, {counted(nodes, 'node')}{lost}", STRONG)


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
    parts.extend(tables_errors.failures([node.error for node in nodes if node.error is not None]))
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
