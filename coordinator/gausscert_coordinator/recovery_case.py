"""What is to be done first in a recovery, from what all nodes said. Pure: nobody is asked anything.

`protocol.exclusion` says which transaction is the subject, `protocol.recovery` what becomes of it; here both
are put into what the engine needs, or into why nothing may be touched.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from gausscert_common.errors import GausscertError, Reason, Unreachable
from gausscert_common.protocol import exclusion
from gausscert_common.protocol.coordinator import Course, Stage, Verdict
from gausscert_common.protocol.exclusion import Return
from gausscert_common.protocol.recovery import Choice, Decision, decide
from gausscert_common.protocol.words import Outcome, RestartScope

from gausscert_coordinator import joining, left_behind, live_sets, proof, recovery_view
from gausscert_coordinator.joining import Joining
from gausscert_coordinator.objections import waiting_text
from gausscert_coordinator.recovery_refusals import (
    SETS_DIFFER,
    held_by_others,
    not_as_one,
    phases_of,
    refused,
    still_listed,
    stranger,
    untouchable,
)
from gausscert_coordinator.report import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from gausscert_common.bundle import Bundle
    from gausscert_common.model import NodeReport
    from gausscert_common.protocol.exclusion import Subject
    from gausscert_common.protocol.recovery import Answer

    from gausscert_coordinator.fanout import Answers
    from gausscert_coordinator.inventory import Timeouts


@dataclass(frozen=True, slots=True)
class Wish:
    """What the operator asked for."""

    prefer: Choice
    take_over: bool
    restart: RestartScope | None
    """None: as the transaction itself was to restart CM, else CLUSTER."""
    accept_state: bool
    holder: str
    timeouts: Timeouts
    fresh_id: Callable[[], str]
    """For starting CM where nothing is in doubt, and for joining."""
    is_gone: Callable[[str], bool]
    """Whether a holder is known to have ended, so that its lease guards nobody."""
    bundle: Bundle | None = field(default=None, repr=False)
    """For those that join."""
    exclude: tuple[str, ...] = ()
    """Nodes that are dead, to recover without."""

    def abandoned(self, reports: Iterable[NodeReport]) -> bool:
        """Whether every lease that still runs is that of a coordinator that has ended."""
        told = [report.transaction for report in reports]
        holders = {each.holder for each in told if each.lease_left_s > 0}
        return bool(holders) and all(map(self.is_gone, holders))


@dataclass(frozen=True, slots=True)
class Case:
    """One transaction to settle, found before anything was locked."""

    subject: Subject
    restart: RestartScope
    why: str = ""
    course: Course | None = None
    start_as: str = ""
    """Nothing is in doubt, but CM does not run: the transaction in whose name it is started."""
    abandoned: bool = False
    settled: tuple[str, ...] = ()
    """Excluded nodes that Purge may leave out of account."""
    absent: frozenset[int] = frozenset()
    """CM's numbers of nodes whose cm_server is not to serve."""
    remembered: Mapping[str, Answer] = field(default_factory=dict)
    """By nodes that are through with it."""
    witnesses: tuple[str, ...] = ()
    """Those of them that look whether it ends well."""

    @property
    def transaction_id(self) -> str:
        """In whose name the nodes are commanded."""
        return self.start_as or self.subject.transaction_id

    @property
    def waits(self) -> bool:
        """Whether it ends committed, but not purged."""
        return not set(self.subject.excluded) <= set(self.settled)

    def decide(self, reports: Mapping[str, NodeReport], prefer: Choice) -> Decision:
        """By what those say that are commanded, and what others remember; a start has nothing to decide."""
        if self.start_as:
            return Decision(self.course, self.why)
        subject = self.subject
        told = recovery_view.answers(reports, subject.transaction_id, outside=subject.outside)
        return decide(
            {**self.remembered, **told},
            self.restart,
            prefer,
            waits=self.waits,
            outside=self.subject.outside,
            joins=bool(self.subject.joins),
            missing=self.subject.missing,
        )


@dataclass(frozen=True, slots=True)
class Waiting:
    """A transaction that stands, and goes on standing."""

    transaction_id: str
    why: str
    nodes: tuple[str, ...]
    """Who is waited for."""
    errors: tuple[GausscertError, ...]
    lacks_bundle: bool
    """Nothing else keeps a node from joining."""


def examine(
    wish: Wish, read: Answers[NodeReport], inventory: Collection[str], done: Collection[str] = ()
) -> Case | Joining | Waiting | Result:
    """What is first.

    Args:
        wish: What the operator asked for.
        read: What the nodes said.
        inventory: All nodes.
        done: Transactions that this recovery has settled, as far as that goes.
    """
    reports, subject = read.good, exclusion.subject(recovery_view.parts(read.good), wish.exclude)
    lost = [error for node, error in read.bad.items() if not _may_be_lost(node, error, subject)]
    if lost:
        why = f"{len(reports)} of {len(inventory)} nodes answered; recovery needs all of them"
        if all(isinstance(error, Unreachable) for error in lost):
            why += ", or --exclude for a machine that is dead"
        sealed = any(error.reason is Reason.JOURNAL_DAMAGED for error in lost)
        return refused("", [*lost, *(phases_of(reports) if sealed else ())], why)
    if subject.contradiction:
        return held_by_others(wish, reports) or untouchable("", subject.contradiction, subject.said)
    subject = left_behind.gone(subject, reports, inventory)
    strangers = [stranger(node) for node in subject.nodes if node not in reports]
    if strangers:
        why = "a node is not in the inventory"
        return refused(subject.transaction_id, [*strangers, *phases_of(reports)], why)
    subject = left_behind.replaced(left_behind.back(subject, reports), reports)
    subject = left_behind.alone(subject, reports)
    apart = bool(subject.excluded or subject.through or wish.exclude)
    if apart and wish.restart is RestartScope.CLUSTER:
        return refused(subject.transaction_id, [not_as_one()], "nodes were excluded")
    restart = wish.restart or recovery_view.restart_of(reports, subject.transaction_id)
    if restart is None or (apart and restart is RestartScope.CLUSTER):
        restart = RestartScope.NODE if apart else RestartScope.CLUSTER
    standing = _standing(wish, read, inventory, subject, restart) if subject.stands else None
    down = any(not recovery_view.cm_stays_up(reports[node]) for node in subject.nodes)
    first_up = down and restart is not RestartScope.NONE and subject.transaction_id not in done
    if standing is not None and not first_up and not subject.unrecorded:
        return standing
    return _ordinary(wish, reports, inventory, subject, restart)


def _standing(
    wish: Wish, read: Answers[NodeReport], inventory: Collection[str], subject: Subject, restart: RestartScope
) -> Joining | Waiting | None:
    """Who joins now, or who is waited for; None when everybody is settled."""
    reports = read.good
    returns = recovery_view.returns(reports, subject.transaction_id, inventory, subject.missing)
    back = exclusion.having(returns, Return.BACK)
    take_over = wish.take_over or wish.abandoned(reports[node] for node in back)
    what = Joining(subject.transaction_id, back, reports, restart, take_over, wish.accept_state)
    wrong: list[GausscertError] = joining.unfit(what, wish.bundle)
    if back and not wrong:
        return what
    if not back:
        wrong = [read.bad[node] for node in exclusion.having(returns, Return.AWAY)]
        wrong += still_listed(reports, returns)
    if not wrong:
        return None
    flights = recovery_view.flights(reports, inventory=inventory)
    (flight,) = (each for each in flights if each.transaction_id == subject.transaction_id)
    why = f"transaction {subject.transaction_id} is {waiting_text(flight)}"
    nodes = tuple(sorted(set(subject.excluded) - set(exclusion.settled(returns)) - set(subject.nodes)))
    return Waiting(
        subject.transaction_id, why, nodes, tuple(wrong), lacks_bundle=bool(back) and wish.bundle is None
    )


def _ordinary(
    wish: Wish,
    reports: Mapping[str, NodeReport],
    inventory: Collection[str],
    subject: Subject,
    restart: RestartScope,
) -> Case | Result:
    """By the recovery table."""
    involved = {node: reports[node] for node in subject.nodes}
    case = Case(
        subject,
        restart,
        abandoned=wish.abandoned(involved.values()),
        settled=_settled(reports, subject, inventory),
        absent=_absent(reports, subject, inventory),
        remembered=_remembered(reports, subject),
        witnesses=() if subject.outside else subject.through,
    )
    decision = case.decide(involved, wish.prefer)
    if decision.course is None:
        held = held_by_others(wish, involved, subject.transaction_id)
        return held or untouchable(subject.transaction_id, decision.why, decision.said, decision.remedy)
    if not decision.course.over:
        held = held_by_others(wish, involved, subject.transaction_id)
        return held or replace(case, course=decision.course, why=decision.why)
    if live_sets.differ(reports) and not wish.accept_state:
        said = {node: live_sets.told(report) for node, report in sorted(reports.items())}
        return held_by_others(wish, reports) or untouchable("", SETS_DIFFER, said, live_sets.REMEDY)
    if restart is RestartScope.NONE or all(map(recovery_view.cm_stays_up, reports.values())):
        return Result("", Verdict.NOTHING_DONE, why=decision.why)
    held = held_by_others(wish, reports)
    if held is not None:
        return held
    # Abort leaves only a tombstone at a node without a transaction: it ends the lease that Start needs.
    start = Course(Stage.ABORT, restart, touched_cm=True, recovering=True)
    why = f"{decision.why}, but CM does not run on every node: it is started"
    return replace(case, course=start, why=why, start_as=wish.fresh_id())


def _remembered(reports: Mapping[str, NodeReport], subject: Subject) -> dict[str, Answer]:
    """How it ended at those that are through with it, as far as they know."""
    through = {node: reports[node] for node in subject.through}
    return recovery_view.remembered(through, subject.transaction_id)


def _settled(
    reports: Mapping[str, NodeReport], subject: Subject, inventory: Collection[str]
) -> tuple[str, ...]:
    """Where it was purged already, nobody was waited for any more."""
    told = recovery_view.answers(
        {node: reports[node] for node in (*subject.nodes, *subject.through)}, subject.transaction_id
    )
    if any(answer.outcome is Outcome.COMMITTED for answer in told.values()):
        return subject.excluded
    returns = recovery_view.returns(reports, subject.transaction_id, inventory, subject.missing)
    within = set(exclusion.having(returns, Return.WITHIN)) & set(subject.nodes)
    return tuple(sorted({*exclusion.settled(returns), *within}))


def _absent(
    reports: Mapping[str, NodeReport], subject: Subject, inventory: Collection[str]
) -> frozenset[int]:
    """On the way to the cluster's set everybody serves it who answers; else only the participants, and who
    has joined."""
    if subject.outside:
        return proof.unowned(reports.values())
    if not subject.excluded:
        return frozenset()
    returns = recovery_view.returns(reports, subject.transaction_id, inventory, subject.missing)
    serving = {*subject.nodes, *exclusion.having(returns, Return.JOINED)}
    return proof.unowned(report for node, report in reports.items() if node in serving)


def _may_be_lost(node: str, error: GausscertError, subject: Subject) -> bool:
    return node in subject.may_miss and isinstance(error, Unreachable)
