"""One participant. Two rules bind this file: everything that decides whether a command is carried
out at a node lives here, and nothing here touches a disk, a clock or a process.

A command goes through three moments, and the runner journals between them:

    accept(state, view, command)       -> Accepted(intent, effects), or NodeRefusal and no change
        journal intent, carry out the effects in their order
    complete(intent, command, facts)   -> the state to journal before the reply
        journal it, carry out what is to be done afterwards

`rules.RULES` is the table it decides by. A command that repeats what is already
done is accepted with no effects, or with effects that only ensure what is (never toggle).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from gausscert_common.errors import InvalidInput, NodeRefusal, Reason
from gausscert_common.protocol.commands import AcquireCommand, Command, PrepareCommand, PurgeCommand
from gausscert_common.protocol.rules import RULES, Effect, Rule, StageFacts
from gausscert_common.protocol.state import (
    NodeState,
    Transaction,
    View,
    live_state,
)
from gausscert_common.protocol.words import Fence, LiveState, Outcome, Phase, Step, Tombstone

TOMBSTONES_KEPT: Final = 64
"""Design section 5 asks for at least 32; a late coordinator then still learns how its transaction ended."""

EPOCH_LEAP: Final = 2**20
"""A coordinator takes the highest epoch of all nodes plus one. Far more than a node can lag behind, far less
than would use up the numbers: an epoch once taken is never gone back from."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A command that will be carried out."""

    intent: NodeState
    """Durable before the first effect."""
    effects: tuple[Effect, ...] = ()
    afterwards: tuple[Effect, ...] = ()
    """After the state that `complete` answers is durable."""


def accept(state: NodeState, view: View, command: Command) -> Accepted:
    """Decide about a command.

    Raises:
        NodeRefusal: The command is refused; the state stays what it was.
        InvalidInput: ARGUMENT_INVALID; no coordinator can have come to such an epoch; likewise.
    """
    if isinstance(command, AcquireCommand):
        return _accept_acquire(state, view, command)
    _check_fence(state, command)
    rule = RULES[command.step]
    fenced = replace(state, fence=command.fence)
    if _already_ended(state, command, rule):
        return Accepted(fenced)
    _check_transaction(state, command)
    if state.phase not in rule.phases:
        raise _refusal(Reason.WRONG_PHASE, f"{command.step.name} in phase {state.phase}")
    if isinstance(command, PrepareCommand):
        return _accept_prepare(fenced, view, command)
    if state.transaction is None:
        return _accept_without_transaction(fenced, command, rule)
    _check_live(state.transaction, view, rule)
    _check_settled(state.transaction, command, rule)
    _check_restored(state.transaction, rule)
    intent = fenced if rule.intent is None else replace(fenced, phase=rule.intent)
    return Accepted(intent, _guarded(state, state.transaction, view, command, rule), rule.afterwards)


def complete(intent: NodeState, command: Command, facts: StageFacts | None = None) -> NodeState:
    """The state after all effects of an accepted command, to be durable before the reply.

    Args:
        intent: The state that `accept` answered, as journalled (operation records removed).
        command: The same command.
        facts: What BUILD_STAGE answered; None when it was not among the effects.
    """
    if isinstance(command, AcquireCommand):
        return intent
    rule = RULES[command.step]
    state = intent
    if facts is not None and state.transaction is not None:
        transaction = replace(
            state.transaction,
            new_digest=facts.new_digest,
            bundle_digest=facts.bundle_digest,
            previous_ssl=facts.previous_ssl,
        )
        state = replace(state, transaction=transaction)
    if command.step is Step.ABORT and state.transaction is not None:
        state = replace(state, transaction=replace(state.transaction, abort_ended=True))
    if rule.ends is not None and state.phase is not Phase.NONE:
        return _ended(state, command.transaction_id, rule.ends)
    if rule.result is not None and state.phase is not Phase.NONE:
        return replace(state, phase=rule.result)
    return state


def reconcile(state: NodeState, live_digest: str | None) -> NodeState:
    """The state a restarted agent serves with: what the disk shows wins over what was journalled.

    A torn PREPARING is forgotten (its stage must have been removed before); a swap that happened
    but was not journalled is the vote it was. A live set that cannot be read (None) shows nothing: the
    phase stays.
    """
    state = replace(state, operation=None)
    if state.phase is Phase.PREPARING:
        return replace(state, phase=Phase.NONE, transaction=None)
    voted = state.transaction is not None and live_state(state.transaction, live_digest) is LiveState.NEW
    if state.phase is Phase.PREPARED and voted:
        return replace(state, phase=Phase.SWAPPED)
    return state


def _accept_acquire(state: NodeState, view: View, command: AcquireCommand) -> Accepted:
    if command.epoch > state.fence.epoch + EPOCH_LEAP:
        raise InvalidInput(
            Reason.ARGUMENT_INVALID,
            f"epoch {command.epoch} is out of all proportion to epoch {state.fence.epoch}, the last one here",
            remedy="acquire with the highest epoch of all nodes plus one, as gausscert recover does",
        )
    if view.lease_holder not in ("", command.holder) and not command.take_over:
        raise NodeRefusal(
            Reason.LOCKED,
            f"locked by {view.lease_holder}",
            remedy="wait for it to end, or use --take-over if you know that it is gone",
        )
    same = (state.owner, state.holder) == (command.transaction_id, command.holder)
    if command.fence < state.fence or (command.epoch == state.fence.epoch and not same):
        raise _fenced(state, command)
    if state.transaction is not None and state.transaction.transaction_id != command.transaction_id:
        raise _other_transaction(state.transaction, state)
    transaction = _left_by(state.transaction, state.reached, command)
    return Accepted(
        replace(
            state,
            fence=command.fence,
            owner=command.transaction_id,
            holder=command.holder,
            transaction=transaction,
        )
    )


def _left_by(transaction: Transaction | None, reached: Fence, command: AcquireCommand) -> Transaction | None:
    """What the transaction says once the fence is another's: how far those before had come, and who is left
    out from now on."""
    if transaction is None:
        return None
    unknown = sorted(set(command.excluded) - set(transaction.participants))
    if unknown:
        raise InvalidInput(
            Reason.ARGUMENT_INVALID,
            f"{', '.join(unknown)} cannot be left out: no part of transaction {transaction.transaction_id}",
            remedy="leave out only nodes of the transaction",
        )
    excluded = tuple(sorted({*transaction.excluded, *command.excluded}))
    return replace(transaction, excluded=excluded, reached=reached)


def _accept_prepare(fenced: NodeState, view: View, command: PrepareCommand) -> Accepted:
    if fenced.outcome_of(command.transaction_id) is not None:
        raise _refusal(Reason.TRANSACTION_ENDED, f"transaction {command.transaction_id} has ended here")
    _require_readable(view)
    if view.live_digest != command.expected_live_digest:
        raise _refusal(
            Reason.LIVE_CHANGED,
            "the live set is not the one the coordinator saw",
            remedy="somebody else changes certificates here; find out who, then plan again",
        )
    if fenced.phase is Phase.PREPARED:
        return Accepted(fenced)
    transaction = Transaction(
        transaction_id=command.transaction_id,
        participants=command.participants,
        old_digest=command.expected_live_digest,
        ssl_wish=command.ssl_wish,
        restart=command.restart,
        begun_at=command.begun_at,
        excluded=command.excluded,
        joins=command.joins,
        begun_by=fenced.holder,
    )
    intent = replace(fenced, phase=Phase.PREPARING, transaction=transaction)
    return Accepted(intent, RULES[Step.PREPARE].effects)


def _accept_without_transaction(fenced: NodeState, command: Command, rule: Rule) -> Accepted:
    """Stop and Start work as ever; Abort records the decision, so that a late Prepare is refused."""
    if command.step is Step.ABORT:
        return Accepted(_ended(fenced, command.transaction_id, Outcome.ABORTED))
    return Accepted(fenced, rule.effects)


def _guarded(
    state: NodeState, transaction: Transaction, view: View, command: Command, rule: Rule
) -> tuple[Effect, ...]:
    """Abort exchanges directories only where the new set is live, and then only with CM stopped; and it
    restores enable_ssl only where Swap may have changed it."""
    if command.step is not Step.ABORT:
        return rule.effects
    if live_state(transaction, view.live_digest) is LiveState.NEW:
        return (
            Effect.REQUIRE_STOPPED,
            Effect.MAKE_OLD_LIVE,
            Effect.REQUIRE_STOPPED,
            Effect.RESTORE_SSL,
        )
    return (Effect.MAKE_OLD_LIVE,) if _never_swapped(state, transaction) else rule.effects


def _never_swapped(state: NodeState, transaction: Transaction) -> bool:
    """Whether Swap has not touched this node, given that the old set is live.

    Swap exchanges before it sets enable_ssl, so the old set beside PREPARED shows that it set nothing;
    unless both sets are equal and nothing shows. An Abort that was cut short after it exchanged back
    has left ABORTED.
    """
    if state.phase is Phase.PREPARED:
        return transaction.new_digest != transaction.old_digest
    return state.phase is Phase.PREPARING


def _check_fence(state: NodeState, command: Command) -> None:
    if command.fence < state.fence:
        raise _fenced(state, command)
    if command.epoch != state.fence.epoch or command.transaction_id != state.owner:
        raise _refusal(
            Reason.NOT_ACQUIRED, f"epoch {command.epoch} was not acquired by {command.transaction_id} here"
        )


def _check_transaction(state: NodeState, command: Command) -> None:
    if state.transaction is not None and state.transaction.transaction_id != command.transaction_id:
        raise _other_transaction(state.transaction, state)


def _check_live(transaction: Transaction, view: View, rule: Rule) -> None:
    live = live_state(transaction, view.live_digest)
    moves_sets = Effect.MAKE_NEW_LIVE in rule.effects or Effect.MAKE_OLD_LIVE in rule.effects
    depends = moves_sets or rule.needs_live is not None
    if depends:
        _require_readable(view)
    if live is LiveState.FOREIGN and depends:
        raise _refusal(
            Reason.FOREIGN_SET,
            "the live set is neither the old nor the new one of the transaction; nothing was touched",
            remedy="find out who changed it and put the old or the new set back",
        )
    if rule.needs_live is not None and not _is_live(transaction, view, rule.needs_live):
        raise _refusal(Reason.WRONG_PHASE, f"the live set is {live}, must be {rule.needs_live}")
    needs_stop = Effect.MAKE_NEW_LIVE in rule.effects or (
        Effect.MAKE_OLD_LIVE in rule.effects and live is LiveState.NEW
    )
    if needs_stop and view.cm_running:
        raise _refusal(Reason.NOT_STOPPED, "CM runs; the set is never exchanged under a running process")


def _check_settled(transaction: Transaction, command: Command, rule: Rule) -> None:
    """An excluded node still needs what others have: while one is out there, no old set is given up."""
    settled = command.settled if isinstance(command, PurgeCommand) else ()
    waiting = sorted(set(transaction.excluded) - set(settled))
    if rule.needs_settled and waiting:
        raise _refusal(
            Reason.NODES_EXCLUDED,
            f"transaction {transaction.transaction_id} was begun without {', '.join(waiting)};"
            " the old set is kept until each of them has joined",
            remedy="bring them back, then run: gausscert recover --bundle DIR",
        )


def _check_restored(transaction: Transaction, rule: Rule) -> None:
    if rule.needs_restored and not transaction.abort_ended:
        raise _refusal(
            Reason.WRONG_PHASE,
            "Abort has not ended here: enable_ssl may not be restored yet",
            remedy="run gausscert recover",
        )


def _require_readable(view: View) -> None:
    if view.live_digest is None:
        raise _refusal(
            Reason.NODE_UNFIT,
            f"the live set cannot be read: {view.unreadable}",
            remedy="mend share/sslcert/cm so that the agent can read it, then repeat",
        )


def _is_live(transaction: Transaction, view: View, wanted: LiveState) -> bool:
    """Whether the wanted set is live. Both may be: ready factor files can make a node's new set equal
    to its old one byte for byte, while the other nodes still need it."""
    digest = transaction.old_digest if wanted is LiveState.OLD else transaction.new_digest
    return view.live_digest == digest


def _already_ended(state: NodeState, command: Command, rule: Rule) -> bool:
    outcome = state.outcome_of(command.transaction_id)
    if outcome is None or rule.ended_as is None:
        return False
    if outcome is not rule.ended_as:
        raise _refusal(
            Reason.TRANSACTION_ENDED, f"transaction {command.transaction_id} has ended {outcome} here"
        )
    return True


def _ended(state: NodeState, transaction_id: str, outcome: Outcome) -> NodeState:
    without = _left_behind(state) if outcome is Outcome.ABORTED else ()
    tombstones = (Tombstone(transaction_id, outcome, without), *state.tombstones)[:TOMBSTONES_KEPT]
    return replace(state, phase=Phase.NONE, transaction=None, tombstones=tombstones)


def _left_behind(state: NodeState) -> tuple[str, ...]:
    """Who is left out of the present transaction, and is in it or was left behind in one before; all of those
    where nothing was prepared here."""
    told = state.transaction
    before = state.tombstones[0].without if state.tombstones else ()
    if told is None:
        return before
    return tuple(sorted(set(told.excluded) & {*told.participants, *before}))


def _refusal(reason: Reason, message: str, *, remedy: str = "") -> NodeRefusal:
    return NodeRefusal(reason, message, remedy=remedy)


def _fenced(state: NodeState, command: Command) -> NodeRefusal:
    return NodeRefusal(
        Reason.FENCED,
        f"{command.step.name} of epoch {command.epoch} comes after {state.fence.step.name}"
        f" of epoch {state.fence.epoch} ({state.holder})",
        remedy="another coordinator, or a later step, has taken over; look at gausscert status",
    )


def _other_transaction(transaction: Transaction, state: NodeState) -> NodeRefusal:
    return NodeRefusal(
        Reason.OTHER_TRANSACTION,
        f"transaction {transaction.transaction_id} of {state.holder} is in phase {state.phase} here",
        remedy="run gausscert recover",
    )
