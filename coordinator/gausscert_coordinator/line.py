"""A line to one node: sends a request as often as `policy` allows, and turns everything gRPC can raise into
an error of ours with the node's name on it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, TypeVar

import grpc
import grpc.aio
from gausscert_common import auditing, identity
from gausscert_common.errors import GausscertError, Reason, Unreachable
from gausscert_common.wire import errors
from google.protobuf.message import Message

from gausscert_coordinator import diagnosis, policy
from gausscert_coordinator.policy import Call, Late
from gausscert_coordinator.repeating import Repeatable, persist

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from gausscert_common.auditing import Head

    from gausscert_coordinator.diagnosis import Dialled
    from gausscert_coordinator.inventory import Timeouts
    from gausscert_coordinator.ports import OnRetry

Answer = TypeVar("Answer", bound=Message)
M = TypeVar("M")
T = TypeVar("T")

_REFUSED: Final = "Connection refused"
_SIGN_OF_LIFE_S: Final = 5.0
"""How long a node may take to say that it is there; it does so beside any command."""

_SILENT: Final = (
    "timed out",
    "Timeout occurred",
    "Endpoint closing",
    "No route to host",
    "Network is unreachable",
)
"""gRPC's words for a node that is not there. Anything else is looked into with a handshake of our own."""


class Line:
    """One channel to one node.

    Args:
        dialled: Whom to reach.
        channel: Closed by `close`.
        timeouts: From the inventory.
        on_retry: Told before a call is repeated.
        sleep: Waits between attempts.
        clock: Seconds that only go forward.
    """

    def __init__(
        self,
        dialled: Dialled,
        channel: grpc.aio.Channel,
        timeouts: Timeouts,
        on_retry: OnRetry | None,
        sleep: Callable[[float], Awaitable[None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.dialled = dialled
        self._channel = channel
        self._timeouts = timeouts
        self._on_retry = on_retry
        self._sleep = sleep
        self._clock = clock
        self.audit_head: Head | None = None
        """The newest line of the node's audit log that an answer has carried."""
        self._met = False
        """The node has proven who it is: whatever is found at its address later may pass."""

    async def call(
        self, call: Call, request: Message, answer: type[Answer], *, extra_s: float = 0.0
    ) -> Answer:
        """Send the same bytes until there is an answer, an error that stays, or no budget left.

        Args:
            call: The row of `policy.TABLE`.
            request: What to send.
            answer: What to expect.
            extra_s: Added to the deadline.
        """
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, Answer] = self._channel.unary_unary(
            f"/{identity.AGENT_SERVICE}/{call.method}", response_deserializer=answer.FromString
        )
        body = request.SerializeToString()
        deadline_s = policy.TABLE[call].deadline_s(self._timeouts) + extra_s
        late = policy.TABLE[call].late

        async def attempt() -> Answer:
            try:
                sent = method(body, timeout=deadline_s)
                found: Answer = await sent
                self._note(await sent.trailing_metadata())
            except grpc.aio.AioRpcError as failed:
                if late is not Late.READ and _ran_out(failed):
                    raise await self._late(call, deadline_s) from failed
                error = await self._error(failed)
                if _may_pass(error) or (failed.code() is grpc.StatusCode.UNAVAILABLE and self._met):
                    raise Repeatable(error, alive=_shows_life(failed, error)) from failed
                raise error from failed
            self._met = True
            return found

        try:
            return await persist(
                attempt,
                call,
                self._timeouts,
                met=self._met,
                node=self.dialled.node,
                on_retry=self._on_retry,
                sleep=self._sleep,
                clock=self._clock,
            )
        except Repeatable as last:
            raise last.error from last

    async def stream(self, method: str, request: Message, answer: type[Answer]) -> AsyncIterator[Answer]:
        """Everything the node sends. Ends with an error when the connection does; never repeated."""
        open_stream: grpc.aio.UnaryStreamMultiCallable[bytes, Answer] = self._channel.unary_stream(
            f"/{identity.AGENT_SERVICE}/{method}", response_deserializer=answer.FromString
        )
        stream = open_stream(request.SerializeToString())
        try:
            async for found in stream:
                yield found
        except grpc.aio.AioRpcError as failed:
            raise await self._error(failed) from failed
        finally:
            stream.cancel()

    def read(self, reader: Callable[[M], T], message: M) -> T:
        """Read an answer; what cannot be read is said of this node."""
        try:
            return reader(message)
        except GausscertError as error:
            error.node = self.dialled.node
            raise

    def _note(self, trailing: Iterable[tuple[str, str | bytes]]) -> None:
        text = dict(trailing).get(auditing.HEAD_KEY)
        head = auditing.as_head(text) if isinstance(text, str) else None
        if head is not None and (self.audit_head is None or head.number > self.audit_head.number):
            self.audit_head = head

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()

    async def _error(self, failed: grpc.aio.AioRpcError) -> GausscertError:
        """What the agent raised, or why there was no answer."""
        said = _said(failed)
        text = failed.details() or ""
        error = errors.from_rpc(failed.code(), text, said, node=self.dialled.node)
        shows_life = _shows_life(failed, error)
        self._met = self._met or shows_life
        if failed.code() is not grpc.StatusCode.UNAVAILABLE or shows_life:
            return error
        if _REFUSED in text:
            return self._unreachable(f"nothing listens on {self.dialled.address}", diagnosis.START)
        if any(words in text for words in _SILENT):
            message = f"{self.dialled.address} does not answer"
            return self._unreachable(message, "look at network and firewall")
        return await asyncio.to_thread(diagnosis.look, self.dialled) or error

    async def _late(self, call: Call, deadline_s: float) -> GausscertError | Repeatable:
        """A command that ran into its deadline: at a node that is slow, or at one that has gone."""
        alive = await self._shows_life()
        took = f"{call.method} has taken longer than {deadline_s:.0f} s"
        message = f"{took}; the node answers" if alive else f"{took}, and the node does not answer"
        remedy = (
            "it may still be at work: look at gausscert status, and at timeouts in the inventory"
            if alive
            else "look at the node and its network"
        )
        error = Unreachable(Reason.DEADLINE, message, node=self.dialled.node, remedy=remedy)
        repeated = policy.TABLE[call].late is Late.REPEAT
        return Repeatable(error, alive=alive) if repeated else error

    async def _shows_life(self) -> bool:
        """Asks a question without arguments, and does not read the answer."""
        ask: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(
            f"/{identity.AGENT_SERVICE}/{Call.GET_NODE.method}"
        )
        try:
            await ask(b"", timeout=min(_SIGN_OF_LIFE_S, self._timeouts.call_s))
        except grpc.aio.AioRpcError as failed:
            return _said(failed) is not None
        return True

    def _unreachable(self, message: str, remedy: str) -> Unreachable:
        return Unreachable(Reason.UNREACHABLE, message, node=self.dialled.node, remedy=remedy)


def _said(failed: grpc.aio.AioRpcError) -> bytes | None:
    """What the agent itself has put into a status; None where gRPC made it alone."""
    serialized = dict(failed.trailing_metadata() or ()).get(errors.DETAILS_KEY)
    return serialized if isinstance(serialized, bytes) else None


def _shows_life(failed: grpc.aio.AioRpcError, error: GausscertError) -> bool:
    """Whether the node has answered; gRPC at its end, too, says that it has no room for a call."""
    return _said(failed) is not None or error.reason is Reason.BUSY


def _ran_out(failed: grpc.aio.AioRpcError) -> bool:
    """Whether the deadline passed before there was an answer of the node."""
    return failed.code() is grpc.StatusCode.DEADLINE_EXCEEDED and _said(failed) is None


def _may_pass(error: GausscertError) -> bool:
    """Whether time may mend it: not so a refused certificate, or an address where somebody else lives."""
    return errors.code_of(error) is grpc.StatusCode.UNAVAILABLE
