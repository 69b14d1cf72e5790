"""A node whose transaction was rolled back without it, and that is back. Pure.

The others have ended the transaction and run with the old set; this one may have the new set live. Only it is
stopped and rolled back, by what the others remember, and they look whether it then serves what they serve.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from gausscert_common.protocol import exclusion
from gausscert_common.protocol.words import LiveState, Outcome, Phase

from gausscert_coordinator import live_sets, recovery_view

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from gausscert_common.model import NodeReport
    from gausscert_common.protocol.exclusion import Subject

    from gausscert_coordinator.fanout import Answers

_VOTED: Final = (Phase.SWAPPED, Phase.COMMITTED)


def back(subject: Subject, reports: Mapping[str, NodeReport]) -> Subject:
    """The subject with those missing nodes that answer and are through with it: they remember how it ended,
    or have never been in it, as long as no set was swapped. Else one that remembers nothing has lost its
    journal: it is a new machine in the place of the one that died."""
    name = subject.transaction_id
    answering = {node: reports[node] for node in subject.missing if node in reports}
    swapped = _any_has_swapped(reports[node] for node in subject.nodes if node in reports)
    through = [
        node
        for node, report in answering.items()
        if recovery_view.outcome_at(report, name) is not None
        or (report.transaction.phase is Phase.NONE and not swapped)
    ]
    return exclusion.with_ended(subject, through)


def gone(subject: Subject, reports: Mapping[str, NodeReport], inventory: Collection[str]) -> Subject:
    """The subject without those nodes that were taken out of the cluster, where another one remembers that it
    was rolled back: they were left out of that, and whoever is back now need not wait for them.

    Args:
        subject: What is to be settled.
        reports: Of all nodes that answered.
        inventory: All nodes.
    """
    name = subject.transaction_id
    lost = frozenset(subject.nodes) - frozenset(inventory)
    told = (recovery_view.outcome_at(reports[node], name) for node in subject.nodes if node in reports)
    if not lost or Outcome.ABORTED not in told:
        return subject
    return replace(
        subject,
        nodes=tuple(node for node in subject.nodes if node not in lost),
        excluded=tuple(sorted({*subject.excluded, *lost})),
        missing=tuple(sorted({*subject.missing, *lost})),
    )


def replaced(subject: Subject, reports: Mapping[str, NodeReport]) -> Subject:
    """The subject without those nodes that remember nothing, beside one that has swapped, where others
    remember that it was rolled back and hold the same set: a new machine in the place of one that was left
    out. Nobody needs to ask it, and it has nothing to turn back. With another set it might have lost its
    journal."""
    name = subject.transaction_id
    told = {node: reports[node] for node in subject.nodes}
    ended = [each for each in told.values() if recovery_view.outcome_at(each, name) is Outcome.ABORTED]
    held = {live_sets.identity(each.live) for each in ended}
    blank = [
        node
        for node, each in told.items()
        if each.transaction.phase is Phase.NONE
        and recovery_view.outcome_at(each, name) is None
        and held == {live_sets.identity(each.live)}
    ]
    if subject.outside or not _any_has_swapped(told.values()):
        return subject
    return replace(
        subject,
        nodes=tuple(node for node in subject.nodes if node not in blank),
        through=tuple(sorted({*subject.through, *blank})),
    )


def alone(subject: Subject, reports: Mapping[str, NodeReport]) -> Subject:
    """The subject with those nodes only that are in it still, where the others have rolled it back without
    them; else as it is.

    Where the others have another set by now than it had before, it is outside: its rollback leaves CM down,
    and theirs alone. Where they have the same and one of them is down, all are started in the end.

    Args:
        subject: What is to be settled.
        reports: Of all its nodes, and perhaps of more.
    """
    told = {node: reports[node].transaction for node in subject.nodes}
    inside = tuple(node for node in subject.nodes if told[node].phase is not Phase.NONE)
    others = {node: reports[node] for node in subject.nodes if node not in inside}
    name = subject.transaction_id
    if subject.outside or not inside or not others:
        return subject
    if any(recovery_view.outcome_at(report, name) is not Outcome.ABORTED for report in others.values()):
        return subject
    if not any(_is_behind(reports[node]) for node in inside):
        return subject
    held = {live_sets.identity(report.live) for report in others.values()}
    apart = any(live_sets.old_of(reports[node]) not in held for node in inside) or len(held) > 1
    if not apart and not all(map(recovery_view.cm_stays_up, others.values())):
        return subject
    through = tuple(sorted({*subject.through, *others}))
    return replace(subject, nodes=inside, through=through, outside=apart)


def kept_down(subject: Subject, read: Answers[NodeReport], inventory: Collection[str]) -> bool:
    """Whether somebody has kept CM down on a node that a transaction was begun without, as the runbook has
    it, so that it may be started now that this one is rolled back: all nodes answer, and hold one set then.

    Args:
        subject: The transaction.
        read: What the nodes said before it was rolled back.
        inventory: All nodes.
    """
    reports = read.good
    waiting = [reports[node] for node in subject.excluded if node in reports and node not in subject.nodes]
    if subject.outside or set(reports) != set(inventory) or all(map(recovery_view.cm_stays_up, waiting)):
        return False
    told = {node: report.transaction.phase is not Phase.NONE for node, report in reports.items()}
    held = {
        live_sets.old_of(report) if told[node] else live_sets.identity(report.live)
        for node, report in reports.items()
    }
    return len(held) == 1


def _any_has_swapped(reports: Iterable[NodeReport]) -> bool:
    told = (report.transaction for report in reports)
    return any(each.phase in _VOTED or each.live_state is LiveState.NEW for each in told)


def _is_behind(report: NodeReport) -> bool:
    """Whether what is left to do there concerns CM: the others are through with that."""
    return recovery_view.may_run_new(report) or not recovery_view.cm_stays_up(report)
