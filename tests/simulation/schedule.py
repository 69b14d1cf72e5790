"""One seed from its beginning to its end: coordinators set out, things go wrong; then all is mended, and a
fresh coordinator alone must bring the cluster to a clean end."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from gausscert_common.protocol.coordinator import Stage
from gausscert_common.protocol.recovery import Choice
from gausscert_common.protocol.words import RestartScope, SslWish
from simulation import ending
from simulation.captain import Captain, Errand, Moment
from simulation.clock import Standstill, VirtualLoop
from simulation.faults import Fault
from simulation.machine import Machine
from simulation.referee import Violated
from simulation.world import LABELS, World

_BOOSTS: Final = (1.0, 4.0, 16.0, 64.0)
_TYPICAL_S: Final = 25.0
"""How long a transaction takes where nothing goes wrong."""
_BOUNDARIES: Final = 33
"""Requests and answers of it for each node, roughly."""
_STAGES: Final = (
    *Stage,
    *(Stage.STOP, Stage.SWAP, Stage.COMMIT, Stage.PURGE) * 3,
    *(Stage.ENSURE_UP,) * 6,
)
"""Moments that matter, or that are rare, come up more often."""
_AT_A_STAGE: Final = 0.5
_AT_A_MOMENT: Final = 0.6
"""So much happens at a certain moment of a coordinator's way, and not at a certain time."""
_RESTARTS: Final = (RestartScope.NODE,) * 6 + (RestartScope.CLUSTER,) * 5 + (RestartScope.NONE,)
_WISHES: Final = (SslWish.KEEP,) * 4 + (SslWish.OFF,) * 3 + (SslWish.ON,)
_WHAT_CAPTAINS_DO: Final = {
    Fault.RECOVERER: (Errand.RECOVER, Choice.ROLL_BACK),
    Fault.FINISHER: (Errand.RECOVER, Choice.FINISH),
    Fault.REPLACER: (Errand.REPLACE, Choice.ROLL_BACK),
}


@dataclass(frozen=True)
class Ended:
    """What came of a schedule."""

    seed: int
    violation: str
    """"" if all went as it must."""
    faults: Counter[Fault]
    trace: list[tuple[float, str, str]]
    """When, who, what."""
    verdicts: tuple[str, ...]
    """Of all coordinators; "stopped" of one that has stopped for ever."""
    seconds: float
    """Of simulated time."""


def run(seed: int) -> Ended:
    """Play it; one in which nothing went wrong is played again with worse luck."""
    with _reproducible(seed):
        ended = [_played(seed, boost) for boost in _BOOSTS[:1]]
        while not ended[-1].faults and len(ended) < len(_BOOSTS):
            ended.append(_played(seed, _BOOSTS[len(ended)]))
    return ended[-1]


@contextmanager
def _reproducible(seed: int) -> Iterator[None]:
    """The product's own chance is the seed's as well: tenacity takes its jitter from `random`. Its logs
    tell nothing that the trace does not."""
    state = random.getstate()
    random.seed(seed)
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(disabled)
        random.setstate(state)


def _played(seed: int, boost: float) -> Ended:
    loop = VirtualLoop()
    try:
        return _play(loop, seed, boost)
    finally:
        loop.close()


def _play(loop: VirtualLoop, seed: int, boost: float) -> Ended:
    bugs: list[str] = []
    world = World(loop, seed, boost)
    over = loop.create_future()

    def on_exception(_: object, context: dict[str, Any]) -> None:
        bugs.append(_told(context))
        if not over.done():
            over.set_result(None)

    def on_end(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            bugs.append(_told({"exception": task.exception()}))
        if not over.done():
            over.set_result(None)

    loop.set_exception_handler(on_exception)
    whole = loop.create_task(_whole(world))
    whole.add_done_callback(on_end)
    try:
        loop.run_until_complete(over)
    except Standstill as error:
        bugs.append(f"standstill: {error}")
    _put_away(loop, world)
    violation = world.referee.violation or next(iter(bugs), "")
    if violation:
        world.told("referee", violation)
    verdicts = tuple("stopped" if each.result is None else each.result.verdict.value for each in world.captains)
    return Ended(seed, violation, world.dice.injected, world.trace, verdicts, loop.time())


async def _whole(world: World) -> None:
    for machine in world.machines.values():
        world.start_agent(machine)
    await asyncio.sleep(0.5)
    captains = _commission(world)
    _ordain(world, captains[0][0])
    await asyncio.gather(*(_from(world, each, at_s) for each, at_s in captains))
    await ending.clean_end(world)


async def _from(world: World, captain: Captain, at_s: float) -> None:
    await asyncio.sleep(at_s)
    await captain.awaited()
    world.captains.append(captain)
    await asyncio.gather(captain.begin(), return_exceptions=False)


def _commission(world: World) -> list[tuple[Captain, float]]:
    """The first replaces; the others come whenever they come."""
    dice = world.dice
    restart = dice.one_of(_RESTARTS)
    if restart is RestartScope.NONE:
        for machine in world.machines.values():
            machine.mark(there=True)
            machine.sync_mark()
    first = Captain(
        world, 1, Errand.REPLACE, label=LABELS[0], restart=restart, ssl_wish=dice.one_of(_WISHES)
    )
    captains = [(first, 3.0 if restart is RestartScope.NONE else 0.0)]
    for kind, (errand, prefer) in _WHAT_CAPTAINS_DO.items():
        if len(captains) < 3 and dice.hits(kind):
            number = len(captains) + 1
            other = Captain(
                world,
                number,
                errand,
                label=LABELS[number - 1] if errand is Errand.REPLACE else "",
                prefer=prefer,
                take_over=dice.hits(Fault.TAKE_OVER),
                restart=dice.one_of(_RESTARTS[:-1]),
                ssl_wish=dice.one_of(_WISHES),
            )
            if dice.random.random() < _AT_A_MOMENT:
                joined = dice.one_of([captains[0][0], captains[-1][0], captains[-1][0]])
                other.joins(joined, _moment(world))
                captains.append((other, 0.0))
            else:
                late = dice.random.random() < 0.3
                captains.append((other, dice.between(0, 400 if late else _TYPICAL_S)))
    for captain, _ in captains:
        _fate(world, captain)
    return captains


def _moment(world: World) -> Moment:
    """Some moment of a coordinator's way."""
    if world.dice.random.random() < _AT_A_STAGE:
        return world.dice.one_of(_STAGES)
    return 1 + int(world.dice.between(0, _BOUNDARIES * len(world.machines)))


def _fate(world: World, captain: Captain) -> None:
    dice = world.dice
    if dice.random.random() < dice.chances[Fault.STOPS]:
        captain.at(_moment(world), captain.stops)
    for kind, times in ((Fault.CTRL_C, 1), (Fault.CTRL_C_TWICE, 2), (Fault.CTRL_C_THRICE, 3)):
        if dice.random.random() < dice.chances[kind]:
            captain.at(_moment(world), partial(_interrupt, captain, kind, times))
            return


def _interrupt(captain: Captain, kind: Fault, times: int) -> None:
    captain.world.dice.injected[kind] += 1
    captain.interrupted(times)


def _ordain(world: World, first: Captain) -> None:
    """What happens to nodes by itself, at any time, or at any moment of the first coordinator's way."""
    dice, loop = world.dice, world.loop

    def some_time(kind: Fault, most: int, act: Callable[[Machine], None]) -> None:
        def happens(machine: Machine) -> None:
            if machine.powered and not dice.healed:
                dice.injected[kind] += 1
                act(machine)

        for _ in range(most):
            if dice.random.random() < dice.chances[kind]:
                machine = dice.one_of(list(world.machines.values()))
                if dice.random.random() < _AT_A_MOMENT:
                    first.at(_moment(world), partial(happens, machine))
                else:
                    loop.call_later(dice.between(0.0, 1.5 * _TYPICAL_S), happens, machine)

    some_time(Fault.FOREIGN, 1, Machine.put_foreign)
    some_time(Fault.BY_HAND, 1, Machine.start_by_hand)
    some_time(Fault.LEASE_ENDS, 3, lambda machine: _end_lease(world, machine))
    some_time(Fault.CM_DIES, 2, Machine.die)
    some_time(Fault.CM_DEAF, 2, lambda machine: _deafen(world, machine))
    some_time(Fault.PARTITION, 2, lambda machine: _cut(world, machine))
    for machine in world.machines.values():
        if dice.hits(Fault.CLOCK_SKEW):
            machine.skew_s = dice.between(-200.0, 200.0)


def _end_lease(world: World, machine: Machine) -> None:
    agent = world.agents[machine.name]
    if agent is not None:
        world.told(machine.name, "its lease ends early")
        agent.lease.release()


def _deafen(world: World, machine: Machine) -> None:
    world.told(machine.name, "its cm_server does not answer")
    machine.deaf_until_s = world.now_s + world.dice.between(2.0, 40.0)


def _cut(world: World, machine: Machine) -> None:
    if world.captains:
        world.network.cut(world.dice.one_of(world.captains).holder, machine.name, world.dice.between(1.0, 60.0))


def _put_away(loop: VirtualLoop, world: World) -> None:
    """Nothing of it goes on, and nothing complains of not having come to its end."""
    loop.set_exception_handler(lambda *_: None)
    for agent in world.agents.values():
        if agent is not None:
            agent.put_away()
    tasks = asyncio.all_tasks(loop)
    for task in sorted(tasks, key=lambda each: each.get_name()):
        task.cancel()
    if tasks:
        gathered = asyncio.gather(*tasks, return_exceptions=True)
        try:
            loop.run_until_complete(gathered)
        except (Standstill, Violated):
            pass


def _told(context: dict[str, Any]) -> str:
    error = context.get("exception")
    if error is None:
        return f"bug: {context.get('message')}"
    if isinstance(error, Violated | ending.Unclean):
        return str(error)
    at, where = error.__traceback__, ""
    while at is not None:
        where, at = f"{at.tb_frame.f_code.co_filename.rpartition('/')[2]}:{at.tb_lineno}", at.tb_next
    return f"bug: {type(error).__name__}: {error} ({where})"
