"""The cluster as a library: ask it, plan a replacement, replace, recover."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from gausscert_common.errors import GausscertError, InternalError, InvalidInput, Reason, Unreachable
from gausscert_common.protocol.coordinator import Verdict, begin
from gausscert_common.protocol.recovery import Choice

from gausscert_coordinator import bundle_judge, naming
from gausscert_coordinator import plan as planning
from gausscert_coordinator.engine import Engine
from gausscert_coordinator.fanout import ask
from gausscert_coordinator.interrupt import Interrupt
from gausscert_coordinator.job import Job, Replacement
from gausscert_coordinator.joining import Joiner, preflight
from gausscert_coordinator.recorder import NOBODY, Kind
from gausscert_coordinator.recoverer import Recoverer, Wish
from gausscert_coordinator.report import (
    ClusterStatus,
    NodeExpiry,
    NodeStatus,
    Plan,
    Progress,
    ReplaceOptions,
    Result,
)
from gausscert_coordinator.reporter import Reporter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping
    from types import TracebackType

    from gausscert_common.bundle import Bundle
    from gausscert_common.findings import Finding
    from gausscert_common.model import Certificate, NodeReport, ProbeReport, Served
    from gausscert_common.protocol.words import RestartScope

    from gausscert_coordinator.inventory import Inventory
    from gausscert_coordinator.ports import AgentClient, OnRetry, RetryNotice
    from gausscert_coordinator.recorder import Recorder

    Connect = Callable[[Inventory, OnRetry], Mapping[str, AgentClient]]
    Judge = Callable[[Bundle, Mapping[str, NodeReport]], Mapping[str, tuple[Finding, ...]]]
    ReadServer = Callable[[Bundle], Certificate | None]

_PROBE_TIMEOUT_S = 5.0


def _connect(inventory: Inventory, on_retry: OnRetry) -> Mapping[str, AgentClient]:
    from gausscert_coordinator import agents

    return agents.connect(inventory, on_retry)


def _ignore(_: Progress) -> None:
    """Watch nothing."""


class Coordinator:
    """One cluster. An async context manager: it connects on entering and hangs up on leaving.

    Questions may be asked side by side; `replace` and `recover` only one at a time.
    """

    def __init__(
        self,
        inventory: Inventory,
        *,
        connect: Connect = _connect,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        holder: str | None = None,
        make_id: Callable[[], str] | None = None,
        judge: Judge = bundle_judge.judge,
        read_server: ReadServer = bundle_judge.server_certificate,
        recorder: Recorder = NOBODY,
    ) -> None:
        """Nothing is asked and nothing is connected yet.

        Args:
            inventory: The cluster.
            connect: Makes the clients; the default speaks gRPC.
            clock: Seconds that only go forward, for deadlines and durations.
            now: The present in UTC, to compare nodes' clocks with.
            sleep: Waits between two looks at the restarted cluster.
            holder: Who takes the lease; None for "user@host:pid".
            make_id: Makes transaction ids; None for `naming.transaction_id`.
            judge: Judges a bundle for each node.
            read_server: Reads a bundle's server certificate.
            recorder: Told what `replace` and `recover` do; `history.of(inventory)` writes it down.
        """
        self._inventory = inventory
        self._connect = connect
        self._clock = clock
        self._now = now
        self._sleep = sleep
        self._holder = holder or naming.holder()
        self._make_id = make_id or (lambda: naming.transaction_id(now()))
        self._judge = judge
        self._read_server = read_server
        self._recorder = recorder
        self._clients: Mapping[str, AgentClient] = {}
        self._reporter: Reporter | None = None

    async def __aenter__(self) -> Self:
        self._clients = self._connect(self._inventory, self._retrying)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        clients, self._clients = self._clients, {}
        await self._recorder.close()
        await ask(clients.values(), lambda client: client.close())

    async def status(self) -> ClusterStatus:
        """Every node's report and what its own cm_server serves, or why there is none. Raises nothing that
        nodes do."""
        answers = await ask(self._open().values(), _look)
        statuses = []
        for node in self._inventory.nodes:
            report, served = answers.good.get(node.name, (None, None))
            error = answers.bad.get(node.name)
            statuses.append(NodeStatus(node.name, node.address, report, error, served))
        gone = self._gone(report for report, _ in answers.good.values())
        return ClusterStatus(self._inventory.cluster, tuple(statuses), gone)

    async def expiry(self) -> tuple[NodeExpiry, ...]:
        """Every certificate of every node, in the order of the inventory. Raises nothing that nodes do."""
        answers = await ask(self._open().values(), lambda client: client.get_expiry())
        return tuple(
            NodeExpiry(node.name, answers.good.get(node.name), answers.bad.get(node.name))
            for node in self._inventory.nodes
        )

    async def plan(self, bundle: Bundle, options: ReplaceOptions | None = None) -> Plan:
        """What `replace` would do and all that speaks against it. Changes nothing; raises nothing that
        nodes do."""
        reports, offsets = await preflight(self._open().values(), self._now)
        reached = [self._clients[name] for name in reports.good]
        probes = await ask(reached, lambda client: client.probe(query=True, timeout_s=_PROBE_TIMEOUT_S))
        judged = await asyncio.to_thread(self._judge, bundle, reports.good)
        options = options or ReplaceOptions()
        excluded = {node: error for node, error in reports.bad.items() if _is_left_out(node, error, options)}
        errors = {node: error for node, error in reports.bad.items() if node not in excluded}
        seen = planning.Evidence(
            inventory=self._inventory,
            options=options,
            bundle_digest=bundle.digest,
            reports=reports.good,
            errors={**errors, **probes.bad},
            excluded=excluded,
            probes=probes.good,
            bundle_findings=judged,
            clock_offsets_s=offsets,
            gone=self._gone(reports.good.values()),
        )
        return planning.make(seen, self._read_server(bundle))

    async def replace(
        self,
        plan: Plan,
        bundle: Bundle,
        *,
        watch: Callable[[Progress], None] = _ignore,
        interrupt: Interrupt | None = None,
    ) -> Result:
        """The transaction: every node, or none. What nodes do is in the result, never raised.

        Raises:
            InvalidInput: ARGUMENT_INVALID, the plan is for another bundle or another cluster.
        """
        self._check_plan(plan, bundle)
        if not plan.feasible:
            return Result("", Verdict.NOTHING_DONE, failures=tuple(planning.objections_to(plan)))
        new_server = plan.nodes[0].new_server
        replacement = Replacement(
            bundle=bundle,
            ssl_wish=plan.options.ssl_wish,
            drop_crls=plan.options.drop_crls,
            old_digests={node.node: node.old_digest for node in plan.nodes},
            leaf=new_server.fingerprint if new_server is not None else "",
        )
        excluded = tuple(sorted(error.node for error in plan.excluded))
        job = Job(
            transaction_id=self._make_id(),
            holder=self._holder,
            participants=tuple(sorted(replacement.old_digests)),
            restart=plan.options.restart,
            timeouts=self._inventory.timeouts,
            take_over=plan.options.take_over,
            replacement=replacement,
            excluded=excluded,
            absent=plan.absent,
        )
        engine = self._engine(Kind.REPLACE, job, watch, interrupt or Interrupt())
        return await self._recorded(await engine.run(begin(job.restart, waits=job.waits)))

    async def recover(
        self,
        prefer: Choice = Choice.ROLL_BACK,
        take_over: bool = False,
        restart: RestartScope | None = None,
        *,
        bundle: Bundle | None = None,
        watch: Callable[[Progress], None] = _ignore,
        interrupt: Interrupt | None = None,
    ) -> Result:
        """Finish or roll back the transaction in doubt, if there is one; then bring the nodes over that a
        committed one was begun without, and are back. What nodes do is in the result.

        Args:
            prefer: What to do where the nodes' answers leave the choice.
            take_over: Also when another coordinator's lease still runs.
            restart: None for the transaction's own way.
            bundle: That of the committed transaction; no node ever hands out a key.
            watch: Told what happens.
            interrupt: Stops a finishing, turned back as `replace`.
        """
        wish = Wish(
            prefer=prefer,
            take_over=take_over,
            restart=restart,
            holder=self._holder,
            timeouts=self._inventory.timeouts,
            fresh_id=self._make_id,
            is_gone=lambda other: naming.is_gone(other, self._holder),
            bundle=bundle,
        )
        stop = interrupt or Interrupt()

        def engine_for(job: Job) -> Engine:
            return self._engine(Kind.JOIN if job.joins else Kind.RECOVER, job, watch, stop)

        joiner = Joiner(self._inventory, self._judge, self._read_server, self._now)
        return await Recoverer(wish, self._open(), joiner, engine_for, self._recorded).recover()

    def _gone(self, reports: Iterable[NodeReport]) -> frozenset[str]:
        holders = {report.transaction.holder for report in reports if report.transaction.lease_left_s > 0}
        return frozenset(each for each in holders if naming.is_gone(each, self._holder))

    async def _recorded(self, result: Result) -> Result:
        untold = await self._recorder.ended(result)
        return replace(result, findings=(*result.findings, *untold))

    def _engine(
        self, kind: Kind, job: Job, watch: Callable[[Progress], None], interrupt: Interrupt
    ) -> Engine:
        self._recorder.begun(kind, self._inventory.cluster, job)
        self._reporter = Reporter(watch, self._clock, self._recorder)
        return Engine(job, self._open(), self._reporter, interrupt, clock=self._clock, sleep=self._sleep)

    def _retrying(self, notice: RetryNotice) -> None:
        if self._reporter is not None:
            self._reporter.retrying(notice)

    def _open(self) -> Mapping[str, AgentClient]:
        if not self._clients:
            raise InternalError(Reason.INTERNAL, "the coordinator is used outside of `async with`")
        return self._clients

    def _check_plan(self, plan: Plan, bundle: Bundle) -> None:
        if plan.bundle_digest != bundle.digest:
            raise _misfit("the plan was made for another bundle")
        if plan.cluster != self._inventory.cluster:
            raise _misfit(
                f"the plan is for cluster {plan.cluster}, the inventory of {self._inventory.cluster}"
            )
        left_out = {error.node for error in (*plan.unreachable, *plan.excluded)}
        planned = {node.node for node in plan.nodes} | left_out
        if planned != {node.name for node in self._inventory.nodes}:
            raise _misfit("the plan has other nodes than the inventory")


def _is_left_out(node: str, error: GausscertError, options: ReplaceOptions) -> bool:
    """Only what nobody reaches may be left out; an agent that refuses to answer is one that answers."""
    return node in options.exclude and isinstance(error, Unreachable)


async def _look(client: AgentClient) -> tuple[NodeReport, Served | None]:
    report = await client.get_node()
    seen = await _probe(client)
    local = report.topology.local_node_id
    served = next((each for each in seen.served if each.cm_node_id == local), None) if seen else None
    return report, served


async def _probe(client: AgentClient) -> ProbeReport | None:
    """None where the node cannot look; its report then still is worth showing."""
    try:
        return await client.probe(query=False, timeout_s=_PROBE_TIMEOUT_S)
    except GausscertError:
        return None


def _misfit(message: str) -> InvalidInput:
    return InvalidInput(Reason.ARGUMENT_INVALID, message, remedy="make a new plan with gausscert plan")
