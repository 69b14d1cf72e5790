"""A coordinator's line to one agent: the real `Line` with its policy of deadlines and repetitions, over the
simulated network. What an agent does for each call is what `service` and `node` of the real one do."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from gausscert_agent.effects import Given
from gausscert_agent.restart import RestartOrders as AgentOrders
from gausscert_agent.staging import Material
from gausscert_common.errors import InvalidInput, Reason
from gausscert_common.model import (
    CertificateSet,
    ExpiryReport,
    JudgedSet,
    NodeReport,
    PreparedSet,
    ProbeReport,
    WatchEvent,
)
from gausscert_common.protocol.commands import AcquireCommand, Command, PrepareCommand
from gausscert_common.protocol.words import Step
from gausscert_common.source import LiveSet, Source
from gausscert_coordinator.diagnosis import Dialled
from gausscert_coordinator.inventory import Credentials
from gausscert_coordinator.line import Line
from gausscert_coordinator.policy import Call
from gausscert_coordinator.ports import OnRetry, Preparation, RestartOrders

from simulation.machine import Machine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Generator

    from gausscert_common.auditing import Head

    from simulation.agent import Agent
    from simulation.captain import Captain
    from simulation.network import Work

T = TypeVar("T")

_NOWHERE: Final = Credentials(Path("nowhere"), Path("nowhere"), Path("nowhere"))


class Parcel(bytes):
    """A message that stays a value: what it has an agent do, and for which command."""

    work: Work[Any]
    command: Command | None

    @classmethod
    def of(cls, command: Command | None, work: Work[Any]) -> Parcel:
        made = cls()
        made.command, made.work = command, work
        return made

    def SerializeToString(self) -> Parcel:  # noqa: N802 - protobuf's name
        return self

    @staticmethod
    def FromString(answer: Any) -> Any:  # noqa: N802 - protobuf's name
        return answer


class Sent:
    """`grpc.aio.UnaryUnaryCall`: to be awaited. The simulation has no audit logs, so nothing trails."""

    def __init__(self, answer: Coroutine[Any, Any, Any]) -> None:
        self._answer = answer

    def __await__(self) -> Generator[Any, None, Any]:
        return self._answer.__await__()

    async def trailing_metadata(self) -> tuple[tuple[str, str], ...]:
        return ()


class Channel:
    """`grpc.aio.Channel` of one coordinator to one node."""

    def __init__(self, captain: Captain, machine: Machine) -> None:
        self._captain = captain
        self._machine = machine

    def unary_unary(self, path: str, **_: object) -> Callable[..., Any]:
        captain, machine = self._captain, self._machine

        async def carried(body: bytes, timeout: float) -> Any:  # noqa: ASYNC109 - as gRPC has it
            parcel = body if isinstance(body, Parcel) else _SIGN_OF_LIFE
            command = parcel.command
            rpc = path.rpartition("/")[2] if command is None else command.step.name
            await captain.at_a_boundary()
            answer = await captain.world.network.call(
                captain.holder, machine, rpc, command, parcel.work, timeout
            )
            await captain.at_a_boundary()
            return answer

        return lambda body, *, timeout: Sent(carried(body, timeout))

    async def close(self) -> None:
        pass


_SIGN_OF_LIFE: Final = Parcel.of(None, lambda agent, _: agent.tells.report())


class SimClient:
    """`gausscert_coordinator.ports.AgentClient`.

    Args:
        captain: Whose it is.
        machine: Where to.
        on_retry: Told before a call is repeated.
    """

    def __init__(self, captain: Captain, machine: Machine, on_retry: OnRetry) -> None:
        self._captain = captain
        self._world = captain.world
        self._machine = machine
        self._referee, self._holder = self._world.referee, captain.holder
        self._line = Line(
            Dialled(self._world.cluster, machine.name, machine.target, _NOWHERE),
            Channel(captain, machine),  # type: ignore[arg-type]
            self._world.timeouts,
            on_retry,
            asyncio.sleep,
            self._world.loop.time,
        )

    @property
    def name(self) -> str:
        return self._machine.name

    @property
    def audit_head(self) -> Head | None:
        return self._line.audit_head

    async def get_node(self, *, preflight: bool = False) -> NodeReport:
        call = Call.PREFLIGHT if preflight else Call.GET_NODE
        report = await self._look(call, lambda agent: agent.tells.report())
        self._captain.seen[self.name] = report
        return report

    async def judge(self, source: Source, *, drop_crls: bool) -> JudgedSet:
        return await self._look(Call.JUDGE, lambda agent: agent.machine.judge(source, ()))

    async def watch(self) -> AsyncIterator[WatchEvent]:
        """What it does is in the trace already."""
        events: tuple[WatchEvent, ...] = ()
        for event in events:
            yield event

    async def get_expiry(self) -> ExpiryReport:
        raise NotImplementedError

    async def probe(self, *, query: bool, timeout_s: float) -> ProbeReport:
        return await self._look(Call.PROBE, lambda agent: agent.tells.probe(query=query), 2 * timeout_s)

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
        if not self._captain.take_over and self._captain.recovers:
            self._referee.begins(holder, command.transaction_id, self._captain.seen.values())

        self._captain.means_to_leave_out(excluded)

        def work(agent: Agent, is_active: Callable[[], bool]) -> NodeReport:
            told = agent.machine.state.transaction
            agent.execute(full, Given(lease_s=lease_s), is_active)
            if told is not None:
                self._captain.leaves_out(excluded, told.excluded)
            return agent.tells.report()

        return await self._order(Call.ACQUIRE, full, work)

    async def prepare(self, command: Command, preparation: Preparation) -> PreparedSet:
        def work(agent: Agent, is_active: Callable[[], bool]) -> PreparedSet:
            full = PrepareCommand(
                command.transaction_id,
                command.epoch,
                command.step,
                preparation.participants,
                preparation.expected_live_digest,
                preparation.ssl_wish,
                preparation.restart,
                self._world.now_s,
                preparation.excluded,
                preparation.joins,
            )
            if agent.machine.name not in full.participants:
                raise InvalidInput(Reason.ARGUMENT_INVALID, "participants do not name this node")
            material = Material(preparation.source, preparation.drop_crls)
            done = agent.execute(full, Given(material=material), is_active)
            kept = isinstance(preparation.source, LiveSet)
            held = agent.tells.live() if kept else agent.tells.staged(full.transaction_id)
            return PreparedSet(held, done.findings, done.overlap)

        return await self._order(Call.PREPARE, command, work)

    async def stop(self, command: Command, orders: RestartOrders) -> None:
        call = Call.STOP if command.step is Step.STOP else Call.ROLLBACK_STOP
        await self._restart(call, command, orders, orders.timeout_s - self._world.timeouts.stop_s)

    async def start(self, command: Command, orders: RestartOrders) -> None:
        call = Call.START if command.step is Step.START else Call.ROLLBACK_START
        await self._restart(call, command, orders, orders.timeout_s - self._world.timeouts.start_s)

    async def swap(self, command: Command) -> CertificateSet:
        return await self._order(Call.SWAP, command, _moving(command))

    async def commit(self, command: Command) -> None:
        await self._order(Call.COMMIT, command, _moving(command))

    async def purge(self, command: Command) -> None:
        await self._order(Call.PURGE, command, _moving(command))

    async def abort(self, command: Command) -> CertificateSet:
        return await self._order(Call.ABORT, command, _moving(command))

    async def clean(self, command: Command) -> None:
        await self._order(Call.CLEAN, command, _moving(command))

    async def close(self) -> None:
        await self._line.close()

    async def _restart(self, call: Call, command: Command, orders: RestartOrders, extra_s: float) -> None:
        way_back = command.step in (Step.ROLLBACK_STOP, Step.ROLLBACK_START)
        given = Given(orders=AgentOrders(orders.scope, orders.executor, orders.timeout_s, way_back))
        await self._order(call, command, lambda agent, active: agent.execute(command, given, active), extra_s)

    async def _look(self, call: Call, look: Callable[[Agent], T], extra_s: float = 0.0) -> T:
        return await self._call(call, None, lambda agent, _: look(agent), extra_s)

    async def _order(self, call: Call, command: Command, work: Work[T], extra_s: float = 0.0) -> T:
        self._referee.sent(self._holder, command)
        return await self._call(call, command, work, extra_s)

    async def _call(self, call: Call, command: Command | None, work: Work[T], extra_s: float) -> T:
        answer: Any = await self._line.call(
            call,
            Parcel.of(command, work),  # type: ignore[arg-type]
            Parcel,
            extra_s=max(0.0, extra_s),
        )
        given: T = answer
        return given


def _moving(command: Command) -> Work[CertificateSet]:
    """Swap, Commit, Purge, Abort, Clean."""

    def work(agent: Agent, is_active: Callable[[], bool]) -> CertificateSet:
        agent.execute(command, Given(), is_active)
        return agent.tells.live()

    return work
