"""Agents in memory, for everything that drives a cluster without gRPC, disks or processes.

Each FakeAgent decides by the shipped `protocol.node` (accept, complete, reconcile), so that what it refuses
the real agent refuses; only disk, CM and wire are fake. A cluster in three lines:

    cluster = fake_cluster.FakeCluster()                  # node-a to node-c, running with set "old"
    async with cluster.coordinator() as coordinator:
        plan = await coordinator.plan(fake_node.bundle("new"))

Script a failure per node and command. Commands are named by their step in lower case ("acquire", "prepare",
"stop", "swap", "start", "commit", "purge", "rollback_stop", "abort", "rollback_start", "clean"), reads
by their method ("get_node", "judge", "probe"):

    cluster.script("node-b", "swap", Fault.LOST_REPLY)    # carried out, but nobody hears of it; once
    cluster.script("node-b", "abort", Fault.LOST_REQUEST, times=ALWAYS)
    cluster.script("node-b", "prepare", NodeRefusal(...)) # any error of your own
    cluster.vanish("node-b", at="swap")                   # from then on nothing reaches it; `bring_back`
    cluster.die_after(7)                                  # the coordinator dies with the 7th command

Every command and effect ends with `check_invariants` (I1 to I7, I10 of design section 5): a test that
gets to its end has checked them at each instant. Time is `cluster.now_s`; `cluster.sleep` advances it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING

from gausscert_common.auditing import Head
from gausscert_common.bundle import Bundle
from gausscert_common.errors import NodeFailure, Reason, Unreachable
from gausscert_common.model import (
    CertificateSet,
    ClusterState,
    ExpiryReport,
    JudgedSet,
    NodeReport,
    PreparedSet,
    ProbeReport,
    RetiredSet,
    TransactionReport,
    WatchEvent,
)
from gausscert_common.protocol.commands import AcquireCommand, Command, PrepareCommand
from gausscert_common.protocol.node import accept, complete, reconcile
from gausscert_common.protocol.rules import Effect, StageFacts
from gausscert_common.protocol.script import is_last
from gausscert_common.protocol.state import NodeState, SslSetting, View, live_state
from gausscert_common.protocol.words import Phase, SslWish
from gausscert_common.source import LiveSet, Source
from gausscert_coordinator.ports import Preparation, RestartOrders
from support.fake_node import EPOCH, FakeNode, report_of

if TYPE_CHECKING:
    from support.fake_cluster import FakeCluster


class Fault(StrEnum):
    """What goes wrong with one command at one node."""

    REFUSED = "refused"
    """Refused before anything; nothing changes."""
    FAILED = "failed"
    """Accepted and journalled, then the first effect fails."""
    LOST_REQUEST = "lost request"
    """Not carried out; Unreachable."""
    LOST_REPLY = "lost reply"
    """Carried out; Unreachable."""
    CRASH = "crash"
    """The agent dies after the effects and before it journals the outcome; it comes back at once and
    reconciles; Unreachable."""
    SLOW = "slow"
    """Carried out after a minute."""


class FakeAgent:
    """One agent; also its client."""

    def __init__(self, cluster: FakeCluster, node: FakeNode) -> None:
        self._cluster = cluster
        self.node = node
        self.state = NodeState()
        self.lease_until_s = 0.0
        self._lease_asked_s = 0.0
        self._lease_s = 0.0
        self._start_follows = False
        self.closed = False
        self.audit_head: Head | None = None
        """A test's to set."""

    @property
    def name(self) -> str:
        return self.node.name

    async def get_node(self, *, preflight: bool = False) -> NodeReport:
        return await self._cluster.read(self, "get_node", self.report)

    async def judge(self, source: Source, *, drop_crls: bool) -> JudgedSet:
        def look() -> JudgedSet:
            found = self._cluster.rules(source, self._cluster.now()) if isinstance(source, Bundle) else ()
            return self.node.judge(source, found)

        return await self._cluster.read(self, "judge", look)

    async def get_expiry(self) -> ExpiryReport:
        def look() -> ExpiryReport:
            certificates = () if self.node.live is None else (self.node.live.server,)
            return ExpiryReport(self.name, self._cluster.now(), certificates, 90)

        return await self._cluster.read(self, "get_expiry", look)

    async def probe(self, *, query: bool, timeout_s: float) -> ProbeReport:
        def look() -> ProbeReport:
            nodes = self._cluster.nodes.values()
            state = self._state(timeout_s) if query else None
            return ProbeReport(tuple(each.served_to(self.node) for each in nodes), state, self.node.causes)

        return await self._cluster.read(self, "probe", look)

    def _state(self, timeout_s: float) -> ClusterState:
        if self.node.query_takes_s > timeout_s:
            return ClusterState(cause=f"`cm_ctl query -Cv` did not end within {timeout_s:g} s and was killed")
        return self._cluster.state_seen_by(self.node)

    async def acquire(
        self,
        command: Command,
        *,
        holder: str,
        lease_s: float,
        take_over: bool,
        excluded: tuple[str, ...] = (),
    ) -> NodeReport:
        full = AcquireCommand(
            command.transaction_id, command.epoch, command.step, holder, take_over, excluded
        )
        self._lease_asked_s = lease_s
        await self._run(full, {})
        return self.report()

    async def prepare(self, command: Command, preparation: Preparation) -> PreparedSet:
        full = PrepareCommand(
            command.transaction_id,
            command.epoch,
            command.step,
            preparation.participants,
            preparation.expected_live_digest,
            preparation.ssl_wish,
            preparation.restart,
            self._cluster.now_s,
            preparation.excluded,
            preparation.joins,
        )

        def build() -> StageFacts:
            staged = self.node.build_stage(preparation.source)
            before = SslSetting(self.node.ssl_server, self.node.ssl_agent)
            return StageFacts(staged.digest, staged.bundle_digest, before)

        await self._run(full, {Effect.BUILD_STAGE: build})
        kept = isinstance(preparation.source, LiveSet)
        return PreparedSet(report_of(self.node.live if kept else self.node.stage))

    async def stop(self, command: Command, orders: RestartOrders) -> None:
        await self._run(command, {Effect.STOP_CM: lambda: self._cluster.stop(self.node, orders)})

    async def swap(self, command: Command) -> CertificateSet:
        await self._run(command, {})
        return report_of(self.node.live)

    async def start(self, command: Command, orders: RestartOrders) -> None:
        await self._run(command, {Effect.START_CM: lambda: self._cluster.start(self.node, orders)})

    async def commit(self, command: Command) -> None:
        await self._run(command, {})

    async def purge(self, command: Command) -> None:
        await self._run(command, {})

    async def abort(self, command: Command) -> CertificateSet:
        await self._run(command, {})
        return report_of(self.node.live)

    async def clean(self, command: Command) -> None:
        await self._run(command, {})

    async def watch(self) -> AsyncIterator[WatchEvent]:
        """Whatever it does, it has done it at once."""
        for event in ():
            yield event

    async def close(self) -> None:
        self.closed = True

    def report(self) -> NodeReport:
        state, told = self.state, self.state.transaction
        return NodeReport(
            cluster=self._cluster.name,
            name=self.name,
            agent_version="0.1.0",
            clock=self._cluster.now(),
            transaction=TransactionReport(
                transaction_id="" if told is None else told.transaction_id,
                phase=state.phase,
                fence=state.fence,
                holder=state.holder,
                held_since=EPOCH if state.holder else None,
                lease_left_s=self.lease_until_s - self._cluster.now_s if self.lease_holder else 0.0,
                participants=() if told is None else told.participants,
                excluded=() if told is None else told.excluded,
                joins="" if told is None else told.joins,
                begun_by="" if told is None else told.begun_by,
                old_digest="" if told is None else told.old_digest,
                new_digest="" if told is None else told.new_digest,
                live_state=None if told is None else live_state(told, self.node.live_digest),
                tombstones=state.tombstones,
                restart=None if told is None else told.restart,
                ssl_wish=SslWish.KEEP if told is None else told.ssl_wish,
                reached=state.reached,
            ),
            live=report_of(self.node.live),
            stage=report_of(self.node.stage),
            retired=tuple(
                RetiredSet(name, kept.digest, kept.leaf) for name, kept in self.node.generations.items()
            ),
            enable_ssl=self.node.switch(),
            processes=self.node.processes(),
            manually_stopped=self.node.manual_stop,
            paused=self.node.paused,
            upgrading=self.node.upgrading,
            topology=self._cluster.topology(self.node),
        )

    @property
    def lease_holder(self) -> str:
        """Free once the owner's transaction has ended here, or waits for nobody but excluded nodes, unless a
        Start was to follow and has not; or when time is up."""
        told = self.state.transaction
        waits = told is not None and bool(told.excluded) and self.state.phase is Phase.COMMITTED
        ended = (waits or self.state.outcome_of(self.state.owner) is not None) and not self._start_follows
        return "" if ended or self._cluster.now_s >= self.lease_until_s else self.state.holder

    def restart(self) -> None:
        """The agent dies and comes back; a torn stage is thrown away, and the lease is forgotten, as the real
        one does."""
        self.lease_until_s = 0.0
        if self.state.phase is Phase.PREPARING:
            self.node.stage = None
        self.state = reconcile(self.state, self.node.live_digest)

    async def _run(self, command: Command, effects: Mapping[Effect, Callable[[], object]]) -> None:
        rpc = command.step.name.lower()

        def carry_out(fault: Fault | None) -> None:
            view = View(self.node.live_digest, self.node.running, self.lease_holder)
            accepted = accept(self.state, view, command)
            self.state = accepted.intent
            if isinstance(command, AcquireCommand):
                self._lease_s, self._start_follows = self._lease_asked_s, False
            self.lease_until_s = self._cluster.now_s + self._lease_s
            self._cluster.check_invariants()
            if fault is Fault.FAILED:
                raise NodeFailure(Reason.STORE_FAILED, f"scripted failure of {rpc}", node=self.name)
            facts = self._effects(accepted.effects, effects)
            if fault is Fault.CRASH:
                self.restart()
                raise Unreachable(Reason.UNREACHABLE, "the agent died", node=self.name)
            self.state = complete(self.state, command, facts)
            self._start_follows = getattr(command, "start_follows", self._start_follows)
            if is_last(command, self.state):
                self._start_follows, self._lease_s, self.lease_until_s = False, 0.0, 0.0
            self._cluster.check_invariants()

        await self._cluster.deliver(self, rpc, carry_out)

    def _effects(
        self, wanted: tuple[Effect, ...], given: Mapping[Effect, Callable[[], object]]
    ) -> StageFacts | None:
        facts = None
        for effect in wanted:
            if effect in given:
                answer = given[effect]()
                facts = answer if isinstance(answer, StageFacts) else facts
            elif self.state.transaction is not None:
                self.node.carry_out(effect, self.state.transaction)
            self._cluster.check_invariants()
        return facts
