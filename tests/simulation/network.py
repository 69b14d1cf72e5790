"""Requests and answers on their way: lost, late, repeated, refused, cut off. An answer is only ever that of a
node that has come to the end of a command; a request may arrive long after anybody waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

import grpc
import grpc.aio
from gausscert_common.errors import GausscertError
from gausscert_common.protocol.commands import Command
from gausscert_common.protocol.words import Step
from gausscert_common.wire import errors
from gausscert_coordinator.policy import Call

from simulation.faults import Fault
from simulation.machine import Machine

if TYPE_CHECKING:
    from simulation.agent import Agent
    from simulation.world import World

T = TypeVar("T")
Work = Callable[["Agent", Callable[[], bool]], T]
"""What a request has an agent do; told whether its caller still waits."""

_NOTHING: Final = grpc.aio.Metadata()
_REFUSED: Final = (grpc.StatusCode.UNAVAILABLE, "Connection refused")
_CUT_OFF: Final = (grpc.StatusCode.UNAVAILABLE, "Endpoint closing: the connection timed out")
_LATE: Final = (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
"""In gRPC's own words, by which `Line` knows what has happened."""

_LOOKS_AROUND: Final = Call.PROBE.value
"""Needs no journal (`gausscert_agent.sealed`)."""
_REFUSAL_S: Final = 0.02
_SILENCE_S: Final = 8.0
"""How long until a connection that is cut off is noticed (agents.CHANNEL_OPTIONS: keepalive)."""
_LATER_S: Final = 90.0
_CHANCES: Final = 4
_SOON_S: Final = 0.2
_AGAIN_S: Final = (_SOON_S, 1.0, _LATER_S)


@dataclass(eq=False)
class Request:
    """One attempt of one call."""

    holder: str
    node: str
    rpc: str
    command: Command | None
    work: Work[Any]
    answer: asyncio.Future[Any]
    timers: list[asyncio.TimerHandle] = field(default_factory=list)

    def waits(self) -> bool:
        """Whether its caller does."""
        return not self.answer.done()

    def __str__(self) -> str:
        told = "" if self.command is None else f"({self.command.transaction_id}, {self.command.epoch})"
        return f"{self.rpc}{told} of {self.holder}"


class Network:
    """Between all coordinators and all nodes."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._cut: set[tuple[str, str]] = set()
        self._open: dict[str, dict[Request, None]] = {}
        self.on_the_way = 0

    def cut(self, holder: str, node: str, seconds: float) -> None:
        """Nothing passes between the two for so long."""
        self._world.told(holder, f"cut off from {node} for {seconds:.0f} s")
        self._cut.add((holder, node))
        self._world.loop.call_later(seconds, self._cut.discard, (holder, node))

    def heal(self) -> None:
        """Everything passes."""
        self._cut.clear()

    async def call(
        self,
        holder: str,
        machine: Machine,
        rpc: str,
        command: Command | None,
        work: Work[Any],
        deadline_s: float,
    ) -> Any:
        """One attempt. Raises AioRpcError, as gRPC would."""
        loop = self._world.loop
        request = Request(holder, machine.name, rpc, command, work, loop.create_future())
        expiry = loop.call_later(deadline_s, self._fail, request, _LATE)
        try:
            self._send(request, machine, deadline_s)
            return await request.answer
        finally:
            expiry.cancel()
            if not request.answer.done():
                request.answer.cancel()

    def agent_gone(self, machine: Machine) -> None:
        """Its connections break; where the power is gone, that is noticed later."""
        after_s = _REFUSAL_S if machine.powered else _SILENCE_S
        for request in self._open.pop(machine.name, {}):
            self._world.loop.call_later(after_s, self._fail, request, _CUT_OFF)

    def _send(self, request: Request, machine: Machine, deadline_s: float) -> None:
        dice, world = self._world.dice, self._world
        if (request.holder, machine.name) in self._cut or not machine.powered:
            world.loop.call_later(_SILENCE_S, self._fail, request, _CUT_OFF)
            return
        if dice.hits(Fault.REFUSED):
            world.loop.call_later(_REFUSAL_S, self._fail, request, _REFUSED)
            return
        latency_s = dice.between(0.001, 0.02)
        if dice.hits(Fault.REQUEST_LOST):
            world.told(request.holder, f"{request} to {machine.name} is lost")
            self._broken(request)
            return
        if dice.hits(Fault.LATE):
            self._broken(request)
            latency_s = deadline_s * dice.between(0.0, 1.2) + dice.between(1.0, _LATER_S)
        elif dice.hits(Fault.DELAYED):
            latency_s = deadline_s * dice.between(0.05, 0.9)
        self._deliver_after(latency_s, request, machine)
        if request.command is not None and (dice.hits(Fault.DUPLICATED) or self._again(request)):
            again_s = _SOON_S if request.rpc == Step.PREPARE.name else dice.one_of(_AGAIN_S)
            self._deliver_after(latency_s + again_s * dice.random.random(), request, machine)

    def _again(self, request: Request) -> bool:
        """Prepare has more than one chance: what it meets when it comes twice is rare otherwise."""
        hits = self._world.dice.hits
        return request.rpc == Step.PREPARE.name and any(hits(Fault.DUPLICATED) for _ in range(_CHANCES))

    def _deliver_after(self, seconds: float, request: Request, machine: Machine) -> None:
        self.on_the_way += 1
        self._world.loop.call_later(seconds, self._deliver, request, machine)

    def _deliver(self, request: Request, machine: Machine) -> None:
        self.on_the_way -= 1
        world = self._world
        agent = world.agents.get(machine.name)
        if (request.holder, machine.name) in self._cut or not machine.powered:
            return  # who waits for it hears nothing until its deadline
        if agent is None or not agent.serves:
            world.loop.call_later(_REFUSAL_S, self._fail, request, _REFUSED)
            return
        if request.command is not None:
            below = request.command.fence < machine.fence
            if below:
                world.dice.injected[Fault.BELOW_FENCE] += 1
            world.told(machine.name, f"{request} arrives{', below the fence' if below else ''}")
        self._open.setdefault(machine.name, {})[request] = None
        # A server need not know that its caller has gone: it may never have heard.
        knows = world.dice.random.random() < 0.5
        agent.in_fibre(lambda: self._serve(agent, request, machine, request.waits if knows else _always))

    def _serve(self, agent: Agent, request: Request, machine: Machine, is_active: Callable[[], bool]) -> None:
        try:
            if request.rpc != _LOOKS_AROUND:
                agent.require_open()
            answer = request.work(agent, is_active)
        except GausscertError as error:
            error.node = error.node or machine.name
            self._world.told(machine.name, f"{request}: {error.reason}: {error.message}")
            self._reply(request, machine, _over_the_wire(error))
        else:
            if request.command is not None:
                self._world.told(machine.name, f"{request} is done")
            self._reply(request, machine, answer)

    def _reply(self, request: Request, machine: Machine, answer: Any) -> None:
        self._open.get(machine.name, {}).pop(request, None)
        dice, world = self._world.dice, self._world
        if (request.holder, machine.name) in self._cut:
            return
        if dice.hits(Fault.REPLY_LOST):
            world.told(machine.name, f"the answer to {request} is lost")
            self._broken(request)
            return
        world.loop.call_later(dice.between(0.001, 0.02), self._answered, request, answer)

    def _broken(self, request: Request) -> None:
        """Noticed soon, or not before the deadline."""
        dice = self._world.dice
        if dice.random.random() < 0.6:
            self._world.loop.call_later(dice.between(0.01, 2.0), self._fail, request, _CUT_OFF)

    @staticmethod
    def _answered(request: Request, answer: Any) -> None:
        if not request.waits():
            return
        if isinstance(answer, grpc.aio.AioRpcError):
            request.answer.set_exception(answer)
        else:
            request.answer.set_result(answer)

    @staticmethod
    def _fail(request: Request, how: tuple[grpc.StatusCode, str]) -> None:
        if request.waits():
            request.answer.set_exception(grpc.aio.AioRpcError(how[0], _NOTHING, _NOTHING, details=how[1]))


def _always() -> bool:
    return True


def _over_the_wire(error: GausscertError) -> grpc.aio.AioRpcError:
    """As `interceptors` sends it."""
    trailing = grpc.aio.Metadata((errors.DETAILS_KEY, errors.details(error)))
    return grpc.aio.AioRpcError(errors.code_of(error), _NOTHING, trailing, details=errors.text_of(error))
