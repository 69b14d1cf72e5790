"""I9: all is mended, and a fresh coordinator alone brings the cluster to a clean end, or says why it must not
touch it; then somebody puts that right by hand, and the next one does."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from gausscert_agent import journal_codec
from gausscert_common.protocol.coordinator import Stage, Verdict
from gausscert_common.protocol.state import NodeState, SslSetting
from gausscert_common.protocol.words import Outcome, Phase, RestartScope, Tombstone

from simulation import without_the_dead
from simulation.aftermath import Unclean, at_rest, quiet, recover, refuses, until_quiet
from simulation.content import content
from simulation.faults import Fault

if TYPE_CHECKING:
    from simulation.machine import Machine
    from simulation.world import World

_TRIES: Final = 5
_SETTLED_S: Final = 3.0
"""Until CM has done what its marks say."""


async def clean_end(world: World) -> None:
    """Mend everything, recover, and look.

    Raises:
        Unclean: The cluster is not whole afterwards.
    """
    await _by_people(world, forged=await _mended(world))
    await _recovered(world)
    if world.forgotten:
        await _by_hand(world)
    if any(machine.foreign for machine in world.machines.values()):
        await _put_right(world)
    found = at_rest(world)
    if found:
        raise Unclean(f"I9: no clean end: {'; '.join(found)}")


async def _by_people(world: World, *, forged: bool) -> None:
    """First what people have to see to."""
    if world.dead and (forged or _complicated(world)):
        for name in world.dead:
            world.come_back(world.machines[name])
        await until_quiet(world)
    elif world.dead:
        await without_the_dead.settled(world)
    if any(agent is not None and agent.sealed for agent in world.agents.values()):
        await _journals_back(world)
    elif forged:
        await _forge(world)
    untouchable = [machine for machine in world.machines.values() if machine.untouchable]
    if untouchable:
        await refuses(world)
        for machine in untouchable:
            machine.put_back()
    if _contradictory(world):
        await refuses(world)
        await _by_hand(world)
    if any(machine.renewed for machine in world.machines.values()):
        await without_the_dead.made_alike(world)


async def _journals_back(world: World) -> None:
    """Nobody knows how a node has voted that has lost its journal: nothing is touched before it is put back,
    or before somebody has decided by hand."""
    await refuses(world)
    if world.dice.random.random() < 0.5:
        await _by_hand(world)
        return
    for machine in world.machines.values():
        agent = world.agents[machine.name]
        if agent is not None and agent.sealed:
            machine.restore_journal()
            agent.die()
    await until_quiet(world)


def _complicated(world: World) -> bool:
    """Whether somebody has had his hands in it, so that people would first see to that."""
    sealed = any(agent is not None and agent.sealed for agent in world.agents.values())
    touched = any(each.strangers or each.forgotten for each in world.machines.values())
    return sealed or touched or _contradictory(world)


def _contradictory(world: World) -> bool:
    """Whether a node remembers nothing of a transaction of which another one shows that all had staged it;
    and none remembers that it was rolled back, and holds the same set."""
    machines, aside = world.machines, world.referee.put_aside
    told = [each.state.transaction for each in machines.values() if each.state.transaction is not None]
    for transaction in told:
        name = transaction.transaction_id
        named = (each for each in transaction.participants if each in machines)
        nodes = [machines[each] for each in named if (name, each) not in aside]
        ends = {each.name: each.state.outcome_of(name) for each in nodes}
        blank = [each for each in nodes if each.state.transaction is None and ends[each.name] is None]
        went = [
            each
            for each in nodes
            if each.state.phase in (Phase.SWAPPED, Phase.COMMITTED) or ends[each.name] is Outcome.COMMITTED
        ]
        held = {each.live.bundle_digest for each in nodes if ends[each.name] is Outcome.ABORTED}
        as_others = [each for each in blank if held == {each.live.bundle_digest}]
        if went and len(as_others) < len(blank):
            return True
    return False


async def _by_hand(world: World) -> None:
    """What the runbook has for journals that are lost for good: one set everywhere, no journal, no stage."""
    world.referee.lenient = True
    machines = list(world.machines.values())
    for machine in machines:
        machine.mark(there=True)
    await asyncio.sleep(_SETTLED_S)
    chosen = world.dice.one_of([machine for machine in machines if not machine.foreign])
    label, both = chosen.live.name.partition("/")[0], SslSetting(chosen.ssl_server, chosen.ssl_server)
    for machine in machines:
        machine.put_by_hand(content(label, world.salt(machine.name)), both)
    await _agents_anew(world)
    await _recovered(world)


async def _put_right(world: World) -> None:
    """Where somebody's set was there before the transaction, the cluster never was sound, and is accepted so:
    to put another one in its place now would leave a set that is neither old nor new. Once nobody is in a
    transaction, such a node is not like the others: nothing is touched before somebody has put it right."""
    foreign = [machine for machine in world.machines.values() if machine.foreign]
    if any(machine.state.transaction is not None for machine in foreign):
        await _recovered(world, accept_state=True)
    foreign = [machine for machine in foreign if machine.foreign]
    if foreign and not world.in_flight:
        await refuses(world)
    for machine in foreign:
        machine.put_back()
    await _recovered(world)


async def _mended(world: World) -> bool:
    """Nothing goes wrong any more; what is late still comes, at once or while somebody recovers."""
    dice = world.dice
    forged = dice.would_hit(Fault.FORGED)
    at_once = dice.random.random() < 0.5
    dice.heal()
    world.network.heal()
    _back_or_gone(world, may_stay=not (forged or world.started_outside))
    await until_quiet(world, all_of_it=forged or not at_once)
    _restart_ill(world)
    await until_quiet(world, all_of_it=forged or not at_once)
    for machine in world.machines.values():
        machine.stuck_until_s = machine.blocked_until_s = machine.deaf_until_s = 0.0
        if machine.by_hand:  # whoever has started it has been told
            machine.mark(there=True)
    await asyncio.sleep(0.0 if at_once else _SETTLED_S)
    told = [each.state.transaction for each in world.machines.values()]
    if any(each is not None and each.restart is RestartScope.NONE for each in told):
        for machine in world.machines.values():  # the operator's to stop, and to keep stopped
            machine.mark(there=True)
        await asyncio.sleep(_SETTLED_S)
    world.told("everything", "is mended")
    return forged


def _back_or_gone(world: World, *, may_stay: bool) -> None:
    """Who was away comes back; or, where it was left out and is in nothing else, never will; or it stays as
    dead as it is, and somebody recovers without it."""
    for machine in list(world.machines.values()):
        if not machine.away:
            continue
        apart = world.left_out(machine) and machine.state.transaction is None
        if apart and world.dice.at_last(Fault.GONE):
            world.dice.injected[Fault.GONE] += 1
            world.take_out(machine)
        elif not (may_stay and world.dice.at_last(Fault.WITHOUT)):
            world.come_back(machine)


def _restart_ill(world: World) -> None:
    """An agent that could not find out what is durable when a record had failed: with its disk, it is mended.
    One that has not tried is left as it is."""
    for agent in list(world.agents.values()):
        if agent is not None and agent.cannot_settle:
            agent.die()


async def _recovered(world: World, *, accept_state: bool = False) -> None:
    """What was on its way may take the fence from under a coordinator, or come when it has found nothing to
    do; once nothing is, one coordinator is enough."""
    for _ in range(_TRIES):
        alone = quiet(world, all_of_it=True)
        result = await recover(world, accept_state=accept_state)
        if alone or (quiet(world, all_of_it=True) and not (world.in_flight or result.failures)):
            break
        await until_quiet(world)
    if accept_state and world.in_flight:
        raise Unclean("I9: a cluster that is accepted as it is does not come to an end")
    mixed = world.mixed
    rolled_back = result.verdict is Verdict.ROLLED_BACK
    in_doubt = result.verdict is Verdict.IN_DOUBT or (bool(result.failures) and not rolled_back)
    # Where CM was not touched nobody looks at it: the next recovery sees that sets differ, and refuses.
    unseen = rolled_back and Stage.ROLLBACK_VERIFY not in world.captains[-1].stages
    # Nor is it anything of a transaction what somebody has put on a node that was left out of it.
    outside = rolled_back and not _mixed_within(world, result.transaction_id)
    if in_doubt and world.forgotten:
        return
    # And nodes that differed before it, each by its own journal, differ after it as they did.
    unseen = unseen or (rolled_back and _each_as_before(world, result.transaction_id))
    if in_doubt is not (mixed and not accept_state and not unseen and not outside):
        sets = "different sets" if mixed else "one set"
        failures = "; ".join(str(each) for each in result.failures)
        raise Unclean(f"I9: {result.verdict}, and the nodes hold {sets}: {failures}")
    if world.started_outside:
        for machine in world.machines.values():
            machine.mark(there=False)
    await asyncio.sleep(5.0)


def _each_as_before(world: World, transaction_id: str) -> bool:
    """Whether each node holds the set that the transaction found there."""
    found = ((world.referee.sets.get((transaction_id, name)), each) for name, each in world.machines.items())
    return all(sets is not None and each.live.digest == sets[0] for sets, each in found)


def _mixed_within(world: World, transaction_id: str) -> bool:
    """Whether nodes hold different sets, but for what somebody has put where the transaction never was."""
    sets = {
        machine.live.bundle_digest
        for machine in world.machines.values()
        if not machine.foreign or machine.state.outcome_of(transaction_id) is not None
    }
    return len(sets) > 1


async def _forge(world: World) -> None:
    """Somebody restores journals from backups of another day: what nodes say then contradicts itself, and
    nothing may be touched until the true ones are back."""
    machines = list(world.machines.values())
    told = next((each.state.transaction for each in machines if each.state.transaction is not None), None)
    if told is None or world.referee.excluded.get(told.transaction_id):
        return  # who was left out may well be in another one
    dice = world.dice
    dice.injected[Fault.FORGED] += 1
    world.referee.lenient = True
    true = {each.name: each.record for each in machines}
    first, second = [each for each in machines if each.name in told.participants][:2]
    other = replace(told, transaction_id="t-000-000")
    mine = replace(told, old_digest=first.live.digest)
    others = replace(other, old_digest=second.live.digest)
    if dice.random.random() < 0.5:
        _write(first, replace(first.state, phase=Phase.PREPARED, transaction=mine))
        _write(second, replace(second.state, phase=Phase.PREPARED, transaction=others))
    else:
        _write(first, replace(first.state, phase=Phase.COMMITTED, transaction=mine))
        stones = (Tombstone(told.transaction_id, Outcome.ABORTED), *second.state.tombstones)
        _write(second, replace(second.state, phase=Phase.NONE, transaction=None, tombstones=stones))
    world.told("everything", "journals contradict each other")
    await _agents_anew(world)
    await refuses(world)
    for each in machines:
        each.record = true[each.name]
    world.told("everything", "the true journals are back")
    await _agents_anew(world)


def _write(machine: Machine, state: NodeState) -> None:
    machine.record = json.dumps(journal_codec.encode(replace(journal_codec.Record(), node=state)))


async def _agents_anew(world: World) -> None:
    for machine in world.machines.values():
        agent = world.agents[machine.name]
        if agent is not None:
            agent.die()
    await until_quiet(world)
