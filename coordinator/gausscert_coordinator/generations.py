"""Which generation a rollback goes back to, and what speaks against it with all nodes seen together. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gausscert_common.model import SetState

from gausscert_coordinator.plan_catalogue import PLAN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gausscert_common.findings import Finding
    from gausscert_common.model import JudgedSet, NodeReport, RetiredSet

    from gausscert_coordinator.plan_rules import Evidence


def newest_common(reports: Mapping[str, NodeReport]) -> str:
    """The newest generation that all nodes have, "" if there is none. Nodes retire a set for each transaction
    that they commit, so all of them list what they have in common in the same order."""
    lists = [[each.generation for each in report.retired] for report in reports.values()]
    if not lists:
        return ""
    return next((name for name in lists[0] if all(name in others for others in lists[1:])), "")


def listed(reports: Mapping[str, NodeReport]) -> str:
    """Which generations each node has, for a person; nodes that have the same are named together."""
    nodes_of: dict[tuple[str, ...], list[str]] = {}
    for node, report in reports.items():
        nodes_of.setdefault(tuple(each.generation for each in report.retired), []).append(node)
    return "; ".join(
        f"{', '.join(nodes)}: {_shown(reports[nodes[0]].retired)}" for nodes in nodes_of.values()
    )


def availability(seen: Evidence) -> Iterator[Finding]:
    """All nodes have the generation."""
    if seen.rollback is None or not seen.reports:
        return
    name = seen.rollback.generation
    if not name:
        yield PLAN["GENERATION_NONE"].finding(listed(seen.reports))
        return
    lacking = [node for node, judged in seen.judged.items() if _is_absent(judged)]
    if lacking:
        where = "on no node" if len(lacking) == len(seen.reports) else f"not on {', '.join(lacking)}"
        cause = f"{name} is {where}; there are: {listed(seen.reports)}"
        yield PLAN["GENERATION_UNKNOWN"].finding(cause)
    newer = {
        node: report.retired[0].generation
        for node, report in seen.reports.items()
        if report.retired and report.retired[0].generation != name
    }
    if seen.rollback.by_default and newer:
        told = ", ".join(f"{node} has {newest}" for node, newest in newer.items())
        yield PLAN["GENERATION_NOT_NEWEST"].finding(f"{name} is the newest on all nodes, but {told}")


def likeness(seen: Evidence) -> Iterator[Finding]:
    """The nodes' sets of the generation are of one bundle: running nodes must have loaded the same (I3)."""
    if seen.rollback is None:
        return
    groups: dict[str, list[str]] = {}
    for node, judged in seen.judged.items():
        if judged.set.state is not SetState.ABSENT:
            groups.setdefault(judged.set.bundle_digest, []).append(node)
    if len(groups) > 1:
        cause = f"alike are: {'; '.join(' and '.join(nodes) for nodes in groups.values())}"
        yield PLAN["GENERATION_UNEQUAL"].finding(cause)


RULES = (availability, likeness)


def _is_absent(judged: JudgedSet) -> bool:
    """One that is there and cannot be read has findings, which refuse."""
    return judged.set.state is SetState.ABSENT and not judged.findings


def _shown(retired: Iterable[RetiredSet]) -> str:
    """With the date by the clock of the first node that has them."""
    dates = ((each.generation, each.retired_at) for each in retired)
    shown = (name if at is None else f"{name} ({at:%Y-%m-%d %H:%M %Z})" for name, at in dates)
    return ", ".join(shown) or "none"
