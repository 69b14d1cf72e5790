"""One seed from its beginning to its end: coordinators set out, things go wrong; then all is mended, and a
fresh coordinator alone must bring the cluster to a clean end."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from simulation import casting, ending
from simulation.aftermath import Unclean
from simulation.captain import Captain
from simulation.clock import Standstill, VirtualLoop
from simulation.faults import Fault
from simulation.referee import Violated
from simulation.world import World

_BOOSTS: Final = (1.0, 4.0, 16.0, 64.0)


@dataclass(frozen=True)
class Ended:
    """What came of a schedule."""

    seed: int
    violation: str
    """"" if all went as it must."""
    faults: Counter[Fault]
    trace: list[tuple[float, str, str]]
    """When, who, what."""
    ends: tuple[str, ...]
    """Errand and verdict of all coordinators; "stopped" of one that has stopped for ever."""
    seconds: float
    """Of simulated time."""

    @property
    def digest(self) -> str:
        """Of all of it: two that have the same went the same way."""
        told = (self.trace, self.violation, sorted(self.faults.items()), self.ends, self.seconds)
        return hashlib.sha256(repr(told).encode()).hexdigest()


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
    ends = tuple(f"{each.errand}: {each.verdict}" for each in world.captains)
    return Ended(seed, violation, world.dice.injected, world.trace, ends, loop.time())


async def _whole(world: World) -> None:
    for machine in world.machines.values():
        world.start_agent(machine)
    await asyncio.sleep(0.5)
    captains = casting.commission(world)
    casting.ordain(world, [each for each, _ in captains])
    await asyncio.gather(*(_from(world, each, at_s) for each, at_s in captains))
    await ending.clean_end(world)


async def _from(world: World, captain: Captain, at_s: float) -> None:
    await asyncio.sleep(at_s)
    await captain.awaited()
    if world.in_flight or any(each.at_work for each in world.captains):
        world.dice.injected.update(captain.faults)
    world.captains.append(captain)
    await asyncio.gather(captain.begin(), return_exceptions=False)


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
        with suppress(Standstill, Violated):
            loop.run_until_complete(gathered)


def _told(context: dict[str, Any]) -> str:
    error = context.get("exception")
    if error is None:
        return f"bug: {context.get('message')}"
    if isinstance(error, Violated | Unclean):
        return str(error)
    at, where = error.__traceback__, ""
    while at is not None:
        where, at = f"{at.tb_frame.f_code.co_filename.rpartition('/')[2]}:{at.tb_lineno}", at.tb_next
    return f"bug: {type(error).__name__}: {error} ({where})"
