"""All is mended but for machines that are dead: one coordinator alone brings the others to an end without
them, or says why only they can tell. Then they are back with their old disks, or others stand in their
places, or they are taken out of the cluster."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from gausscert_common.protocol.coordinator import Verdict
from gausscert_common.protocol.state import SslSetting
from gausscert_common.protocol.words import Phase

from simulation.aftermath import Unclean, at_rest, quiet, recover, refuses, until_quiet
from simulation.content import content
from simulation.faults import Fault

if TYPE_CHECKING:
    from gausscert_coordinator.report import Result

    from simulation.machine import Machine
    from simulation.world import World

_TRIES: Final = 5
_SETTLED_S: Final = 3.0
"""Until CM has done what its marks say."""
_RECOVERS_BETWEEN: Final = 0.5
_NEW_SET: Final = frozenset({Phase.SWAPPED, Phase.COMMITTED})
"""Phases of nodes that may come to have it."""


async def settled(world: World) -> None:
    """See the module.

    Raises:
        Unclean: The others are not whole afterwards, or nothing was done although something could be.
    """
    dead = [world.machines[name] for name in world.dead]
    if any(machine.renewed for machine in world.there):
        await made_alike(world)
    result = await _recovered(world)
    if result.verdict is Verdict.IN_DOUBT:
        why = _only_they_know(world)
        if not why:
            failures = "; ".join(str(each) for each in result.failures)
            raise Unclean(f"I9: {result.verdict} without {', '.join(world.dead)}: {failures}")
        world.told("everything", f"waits for the dead: {why}")
        for machine in dead:
            world.come_back(machine)
        await until_quiet(world)
        return
    found = at_rest(world)
    if found:
        raise Unclean(f"I9: no clean end without {', '.join(world.dead)}: {'; '.join(found)}")
    for machine in dead:
        await _what_becomes_of(world, machine)


async def _recovered(world: World) -> Result:
    """As with all nodes: once nothing is on its way any more, one coordinator is enough; but CM that was kept
    down on a node that is back is started by the next one."""
    for _ in range(_TRIES):
        alone = quiet(world, all_of_it=True)
        result = await recover(world, without=True)
        if alone:
            break
        await until_quiet(world)
    await asyncio.sleep(_SETTLED_S)
    return result


def _only_they_know(world: World) -> str:
    """Why nobody but the dead can tell how it ended; "" if the others could have gone on."""
    there = world.there
    told = next((each.state.transaction for each in there if each.state.transaction is not None), None)
    if told is None:
        return ""
    name = told.transaction_id
    aside = world.referee.put_aside
    nodes = [each for each in there if each.name in told.participants and (name, each.name) not in aside]
    ended = (Phase.COMMITTED, Phase.ABORTED)
    if any(each.state.phase in ended or each.state.outcome_of(name) for each in nodes):
        return ""
    if len(nodes) < len(told.participants) - len(nodes):
        return "they are more than half"
    inside = [each for each in nodes if each.state.phase is not Phase.NONE]
    if all(each.name in world.referee.excluded.get(name, ()) for each in inside):
        return "all others were left out before"
    return ""


async def _what_becomes_of(world: World, machine: Machine) -> None:
    dice = world.dice
    without = world.done_without(machine)
    if without and dice.at_last(Fault.GONE):
        dice.injected[Fault.GONE] += 1
        world.take_out(machine)
    else:
        world.come_back(machine, anew=without and dice.at_last(Fault.NEW_MACHINE))
        await until_quiet(world)
    if dice.random.random() < _RECOVERS_BETWEEN:
        await recover(world, without=True)


async def made_alike(world: World) -> None:
    """New machines beside nodes that have turned back: where one holds another set CM is not started, or
    nothing is touched, and somebody puts theirs there. Beside nodes that have committed they join."""
    await until_quiet(world)
    await recover(world, without=True)
    new = [each for each in world.there if each.renewed]
    other = next((each for each in world.there if not (each.renewed or each.foreign)), None)
    if other is None or any(each.state.phase in _NEW_SET for each in world.there):
        return
    unlike = [each for each in new if each.live.bundle_digest != other.live.bundle_digest]
    if unlike and not world.in_flight:
        await refuses(world, without=True)
    label, ssl = other.live.name.partition("/")[0], SslSetting(other.ssl_server, other.ssl_agent)
    for machine in new:
        if machine not in unlike and machine.setting == other.setting:
            continue
        machine.mark(there=True)
        await asyncio.sleep(_SETTLED_S)
        machine.put_by_hand(content(label, world.salt(machine.name)), ssl)
        agent = world.agents[machine.name]
        if agent is not None:
            agent.die()
    await until_quiet(world)
