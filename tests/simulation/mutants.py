"""Broken variants of the product. Each is without one rule; its own code is patched, nothing of what is made
up here, and each must be found within so many seeds.

A variant that must weaken a second line of defence, too, says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from gausscert_agent import effects, ledger, restart, runner
from gausscert_common.protocol import contradiction, coordinator, exclusion, node, recovery, recovery_without
from gausscert_common.protocol.coordinator import Stage
from gausscert_common.protocol.exclusion import Return
from gausscert_common.protocol.recovery_without import Way
from gausscert_common.protocol.rules import RULES, Effect
from gausscert_common.protocol.state import NodeState
from gausscert_common.protocol.words import Phase, Step
from gausscert_coordinator import coordinator as library
from gausscert_coordinator import (
    exclusion_rules,
    hands,
    joining,
    live_sets,
    recoverer,
    recovery_case,
    recovery_view,
    running,
)

from simulation import broken, schedule
from simulation.schedule import Ended

Change = tuple[Any, Any, Any]
"""A module, class or table; a name or key in it; what to put there."""


@dataclass(frozen=True)
class Mutant:
    """One broken variant."""

    name: str
    breaks: str
    """The rule that it is without."""
    changes: tuple[Change, ...]
    within: int = 1000
    """In so many seeds it must be found."""

    def found(self, seeds: range) -> Ended | None:
        """The first seed that finds it. A variant that cannot even be called as its original is none."""
        with self.applied():
            for seed in seeds:
                ended = schedule.run(seed)
                if ended.violation.startswith("bug: TypeError"):
                    raise TypeError(ended.violation)
                if ended.violation:
                    return ended
        return None

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The product is as before afterwards."""
        with ExitStack() as stack:
            for change in self.changes:
                stack.enter_context(_changed(*change))
            yield


@contextmanager
def _changed(where: Any, name: Any, value: Any) -> Iterator[None]:
    if isinstance(where, dict):
        before = where[name]
        where[name] = value
        try:
            yield
        finally:
            where[name] = before
        return
    before = vars(where)[name]
    setattr(where, name, value)
    try:
        yield
    finally:
        setattr(where, name, before)


def _rule(step: Step, **changes: object) -> Change:
    return RULES, step, replace(RULES[step], **changes)  # type: ignore[arg-type]


def _row(stage: Stage, **changes: object) -> Change:
    return coordinator.TABLE, stage, replace(coordinator.TABLE[stage], **changes)  # type: ignore[arg-type]


_SWAP_UNGUARDED: Final = tuple(e for e in RULES[Step.SWAP].effects if e is not Effect.REQUIRE_STOPPED)

MUTANTS: Final = (
    Mutant(
        "no-fence",
        "the fence is checked on every command (and with it that the epoch was acquired)",
        ((node, "_check_fence", broken.no_check),),
    ),
    Mutant(
        "fence-without-step",
        "the fence has the step in it, not only the epoch",
        ((node, "_check_fence", broken.epoch_only),),
    ),
    Mutant("volatile-fence", "the fence is durable", ((runner, "settle", broken.settle_without_fence),)),
    Mutant(
        "lease-ignored",
        "a lease that runs keeps others out",
        ((node, "_accept_acquire", broken.lease_ignored),),
    ),
    Mutant(
        "no-turns",
        "a command waits for the one before it, Acquire too: else the fence moves during an effect",
        ((runner.Runner, "_turn", broken.turn_without_waiting),),
    ),
    Mutant(
        "toggle",
        "Swap ensures, it never toggles",
        ((effects.Effects, "_make_new_live", broken.toggle),),
    ),
    Mutant(
        "early-start",
        "Start is sent only after all nodes have swapped",
        ((hands.Hands, "command", broken.one_is_enough(Stage.SWAP)),),
    ),
    Mutant(
        "rolling",
        "a rollback starts CM only after all nodes have aborted",
        ((hands.Hands, "command", broken.one_is_enough(Stage.ABORT)),),
    ),
    Mutant(
        "early-purge",
        "the old set is given up only after all nodes have committed",
        ((hands.Hands, "command", broken.one_is_enough(Stage.COMMIT)),),
    ),
    Mutant(
        "volatile-commit",
        "a commit is durable before it is answered",
        ((ledger.Ledger, "_write", broken.commit_in_memory),),
    ),
    Mutant(
        "abort-after-commit",
        "once Commit was sent to anyone nothing turns to rolling back",
        (_row(Stage.COMMIT, otherwise=Stage.ROLLBACK_STOP),),
    ),
    Mutant(
        "presumed-abort",
        "no abort is presumed from a coordinator's own history (and none is taken after COMMITTED)",
        (
            (recovery_case, "decide", broken.presume_abort),
            _rule(Step.ABORT, phases=frozenset(Phase)),
        ),
    ),
    Mutant(
        "wrong-row",
        "a recovery goes on from Start only where all have voted, else from Stop",
        ((recovery, "_finish_or_roll_back", broken.finish_from_start),),
    ),
    Mutant(
        "missing-node",
        "recovery needs the answers of all nodes (and misses those that do not answer)",
        (
            (recovery_case, "_may_be_lost", broken.may_be_lost),
            (exclusion, "subject", broken.subject_that_answers),
        ),
    ),
    Mutant(
        "another-epoch",
        "what is repeated carries the same epoch",
        ((hands.Hands, "_command", broken.another_epoch),),
    ),
    Mutant(
        "another-id",
        "all that a run sends is of one transaction",
        ((hands.Hands, "_command", broken.another_id),),
    ),
    Mutant(
        "cm_ctl-believed",
        "stopped is what the process list shows, not what cm_ctl says (nor do table and coordinator look)",
        (
            (restart.Restarter, "stop", broken.believes_cm_ctl),
            (node, "_check_live", broken.no_check),
            _rule(Step.SWAP, effects=_SWAP_UNGUARDED),
            (running, "still_there", broken.none_there),
        ),
    ),
    Mutant(
        "stays-down",
        "a rollback starts CM again where it was stopped",
        (_row(Stage.ABORT, then=Stage.CLEAN),),
    ),
    Mutant(
        "mark-not-durable",
        "cluster_manual_start is durable before a node counts as stopped",
        ((restart.Restarter, "stop", broken.stop_unsynced),),
        within=4000,
    ),
    Mutant(
        "orphan",
        "a cm_ctl child that survives its agent is ended before anything is served",
        ((runner, "settle", broken.settle_beside_orphan),),
        within=4000,
    ),
    Mutant(
        "abort-in-name",
        "Abort makes the old set live again (and Clean demands that)",
        ((node, "_guarded", broken.no_abort_effects), _rule(Step.CLEAN, needs_live=None)),
    ),
    Mutant(
        "half-stopped",
        "a recovering coordinator starts CM again where a stop was only begun",
        ((recovery_view, "cm_stays_up", recovery_view.cm_runs),),
        within=4000,
    ),
    Mutant(
        "half-a-vote",
        "a vote without its enable_ssl is none (and a starting agent does not finish a swap cut short)",
        (
            (recovery_view, "_voted_phase", broken.voted_phase_by_name),
            (runner, "settle", broken.settle_half),
        ),
        within=4000,
    ),
    Mutant(
        "still-the-old-set",
        "where only enable_ssl changes, a node that has voted is stopped before it turns back",
        ((recovery_view, "_running_as", broken.moved_by_digest),),
        within=4000,
    ),
    Mutant(
        "journal-gone",
        "an agent without a journal, beside what a transaction has left, serves sealed",
        ((ledger.Ledger, "require_empty", broken.no_check),),
    ),
    Mutant(
        "forgotten",
        "where a node remembers nothing, and others went on to swap, nothing is touched",
        ((contradiction, "_forgotten", broken.nothing_wrong),),
        within=4000,
    ),
    Mutant(
        "unlike",
        "nodes that differ in set or enable_ssl prove no rollback (nor is there a mark, by which a node that"
        " has lost its state directory is sealed)",
        ((live_sets, "unlike", broken.none_there), (effects.Effects, "_leave_mark", broken.no_check)),
        within=4000,
    ),
    Mutant(
        "holder-overlooked",
        "a recovery takes nothing from who holds a node, though others have forgotten that lease",
        ((recovery_case, "held_by_others", broken.no_check),),
    ),
    Mutant(
        "back-is-joined",
        "an excluded node counts from when it holds the cluster's set, not from when it is back",
        ((exclusion, "SETTLED", frozenset(Return)),),
    ),
    Mutant(
        "purge-without",
        "an old set is kept as long as an excluded node has not joined (by table and course)",
        (
            _rule(Step.PURGE, needs_settled=False),
            (library, "begin", broken.begin_for_all),
        ),
    ),
    Mutant(
        "any-bundle",
        "only the bundle of the transaction that stands brings a node over",
        ((joining, "unfit", broken.none_there),),
        within=4000,
    ),
    Mutant(
        "phases-finish",
        "without a dead machine it is not by phases alone that a transaction is finished",
        ((recovery_without, "_by_progress", broken.by_phases(Way.FINISH)),),
        within=4000,
    ),
    Mutant(
        "phases-roll-back",
        "... nor is it by phases alone that one is rolled back",
        ((recovery_without, "_by_progress", broken.by_phases(Way.ROLL_BACK)),),
        within=4000,
    ),
    Mutant(
        "reached-forgotten",
        "how far the last coordinator had come is kept when the fence is taken",
        ((NodeState, "reached", property(lambda state: state.fence)),),
    ),
    Mutant(
        "second-alone",
        "who was left out before has no say in whether another one is left out",
        ((recovery_without, "_by_progress", broken.all_have_a_say),),
        within=4000,
    ),
    Mutant(
        "unrecorded",
        "whom it is recovered without is remembered by all others (and they are asked whether they do)",
        (
            (node, "_left_by", broken.as_if_all_were_there),
            (recoverer, "cannot_remember", broken.none_there),
        ),
        within=4000,
    ),
    Mutant(
        "purge-without-the-dead",
        "an old set is kept as long as a machine that died is not heard of (by table and course)",
        (
            _rule(Step.PURGE, needs_settled=False),
            (recovery_case.Case, "waits", False),
        ),
    ),
    Mutant(
        "back-starts",
        "CM does not start on a node that is back before it has the cluster's set",
        ((recoverer, "begin", broken.inside),),
        within=4000,
    ),
    Mutant(
        "silent-is-dead",
        "who is left out is dead: no cm_server of it is seen",
        ((exclusion_rules, "LEAVING", ()),),
        within=8000,
    ),
    Mutant(
        "silent-record",
        "a node whose record failed finds out what is durable before it reports",
        ((runner.Runner, "_settle_at_once", broken.no_check),),
    ),
)
BY_NAME: Final = {mutant.name: mutant for mutant in MUTANTS}
