"""CM of a machine, which does what its mark says.

It is one thing here: cm_server with cm_agent, and om_monitor that starts them unless `cluster_manual_start`
is there (facts section 14). The mark itself is a file like any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gausscert_common.model import Served
from support.fake_node import FakeNode

from simulation.content import FOREIGN, FORMER, OLD, OLDER, Content, content
from simulation.faults import Fault

if TYPE_CHECKING:
    from simulation.world import World

_LOOK_EVERY_S: Final = 1.0
_NOTICED_S: Final = (0.3, 6.0)
"""After so long somebody sees that CM is down."""


class Processes(FakeNode):
    """See the module."""

    live: Content
    loaded: Content | None

    def __init__(self, world: World, name: str, number: int) -> None:
        super().__init__(
            name,
            number,
            content(OLD, world.salt(name)),
            generations={FORMER: content(OLDER, world.salt(name))},
            ssl_server=world.ssl_at_first,
            ssl_agent=world.ssl_at_first,
        )
        self.world = world
        self.powered = True
        self.boots = 1
        self.left_out_at = 0
        """The last epoch in which others were recovered without it."""
        self.returned = False
        """It was away, and nobody has stopped or started its CM since: what that runs is none of ours."""
        self.by_hand = False
        """What CM does here is none of ours until it was stopped again."""
        self.stuck_until_s = self.blocked_until_s = self.deaf_until_s = 0.0
        self._durable_mark = False
        self._turning = False

    @property
    def foreign(self) -> bool:
        """Somebody else's set is live."""
        return self.live.name.startswith(FOREIGN)

    @property
    def runs_foreign(self) -> bool:
        """CM has loaded somebody else's set."""
        return isinstance(self.loaded, Content) and self.loaded.name.startswith(FOREIGN)

    def is_left_out(self, epoch: int) -> None:
        """The others are recovered without it from this epoch on. Where it is alive all the same, whoever has
        left it out answers for what CM does there from now on; but none may run."""
        self.left_out_at = max(self.left_out_at, epoch)
        if self.powered and not self.running:
            self.world.dice.injected[Fault.LEFT_ALIVE] += 1
            self.returned = True

    def is_told(self, *, stop: bool, epoch: int) -> None:
        """A cm_ctl is about to stop or start CM here. What one starts that has brought it back is ours; where
        it was sent before the others went on without this node, whoever has left it out answers for it."""
        if not stop:
            self.returned = 0 < epoch <= self.left_out_at

    def start_by_hand(self) -> None:
        """Somebody sees that CM is down, and does not know what goes on here."""
        dice = self.world.dice
        if dice.healed or not self.powered or not self.manual_stop:
            return
        dice.injected[Fault.BY_HAND] += 1
        self.by_hand = True
        self.world.told(self.name, "somebody starts CM by hand")
        self.mark(there=False)

    def mark(self, there: bool) -> None:
        """Write or remove `cluster_manual_start`."""
        if self.manual_stop is not there:
            self.manual_stop = there
            self.world.told(self.name, f"cluster_manual_start is {'there' if there else 'gone'}")
            if there and self.world.dice.would_hit(Fault.BY_HAND):
                after_s = self.world.dice.between(*_NOTICED_S)
                self.world.loop.call_later(after_s, self.start_by_hand)
        self.turn()

    def sync_mark(self) -> None:
        """The mark, or its absence, is durable."""
        self._durable_mark = self.manual_stop

    @property
    def stale_process(self) -> bool:
        """A cm_server that does not obey."""
        return self.world.now_s < self.stuck_until_s

    def turn(self) -> None:
        """CM follows its mark, a little later."""
        if not self.powered or self._turning or self.running is not self.manual_stop:
            return
        self._turning = True
        low, high = (0.2, 1.2) if self.running else (0.05, 2.0)
        self.world.loop.call_later(self.world.dice.between(low, high), self._turned, self.boots)

    def load(self) -> None:
        """CM starts with what is live."""
        self.starts += 1
        self.loaded, self.ssl_loaded = self.live, self.ssl_server
        self.world.told(self.name, f"CM runs with {self.live.name}")
        self.world.referee.loaded()

    def unload(self) -> None:
        """CM is gone."""
        if self.running:
            self.loaded, self.by_hand = None, False
            self.returned = self.returned and not self.manual_stop
            self.world.told(self.name, "CM is gone")

    def die(self) -> None:
        """CM crashes."""
        if not self.stale_process:
            self.unload()
            self.turn()

    def served_to(self, prober: FakeNode) -> Served:
        """What is seen of its cm_server."""
        self.deaf = not self.powered or self.world.now_s < self.deaf_until_s
        return super().served_to(prober)

    def _turned(self, boots: int) -> None:
        if boots != self.boots:
            return
        self._turning = False
        if not self.powered or self.running is not self.manual_stop:
            return
        again_s = (self.stuck_until_s if self.running else self.blocked_until_s) - self.world.now_s
        if again_s > 0:
            self._turning = True
            self.world.loop.call_later(min(again_s, _LOOK_EVERY_S), self._turned, boots)
        elif self.running:
            self.unload()
        else:
            self.load()
