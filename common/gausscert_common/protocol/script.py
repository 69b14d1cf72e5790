"""The order of things at a node: look, decide, journal, act, journal, answer. It is written down here
once. The agent's runner follows it, and the explorer of the tests stops it between any two moves.

A script is a generator: it yields one move at a time, and is sent what the move answers or thrown the
error with which it failed. It touches nothing itself.

    perform(carry_out(state, command), make)    # make(move) really does it
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import TypeAlias

from gausscert_common.errors import NodeFailure, NodeRefusal
from gausscert_common.protocol.commands import Command, CommitCommand, PurgeCommand
from gausscert_common.protocol.node import Accepted, accept, complete, reconcile
from gausscert_common.protocol.rules import RULES, Effect, StageFacts, depends_on_processes
from gausscert_common.protocol.state import NodeState, Operation, Transaction, View
from gausscert_common.protocol.words import Outcome, Phase, Step


@dataclass(frozen=True, slots=True)
class Look:
    """See the disk, the lease and, where the command depends on it, the process list. Answers a `View`."""

    processes: bool


@dataclass(frozen=True, slots=True)
class Confirm:
    """The command is accepted and nothing was done yet: whoever has lost interest fails here."""


@dataclass(frozen=True, slots=True)
class Save:
    """Make the state durable."""

    state: NodeState


@dataclass(frozen=True, slots=True)
class Hold:
    """Let the lease of the command's holder run anew."""


@dataclass(frozen=True, slots=True)
class Release:
    """End the lease: the coordinator needs it no more."""


@dataclass(frozen=True, slots=True)
class CarryOut:
    """Carry out an effect. BUILD_STAGE answers `StageFacts`. STOP_CM and START_CM journal their child
    (`Operation`) before it begins to act."""

    effect: Effect
    transaction: Transaction | None


@dataclass(frozen=True, slots=True)
class ForgetChild:
    """Make durable that no cm_ctl child runs any more, where one was journalled."""


@dataclass(frozen=True, slots=True)
class ForgetStage:
    """Remove what a Prepare that did not come to its end has left."""

    transaction_id: str


@dataclass(frozen=True, slots=True)
class EndOrphan:
    """Await or end the cm_ctl child of an agent that died."""

    operation: Operation


@dataclass(frozen=True, slots=True)
class SyncDisk:
    """Make durable whatever a predecessor has swapped."""


@dataclass(frozen=True, slots=True)
class LookAtLive:
    """Answers the digest of the live set, or None if it cannot be read."""


Move: TypeAlias = (
    Look
    | Confirm
    | Save
    | Hold
    | Release
    | CarryOut
    | ForgetChild
    | ForgetStage
    | EndOrphan
    | SyncDisk
    | LookAtLive
)
Answer: TypeAlias = View | StageFacts | str | None
Script: TypeAlias = Generator[Move, Answer, NodeState]


def perform(script: Script, make: Callable[[Move], Answer]) -> NodeState:
    """Make every move of a script; what fails is for the script to deal with.

    Args:
        script: A new one.
        make: Makes one move, answers what it answers, raises what went wrong.

    Returns:
        The durable state at its end: the reply.
    """
    try:
        move = next(script)
        while True:
            try:
                answer = make(move)
            except Exception as error:  # noqa: BLE001 - thrown back: the script raises it when it is done
                move = script.throw(error)
            else:
                move = script.send(answer)
    except StopIteration as end:
        state: NodeState = end.value
        return state


def carry_out(state: NodeState, command: Command) -> Script:
    """One command at a node that serves.

    Args:
        state: What is durable.
        command: What is asked for.

    Raises:
        NodeRefusal, InvalidInput: Refused by `accept` before anything was journalled.
        Exception: What a move failed with, once the script has put things in order.
    """
    view = yield Look(processes=depends_on_processes(command.step))
    if not isinstance(view, View):
        raise TypeError("looking answers a view")
    accepted = accept(state, view, command)
    yield Confirm()
    yield Save(accepted.intent)
    yield Hold()
    try:
        state = yield from _finish(accepted, command)
    except Exception:
        yield Hold()
        raise
    yield Release() if is_last(command, state) else Hold()
    return state


def is_last(command: Command, state: NodeState) -> bool:
    """Whether the coordinator needs the node no more; a transaction without all nodes ends with Commit, and
    where CM is started after the end, with that.

    Args:
        command: What was carried out.
        state: The state after it.
    """
    stands = state.transaction is not None and bool(state.transaction.excluded)
    match command.step:
        case Step.COMMIT:
            return stands and not (isinstance(command, CommitCommand) and command.start_follows)
        case Step.PURGE | Step.CLEAN:
            follows = isinstance(command, PurgeCommand) and command.start_follows
            return state.phase is Phase.NONE and not follows
        case Step.ROLLBACK_START:
            ended = state.outcome_of(command.transaction_id) is Outcome.COMMITTED
            return ended or (stands and state.phase is Phase.COMMITTED)
        case _:
            return False


def settle(state: NodeState) -> Script:
    """A starting agent, before it serves. In this order: no orphan acts any more, the disk is durable, then
    it is looked at.

    An exchange that was not journalled is a vote only with all that Swap does; where that fails the node
    stays PREPARED, and the coordinator's next Swap or Abort ensures the rest.

    Args:
        state: As it was read; whoever wrote it may have died before it was durable, so it is saved again.
    """
    if state.operation is not None:
        yield EndOrphan(state.operation)
    yield SyncDisk()
    transaction = state.transaction
    live: Answer = None
    if transaction is not None:
        if state.phase is Phase.PREPARING:
            yield ForgetStage(transaction.transaction_id)
        live = yield LookAtLive()
    settled = reconcile(state, live if isinstance(live, str) else None)
    if state.phase is Phase.PREPARED and settled.phase is Phase.SWAPPED:
        try:
            for effect in RULES[Step.SWAP].effects:
                yield CarryOut(effect, transaction)
        except (NodeRefusal, NodeFailure):
            settled = replace(state, operation=None)
    yield Save(settled)
    return settled


def _finish(accepted: Accepted, command: Command) -> Script:
    facts: StageFacts | None = None
    try:
        for effect in accepted.effects:
            answer = yield CarryOut(effect, accepted.intent.transaction)
            facts = answer if isinstance(answer, StageFacts) else facts
    except Exception:
        yield from _undone(accepted)
        raise
    yield ForgetChild()
    state = complete(accepted.intent, command, facts)
    yield Save(state)
    for effect in accepted.afterwards:
        yield CarryOut(effect, state.transaction)
    return state


def _undone(accepted: Accepted) -> Script:
    """A Prepare that failed leaves nothing but its fence; everything else may be repeated as it stands."""
    intent = accepted.intent
    yield ForgetChild()
    if Effect.BUILD_STAGE in accepted.effects:
        if intent.transaction is not None:
            yield ForgetStage(intent.transaction.transaction_id)
        intent = replace(intent, phase=Phase.NONE, transaction=None)
        yield Save(intent)
    return intent
