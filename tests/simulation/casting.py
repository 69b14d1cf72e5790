"""Who sets out in a schedule, with which errand, and what happens to them and to the nodes by itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from gausscert_common.protocol.coordinator import Stage
from gausscert_common.protocol.recovery import Choice
from gausscert_common.protocol.words import Phase, RestartScope, SslWish

from simulation import dying
from simulation.captain import Captain, Errand, Moment
from simulation.faults import Fault
from simulation.machine import Machine
from simulation.world import BACK_S, LABELS, World

_TYPICAL_S: Final = 25.0
"""How long a transaction takes where nothing goes wrong."""
_BOUNDARIES: Final = 33
"""Requests and answers of it for each node, roughly."""
_STAGES: Final[tuple[Stage, ...]] = (
    *Stage,
    *(Stage.ACQUIRE, Stage.STOP, Stage.SWAP, Stage.START, Stage.VERIFY, Stage.COMMIT, Stage.PURGE) * 3,
)
_OF_A_RECOVERY: Final[tuple[Stage, ...]] = (
    *(Stage.STOP, Stage.COMMIT, Stage.PURGE, Stage.ABORT, Stage.ROLLBACK_START),
    *(Stage.ENSURE_UP,) * 5,
)
"""Moments that matter, or that are rare, come up more often."""
_AT_A_STAGE: Final = 0.5
_AT_A_MOMENT: Final = 0.6
"""So much happens at a certain moment of a coordinator's way, and not at a certain time."""
_RESTARTS: Final = (RestartScope.NODE,) * 6 + (RestartScope.CLUSTER,) * 5 + (RestartScope.NONE,)
_WISHES: Final = (SslWish.KEEP,) * 4 + (SslWish.OFF,) * 3 + (SslWish.ON,)
_ERRANDS: Final = (Errand.REPLACE,) * 7 + (Errand.ROLLBACK,) * 2 + (Errand.SSL,) * 2
_MOST: Final = 3
_RELAYS: Final = 0.1
_JOINERS: Final = 0.4
_DYING: Final = 0.06
_BEHIND: Final = 0.04
_FORGETTING: Final = 0.1
_LOOK_S: Final = 0.002
_OF_A_JOIN: Final = (Stage.PREPARE, Stage.STOP, Stage.SWAP, Stage.START, Stage.VERIFY)
"""That a recovery comes to only when it brings a node over."""
_FORGETS: Final = 0.3
_ACCEPTS: Final = 0.15
_LATE: Final = 0.3
_LATE_S: Final = 400.0
"""So many come when all leases have run out."""
_OTHERS: Final = {
    Fault.RECOVERER: Choice.ROLL_BACK,
    Fault.FINISHER: Choice.FINISH,
    Fault.BEGINNER: Choice.ROLL_BACK,
}
"""Who else may come, and what is preferred by one that recovers."""


def commission(world: World) -> list[tuple[Captain, float]]:
    """The first begins a transaction; the others come whenever they come."""
    dice = world.dice
    restart = dice.one_of(_RESTARTS)
    if restart is RestartScope.NONE:
        world.started_outside = True
        _stop_outside(world)
    first = _captain(world, 1, dice.one_of(_ERRANDS), restart)
    if restart is not RestartScope.NONE and dice.random.random() < _DYING:
        return dying.cast(world, first)
    if restart is not RestartScope.NONE and dice.random.random() < _BEHIND:
        return _left_behind(world, first)
    _misfortune(world, first)
    captains = [(first, 3.0 if restart is RestartScope.NONE else 0.0)]
    if world.somebody_away and dice.random.random() < _JOINERS:
        return captains + _joiners(world, first)
    if dice.random.random() < _RELAYS:
        captains += _relay(world, first)
    for kind, prefer in _OTHERS.items():
        if len(captains) < _MOST and dice.would_hit(kind):
            errand = dice.one_of(_ERRANDS) if kind is Fault.BEGINNER else Errand.RECOVER
            other = _captain(world, len(captains) + 1, errand, dice.one_of(_RESTARTS[:-1]), prefer)
            other.faults = (kind, Fault.TAKE_OVER) if other.take_over else (kind,)
            captains.append((other, _sets_out_s(world, other, captains[0][0], captains[-1][0])))
    for captain, _ in captains:
        _fate(world, captain)
    return captains


def _relay(world: World, first: Captain) -> list[tuple[Captain, float]]:
    """A coordinator stops for ever once it has sent Commit, another one finishes, and a third one takes over
    from that one before it has ended: of all of that by chance comes too little."""
    dice = world.dice
    first.at(dice.one_of((Stage.COMMIT, Stage.PURGE)), first.stops)
    relay, joined = [], first
    for number, moments in (
        (2, (Stage.COMMIT, Stage.PURGE)),
        (3, (Stage.PURGE, Stage.PURGE, Stage.ENSURE_UP)),
    ):
        other = _captain(world, number, Errand.RECOVER, first.restart, Choice.FINISH)
        other.take_over = True
        other.faults = (Fault.FINISHER, Fault.TAKE_OVER)
        other.joins(joined, dice.one_of(moments))
        relay.append((other, 0.0))
        joined = other
    return relay


def _misfortune(world: World, first: Captain) -> None:
    """What comes too rarely by chance alone."""
    if world.dice.would_hit(Fault.AWAY):
        _away_at_first(world, first)
    elif world.dice.random.random() < _FORGETTING:
        _forgetting(world, first)


def _away_at_first(world: World, first: Captain) -> None:
    """A node is down before anybody begins, and the first one means to do without it."""
    machine = world.dice.one_of(list(world.machines.values()))
    world.dice.injected[Fault.AWAY] += 1
    world.send_away(machine)
    first.errand, first.label = Errand.REPLACE, LABELS[0]


def _joiners(world: World, first: Captain) -> list[tuple[Captain, float]]:
    """The node that was left out is back when the first has ended; one coordinator begins to bring it over
    and stops for ever, and another one finds that."""
    machine, dice = world.somebody_away, world.dice
    assert machine is not None
    second = _recoverer(world, 2, first)
    second.forgetful = False
    second.at(dice.one_of(_OF_A_JOIN), second.stops)
    first.at_its_end(partial(world.returns, machine))
    third = _recoverer(world, 3, second)
    return [(second, dice.between(1.0, 5.0)), (third, dice.between(0.0, 1.0))]


def _left_behind(world: World, first: Captain) -> list[tuple[Captain, float]]:
    """A node goes away when all others come to the end of a transaction; the next one is begun without it,
    and then it is back."""
    dice = world.dice
    machine = dice.one_of(list(world.machines.values()))

    def goes() -> None:
        if not dice.healed:
            dice.injected[Fault.AWAY] += 1
            world.send_away(machine)

    first.errand, first.label = Errand.REPLACE, LABELS[0]
    first.at(dice.one_of((Stage.CLEAN, Stage.PURGE)), goes)
    if dice.random.random() < 0.5:
        first.at(Stage.VERIFY, partial(_interrupt, first, Fault.CTRL_C, 1))
    second = _captain(world, 2, Errand.REPLACE, RestartScope.NODE)
    second.take_over, second.faults = True, (Fault.BEGINNER, Fault.TAKE_OVER)
    second.after(first)
    second.at_its_end(partial(world.returns, machine))
    third = _recoverer(world, 3, second)
    return [(first, 0.0), (second, 0.0), (third, dice.between(1.0, 5.0))]


def _forgetting(world: World, first: Captain) -> None:
    """A node loses its journal where that leaves no stage: when it has ended a transaction that others are in
    still, or where only enable_ssl changes, of which a mark is left. Then the coordinator stops for ever."""
    dice = world.dice
    machine = dice.one_of(list(world.machines.values()))

    def forgets(machine: Machine) -> None:
        if machine.powered and not dice.healed:
            dice.injected[Fault.STATE_LOST] += 1
            world.lose_journal(machine, wiped=True)
            first.stops()

    if dice.random.random() < 0.5:
        first.at(Stage.VERIFY, partial(_alone, world, Phase.NONE, Phase.COMMITTED, forgets))
        return
    first.errand, first.ssl_wish, first.label = Errand.SSL, world.other_ssl, ""
    if dice.random.random() < 0.5:
        moment = dice.one_of((Stage.SWAP, Stage.START, Stage.VERIFY, Stage.COMMIT, Stage.ABORT))
        first.at(moment, partial(forgets, machine))
    else:
        first.at(Stage.VERIFY, partial(_interrupt, first, Fault.CTRL_C, 1))
        first.at(Stage.ROLLBACK_STOP, partial(_alone, world, Phase.SWAPPED, Phase.ABORTED, forgets))


def _alone(
    world: World, phase: Phase, others: Phase, act: Callable[[Machine], None], looks: int = 1000
) -> None:
    """As soon as one node is in a phase and all others in another one: by chance alone that is rare."""
    found = [each for each in world.machines.values() if each.state.phase is phase]
    rest = [each for each in world.machines.values() if each.state.phase is others]
    if len(found) == 1 and len(found) + len(rest) == len(world.machines):
        act(found[0])
    elif looks and not world.dice.healed:
        world.loop.call_later(_LOOK_S, _alone, world, phase, others, act, looks - 1)


def _recoverer(world: World, number: int, before: Captain) -> Captain:
    """Comes when another one has ended."""
    captain = _captain(world, number, Errand.RECOVER, before.restart, world.dice.one_of(list(Choice)))
    captain.take_over, captain.faults = True, (Fault.RECOVERER, Fault.TAKE_OVER)
    captain.after(before)
    return captain


def _stop_outside(world: World) -> None:
    """The operator stops CM, and may forget a node."""
    machines = list(world.machines.values())
    forgotten = world.dice.one_of(machines) if world.dice.random.random() < _FORGETS else None
    for machine in machines:
        if machine is not forgotten:
            machine.mark(there=True)
            machine.sync_mark()


def _stop_one(world: World) -> None:
    """It was stopped on purpose before, and the cluster is accepted so."""
    machine = world.dice.one_of(list(world.machines.values()))
    machine.mark(there=True)
    machine.sync_mark()


def _captain(
    world: World,
    number: int,
    errand: Errand,
    restart: RestartScope,
    prefer: Choice = Choice.ROLL_BACK,
) -> Captain:
    """The first need not take over from anybody, and to switch SSL is to want it on or off."""
    dice = world.dice
    captain = Captain(
        world,
        number,
        errand,
        label=LABELS[number - 1] if errand is Errand.REPLACE else "",
        prefer=prefer,
        take_over=number > 1 and dice.would_hit(Fault.TAKE_OVER),
        restart=restart,
        ssl_wish=world.other_ssl if errand is Errand.SSL else dice.one_of(_WISHES),
        accept_state=dice.random.random() < _ACCEPTS,
    )
    captain.forgetful = dice.random.random() < _FORGETS
    if errand is Errand.RECOVER and dice.would_hit(Fault.MISTAKEN):
        captain.mistaken = (dice.one_of(list(world.machines)),)
    return captain


def _sets_out_s(world: World, captain: Captain, first: Captain, last: Captain) -> float:
    """When; 0 for one that waits for a moment of another one's way."""
    dice = world.dice
    if dice.random.random() < _AT_A_MOMENT:
        joined = dice.one_of([first, last, last])
        captain.joins(joined, _moment(world, joined))
        return 0.0
    late = dice.random.random() < _LATE
    return dice.between(0, _LATE_S if late else _TYPICAL_S)


def _moment(world: World, captain: Captain) -> Moment:
    """Some moment of a coordinator's way."""
    if world.dice.random.random() < _AT_A_STAGE:
        recovers = captain.errand is Errand.RECOVER
        return world.dice.one_of(_OF_A_RECOVERY if recovers else _STAGES)
    return 1 + int(world.dice.between(0, _BOUNDARIES * len(world.machines)))


def _fate(world: World, captain: Captain) -> None:
    dice = world.dice
    if dice.would_hit(Fault.STOPS):
        captain.at(_moment(world, captain), captain.stops)
    for kind, times in ((Fault.CTRL_C, 1), (Fault.CTRL_C_TWICE, 2), (Fault.CTRL_C_THRICE, 3)):
        if dice.would_hit(kind):
            captain.at(_moment(world, captain), partial(_interrupt, captain, kind, times))
            return


def _interrupt(captain: Captain, kind: Fault, times: int) -> None:
    captain.world.dice.injected[kind] += 1
    captain.interrupted(times)


def ordain(world: World, captains: list[Captain]) -> None:
    """What happens to nodes by itself, at any time, or at any moment of a coordinator's way."""
    dice, loop = world.dice, world.loop

    def some_time(kind: Fault, most: int, act: Callable[[Machine], None]) -> None:
        def happens(machine: Machine) -> None:
            if machine.powered and not dice.healed:
                dice.injected[kind] += 1
                act(machine)

        for _ in range(most):
            if dice.would_hit(kind):
                machine = dice.one_of(list(world.machines.values()))
                if dice.random.random() < _AT_A_MOMENT:
                    captain = dice.one_of([captains[0], *captains])
                    captain.at(_moment(world, captain), partial(happens, machine))
                else:
                    loop.call_later(dice.between(0.0, 1.5 * _TYPICAL_S), happens, machine)

    some_time(Fault.FOREIGN, 1, Machine.put_foreign)
    some_time(Fault.AWAY, 1, world.send_away)
    some_time(Fault.DIES, 1, lambda machine: _die(world, machine))
    some_time(Fault.JOURNAL_LOST, 1, lambda machine: world.lose_journal(machine, wiped=False))
    some_time(Fault.STATE_LOST, 1, lambda machine: world.lose_journal(machine, wiped=True))
    some_time(Fault.LEASE_ENDS, 3, lambda machine: _end_lease(world, machine))
    some_time(Fault.CM_DIES, 2, Machine.die)
    some_time(Fault.CM_DEAF, 2, lambda machine: _deafen(world, machine))
    some_time(Fault.PARTITION, 2, lambda machine: _cut(world, machine))
    for machine in world.machines.values():
        if dice.hits(Fault.CLOCK_SKEW):
            machine.skew_s = dice.between(-200.0, 200.0)


def _die(world: World, machine: Machine) -> None:
    world.dies(machine)
    if world.dice.would_hit(Fault.RETURNS):
        world.loop.call_later(world.dice.between(*BACK_S), world.returns, machine)


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
        holder = world.dice.one_of(world.captains).holder
        world.network.cut(holder, machine.name, world.dice.between(1.0, 60.0))
