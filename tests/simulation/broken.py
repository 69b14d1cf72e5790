"""What the broken variants of `mutants` put in the place of the product's own code."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

from gausscert_agent import effects, ledger, restart, runner
from gausscert_common.protocol import coordinator, exclusion, node, recovery, recovery_without, script
from gausscert_common.protocol.coordinator import Stage
from gausscert_common.protocol.rules import Effect
from gausscert_common.protocol.state import NodeState
from gausscert_common.protocol.words import Fence, Phase, RestartScope, Step
from gausscert_coordinator import hands


def no_check(*_: object, **__: object) -> None:
    """Whatever was looked for is not."""


def none_there(*_: object) -> list[Any]:
    """Nothing is found, whatever there is."""
    return []


def nothing_wrong(*_: object) -> str:
    """Nothing speaks against it."""
    return ""


# At a node.


def epoch_only(state: NodeState, command: Any) -> None:
    """The fence is the epoch alone."""
    if command.epoch < state.fence.epoch:
        raise node._fenced(state, command)


def lease_ignored(state: NodeState, view: Any, command: Any) -> Any:
    """Whoever comes may take over."""
    return _accept_acquire(state, replace(view, lease_holder=""), command)


def toggle(self: effects.Effects, task: Any) -> None:
    """Swap makes the other set live, whichever is."""
    told = effects._of(task)
    live = self._store.live_digest()
    wanted, other = (told.new_digest, told.old_digest)
    if live == wanted:
        wanted, other = other, wanted
    self._store.ensure_live(told.transaction_id, wanted, other)


def no_abort_effects(state: Any, transaction: Any, view: Any, command: Any, rule: Any) -> tuple[Effect, ...]:
    """Abort only says that it has."""
    del state, transaction, view
    wanted: tuple[Effect, ...] = () if command.step is Step.ABORT else rule.effects
    return wanted


def settle_beside_orphan(state: NodeState) -> script.Script:
    """A starting agent does not look for children of its predecessor."""
    return script.settle(replace(state, operation=None))


def settle_without_fence(state: NodeState) -> script.Script:
    """A starting agent has forgotten what it has promised."""
    return script.settle(replace(state, fence=Fence(), owner="", holder=""))


def settle_half(state: NodeState) -> script.Script:
    """A starting agent takes an exchange for the whole of a swap."""
    return _without(script.settle(state), script.CarryOut)


def commit_in_memory(self: ledger.Ledger, record: Any) -> None:
    """Commit is answered, and only memory knows."""
    if record.node.phase is Phase.COMMITTED:
        journal: Any = self._journal
        journal.record, self._suspect = record, False
    else:
        _write(self, record)


@contextmanager
def turn_without_waiting(self: runner.Runner, wait_s: float) -> Iterator[None]:
    """A command does not wait for the one before it: its fence moves under that one's hands."""
    del wait_s
    if self._ledger.suspect:
        self._settle()
    yield


def believes_cm_ctl(self: restart.Restarter, orders: Any, on_start: Any) -> None:
    """Nobody looks whether CM has stopped."""
    if self._is_mine(orders):
        self._cm.stop(orders.scope, orders.timeout_s, on_start)


def stop_unsynced(self: restart.Restarter, orders: Any, on_start: Any) -> None:
    """What keeps CM stopped is not durable."""
    if orders.scope is RestartScope.NONE:
        self._keep_looking()
    else:
        self._stop(orders, on_start)


# At a coordinator.


def one_is_enough(*stages: Stage) -> Callable[..., Any]:
    """Where some nodes have done it, the others are not waited for."""

    async def command(self: hands.Hands, stage: Stage, names: Any) -> Any:
        names = list(names)
        wrong = await _command(self, stage, names)
        return [] if stage in stages and len(wrong) < len(names) else wrong

    return command


def another_epoch(self: hands.Hands, stage: Stage) -> Any:
    """Every stage has an epoch of its own."""
    if stage not in (Stage.ACQUIRE, Stage.PREPARE):
        self.epoch += 1
    return _fresh(self, stage)


def another_id(self: hands.Hands, stage: Stage) -> Any:
    """Every stage is a transaction of its own."""
    command = _fresh(self, stage)
    return replace(command, transaction_id=f"{command.transaction_id}-{stage}")


def begin_for_all(restart_: Any, *, waits: bool = False, outside: bool = False) -> coordinator.Course:
    """It does not matter that a node was left out."""
    del waits
    return coordinator.begin(restart_, outside=outside)


def presume_abort(answers: Any, restart_: Any, prefer: Any = recovery.Choice.ROLL_BACK, **where: Any) -> Any:
    """A coordinator knows of no commit, and so there was none."""
    found = list(answers.values())
    if not any(answer.transaction_id for answer in found):
        return _decide(answers, restart_, prefer, **where)
    return recovery._roll_back(found, restart_, "this coordinator knows of no commit")


def finish_from_start(found: Any, restart_: Any, prefer: Any, finish_from: Stage, why: str) -> Any:
    """The row of those that have all voted is taken for those that could."""
    del finish_from
    return _finish_or_roll_back(found, restart_, prefer, Stage.START, why)


def may_be_lost(*_: Any) -> bool:
    """Nodes that do not answer have no say."""
    return True


def subject_that_answers(parts: Mapping[str, Any], leaving: Collection[str] = ()) -> exclusion.Subject:
    """... and are not missed."""
    found = _subject(parts, leaving)
    return replace(found, nodes=tuple(name for name in found.nodes if name in parts))


def by_phases(way: recovery_without.Way) -> Callable[..., Any]:
    """Where all that answer have voted it does not matter how far the last coordinator had come."""

    def by_progress(voters: Mapping[str, Any]) -> recovery_without.Without:
        del voters
        return recovery_without.Without(way, "by phases alone")

    return by_progress


def all_have_a_say(voters: Mapping[str, Any]) -> recovery_without.Without:
    """Also those that were left out before."""
    return _by_progress({name: replace(each, left_out=()) for name, each in voters.items()})


def as_if_all_were_there(transaction: Any, reached: Fence, command: Any) -> Any:
    """Acquire does not say who is left out."""
    return _left_by(transaction, reached, replace(command, excluded=()))


def inside(restart_: Any, **where: Any) -> coordinator.Course:
    """A node that is brought over is like any other: where that fails CM starts there as it was."""
    where.pop("outside", None)
    return coordinator.begin(restart_, **where)


def voted_phase_by_name(report: Any) -> Phase:
    """A vote is one whatever enable_ssl is."""
    phase: Phase = report.transaction.phase
    return phase


def moved_by_digest(report: Any) -> Any:
    """Where both sets are one nothing has moved, whatever enable_ssl is."""
    return report.transaction.live_state


def _without(whole: script.Script, kind: type[script.Move]) -> script.Script:
    """A script without some of its moves."""
    try:
        move = next(whole)
        while True:
            if isinstance(move, kind):
                move = whole.send(None)
                continue
            try:
                answer = yield move
            except Exception as error:  # noqa: BLE001 - the script's business
                move = whole.throw(error)
            else:
                move = whole.send(answer)
    except StopIteration as end:
        state: NodeState = end.value
        return state


_accept_acquire: Final = node._accept_acquire
_command: Final = hands.Hands.command
_fresh: Final = hands.Hands._command
_decide: Final = recovery.decide
_finish_or_roll_back: Final = recovery._finish_or_roll_back
_subject: Final = exclusion.subject
_by_progress: Final = recovery_without._by_progress
_left_by: Final = node._left_by
_write: Final = ledger.Ledger._write
