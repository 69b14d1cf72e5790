"""What every end needs: rest, one more coordinator that knows nothing, and to see that it touches nothing
where nothing may be touched."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from gausscert_common.errors import Reason
from gausscert_common.protocol.coordinator import Verdict
from gausscert_common.protocol.recovery import Choice
from gausscert_common.protocol.words import Phase
from gausscert_coordinator.report import Result

from simulation.captain import Captain, Errand

if TYPE_CHECKING:
    from simulation.machine import Machine
    from simulation.world import World

_PATIENCE_S: Final = 1200.0


class Unclean(Exception):
    """No clean end."""


async def until_quiet(world: World, *, all_of_it: bool = True) -> None:
    """Until every node that is there serves and does nothing; and nothing is on its way, if that counts."""
    waited_s = 0.0
    while not quiet(world, all_of_it=all_of_it):
        await asyncio.sleep(1.0)
        waited_s += 1.0
        if waited_s > _PATIENCE_S:
            raise Unclean("I9: a node does not come to rest")


def quiet(world: World, *, all_of_it: bool) -> bool:
    """Whether it is so now."""
    for machine in world.there:
        agent = world.agents[machine.name]
        if not machine.powered or agent is None or not agent.serves or agent.at_work or machine.children:
            return False
    return not (all_of_it and world.network.on_the_way)


async def recover(world: World, *, accept_state: bool = False, without: bool = False) -> Result:
    """By somebody who has never been here; perhaps without whoever is dead."""
    number = 10 + len(world.captains)
    prefer = world.dice.one_of(list(Choice))
    captain = Captain(world, number, Errand.RECOVER, prefer=prefer, take_over=True, accept_state=accept_state)
    captain.resolute = without
    world.captains.append(captain)
    await captain.begin()
    assert captain.result is not None
    return captain.result


async def refuses(world: World, *, without: bool = False) -> None:
    """Touches nothing, and says so."""
    before = {name: _durable(machine) for name, machine in world.machines.items()}
    result = await recover(world, without=without)
    damaged = any(error.reason is Reason.JOURNAL_DAMAGED for error in result.failures)
    if not result.failures or (result.verdict is not Verdict.IN_DOUBT and not damaged):
        raise Unclean(f"I10: {result.verdict}, where nothing may be touched")
    if before != {name: _durable(machine) for name, machine in world.machines.items()}:
        raise Unclean("I10: something was touched where nothing may be")


def at_rest(world: World) -> list[str]:
    """What is not as it must be on the nodes that are there, once somebody has recovered; [] if all is. Where
    some are dead a transaction may stand."""
    there, found = world.there, []
    if world.mixed:
        found.append("the nodes have different sets")
    if len({(each.ssl_server, each.ssl_agent) for each in there}) > 1:
        found.append("the nodes differ in enable_ssl")
    ended = {Phase.NONE, Phase.COMMITTED} if world.dead else {Phase.NONE}
    for each in there:
        if each.state.phase not in ended or each.children:
            found.append(f"{each.name} is in phase {each.state.phase}")
        elif each.beside and each.state.phase is Phase.NONE:
            found.append(f"{each.name} has {', '.join(each.beside)} left over")
        if each.marks and each.state.phase is Phase.NONE:
            found.append(f"{each.name} has a mark of {', '.join(sorted(each.marks))} left over")
        if each.manual_stop or each.loaded is None:
            found.append(f"CM of {each.name} is down")
        elif each.loaded is not each.live:
            found.append(f"CM of {each.name} runs {each.loaded.name}, and {each.live.name} is live")
    return found


def _durable(machine: Machine) -> tuple[object, ...]:
    return machine.record, machine.live, tuple(machine.beside.items()), machine.manual_stop, machine.switch()
