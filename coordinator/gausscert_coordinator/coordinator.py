"""The cluster as a library: ask it, plan a replacement, a rollback or a switch of SSL, do it, recover."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from gausscert_common.errors import GausscertError, InternalError, InvalidInput, Reason, Unreachable
from gausscert_common.protocol.coordinator import Verdict, begin
from gausscert_common.protocol.recovery import Choice
from gausscert_common.protocol.words import SslWish
from gausscert_common.source import Generation, LiveSet

from gausscert_coordinator import generations, naming, standing
from gausscert_coordinator import plan as planning
from gausscert_coordinator.engine import Engine
from gausscert_coordinator.fanout import ask
from gausscert_coordinator.hands import PROBE_TIMEOUT_S
from gausscert_coordinator.interrupt import Interrupt
from gausscert_coordinator.job import Job, Replacement
from gausscert_coordinator.joining import Joiner
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
from gausscert_coordinator.survey import Survey, survey

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping
    from types import TracebackType

    from gausscert_common.bundle import Bundle
    from gausscert_common.model import NodeReport, ProbeReport, Served
    from gausscert_common.protocol.words import RestartScope
    from gausscert_common.source import Source

    from gausscert_coordinator.inventory import Inventory
    from gausscert_coordinator.plan_rules import Evidence
    from gausscert_coordinator.ports import AgentClient, OnRetry, RetryNotice
    from gausscert_coordinator.recorder import Recorder

    Connect = Callable[[Inventory, OnRetry], Mapping[str, AgentClient]]


def _connect(inventory: Inventory, on_retry: OnRetry) -> Mapping[str, AgentClient]:
    from gausscert_coordinator import agents

    return agents.connect(inventory, on_retry)


def _ignore(_: Progress) -> None:
    """Watch nothing."""


class Coordinator:
    """One cluster. An async context manager: it connects on entering and hangs up on leaving.

    Questions may be asked side by side; `replace`, `rollback`, `switch_ssl` and `recover` only one at a time.
    """

    def __init__(
        self,
        inventory: Inventory,
        *,
        connect: Connect = _connect,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        holder: str | None = None,
        make_id: Callable[[], str] | None = None,
        recorder: Recorder = NOBODY,
    ) -> None:
        """Nothing is asked and nothing is connected yet.

        Args:
            inventory: The cluster.
            connect: Makes the clients; the default speaks gRPC.
            clock: Seconds that only go forward, for deadlines and durations.
            now: The present in UTC, to compare nodes' clocks with.
            sleep: Waits between two looks at the restarted cluster.
            pause: Waits before it is said that a stage still waits.
            holder: Who takes the lease; None for "user@host:pid".
            make_id: Makes transaction ids; None for `naming.transaction_id`.
            recorder: Told what is done; `history.of(inventory)` writes it down.
        """
        self._inventory = inventory
        self._connect = connect
        self._clock = clock
        self._now = now
        self._sleep = sleep
        self._pause = pause
        self._holder = holder or naming.holder()
        self._make_id = make_id or (lambda: naming.transaction_id(now()))
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
        """What `replace` would do and all that speaks against it: each node judges the bundle, with its key
        passwords, as if it was staged now, and rehearses it against its live set. Changes nothing; raises
        nothing that nodes do."""
        drop_crls = options is not None and options.drop_crls
        seen = await survey(self._open(), self._now, bundle, drop_crls=drop_crls)
        return planning.make(self._evidence(seen, options, bundle.digest))

    async def plan_rollback(
        self, generation: str | None = None, options: ReplaceOptions | None = None
    ) -> Plan:
        """What `rollback` would do and all that speaks against it: each node judges its own former set as if
        it was staged now. Changes nothing; raises nothing that nodes do.

        Args:
            generation: The transaction that retired the sets; None for the newest that all nodes have.
            options: As for `plan`; `drop_crls` leaves the generation's own CRLs out. No node may be left out.

        Raises:
            InvalidInput: ARGUMENT_INVALID; that is no name of a generation, or nodes are to be left out.
        """
        _leaves_nobody_out(options)
        if generation is not None and naming.TRANSACTION_ID.fullmatch(generation) is None:
            raise InvalidInput(
                Reason.ARGUMENT_INVALID,
                f"{generation[:80]!r} is no name of a generation",
                remedy="gausscert status shows those that there are",
            )
        chosen = generation
        if chosen is None:
            looked = await ask(self._open().values(), lambda client: client.get_node())
            chosen = generations.newest_common(looked.good)
        named = Generation(chosen) if chosen else None
        drop_crls = options is not None and options.drop_crls
        seen = await survey(self._open(), self._now, named, drop_crls=drop_crls)
        rollback = planning.Rollback(chosen, by_default=generation is None)
        digests = {judged.set.bundle_digest for judged in seen.judged.good.values()}
        evidence = self._evidence(seen, options, digests.pop() if len(digests) == 1 else "")
        return planning.make(replace(evidence, rollback=rollback))

    async def plan_ssl(self, wish: SslWish, options: ReplaceOptions | None = None) -> Plan:
        """What `switch_ssl` would do and all that speaks against it; to switch it on, each node judges its
        live set as if it was new. Changes nothing; raises nothing that nodes do.

        Args:
            wish: On or off.
            options: As for `plan`; what they say of enable_ssl does not count. No node may be left out.

        Raises:
            InvalidInput: ARGUMENT_INVALID; the wish is to keep what is, or nodes are to be left out.
        """
        _leaves_nobody_out(options)
        if wish is SslWish.KEEP:
            raise InvalidInput(Reason.ARGUMENT_INVALID, "enable_ssl is to be on or off")
        chosen = replace(options or ReplaceOptions(), ssl_wish=wish, drop_crls=False)
        seen = await survey(self._open(), self._now, LiveSet() if wish is SslWish.ON else None)
        digests = {report.live.bundle_digest for report in seen.reports.good.values()}
        evidence = self._evidence(seen, chosen, digests.pop() if len(digests) == 1 else "")
        return planning.make(replace(evidence, only_ssl=True))

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
        if plan.generation is not None or plan.only_ssl or plan.bundle_digest != bundle.digest:
            raise _misfit("the plan was made for another bundle")
        return await self._transact(Kind.REPLACE, plan, bundle, watch, interrupt)

    async def rollback(
        self,
        plan: Plan,
        *,
        watch: Callable[[Progress], None] = _ignore,
        interrupt: Interrupt | None = None,
    ) -> Result:
        """The transaction back to the generation of a plan: every node, or none. As `replace`; the sets that
        were live become a generation themselves, named by this transaction.

        Raises:
            InvalidInput: ARGUMENT_INVALID, the plan is no rollback's or for another cluster.
        """
        if plan.generation is None:
            raise _misfit("the plan was not made for a rollback")
        return await self._transact(Kind.ROLLBACK, plan, Generation(plan.generation), watch, interrupt)

    async def switch_ssl(
        self,
        plan: Plan,
        *,
        watch: Callable[[Progress], None] = _ignore,
        interrupt: Interrupt | None = None,
    ) -> Result:
        """The transaction that changes enable_ssl on every node, or on none, and restarts CM; the sets stay
        as they are. As `replace`.

        Raises:
            InvalidInput: ARGUMENT_INVALID, the plan is of another kind or for another cluster.
        """
        if not plan.only_ssl:
            raise _misfit("the plan was not made to switch SSL")
        return await self._transact(Kind.SSL, plan, LiveSet(), watch, interrupt)

    async def recover(
        self,
        prefer: Choice = Choice.ROLL_BACK,
        take_over: bool = False,
        restart: RestartScope | None = None,
        *,
        bundle: Bundle | None = None,
        exclude: tuple[str, ...] = (),
        accept_state: bool = False,
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
            exclude: Nodes that are dead, to recover without where the others' answers make that safe.
            accept_state: A cluster that is not Normal, or serves nothing, with the set that it is to have is
                told and holds nothing up: it was so before, or its old set has expired.
            watch: Told what happens.
            interrupt: Stops a finishing, turned back as `replace`. Three requests abandon it, also while it
                reads: from then on no node is commanded, and it ends in doubt.
        """
        wish = Wish(
            prefer=prefer,
            take_over=take_over,
            restart=restart,
            accept_state=accept_state,
            holder=self._holder,
            timeouts=self._inventory.timeouts,
            fresh_id=self._make_id,
            is_gone=lambda other: naming.is_gone(other, self._holder),
            bundle=bundle,
            exclude=tuple(dict.fromkeys(exclude)),
        )
        stop = interrupt or Interrupt()

        def engine_for(job: Job) -> Engine:
            return self._engine(Kind.JOIN if job.joins else Kind.RECOVER, job, watch, stop)

        joiner = Joiner(self._inventory, self._now)
        return await Recoverer(
            wish, self._inventory, self._open(), joiner, engine_for, self._recorded, stop
        ).recover()

    def _gone(self, reports: Iterable[NodeReport]) -> frozenset[str]:
        holders = {report.transaction.holder for report in reports if report.transaction.lease_left_s > 0}
        return frozenset(each for each in holders if naming.is_gone(each, self._holder))

    def _evidence(self, seen: Survey, options: ReplaceOptions | None, bundle_digest: str) -> Evidence:
        chosen = options or ReplaceOptions()
        excluded = {
            node: error for node, error in seen.reports.bad.items() if _is_left_out(node, error, chosen)
        }
        return planning.Evidence(
            inventory=self._inventory,
            options=chosen,
            bundle_digest=bundle_digest,
            reports=seen.reports.good,
            errors={node: error for node, error in seen.errors.items() if node not in excluded},
            excluded=excluded,
            probes=seen.probes.good,
            judged=seen.judged.good,
            clock_offsets_s=seen.clock_offsets_s,
            gone=self._gone(seen.reports.good.values()),
        )

    async def _transact(
        self,
        kind: Kind,
        plan: Plan,
        source: Source,
        watch: Callable[[Progress], None],
        interrupt: Interrupt | None,
    ) -> Result:
        self._check_plan(plan)
        if not plan.feasible:
            return Result("", Verdict.NOTHING_DONE, failures=tuple(planning.objections_to(plan)))
        replacement = _replacement(plan, source)
        job = Job(
            transaction_id=self._make_id(),
            holder=self._holder,
            participants=tuple(sorted(replacement.old_digests)),
            restart=plan.options.restart,
            timeouts=self._inventory.timeouts,
            take_over=plan.options.take_over,
            replacement=replacement,
            accept_state=plan.options.accept_state,
            excluded=tuple(sorted(error.node for error in plan.excluded)),
            absent=plan.absent,
        )
        engine = self._engine(kind, job, watch, interrupt or Interrupt())
        return await self._recorded(await engine.run(begin(job.restart, waits=job.waits)))

    async def _recorded(self, result: Result) -> Result:
        heads = {name: client.audit_head for name, client in self._open().items()}
        self._recorder.heads({name: head for name, head in heads.items() if head is not None})
        untold = await self._recorder.ended(result)
        return replace(result, findings=(*result.findings, *untold))

    def _engine(
        self, kind: Kind, job: Job, watch: Callable[[Progress], None], interrupt: Interrupt
    ) -> Engine:
        self._recorder.begun(kind, self._inventory.cluster, job)
        self._reporter = Reporter(watch, self._clock, self._recorder)
        return Engine(
            job,
            self._open(),
            self._reporter,
            interrupt,
            clock=self._clock,
            sleep=self._sleep,
            pause=self._pause,
        )

    def _retrying(self, notice: RetryNotice) -> None:
        if self._reporter is not None:
            self._reporter.retrying(notice)

    def _open(self) -> Mapping[str, AgentClient]:
        if not self._clients:
            raise InternalError(Reason.INTERNAL, "the coordinator is used outside of `async with`")
        return self._clients

    def _check_plan(self, plan: Plan) -> None:
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


def _leaves_nobody_out(options: ReplaceOptions | None) -> None:
    """A node that was left out is brought over with the bundle, and known by its digest: nodes that went back
    to a generation, or differ in enable_ssl only, could not be told from those that did not."""
    if options is not None and options.exclude:
        raise InvalidInput(
            Reason.ARGUMENT_INVALID,
            "only a replacement with a bundle may leave nodes out",
            remedy="bring the nodes back first; if they are gone for good, take them out of CM and of the"
            " inventory",
        )


async def _look(client: AgentClient) -> tuple[NodeReport, Served | None]:
    probing = asyncio.ensure_future(_probe(client))
    try:
        report = await client.get_node()
        seen = await probing
    finally:
        probing.cancel()
    if seen is not None and seen.findings:  # why its cm_server does not serve, as CM's logs have it
        report = replace(report, findings=(*report.findings, *seen.findings))
    local = report.topology.local_node_id
    served = next((each for each in seen.served if each.cm_node_id == local), None) if seen else None
    return report, served


async def _probe(client: AgentClient) -> ProbeReport | None:
    """None where the node cannot look; its report then still is worth showing."""
    try:
        return await client.probe(query=False, timeout_s=PROBE_TIMEOUT_S)
    except GausscertError:
        return None


def _replacement(plan: Plan, source: Source) -> Replacement:
    leaves = {node.new_server.fingerprint if node.new_server is not None else "" for node in plan.nodes}
    return Replacement(
        source=source,
        bundle_digest=plan.bundle_digest,
        ssl_wish=plan.options.ssl_wish,
        drop_crls=plan.options.drop_crls,
        old_digests={node.node: node.old_digest for node in plan.nodes},
        leaf=leaves.pop() if len(leaves) == 1 else "",
        new_digests={node.node: node.new_digest for node in plan.nodes if node.new_digest},
        planned_state=plan.cluster_state,
        stopped=plan.stopped if plan.options.accept_state else frozenset(),
        accepted=tuple(found for found in plan.findings if standing.was_accepted(found)),
    )


def _misfit(message: str) -> InvalidInput:
    return InvalidInput(Reason.ARGUMENT_INVALID, message, remedy="make a new plan with gausscert plan")
