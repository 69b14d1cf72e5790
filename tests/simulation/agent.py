"""One process of an agent: the real runner with the real journal codec, ledger, lease, effects and restarter,
over simulated parts. When it dies, all its fibres end where they stand."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from gausscert_agent.alone import Alone
from gausscert_agent.effects import Effects, Given
from gausscert_agent.lease import Lease
from gausscert_agent.ledger import Ledger
from gausscert_agent.restart import Restarter
from gausscert_agent.runner import Done, Runner
from gausscert_agent.ssl_switch import SslSwitcher
from gausscert_agent.standalone import Standalone
from gausscert_agent.watch import Hub
from gausscert_common.errors import GausscertError, NodeFailure, Reason
from gausscert_common.protocol.commands import AcquireCommand, Command
from gausscert_common.protocol.words import Fence
from greenlet import getcurrent

from simulation import cm_parts, disk_parts
from simulation.clock import Died, Fibre, FibreLock
from simulation.faults import Fault
from simulation.machine import Machine
from simulation.telling import Telling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from simulation.child import Child
    from simulation.world import World

STOPPED_FOR_S: Final = 0.3
_GENERATIONS: Final = 2
_WITH_THE_POWER: Final = 0.3
_GIVES_WAY: Final = 0.15
"""How often something else may come between two moves."""


class _SettlingIsNobodys(Runner):
    """The real one; what it settles before a command, after a record that failed, is not that command's. And
    an operator is told where it cannot."""

    def __init__(self, agent: Agent, *parts: Any, **options: Any) -> None:
        super().__init__(*parts, **options)
        self._agent = agent

    def _settle(self) -> None:
        self._agent.cannot_settle = True
        with self._agent.for_nobody():
            super()._settle()
        self._agent.cannot_settle = False


class _WatchedLease(Lease):
    """The real one; the referee sees who is let in."""

    def __init__(self, agent: Agent) -> None:
        super().__init__(agent.world.loop.time, agent.now_s)
        self._agent = agent

    def grant(self, holder: str, duration_s: float) -> None:
        command = self._agent.command()
        take_over = isinstance(command, AcquireCommand) and command.take_over
        self._agent.world.referee.granted(self._agent.machine, holder, self.holder, take_over=take_over)
        super().grant(holder, duration_s)


class Agent:
    """See the module."""

    def __init__(self, world: World, machine: Machine) -> None:
        self.world = world
        self.machine = machine
        self.alive = True
        self.serves = False
        self.cannot_settle = False
        """The last time it has tried to find out what is durable it could not: its disk is ill."""
        self.sealed: NodeFailure | None = None
        """Its journal is gone beside what a transaction has left: it refuses all but to look around."""
        self._fibres: list[Fibre] = []
        self._commands: dict[Fibre, Command] = {}
        hub = Hub()
        loop = world.loop
        ledger = Ledger(disk_parts.SimJournal(self), hub, self.now_s)  # type: ignore[arg-type]
        store = disk_parts.SimStore(self)
        cm = cm_parts.SimCm(self)
        builder = disk_parts.SimBuilder(self)
        alone = Alone(
            cm,  # type: ignore[arg-type]
            monotonic=loop.time,
            sleep=self.wait,
            activity=ledger.activity,
        )
        restarter = Restarter(
            cm,  # type: ignore[arg-type]
            stopped_for_s=STOPPED_FOR_S,
            monotonic=loop.time,
            sleep=self.wait,
            activity=ledger.activity,
            alone=alone,
        )
        switcher = SslSwitcher(cm, disk_parts.SimCopies(machine), alone)  # type: ignore[arg-type]
        effects = Effects(
            store,  # type: ignore[arg-type]
            builder,  # type: ignore[arg-type]
            restarter,
            switcher,
            activity=ledger.activity,
            retired_generations=_GENERATIONS,
        )
        self.lease = _WatchedLease(self)
        self.runner = _SettlingIsNobodys(
            self,
            ledger,
            store,
            cm,
            effects,
            Standalone(ledger, store, builder, restarter, switcher),  # type: ignore[arg-type]
            self.lease,
            lambda: machine.boot,
            mutex=FibreLock(loop),
        )
        self.tells: Telling = Telling(self, store)

    # Its life.

    def start(self) -> None:
        """Settle, then serve. What it raises ends the process; systemd starts another."""

        def recover() -> None:
            try:
                self.runner.recover()
            except GausscertError as error:
                if isinstance(error, NodeFailure) and error.reason is Reason.JOURNAL_DAMAGED:
                    self.sealed, self.serves = error, True
                    self.world.told(self.machine.name, f"the agent serves sealed: {error.message}")
                    return
                self.world.told(self.machine.name, f"the agent cannot start: {error.message}")
                self.die()
            else:
                self.serves = True
                self.world.told(self.machine.name, f"the agent serves, {self.runner.state.phase}")

        self.in_fibre(recover)

    def die(self) -> None:
        """The process ends; a child of it may not. Raises `Died` in a fibre of its own."""
        if not self.alive:
            return
        self.alive = self.serves = False
        dice, machine = self.world.dice, self.machine
        self.world.told(machine.name, "the agent is gone")
        for child in tuple(machine.children.values()):
            child.let_go()
            if machine.powered and (child.held or not dice.hits(Fault.CHILD_SURVIVES)):
                child.end("it dies with its agent")
        self.world.agent_gone(machine)
        me = getcurrent()
        for fibre in tuple(self._fibres):
            if fibre is not me:
                fibre.kill()
        if me in self._fibres:
            me.kill()

    def put_away(self) -> None:
        """The schedule is over: nothing of it runs on."""
        self.alive = self.serves = False
        for fibre in tuple(self._fibres):
            fibre.kill()

    def in_fibre(self, work: Callable[[], None]) -> Fibre:
        """Let it do something of its own."""

        def guarded() -> None:
            try:
                work()
            finally:
                self._fibres.remove(fibre)
                self._commands.pop(fibre, None)

        fibre = Fibre(self.world.loop, guarded)
        self._fibres.append(fibre)
        fibre.begin()
        return fibre

    @property
    def at_work(self) -> bool:
        """Whether it does anything at all."""
        return bool(self._fibres)

    # What its parts ask.

    def wait(self, seconds: float) -> None:
        """Sleep."""
        fibre = getcurrent()
        assert isinstance(fibre, Fibre)
        fibre.wait(seconds)

    def point(self, where: str, fault: Fault) -> None:
        """Between two moves: it may die here, lose power, be slow, or something else may come between."""
        dice = self.world.dice
        kind = fault if self.serves else Fault.CRASH_SETTLING
        if dice.hits(kind):
            if dice.random.random() < _WITH_THE_POWER:
                dice.injected[Fault.POWER_LOSS] += 1
                self.world.told(self.machine.name, f"the power fails {where}")
                self.world.power_cut(self.machine)
            self.world.told(self.machine.name, f"the agent dies {where}")
            self.die()
        if dice.hits(Fault.POWER_LOSS):
            self.world.told(self.machine.name, f"the power fails {where}")
            self.world.power_cut(self.machine)
        if dice.hits(Fault.BLACKOUT):
            self.world.told("everything", f"loses power while {self.machine.name} is {where}")
            self.world.blackout(self.machine)
        if dice.hits(Fault.SLOW_NODE):
            self.world.told(self.machine.name, f"slow {where}")
            self.wait(dice.between(1.0, 2.5) * self.world.timeouts.prepare_s)
        elif dice.random.random() < _GIVES_WAY:
            self.wait(dice.between(0.0, 0.3))

    def fails(self, fault: Fault, reason: Reason = Reason.STORE_FAILED) -> None:
        """An effect may fail here."""
        if self.world.dice.hits(fault):
            self.world.told(self.machine.name, str(fault))
            raise NodeFailure(reason, str(fault))

    def effect(self, what: str) -> None:
        """It is about to change something: I8, and no dead agent does."""
        if not self.alive:
            self.world.referee.broken(f"a dead agent of {self.machine.name} is at {what}")
        command = self.command()
        if command is not None:
            self.world.referee.effect(self.machine, command.fence, what)

    @contextlib.contextmanager
    def for_nobody(self) -> Iterator[None]:
        """What is done meanwhile is done for no command."""
        fibre = getcurrent()
        command = self._commands.pop(fibre, None)  # type: ignore[call-overload]
        yield
        if command is not None:
            self._commands[fibre] = command  # type: ignore[index]

    def fence_of_command(self) -> Fence:
        """Of the command that is carried out here and now."""
        command = self.command()
        return command.fence if command is not None else Fence()

    def await_child(self, child: Child) -> None:
        """Let a child act, and wait for its end; it may be the agent that ends first."""
        fibre = getcurrent()
        assert isinstance(fibre, Fibre)
        dice, loop = self.world.dice, self.world.loop
        if dice.hits(Fault.CRASH_BESIDE_CHILD):
            loop.call_later(dice.between(0.0, 3.0), self._die_beside, child)
        child.begin(fibre.resume)
        while child.alive:
            fibre.park()

    def _die_beside(self, child: Child) -> None:
        if child.alive:
            self.world.told(self.machine.name, "the agent dies beside cm_ctl")
            with contextlib.suppress(Died):
                self.die()

    # What is asked of it.

    def require_open(self) -> None:
        """Raise what `SealedNode` refuses with."""
        if self.sealed is not None:
            raise NodeFailure(self.sealed.reason, self.sealed.message, remedy=self.sealed.remedy)

    def execute(self, command: Command, given: Given, is_active: Callable[[], bool]) -> Done:
        """Carry out a command, in a fibre of its own."""
        fibre = getcurrent()
        assert isinstance(fibre, Fibre)
        self._commands[fibre] = command
        return self.runner.execute(command, given, is_active=is_active)

    def now_s(self) -> float:
        """Seconds since the epoch, by the node's own clock."""
        return self.machine.clock.timestamp()

    def command(self) -> Command | None:
        """What is carried out here and now; None where nobody has asked for it."""
        fibre = getcurrent()
        return self._commands.get(fibre) if isinstance(fibre, Fibre) else None
