"""A cm_ctl that stops or starts CM. It acts while its agent waits for it, and may act on when that has died.

It marks the nodes it is for and waits until their CM has followed; what it says at its end is another matter
(facts sections 8 and 17).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from gausscert_common.errors import NodeFailure, Reason
from gausscert_common.protocol.words import Fence

from simulation.faults import Fault

if TYPE_CHECKING:
    import asyncio

    from simulation.machine import Machine
    from simulation.world import World

_LOOK_EVERY_S: Final = 0.5
_USUAL_S: Final = (0.05, 0.6)
_SLOW_S: Final = (0.6, 6.0)
"""Until it acts: through ssh, with a node that answers late, it takes its time."""
_SLOW: Final = 0.2
_STOP_FAULTS: Final = (Fault.STOP_FAILS, Fault.STOP_HALF, Fault.STOP_CLAIMS, Fault.STALE_PROCESS)
_START_FAULTS: Final = (
    Fault.START_FAILS,
    Fault.START_HALF,
    Fault.START_CLAIMS,
    Fault.START_DENIES,
    Fault.START_BLOCKED,
)


class Child:
    """One run of it.

    Args:
        world: Where.
        machine: On which node it runs.
        targets: The nodes it is to stop or start.
        stop: Else it starts them.
        fence: Of the command it was begun for.
        timeout_s: When its agent ends it.
    """

    def __init__(
        self,
        world: World,
        machine: Machine,
        targets: tuple[Machine, ...],
        *,
        stop: bool,
        fence: Fence,
        timeout_s: float,
    ) -> None:
        self.pid = world.next_pid()
        self.ticks = self.pid * 7
        self._world = world
        self._machine = machine
        self._targets = targets
        self._stop = stop
        self._fence = fence
        self._deadline_s = world.now_s + timeout_s
        self._timer: asyncio.TimerHandle | None = None
        self._listener: Callable[[], None] | None = None
        self.outcome: NodeFailure | None = None
        self.alive = True
        self.journalled = True
        """Whoever comes after its agent can know of it."""
        self.held = True
        """At the gate: whoever opens it has not journalled it yet, and without him it never opens."""
        machine.children[self.pid] = self
        self._fault = next(
            (each for each in (_STOP_FAULTS if stop else _START_FAULTS) if world.dice.hits(each)), None
        )

    @property
    def _verb(self) -> str:
        return "stop" if self._stop else "start"

    def begin(self, listener: Callable[[], None]) -> None:
        """It is journalled, and may act."""
        self._listener, self.held = listener, False
        dice = self._world.dice
        slow = not dice.healed and dice.random.random() < _SLOW
        self._after(dice.between(*(_SLOW_S if slow else _USUAL_S)), self._act)

    def let_go(self) -> None:
        """Nobody waits for it any more."""
        self._listener = None

    def end(self, why: str) -> None:
        """It is killed, or has come to its end."""
        if not self.alive:
            return
        self.alive = False
        del self._machine.children[self.pid]
        if self._timer is not None:
            self._timer.cancel()
        self._world.told(self._machine.name, f"cm_ctl {self._verb} ends: {why}")
        if self._listener is not None:
            self._world.loop.call_soon(self._listener)

    def _act(self) -> None:
        fault = self._fault
        if fault in (Fault.STOP_FAILS, Fault.START_FAILS):
            self._fails(str(fault))
            return
        if fault is Fault.START_CLAIMS:
            self.end("success, it says")
            return
        for machine in self._targets:
            if machine.powered:
                if self.journalled:
                    self._world.referee.effect(self._machine, self._fence, f"cm_ctl {self._verb}")
                if fault is Fault.STALE_PROCESS:
                    machine.stuck_until_s = self._world.now_s + self._world.dice.between(3, 60)
                if fault is Fault.START_BLOCKED:
                    machine.blocked_until_s = self._world.now_s + self._world.dice.between(3, 60)
                machine.is_told(stop=self._stop, epoch=self._fence.epoch)
                machine.mark(self._stop)
        if fault in (Fault.STOP_HALF, Fault.START_HALF):
            self._fails(str(fault))
        elif fault in (Fault.STOP_CLAIMS, Fault.STALE_PROCESS):
            self.end("success, it says")
        else:
            self._look()

    def _look(self) -> None:
        if all(machine.powered and machine.running is not self._stop for machine in self._targets):
            if self._fault is Fault.START_DENIES:
                self._fails(str(self._fault))
            else:
                self.end("success")
        elif self._world.now_s >= self._deadline_s:
            self._fails("did not end in time", Reason.CM_CTL_TIMEOUT)
        else:
            self._after(_LOOK_EVERY_S, self._look)

    def _fails(self, why: str, reason: Reason | None = None) -> None:
        usual = Reason.CM_CTL_FAILED if self._stop else Reason.CM_NOT_STARTED
        self.outcome = NodeFailure(reason or usual, why)
        self.end(why)

    def _after(self, seconds: float, act: Callable[[], None]) -> None:
        self._timer = self._world.loop.call_later(seconds, act)
