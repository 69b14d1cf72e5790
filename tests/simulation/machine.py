"""One machine: a disk that may lose what was not synced, and what `processes` says of CM."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from gausscert_common.protocol.state import NodeState, SslSetting
from gausscert_common.protocol.words import Fence
from support.fake_node import FakeSet

from simulation.content import FOREIGN, Content, content
from simulation.faults import Fault
from simulation.processes import Processes

if TYPE_CHECKING:
    from simulation.child import Child
    from simulation.world import World


class Lost(NamedTuple):
    """An agent's state directory."""

    record: str
    state: NodeState
    readable_fence: Fence
    copies: dict[tuple[str, str], bool]


class Machine(Processes):
    """See the module. Everything it does is told to the referee and to the trace."""

    def __init__(self, world: World, name: str, number: int) -> None:
        super().__init__(world, name, number)
        self.state = NodeState()
        """The durable record, decoded."""
        self.record = self.durable_record = ""
        """As files: what can be read, and what would survive a power loss."""
        self.readable_fence = Fence()
        """In the record that can be read: what may have been promised."""
        self.beside: dict[str, Content] = {}
        self.marks: set[str] = set()
        """Transactions of which no set lies beside the live one; durable at once."""
        self.children: dict[int, Child] = {}
        self.displaced: Content | None = None
        """What was live where somebody else's set is now."""
        self.strangers: frozenset[str] = frozenset()
        """Digests of all sets that somebody has put here."""
        self.lost: Lost | None = None
        """What somebody has done away with, as it was."""
        self.forgotten: frozenset[str] = frozenset()
        """The transactions that were in a journal that is lost."""
        self.away = False
        """It is down, and nobody knows for how long."""
        self.renewed = False
        """Another machine stands in the place of the one that died."""
        self.skew_s = 0.0
        self.copies: dict[tuple[str, str], bool] = {}
        self._before_exchange: tuple[Content, dict[str, Content], dict[str, FakeSet]] | None = None
        self._durable_ssl = self.setting
        self.load()

    @property
    def fence(self) -> Fence:
        """What is promised durably."""
        return self.state.fence

    @property
    def boot(self) -> str:
        """Names what pids mean something in."""
        return f"boot-{self.boots} pid:[1] 7"

    @property
    def clock(self) -> datetime:
        """What the node's own clock says."""
        return self.world.now(self.skew_s)

    @property
    def setting(self) -> SslSetting:
        """`enable_ssl` of both configuration files."""
        return SslSetting(self.ssl_server, self.ssl_agent)

    @property
    def untouchable(self) -> bool:
        """What is live is neither of the two sets of the transaction that the node is in. A foreign set that
        was there before it is its old one."""
        told = self.state.transaction
        return told is not None and self.live.digest not in (told.old_digest, told.new_digest)

    # The disk.

    def exchange(self, transaction_id: str) -> None:
        """The one system call; counts only once it was synced."""
        self.world.referee.exchanging(self)
        self._remember()
        self.live, self.beside[transaction_id] = self.beside[transaction_id], self.live
        self.world.told(self.name, f"{self.live.name} is live")
        self.world.referee.whole(self)

    def remove(self, transaction_id: str) -> None:
        """What lies beside is no more."""
        if transaction_id in self.beside:
            self.world.referee.gives_up(self, transaction_id)
            self._remember()
            del self.beside[transaction_id]
            self.world.referee.both_there(self)

    def put(self, transaction_id: str, staged: Content) -> None:
        """A stage, durable."""
        self.beside[transaction_id] = staged
        self._before_exchange = None

    def sync(self) -> None:
        """What was moved stays moved."""
        self._before_exchange = None

    def write(self, record: str, fence: Fence) -> None:
        """A record that can be read, and is not durable yet."""
        self.record, self.readable_fence = record, fence

    def sync_record(self, state: NodeState) -> None:
        """The record is durable."""
        self.durable_record = self.record
        self.state = state
        self.world.referee.recorded(self, state)

    def lose_journal(self, *, wiped: bool) -> None:
        """Somebody does away with the file, or with all of the agent's state directory."""
        if self.record:
            self.lost = Lost(self.record, self.state, self.readable_fence, dict(self.copies))
        told = () if self.state.transaction is None else (self.state.transaction.transaction_id,)
        ended = (stone.transaction_id for stone in self.state.tombstones)
        self.forgotten |= {*told, *ended}
        self.forget(copies=wiped)
        for child in self.children.values():
            child.journalled = False
        self.world.told(self.name, f"its {'state directory is wiped' if wiped else 'journal is lost'}")

    def forget(self, *, copies: bool) -> None:
        """There is no journal."""
        self.record = self.durable_record = ""
        self.state, self.readable_fence = NodeState(), Fence()
        if copies:
            self.copies.clear()

    def restore_journal(self) -> None:
        """Somebody has kept it, as it was when it was lost."""
        assert self.lost is not None
        self.record = self.durable_record = self.lost.record
        self.state, self.readable_fence = self.lost.state, self.lost.readable_fence
        self.copies, self.lost, self.forgotten = self.lost.copies, None, frozenset()
        self.world.told(self.name, "its journal is put back")

    def put_by_hand(self, chosen: Content, ssl: SslSetting) -> None:
        """A person has decided what is to be live, and that there was no transaction (docs/runbook.md, A
        damaged journal)."""
        self.live, self.displaced, self._before_exchange = chosen, None, None
        self.beside.clear()
        self.marks.clear()
        self.set_ssl(ssl)
        self.sync_conf()
        self.forget(copies=True)
        self.lost, self.forgotten, self.renewed = None, frozenset(), False
        self.world.told(self.name, f"somebody puts {chosen.name}, and does away with its journal and stages")

    def renew(self, chosen: Content, ssl: SslSetting) -> None:
        """Another machine is set up in its place, with some set, and an agent that remembers nothing."""
        self.put_by_hand(chosen, ssl)
        self.renewed, self.generations, self.strangers = True, {}, frozenset()
        self.manual_stop = self._durable_mark = False
        self.world.referee.renewed(self)

    def put_foreign(self) -> None:
        """Somebody changes the live set by hand, whatever is going on."""
        self.displaced = self.live
        self.live = content(FOREIGN, self.name)
        self.strangers |= {self.live.digest}
        self._before_exchange = None
        self.world.told(self.name, "somebody puts another set")

    def put_back(self) -> None:
        """... and thinks better of it; CM that has loaded it is restarted."""
        if self.displaced is None:
            return
        self.live, self.displaced = self.displaced, None
        self.world.told(self.name, f"somebody puts {self.live.name} back")
        if self.runs_foreign:
            self.die()

    def _remember(self) -> None:
        if self._before_exchange is None:
            self._before_exchange = self.live, dict(self.beside), dict(self.generations)

    # Configuration.

    def set_conf(self, component: str, value: bool) -> None:
        """As cm_ctl set leaves it: not durable."""
        if component == "server":
            self.ssl_server = value
        else:
            self.ssl_agent = value
        self.world.told(self.name, f"enable_ssl of cm_{component}.conf is {value}")

    def sync_conf(self) -> None:
        """The configuration files are durable."""
        self._durable_ssl = self.setting

    # Power.

    def power_cut(self) -> None:
        """Nothing runs any more; what was not synced may be as it was before."""
        dice = self.world.dice
        self.world.told(self.name, "loses power")
        self.powered, self._turning = False, False
        self.boots += 1
        self.stuck_until_s = self.blocked_until_s = 0.0
        for child in tuple(self.children.values()):
            child.end("the power is gone")
        self.unload()
        if self.record != self.durable_record and dice.hits(Fault.RECORD_UNDONE):
            self.record, self.readable_fence = self.durable_record, self.fence
        if self._before_exchange is not None and dice.hits(Fault.EXCHANGE_UNDONE):
            self.live, self.beside, self.generations = self._before_exchange
            self.world.told(self.name, f"{self.live.name} is live again")
        self._before_exchange = None
        if self.manual_stop is not self._durable_mark and dice.hits(Fault.MARK_UNDONE):
            self.manual_stop = self._durable_mark
            self.world.told(self.name, f"cluster_manual_start is {'back' if self.manual_stop else 'lost'}")
        self._durable_mark = self.manual_stop
        if self.setting != self._durable_ssl and dice.hits(Fault.CONF_UNDONE):
            self.set_ssl(self._durable_ssl)
        self.sync_conf()

    def power_on(self) -> None:
        """The machine boots; om_monitor starts CM unless it is told not to."""
        self.powered = True
        self.world.told(self.name, "boots")
        self.turn()
