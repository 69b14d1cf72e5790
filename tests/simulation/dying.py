"""Machines that die for good in the middle of a transaction, with whoever was at work, and operators who go
on without them, one after the other or at once: of all of that by chance comes too little."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from gausscert_common.protocol.coordinator import Stage
from gausscert_common.protocol.recovery import Choice
from gausscert_common.protocol.words import RestartScope

from simulation.captain import Captain, Errand
from simulation.faults import Fault
from simulation.machine import Machine
from simulation.world import LABELS, World

Cast = list[tuple[Captain, float]]

_FORWARD: Final = (
    *(Stage.PREPARE, Stage.STOP, Stage.SWAP, Stage.VERIFY, Stage.PURGE),
    *(Stage.START,) * 4,
    *(Stage.COMMIT,) * 3,
)
_BACKWARD: Final = (Stage.ROLLBACK_STOP, *(Stage.ABORT,) * 4, Stage.ROLLBACK_START, Stage.CLEAN)
_TURNS: Final = (Stage.SWAP, Stage.START, Stage.VERIFY)
"""In which the first one may be interrupted, so that it turns back."""
_TURNS_BACK: Final = 0.35
_FINISHING: Final = (*(Stage.COMMIT,) * 4, Stage.ENSURE_UP, Stage.PURGE)
_UNDECIDED: Final = (Stage.ACQUIRE, Stage.ROLLBACK_STOP)
"""Stages of a recovery that leave no trace of what was decided."""
_REACHES_ONE: Final = 0.5
"""So often a command reaches one node only, or all but one."""
_WORST: Final = 0.5
"""So often it goes as it is worst: how far the coordinators had come, and what the nodes are in, say
different things."""
_SOON_S: Final = (0.02, 0.7)
_SEEN_S: Final = (1.0, 15.0)
"""After so long an operator knows."""
_AT_LAST_S: Final = 30.0
_IN_A_ROW, _AT_ONCE, _BACK_BETWEEN, _ANOTHER_BEGINS = 0.45, 0.65, 0.85, 0.95
"""Shares, each up to the next."""
_IS_BACK: Final = 0.75
_DECIDED: Final = 0.6
_DECIDED_AT_WORST: Final = 0.4
_TAKES_OVER: Final = 0.7
_AT_ONCE_S: Final = (0.0, 8.0)


def cast(world: World, first: Captain) -> Cast:
    """A machine dies beside the first coordinator, and a second one recovers without it. Then another one
    dies beside that one, as soon as the first is back, or not; or somebody does the same at once; or it is
    back."""
    dice = world.dice
    first.errand, first.label = Errand.REPLACE, LABELS[0]
    second, third = _recoverer(world, 2), _recoverer(world, 3)
    if dice.random.random() < _WORST:
        first.restart = RestartScope.NODE
        return _at_worst(world, first, second, third)
    stages: tuple[Stage, ...] = (dice.one_of(_FORWARD),)
    if dice.random.random() < _TURNS_BACK:
        first.at(dice.one_of(_TURNS), partial(_interrupted, first))
        stages = (dice.one_of(_BACKWARD),)
    call, how = second.when_called(), dice.random.random()
    if _IN_A_ROW < how < _AT_ONCE:
        call = partial(_one_and_then, world, call, third.when_called())
        third.take_over = dice.random.random() < _TAKES_OVER
    one = _falls(world, first, stages, Fault.DIES, list(world.machines.values()), call)
    if how < _IN_A_ROW:
        _in_a_row(world, one, second, third)
    elif how < _AT_ONCE:
        pass
    elif how < _BACK_BETWEEN:
        second.at_its_end(partial(_back_then, world, one, third.when_called()))
    elif how < _ANOTHER_BEGINS:
        third.errand, third.label = Errand.REPLACE, LABELS[2]
        third.after(second)
    else:
        third.after(second)
    return [(first, 0.0), (second, 0.0), (third, dice.between(0.0, 3.0))]


def _at_worst(world: World, first: Captain, second: Captain, third: Captain) -> Cast:
    """The end has reached the one that dies, and no other one. Or all but that one were told to start,
    another coordinator finishes without it, that has reached one alone, and this one dies when the first is
    back; or it was left out, and so is this one, before a third one dies."""
    dice, machines = world.dice, list(world.machines.values())
    how, call = dice.one_of((Stage.COMMIT, Stage.ABORT, *(Stage.START,) * 3)), second.when_called()
    if how is Stage.ABORT:
        first.at(Stage.VERIFY, partial(_interrupted, first))
    one = _falls(world, first, (how,), Fault.DIES, machines, call, exact=True)
    if how is Stage.START:
        others = [each for each in machines if each is not one]
        call = partial(_back_then, world, one, third.when_called(), as_it_was=True)
        decided = dice.random.random() < _DECIDED_AT_WORST
        then = Stage.COMMIT if decided else Stage.ACQUIRE
        other = _falls(world, second, (then,), Fault.ANOTHER_DIES, others, call, exact=True)
        if not decided:
            last = dice.one_of([each for each in others if each is not other])
            third.within(Stage.ACQUIRE, 2 * len(others), partial(_falls_last, third, last, other))
    else:
        second.at_its_end(partial(_back_then, world, one, third.when_called()))
    return [(first, 0.0), (second, 0.0), (third, 0.0)]


def _in_a_row(world: World, one: Machine, second: Captain, third: Captain) -> None:
    """As soon as one is back another one dies; or it is not back."""
    dice, call = world.dice, third.when_called()
    stages: tuple[Stage, ...] = (dice.one_of(_FINISHING), dice.one_of(_BACKWARD))
    stages = stages if dice.random.random() < _DECIDED else _UNDECIDED
    if dice.random.random() < _IS_BACK:
        call = partial(_back_then, world, one, call)
    others = [each for each in world.machines.values() if each is not one]
    _falls(world, second, stages, Fault.ANOTHER_DIES, others, call)


def _recoverer(world: World, number: int) -> Captain:
    """Who knows that the others are dead, machines and coordinators."""
    captain = Captain(world, number, Errand.RECOVER, prefer=world.dice.one_of(list(Choice)), take_over=True)
    captain.resolute = True
    captain.faults = (Fault.RECOVERER, Fault.TAKE_OVER)
    return captain


def _falls(
    world: World,
    captain: Captain,
    stages: Sequence[Stage],
    kind: Fault,
    machines: Sequence[Machine],
    call: Callable[[], None],
    *,
    exact: bool = False,
) -> Machine:
    """A coordinator stops for ever in the first of these stages that it comes to, and a machine dies; then an
    operator knows. So he does some time after the coordinator has ended otherwise."""
    dice, loop = world.dice, world.loop
    some = dice.one_of(machines)
    fallen: list[Stage] = []

    def dies(machine: Machine) -> None:
        if not (machine.away or dice.healed):
            dice.injected[kind] += 1
            world.dies(machine)
        loop.call_later(dice.between(*_SEEN_S), call)

    def falls(stage: Stage, machine: Machine) -> None:
        if fallen or dice.healed:
            return
        fallen.append(stage)
        dice.injected[Fault.STOPS] += 1
        captain.stop()
        loop.call_later(dice.between(*_SOON_S), dies, machine)

    def calls_at_last() -> None:
        loop.call_later(_AT_LAST_S, call)

    exact = exact or dice.random.random() < _REACHES_ONE
    for stage in stages:
        machine, boundaries = some, 1 + int(dice.between(0, 2 * len(machines)))
        if exact and stage in (Stage.COMMIT, Stage.ABORT, Stage.PURGE):  # the first alone is reached
            machine, boundaries = machines[0], 2
        elif exact and stage is Stage.ACQUIRE:  # all are, and remember it
            machine, boundaries = machines[0], 2 * len(machines)
        elif exact and stage in (Stage.START, Stage.STOP, Stage.SWAP):  # all but the last
            machine, boundaries = machines[-1], len(machines)
        some = machine
        captain.within(stage, boundaries, partial(falls, stage, machine))
    captain.at_its_end(calls_at_last)
    return some


def _falls_last(captain: Captain, machine: Machine, other: Machine) -> None:
    """As `_falls`, when nobody comes afterwards: one is back, another one dies, and the coordinator stops."""
    world = captain.world
    world.returns(other, as_it_was=True)
    if not (machine.away or world.dice.healed):
        world.dice.injected[Fault.ANOTHER_DIES] += 1
        world.dice.injected[Fault.STOPS] += 1
        world.dies(machine)
        captain.stop()


def _one_and_then(world: World, one: Callable[[], None], other: Callable[[], None]) -> None:
    one()
    world.loop.call_later(world.dice.between(*_AT_ONCE_S), other)


def _back_then(world: World, machine: Machine, call: Callable[[], None], *, as_it_was: bool = False) -> None:
    """A machine is back, and then somebody recovers."""
    world.returns(machine, as_it_was=as_it_was)
    world.loop.call_later(world.dice.between(*_SEEN_S), call)


def _interrupted(captain: Captain) -> None:
    captain.world.dice.injected[Fault.CTRL_C] += 1
    captain.interrupted(1)
