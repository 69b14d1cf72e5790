"""One call to many nodes at once. Every node asked ends up in exactly one of two places: its answer,
or its error. A failure at one node never cuts off the call to another."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from gausscert_common.errors import GausscertError, InternalError, Reason

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    class Named(Protocol):
        """Somebody who can be asked."""

        @property
        def name(self) -> str: ...  # noqa: D102 - named by the protocol

    C = TypeVar("C", bound=Named)

T = TypeVar("T")

CONCURRENCY: Final = 256
"""Calls in flight; more only lengthens the queue of TLS handshakes on two cores."""


@dataclass(frozen=True, slots=True)
class Answers(Generic[T]):
    """What came back, by node, in the order of asking."""

    good: dict[str, T] = field(default_factory=dict)
    bad: dict[str, GausscertError] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every node answered well."""
        return not self.bad


async def ask(
    clients: Iterable[C],
    call: Callable[[C], Awaitable[T]],
    *,
    concurrency: int = CONCURRENCY,
) -> Answers[T]:
    """Call every node and wait for all of them.

    A bug in a call becomes an InternalError of its node: the node's state is then as unknown as after
    a lost reply, and the transaction must be able to turn back.
    """
    asked = tuple(clients)
    gate = asyncio.Semaphore(concurrency)

    async def one(client: C) -> T:
        async with gate:
            return await call(client)

    results = await asyncio.gather(*(one(client) for client in asked), return_exceptions=True)
    answers: Answers[T] = Answers()
    for client, result in zip(asked, results, strict=True):
        if isinstance(result, BaseException):
            answers.bad[client.name] = _as_error(client.name, result)
        else:
            answers.good[client.name] = result
    return answers


def _as_error(node: str, raised: BaseException) -> GausscertError:
    if isinstance(raised, GausscertError):
        raised.node = raised.node or node
        return raised
    if not isinstance(raised, Exception):
        raise raised
    error = InternalError(
        Reason.INTERNAL,
        f"the call ended with {type(raised).__name__}",
        node=node,
        remedy="report it with the output of --verbose",
    )
    error.__cause__ = raised
    return error
