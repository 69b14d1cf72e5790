"""Broken variants of the transaction. Each is a small change of the core's tables or of one rule, or of what
stands in here for disk and engine where the rule lives there; each must violate an invariant.

The core is stricter than the rules that the variants break one at a time (an epoch must have been acquired,
a set is never exchanged under a running CM); a variant that must weaken such a second line, too, says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from gausscert_common.protocol import (
    contradiction,
    coordinator,
    exclusion,
    node,
    recovery,
    recovery_without,
)
from gausscert_common.protocol.coordinator import Stage, Verdict, begin
from gausscert_common.protocol.exclusion import Return, subject
from gausscert_common.protocol.recovery_without import Way, Without
from gausscert_common.protocol.rules import RULES, Effect, StageFacts
from gausscert_common.protocol.script import settle
from gausscert_common.protocol.state import SslSetting
from gausscert_common.protocol.words import Fence, Outcome, Phase, Step
from gausscert_coordinator import recovery_case, recovery_view

from explorer import captain, events, fences, handler, hands, readers
from explorer.captain import Mode, Reader
from explorer.events import Event
from explorer.hands import HANDS, Act, exchanged
from explorer.invariants import seen_at_a_move, violations
from explorer.quotient import ALIKE, Quotient
from explorer.readers import ALONE, BOUNDED, MORTAL, SURVIVORS, WITHOUT, read_without
from explorer.recoverability import recover
from explorer.search import Judge, explore, trace
from explorer.site import FOREIGN, NEW, OLD, TORN
from explorer.world import World

Change = tuple[Any, Any, Any]
"""A module, table or list; a name, key or place in it (for a list: None adds to it); what to put there."""


CRASHES: Final = frozenset(
    {
        "agent crash",
        "agent crash, child survives",
        "agent dies in a command",
        "agent dies while it starts",
        "power loss",
        "power loss undoes an exchange",
    }
)
LIES: Final = frozenset({"cm_ctl fails", "cm_ctl only claims success", "an effect fails"})
BUT_DEATH: Final = (CRASHES | LIES | {"orphan acts"}) - {"power loss"}
"""Spared where machines die as a whole, at any moment but within a move."""


@dataclass(frozen=True)
class Caught:
    """What came of exploring a variant."""

    violation: str
    """"" if nothing was found."""
    states: int
    seconds: float
    trace: list[str]


@dataclass(frozen=True)
class Mutant:
    """One broken variant."""

    name: str
    breaks: str
    """The rule that it is without."""
    trips: str
    """The invariant that it violates first."""
    changes: tuple[Change, ...]
    readers: tuple[Reader, ...] = ALONE
    fences_hold: bool = True
    spared: frozenset[str] = frozenset({*CRASHES, *LIES})
    """What need not happen for it to be caught: it is caught so much sooner."""
    judge: Judge = violations
    """What is looked at."""
    recovers: bool = False
    """It shows only when somebody recovers."""
    without: bool = False
    """A node is left out."""
    named: bool = False
    """One may be left out in the middle."""

    def caught(self) -> Caught:
        """Explore it."""
        with self.applied() as world:
            found = explore(world, judge=self.judge)
            if not self.recovers or found.violation:
                lines = trace(world, found.path(len(found.states) - 1)) if found.violation else []
                return Caught(found.violation, len(found.states), found.seconds, lines)
            recovery = recover(found, gone=MORTAL if self.named else "")
            lines = recovery.steps(found) if recovery.lost else []
            violation = recovery.violation or ("I9: no clean end can be reached" if recovery.lost else "")
            return Caught(violation, len(recovery.states), found.seconds + recovery.seconds, lines)

    @contextmanager
    def applied(self, quotient: Quotient = ALIKE) -> Iterator[World]:
        """A world of this variant; the core is as before afterwards."""
        with ExitStack() as stack:
            for change in self.changes:
                stack.enter_context(_changed(*change))
            handler.forget()
            stack.callback(handler.forget)
            rules = {"fences_hold": self.fences_hold, "spared": self.spared}
            world = {"without": self.without, "named": self.named, "quotient": quotient}
            yield World(2, self.readers, **rules, **world)


@contextmanager
def _changed(where: Any, name: Any, value: Any) -> Iterator[None]:
    if isinstance(where, list):
        where.append(value)
        try:
            yield
        finally:
            where.remove(value)
        return
    table = where if isinstance(where, dict) else vars(where)
    before = table[name]
    table[name] = value
    try:
        yield
    finally:
        table[name] = before


def _no_check(*_: object) -> None:
    return None


def _toggle(transaction, site) -> Iterator[Act]:
    yield Act(exchanged(site, transaction.transaction_id)._replace(unsynced=""), None)


def _barrier_of_one(*stages: Stage):
    """Where one answer is enough instead of all."""

    def need(course, acks: Sequence[object]) -> bool:
        now = course.course.now if course.course is not None else None
        return any(acks) if now in stages else all(acks)

    return need


def _all_but_one(course, acks: Sequence[object]) -> bool:
    recovering = course.mode is Mode.RECOVER
    return sum(map(bool, acks)) >= len(acks) - 1 if recovering else all(acks)


_decide = recovery.decide


def _presume_abort(answers, restart, prefer, **where) -> recovery.Decision:
    if not any(answer.transaction_id for answer in answers.values()):
        return _decide(answers, restart, prefer, **where)
    return recovery._roll_back(list(answers.values()), restart, "this coordinator knows of no commit")


def _timer_after_vote(site) -> Iterator[Event]:
    if site.up and site.state.phase is Phase.SWAPPED and not site.running and not site.lease:
        name = site.state.transaction.transaction_id
        aborted = exchanged(site, name)._replace(state=replace(site.state, phase=Phase.ABORTED), unsynced="")
        yield Event("timer rolls back", aborted)


def _settle_beside_orphan(state):
    return settle(replace(state, operation=None))


def _settle_without_fence(state):
    return settle(replace(state, fence=Fence(), owner="", holder=""))


def _answer_too_early(transaction, site) -> Iterator[Act]:
    name = transaction.transaction_id
    yield Act(site.with_stage(name, TORN), StageFacts(NEW[name], "bundle", SslSetting()))


def _exchange_unsynced(transaction, site) -> Iterator[Act]:
    if site.live == transaction.old_digest:
        site = exchanged(site, transaction.transaction_id)
    yield Act(site, None)


def _abort_without_effects(state, transaction, view, command, rule) -> tuple[Effect, ...]:
    del state, transaction, view
    return () if command.step is Step.ABORT else rule.effects


def _two_renames(transaction, site) -> Iterator[Act]:
    yield Act(site._replace(live=""), None, ended=False)
    yield from hands.ensure_live(
        site, transaction.transaction_id, transaction.new_digest, transaction.old_digest
    )


def _exchange_foreign(transaction, site) -> Iterator[Act]:
    if site.live != transaction.new_digest:
        site = exchanged(site, transaction.transaction_id)
    yield Act(site._replace(unsynced=""), None)


def put_another_set(site) -> Iterator[Event]:
    """Somebody else changes the live set during a transaction, while CM is down."""
    if site.state.transaction is not None and not site.running and site.live in (OLD, *NEW.values()):
        yield Event("somebody puts another set", site._replace(live=FOREIGN, unsynced=""))


def _begin_for_all(restart, *, waits=False, outside=False) -> coordinator.Course:
    del waits
    return begin(restart, outside=outside)


def _whatever_was_reached(way: Way):
    return lambda voters: Without(way, f"{', '.join(voters)} have voted")


def _one_at_a_time(parts, leaving=()) -> exclusion.Subject:
    found = subject(parts, leaving)
    return replace(found, contradiction="different transactions") if found.outside else found


def _rule(step: Step, **changes: object) -> Change:
    return RULES, step, replace(RULES[step], **changes)


def _row(stage: Stage, **changes: object) -> Change:
    return coordinator.TABLE, stage, replace(coordinator.TABLE[stage], **changes)


_SWAP_UNGUARDED: Final = tuple(e for e in RULES[Step.SWAP].effects if e is not Effect.REQUIRE_STOPPED)


def _sees_nothing(answers: object) -> str:
    """Recovery stops at what a missing fence leads to (I9); what it would come to is worth seeing, too."""
    return ""


MUTANTS: Final = (
    Mutant(
        "noepoch",
        "the fence is checked on every command (and with it that the epoch was acquired)",
        "I3",
        ((node, "_check_fence", _no_check), (contradiction, "_forgotten", _sees_nothing)),
        BOUNDED,
        fences_hold=False,
    ),
    Mutant(
        "noseq",
        "the fence has the step in it, not only the epoch",
        "I3",
        ((node, "_check_fence", fences.epoch_only),),
        fences_hold=False,
    ),
    Mutant(
        "step only",
        "the fence has the epoch in it, not only the step",
        "I3",
        ((node, "_check_fence", fences.step_only), (contradiction, "_forgotten", _sees_nothing)),
        BOUNDED,
        fences_hold=False,
    ),
    Mutant(
        "acquired in name",
        "the fence is taken with Acquire, not with the first command after it",
        "I3",
        (
            (node, "_accept_acquire", fences.acquired_in_name),
            (node, "_check_fence", fences.taken_with_the_first_command),
            (contradiction, "_forgotten", _sees_nothing),
        ),
        BOUNDED,
        fences_hold=False,
    ),
    Mutant(
        "acquired again",
        "Acquire is fenced by its step, too: an epoch that somebody has is not granted anew",
        "I3",
        ((node, "_accept_acquire", fences.acquired_again),),
        BOUNDED,
        fences_hold=False,
    ),
    Mutant("toggle", "Swap ensures, it never toggles", "I3", ((HANDS, Effect.MAKE_NEW_LIVE, _toggle),)),
    Mutant(
        "rolling",
        "a rollback starts CM only after all nodes have aborted",
        "I3",
        ((captain, "need", _barrier_of_one(Stage.ROLLBACK_STOP, Stage.ABORT, Stage.ROLLBACK_START)),),
    ),
    Mutant(
        "earlystart",
        "Start is sent only after all nodes have swapped",
        "I3",
        ((captain, "need", _barrier_of_one(Stage.SWAP)),),
    ),
    Mutant(
        "onestep",
        "the old set is given up only after all nodes have committed",
        "I4",
        (
            _rule(Step.COMMIT, effects=(Effect.RETIRE_OLD,), ends=Outcome.COMMITTED),
            _row(Stage.COMMIT, then=Verdict.COMMITTED),
        ),
    ),
    Mutant("missing", "recovery needs all nodes", "I3", ((captain, "need", _all_but_one),), BOUNDED),
    Mutant(
        "blindabort",
        "no abort is presumed from a coordinator's own history (and none is taken after COMMITTED)",
        "I2",
        (
            (recovery_case, "decide", _presume_abort),
            _rule(Step.ABORT, phases=frozenset(Phase)),
        ),
        BOUNDED,
    ),
    Mutant(
        "unilateral",
        "no timer rolls a node back after its vote",
        "I3",
        ((events.EVENTS, None, _timer_after_vote),),
    ),
    Mutant(
        "abort after commit",
        "once Commit was sent to anyone nothing turns to rolling back",
        "I2",
        (_row(Stage.COMMIT, otherwise=Stage.ROLLBACK_STOP),),
    ),
    Mutant(
        "orphan",
        "a cm_ctl child that survives its agent is ended before anything is served",
        "I8",
        ((handler, "settle", _settle_beside_orphan),),
        spared=LIES,
    ),
    Mutant(
        "volatile fence",
        "the fence is durable",
        "I3",
        ((handler, "settle", _settle_without_fence),),
        fences_hold=False,
        spared=LIES | CRASHES - {"agent crash"},
    ),
    Mutant(
        "unstopped",
        "CM is stopped before a set is exchanged (by the course, the table, and the guards at the node)",
        "I7",
        (
            _row(Stage.PREPARE, then=Stage.SWAP),
            _rule(Step.SWAP, effects=_SWAP_UNGUARDED),
            (node, "_check_live", _no_check),
        ),
    ),
    Mutant(
        "two renames",
        "the live set is replaced in one step",
        "I1",
        ((HANDS, Effect.MAKE_NEW_LIVE, _two_renames),),
        spared=LIES,
    ),
    Mutant(
        "torn",
        "a stage is whole before the node answers that it is prepared",
        "I5",
        ((HANDS, Effect.BUILD_STAGE, _answer_too_early),),
    ),
    Mutant(
        "foreign",
        "a live set that is neither the old nor the new one is not touched (by table and store)",
        "I10",
        (
            (events.EVENTS, None, put_another_set),
            (HANDS, Effect.MAKE_NEW_LIVE, _exchange_foreign),
            (node, "_check_live", _no_check),
        ),
        judge=seen_at_a_move,
    ),
    Mutant(
        "unsynced",
        "an exchange is synced before it is journalled",
        "I3",
        ((HANDS, Effect.MAKE_NEW_LIVE, _exchange_unsynced),),
        spared=LIES | CRASHES - {"power loss undoes an exchange"},
    ),
    Mutant(
        "swap and retire",
        "both sets are kept while the transaction is in doubt",
        "I4",
        (_rule(Step.SWAP, effects=(*RULES[Step.SWAP].effects, Effect.RETIRE_OLD)),),
    ),
    Mutant(
        "abort in name",
        "Abort makes the old set live again (and Clean demands that)",
        "I3",
        (
            (node, "_guarded", _abort_without_effects),
            _rule(Step.CLEAN, needs_live=None),
        ),
    ),
    Mutant(
        "half stopped",
        "a recovering coordinator starts CM again where a stop was only begun",
        "I9",
        ((recovery_view, "cm_stays_up", recovery_view.cm_runs),),
        spared=CRASHES | LIES - {"cm_ctl fails"},
        recovers=True,
    ),
    Mutant(
        "purge without",
        "an old set is kept as long as an excluded node has not joined (by table and course)",
        "I4",
        (_rule(Step.PURGE, needs_settled=False), (readers, "begin", _begin_for_all)),
        (read_without,),
        without=True,
    ),
    Mutant(
        "back is joined",
        "an excluded node counts from when it holds the cluster's set, not from when it is back",
        "I4",
        ((exclusion, "SETTLED", frozenset(Return)),),
        WITHOUT,
        without=True,
    ),
    Mutant(
        "one at a time",
        "a join beside the transaction that stands is no contradiction",
        "I9",
        ((exclusion, "subject", _one_at_a_time),),
        (read_without,),
        recovers=True,
        without=True,
    ),
    Mutant(
        "nobody decides",
        "without a dead node that may have decided the others go by how far coordinators had come",
        "I9",
        ((recovery_without, "_by_progress", _whatever_was_reached(Way.NEITHER)),),
        spared=BUT_DEATH,
        recovers=True,
        named=True,
    ),
    Mutant(
        "back in spite",
        "without a dead node the others roll back only where they show that Commit was not sent",
        "I2",
        ((recovery_without, "_by_progress", _whatever_was_reached(Way.ROLL_BACK)),),
        SURVIVORS,
        spared=BUT_DEATH,
        named=True,
    ),
    Mutant(
        "on in spite",
        "without a dead node the others finish only where they show that Abort was not sent",
        "I2",
        ((recovery_without, "_by_progress", _whatever_was_reached(Way.FINISH)),),
        SURVIVORS,
        spared=BUT_DEATH,
        named=True,
    ),
    Mutant(
        "commit without swap",
        "only a node whose new set is live may commit (by phase, by what is live, and by the course)",
        "I6",
        (
            _row(Stage.PREPARE, then=Stage.COMMIT),
            _rule(Step.COMMIT, phases=frozenset({Phase.PREPARED, Phase.COMMITTED}), needs_live=None),
            _rule(Step.PURGE, needs_live=None),
        ),
    ),
)
BY_NAME: Final = {mutant.name: mutant for mutant in MUTANTS}
