"""A whole fake cluster: machines, agents, the wire between, and time. `support.fake_agents` teaches it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from gausscert_common.bundle import Bundle
from gausscert_common.errors import GausscertError, NodeFailure, NodeRefusal, Reason, Unreachable
from gausscert_common.findings import Finding
from gausscert_common.model import ClusterState, CmNode, CmTopology
from gausscert_common.protocol.state import NodeState
from gausscert_common.protocol.words import Outcome, Phase, RestartScope
from gausscert_coordinator.coordinator import Coordinator
from gausscert_coordinator.inventory import Credentials, Inventory, InventoryNode, Timeouts
from gausscert_coordinator.ports import OnRetry, RestartOrders
from gausscert_coordinator.recorder import NOBODY, Recorder
from support.fake_agents import FakeAgent, Fault
from support.fake_node import EPOCH, FakeNode, FakeSet, bundle

ALWAYS = 1_000_000
TICKS = 50
"""Of the event loop: more than any command takes that is carried out at once."""
COMMITTED = Outcome.COMMITTED


@dataclass
class _Script:
    what: Fault | GausscertError
    times: int


@dataclass
class FakeCluster:
    """All machines, their agents, the wire between, and time."""

    names: tuple[str, ...] = ("node-a", "node-b", "node-c")
    name: str = "prod"
    running: bool = True
    timeouts: Timeouts = Timeouts()
    rules: Callable[[Bundle, datetime], tuple[Finding, ...]] = lambda *_: ()
    """What the nodes' rules find in a bundle."""
    now_s: float = 0.0
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    """Before it is said that a stage still waits: on the real clock nothing here takes that long."""
    calls: list[tuple[str, str]] = field(default_factory=list)
    """(command, node) in the order of delivery; reads are not in it."""
    reads: list[tuple[str, str]] = field(default_factory=list)
    on_command: Callable[[str, str], None] | None = None
    """Called with (command, node) before each delivery; may request interruptions, or script more."""

    def __post_init__(self) -> None:
        self.nodes: dict[str, FakeNode] = {}
        self.agents: dict[str, FakeAgent] = {}
        for number, name in enumerate(self.names, start=1):
            node = FakeNode(name, number, FakeSet.of(bundle("old"), f"{name} 0"))
            if self.running:
                node.start()
            self.nodes[name] = node
            self.agents[name] = FakeAgent(self, node)
        self._scripts: dict[tuple[str, str], list[_Script]] = {}
        self._vanishing: dict[str, str] = {}
        self._gone: set[str] = set()
        self._dies_after = ALWAYS
        self._ids = 0
        self._digests: dict[tuple[str, str], tuple[str, str]] = {}
        self._participants: dict[str, tuple[str, ...]] = {}
        self._excluded: dict[str, tuple[str, ...]] = {}
        self._joins: dict[str, str] = {}
        self._off: set[str] = set()
        self.died = asyncio.Event()

    # What tests call.

    def coordinator(self, holder: str = "", recorder: Recorder = NOBODY) -> Coordinator:
        """A coordinator of its own: another process, as far as the nodes can tell."""
        self._ids += 1
        number = self._ids
        return Coordinator(
            self.inventory(),
            connect=self.connect,
            clock=lambda: self.now_s,
            now=self.now,
            sleep=self.sleep,
            pause=self.pause,
            holder=holder or f"op@host-{number}:1",
            make_id=lambda: f"20250101t000000z-{number:06d}",
            recorder=recorder,
        )

    def inventory(self) -> Inventory:
        nodes = tuple(InventoryNode(name, f"{name}:7443") for name in sorted(self.names))
        return Inventory(self.name, nodes, Credentials(Path("ca"), Path("c"), Path("k")), self.timeouts)

    def connect(self, inventory: Inventory, on_retry: OnRetry) -> Mapping[str, FakeAgent]:
        return {node.name: self.agents[node.name] for node in inventory.nodes}

    def script(self, node: str, rpc: str, what: Fault | GausscertError, times: int = 1) -> None:
        self._scripts.setdefault((node, rpc), []).append(_Script(what, times))

    def vanish(self, node: str, at: str) -> None:
        """The node's agent is out of reach from its first `at` on, which is not carried out."""
        self._vanishing[node] = at

    def bring_back(self) -> None:
        """Everything is reachable again, nothing is scripted, a dead coordinator is forgotten."""
        self._scripts.clear()
        self._vanishing.clear()
        self._gone.clear()
        self._dies_after = ALWAYS
        self.died = asyncio.Event()

    def power_off(self, node: str) -> None:
        """The machine is dead: no agent, no CM."""
        self._off.add(node)
        self.nodes[node].loaded = None

    def power_on(self, node: str, *, cm: bool = True) -> None:
        """The machine is back; om_monitor starts CM unless somebody has stopped it by hand."""
        self._off.discard(node)
        self.agents[node].restart()
        if cm and not self.nodes[node].manual_stop:
            self.nodes[node].start()
        self.check_invariants()

    def remove(self, node: str, *, cm_too: bool = True) -> None:
        """The machine is gone for good: out of the inventory, and of CM."""
        self.names = tuple(name for name in self.names if name != node)
        if cm_too:
            del self.nodes[node]
            del self.agents[node]

    def die_after(self, commands: int) -> None:
        """The coordinator dies when that many commands, counted from now, have been carried out; it hears
        no reply to the last one."""
        self._dies_after = len(self.calls) + commands
        if commands == 0:
            self.died.set()

    def expire_leases(self) -> None:
        """Time passes until all leases have run out. Nothing else comes of it: no timer aborts anything."""
        self.now_s += 3600

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.now_s)

    async def sleep(self, seconds: float) -> None:
        """Whatever takes no time is done before time passes."""
        for _ in range(TICKS):
            await asyncio.sleep(0)
        self.now_s += seconds

    def snapshot(self) -> dict[str, tuple[object, ...]]:
        """What must be as before after a refusal or a rollback: sets, switches, and what runs."""
        return {
            name: (
                each.live,
                each.stage,
                tuple(each.retired),
                each.switch(),
                each.loaded,
                each.ssl_loaded,
                each.manual_stop,
                self.agents[name].state.phase,
            )
            for name, each in self.nodes.items()
        }

    # What agents call.

    async def read(self, agent: FakeAgent, rpc: str, look: Callable[[], object]) -> object:
        await self._not_dead()
        self.reads.append((rpc, agent.name))
        self._raise_if_gone(agent.name, rpc)
        what = self._scripted(agent.name, rpc)
        if isinstance(what, GausscertError):
            raise what
        if what is not None and what is not Fault.SLOW:
            raise Unreachable(Reason.UNREACHABLE, f"scripted: {what}", node=agent.name)
        return look()

    async def deliver(self, agent: FakeAgent, rpc: str, carry_out: Callable[[Fault | None], None]) -> None:
        await self._not_dead()
        if self.on_command is not None:
            self.on_command(rpc, agent.name)
        self._raise_if_gone(agent.name, rpc)
        what = self._scripted(agent.name, rpc)
        if what is Fault.SLOW:
            await self.sleep(60)
            what = None
        self._raise_before(agent.name, rpc, what)
        self.calls.append((rpc, agent.name))
        try:
            carry_out(what if isinstance(what, Fault) else None)
        except GausscertError as error:
            error.node = agent.name
            raise
        finally:
            if len(self.calls) >= self._dies_after:
                self.died.set()
        await self._not_dead()
        if what is Fault.LOST_REPLY:
            raise Unreachable(Reason.DEADLINE, "no reply", node=agent.name)

    def stop(self, node: FakeNode, orders: RestartOrders) -> None:
        for each in self._reached(node, orders):
            each.stop()
            self.check_invariants()
        if orders.scope is RestartScope.NONE:
            node.require_stopped()
        elif node.running:
            raise NodeFailure(Reason.CM_NOT_STOPPED, "CM still runs", node=node.name)

    def start(self, node: FakeNode, orders: RestartOrders) -> None:
        for each in self._reached(node, orders):
            each.start()
            self.check_invariants()

    def topology(self, node: FakeNode) -> CmTopology:
        nodes = tuple(
            CmNode(each.cm_node_id, f"host-{each.cm_node_id}", f"10.0.0.{each.cm_node_id}", 5000)
            for each in self.nodes.values()
        )
        return CmTopology(node.cm_node_id, nodes)

    def state_seen_by(self, prober: FakeNode) -> ClusterState:
        """Normal when all run with one CA and the prober's client certificate is of it, or without SSL;
        Degraded without a minority that is dead."""
        up = [each for each in self.nodes.values() if each.running and not self._outside(each.name)]
        dead = self._off | {name for name in self.nodes if self._outside(name)}
        if not set(self.nodes) <= {each.name for each in up} | dead or 2 * len(up) <= len(self.nodes):
            return ClusterState(cause="can't connect to cm_server.")
        cas = {each.loaded.ca for each in up if each.loaded and each.ssl_loaded}
        trusted = not cas or (prober.live is not None and cas == {prober.live.ca})
        word = "Normal" if len(up) == len(self.nodes) else "Degraded"
        return ClusterState(word) if trusted else ClusterState(cause="can't connect to cm_server.")

    def check_invariants(self) -> None:
        """I1 to I6 of design section 5, at this instant; I7 and I10 are asserted where sets are exchanged."""
        loaded = {
            each.loaded.bundle_digest
            for each in self.nodes.values()
            if each.loaded is not None and not self._outside(each.name)
        }
        assert len(loaded) <= 1, "I3: running nodes loaded different sets"
        committed: dict[str, set[str]] = {}
        aborted: dict[str, set[str]] = {}
        for name, agent in self.agents.items():
            self._check_node(name, agent)
            for transaction_id, outcome in self._outcomes(agent.state):
                ends = committed if outcome is Outcome.COMMITTED else aborted
                ends.setdefault(transaction_id, set()).add(name)
        assert not committed.keys() & aborted.keys(), "I2: commit and abort of one transaction"
        for agent in self.agents.values():
            for tombstone in agent.state.tombstones:
                if tombstone.outcome is Outcome.COMMITTED:
                    out = self._excluded.get(tombstone.transaction_id, ())
                    all_nodes = set(self._participants[tombstone.transaction_id]) - set(out)
                    assert committed[tombstone.transaction_id] - set(out) == all_nodes, (
                        "I4: purged before all committed"
                    )
                    waiting = [node for node in out if node in self.names and self._outside(node, out)]
                    assert not waiting, f"I4: purged before {waiting} joined"

    def _check_node(self, name: str, agent: FakeAgent) -> None:
        state, node = agent.state, agent.node
        assert node.live is not None, f"I1: {name} has no live set"
        told = state.transaction
        if told is not None:
            self._participants[told.transaction_id] = told.participants
            known = self._excluded.get(told.transaction_id, ())
            self._excluded[told.transaction_id] = tuple(sorted({*known, *told.excluded}))
            self._joins[told.transaction_id] = told.joins
            self._digests[told.transaction_id, name] = (told.old_digest, told.new_digest)
        if told is not None and state.phase in (Phase.PREPARED, Phase.SWAPPED):
            held = {node.live_digest, "" if node.stage is None else node.stage.digest}
            if told.old_digest == told.new_digest:  # only enable_ssl changes
                held -= {""}
            assert held == {told.old_digest, told.new_digest}, f"I5: {name} lost a set while in doubt"
        if state.phase is Phase.NONE and state.tombstones:
            newest = state.tombstones[0]
            old, new = self._digests.get((newest.transaction_id, name), ("", ""))
            wanted = new if newest.outcome is Outcome.COMMITTED else old
            assert wanted in ("", node.live_digest), f"I6: {name} ended {newest.outcome} with the wrong set"

    def _outside(self, node: str, excluded: tuple[str, ...] | None = None) -> bool:
        """Whether a transaction that is not over was begun without the node, and it has not joined since."""
        flying = [agent.state.transaction for agent in self.agents.values()]
        out = {
            name
            for each in flying
            if each is not None
            for name in self._excluded.get(each.transaction_id, ())
        }
        if node not in (out if excluded is None else excluded):
            return False
        own = self.agents[node].state
        if own.transaction is not None and node in self._excluded.get(own.transaction.transaction_id, ()):
            return own.phase not in (Phase.COMMITTED, Phase.ABORTED)  # it went away in the middle
        committed = {name for name, outcome in self._outcomes(own) if outcome is COMMITTED}
        return not any(self._joins.get(name) or node in self._excluded.get(name, ()) for name in committed)

    @staticmethod
    def _outcomes(state: NodeState) -> list[tuple[str, Outcome]]:
        found = [(each.transaction_id, each.outcome) for each in state.tombstones]
        if state.transaction is not None and state.phase is Phase.COMMITTED:
            found.append((state.transaction.transaction_id, Outcome.COMMITTED))
        if state.transaction is not None and state.phase is Phase.ABORTED:
            found.append((state.transaction.transaction_id, Outcome.ABORTED))
        return found

    def _reached(self, node: FakeNode, orders: RestartOrders) -> tuple[FakeNode, ...]:
        if orders.scope is RestartScope.CLUSTER and orders.executor:
            return tuple(self.nodes.values())
        return (node,) if orders.scope is RestartScope.NODE else ()

    def _scripted(self, node: str, rpc: str) -> Fault | GausscertError | None:
        scripts = self._scripts.get((node, rpc), [])
        if not scripts:
            return None
        scripts[0].times -= 1
        return scripts.pop(0).what if scripts[0].times <= 0 else scripts[0].what

    def _raise_if_gone(self, node: str, rpc: str) -> None:
        if self._vanishing.get(node) == rpc:
            self._gone.add(node)
        if node in self._gone | self._off:
            raise Unreachable(Reason.UNREACHABLE, "no route to host", node=node)

    def _raise_before(self, node: str, rpc: str, what: Fault | GausscertError | None) -> None:
        if isinstance(what, GausscertError):
            raise what
        if what is Fault.REFUSED:
            raise NodeRefusal(Reason.BUSY, f"scripted refusal of {rpc}", node=node)
        if what is Fault.LOST_REQUEST:
            raise Unreachable(Reason.UNREACHABLE, "connection refused", node=node)

    async def _not_dead(self) -> None:
        """Yields, as a real call does; a dead coordinator's calls never come back."""
        await asyncio.sleep(0)
        if self.died.is_set():
            await asyncio.Event().wait()


async def until_death(cluster: FakeCluster, work: Awaitable[object]) -> object:
    """Run a coordinator until it ends or dies; None when it died."""
    running = asyncio.ensure_future(work)
    dying = asyncio.ensure_future(cluster.died.wait())
    await asyncio.wait({running, dying}, return_when=asyncio.FIRST_COMPLETED)
    ended = running.done()
    for task in (running, dying):
        task.cancel()
    await asyncio.gather(running, dying, return_exceptions=True)
    return running.result() if ended else None
