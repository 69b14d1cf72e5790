"""Broken variants of the product. Each is without one rule; its own code is patched, nothing of what is made
up here, and each must be found within so many seeds.

A variant that must weaken a second line of defence, too, says so.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from gausscert_agent import effects, restart, runner
from gausscert_common.protocol import coordinator, node, recovery
from gausscert_common.protocol.coordinator import Stage
from gausscert_common.protocol.rules import RULES, Effect
from gausscert_common.protocol.script import settle
from gausscert_common.protocol.state import NodeState
from gausscert_common.protocol.words import Fence, Phase, Step
from gausscert_coordinator import fanout, hands, recoverer, recovery_view
from simulation import schedule
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
    within: int = 400
    """In so many seeds it must be found."""
    shows: tuple[str, ...] = ()
    """How what is found may begin; () for anything."""

    def found(self, first: int = 1) -> Ended | None:
        """The first seed that finds it."""
        with self.applied():
            for seed in range(first, first + self.within):
                ended = schedule.run(seed)
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


def _no_check(*_: object, **__: object) -> None:
    return None


def _epoch_only(state: NodeState, command: Any) -> None:
    if command.epoch < state.fence.epoch:
        raise node._fenced(state, command)


def _toggle(self: effects.Effects, task: Any) -> None:
    told = effects._of(task)
    live = self._store.live_digest()
    wanted, other = (told.new_digest, told.old_digest)
    if live == wanted:
        wanted, other = other, wanted
    self._store.ensure_live(told.transaction_id, wanted, other)


_command = hands.Hands.command


def _one_is_enough(*stages: Stage) -> Callable[..., Any]:
    """Where some nodes have done it, the others are not waited for."""

    async def command(self: hands.Hands, stage: Stage, names: Any) -> Any:
        names = list(names)
        wrong = await _command(self, stage, names)
        return [] if stage in stages and len(wrong) < len(names) else wrong

    return command


def _settle_beside_orphan(state: NodeState) -> Generator[Any, Any, NodeState]:
    return settle(replace(state, operation=None))


def _settle_without_fence(state: NodeState) -> Generator[Any, Any, NodeState]:
    return settle(replace(state, fence=Fence(), owner="", holder=""))


_decide = recovery.decide


def _presume_abort(answers: Any, restart_: Any, prefer: Any = recovery.Choice.ROLL_BACK) -> Any:
    found = list(answers.values())
    if not any(answer.transaction_id for answer in found):
        return _decide(answers, restart_, prefer)
    return recovery._roll_back(found, restart_, "this coordinator knows of no commit")


@contextmanager
def _turn_without_waiting(self: runner.Runner, wait_s: float) -> Iterator[None]:
    """A command does not wait for the one before it: its fence moves under that one's hands."""
    if self._ledger.suspect:
        self._settle()
    yield


def _believes_cm_ctl(self: restart.Restarter, orders: Any, on_start: Any) -> None:
    if self._is_mine(orders):
        self._cm.stop(orders.scope, orders.timeout_s, on_start)


_fresh = hands.Hands._command


def _another_epoch(self: hands.Hands, stage: Stage) -> Any:
    if stage not in (Stage.ACQUIRE, Stage.PREPARE):
        self.epoch += 1
    return _fresh(self, stage)


def _all_but_one(self: fanout.Answers[Any]) -> bool:
    return len(self.bad) <= 1


def _voted_phase_by_name(report: Any) -> Phase:
    phase: Phase = report.transaction.phase
    return phase


def _no_abort_effects(state: Any, transaction: Any, view: Any, command: Any, rule: Any) -> tuple[Effect, ...]:
    del state, transaction, view
    return () if command.step is Step.ABORT else rule.effects  # type: ignore[no-any-return]


def _stop_unsynced(self: restart.Restarter, orders: Any, on_start: Any) -> None:
    if orders.scope is restart.RestartScope.NONE:
        self._keep_looking()
    else:
        self._stop(orders, on_start)


def _rule(step: Step, **changes: object) -> Change:
    return RULES, step, replace(RULES[step], **changes)  # type: ignore[arg-type]


def _row(stage: Stage, **changes: object) -> Change:
    return coordinator.TABLE, stage, replace(coordinator.TABLE[stage], **changes)  # type: ignore[arg-type]


_SWAP_UNGUARDED: Final = tuple(e for e in RULES[Step.SWAP].effects if e is not Effect.REQUIRE_STOPPED)

MUTANTS: Final = (
    Mutant(
        "no fence",
        "the fence is checked on every command (and with it that the epoch was acquired)",
        ((node, "_check_fence", _no_check),),
    ),
    Mutant(
        "fence without step",
        "the fence has the step in it, not only the epoch",
        ((node, "_check_fence", _epoch_only),),
    ),
    Mutant("volatile fence", "the fence is durable", ((runner, "settle", _settle_without_fence),)),
    Mutant(
        "no turns",
        "a command waits for the one before it, Acquire too: else the fence moves during an effect",
        ((runner.Runner, "_turn", _turn_without_waiting),),
    ),
    Mutant(
        "toggle",
        "Swap ensures, it never toggles",
        ((effects.Effects, "_make_new_live", _toggle),),
    ),
    Mutant(
        "early start",
        "Start is sent only after all nodes have swapped",
        ((hands.Hands, "command", _one_is_enough(Stage.SWAP)),),
    ),
    Mutant(
        "rolling",
        "a rollback starts CM only after all nodes have aborted",
        ((hands.Hands, "command", _one_is_enough(Stage.ABORT)),),
    ),
    Mutant(
        "early purge",
        "the old set is given up only after all nodes have committed",
        ((hands.Hands, "command", _one_is_enough(Stage.COMMIT)),),
    ),
    Mutant(
        "abort after commit",
        "once Commit was sent to anyone nothing turns to rolling back",
        (_row(Stage.COMMIT, otherwise=Stage.ROLLBACK_STOP),),
    ),
    Mutant(
        "presumed abort",
        "no abort is presumed from a coordinator's own history (and none is taken after COMMITTED)",
        (
            (recoverer, "decide", _presume_abort),
            _rule(Step.ABORT, phases=frozenset(Phase)),
        ),
    ),
    Mutant(
        "missing node",
        "recovery, and every arrow, needs the answers of all nodes",
        ((fanout.Answers, "complete", property(_all_but_one)),),
    ),
    Mutant(
        "another epoch",
        "what is repeated carries the same epoch",
        ((hands.Hands, "_command", _another_epoch),),
    ),
    Mutant(
        "cm_ctl's word",
        "stopped is what the process list shows, not what cm_ctl says (nor do table and store look)",
        (
            (restart.Restarter, "stop", _believes_cm_ctl),
            (node, "_check_live", _no_check),
            _rule(Step.SWAP, effects=_SWAP_UNGUARDED),
        ),
    ),
    Mutant(
        "mark not durable",
        "cluster_manual_start is durable before a node counts as stopped",
        ((restart.Restarter, "stop", _stop_unsynced),),
        within=1500,
    ),
    Mutant(
        "orphan",
        "a cm_ctl child that survives its agent is ended before anything is served",
        ((runner, "settle", _settle_beside_orphan),),
        within=1500,
    ),
    Mutant(
        "abort in name",
        "Abort makes the old set live again (and Clean demands that)",
        ((node, "_guarded", _no_abort_effects), _rule(Step.CLEAN, needs_live=None)),
    ),
    Mutant(
        "half stopped",
        "a recovering coordinator starts CM again where a stop was only begun",
        ((recovery_view, "cm_stays_up", recovery_view.cm_runs),),
        within=1500,
    ),
    Mutant(
        "half a vote",
        "a vote without its enable_ssl is none",
        ((recovery_view, "_voted_phase", _voted_phase_by_name),),
        within=1500,
    ),
    Mutant(
        "silent record",
        "a node whose record failed finds out what is durable before it reports",
        ((runner.Runner, "_settle_at_once", _no_check),),
        within=3000,
    ),
)
BY_NAME: Final = {mutant.name: mutant for mutant in MUTANTS}
