"""Fences that are broken, each a little: what `mutants` puts in the place of the core's."""

from __future__ import annotations

from dataclasses import replace

from gausscert_common.errors import Reason
from gausscert_common.protocol import node
from gausscert_common.protocol.commands import AcquireCommand, Command
from gausscert_common.protocol.node import Accepted
from gausscert_common.protocol.state import NodeState, View

_accept_acquire = node._accept_acquire


def epoch_only(state: NodeState, command: Command) -> None:
    """Whatever the step."""
    if command.epoch < state.fence.epoch:
        raise node._fenced(state, command)


def step_only(state: NodeState, command: Command) -> None:
    """Whoever was fenced off goes on as soon as his step comes after that of the one who did it."""
    if command.step < state.fence.step:
        raise node._fenced(state, command)
    _check_owner(state, command)


def taken_with_the_first_command(state: NodeState, command: Command) -> None:
    """An epoch counts though nobody has acquired it here (`acquired_in_name`)."""
    if command.fence < state.fence:
        raise node._fenced(state, command)
    _check_owner(state, command)


def acquired_in_name(state: NodeState, view: View, command: AcquireCommand) -> Accepted:
    """The answer is the same, but the fence stays where it was."""
    granted = _accept_acquire(state, view, command)
    return replace(granted, intent=replace(granted.intent, fence=state.fence))


def acquired_again(state: NodeState, view: View, command: AcquireCommand) -> Accepted:
    """An epoch that is not lower is granted, where it must be higher or the fence be at Acquire still: a late
    one takes back what has come after it."""
    if command.epoch == state.fence.epoch:
        state = replace(state, fence=command.fence)
    return _accept_acquire(state, view, command)


def _check_owner(state: NodeState, command: Command) -> None:
    if command.transaction_id != state.owner:
        raise node._refusal(Reason.NOT_ACQUIRED, f"{command.transaction_id} has acquired nothing here")
