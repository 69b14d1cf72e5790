"""What all nodes do, as they do it, whoever has them do it: one stream of many."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gausscert_common.errors import GausscertError, Reason, Unreachable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable

    from gausscert_common.model import WatchEvent

    from gausscert_coordinator.ports import AgentClient

PAUSE_S = 5.0
"""Before a node that was lost is watched again."""
_WAITING = 1000
"""Events that a slow reader may leave; then the nodes' streams wait."""


@dataclass(frozen=True, slots=True)
class NodeEvent:
    """What one node does, or why that is not to be seen."""

    node: str
    event: WatchEvent | None = None
    error: GausscertError | None = None
    """The node is lost; it is tried again, and told again only once something else is to be told of it."""


async def follow(
    clients: Iterable[AgentClient],
    *,
    pause: Callable[[], Awaitable[None]] = lambda: asyncio.sleep(PAUSE_S),
) -> AsyncGenerator[NodeEvent, None]:
    """Watch all nodes until the reader leaves. A node tells a new watcher first what it is about.

    Args:
        clients: The nodes.
        pause: Waits before a lost node is watched again.
    """
    told: asyncio.Queue[NodeEvent] = asyncio.Queue(_WAITING)
    tasks = [asyncio.create_task(_relay(client, told, pause)) for client in clients]
    try:
        while True:
            yield await _next(told, tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _next(told: asyncio.Queue[NodeEvent], tasks: list[asyncio.Task[None]]) -> NodeEvent:
    """A relay ends only by a bug, which must not look like nodes that do nothing."""
    getting = asyncio.ensure_future(told.get())
    try:
        await asyncio.wait([getting, *tasks], return_when=asyncio.FIRST_COMPLETED)
        if not getting.done():
            next(task for task in tasks if task.done()).result()
        return await getting
    finally:
        getting.cancel()


async def _relay(
    client: AgentClient, told: asyncio.Queue[NodeEvent], pause: Callable[[], Awaitable[None]]
) -> None:
    lost: Reason | None = None
    while True:
        try:
            async for event in client.watch():
                lost = None
                await told.put(NodeEvent(client.name, event))
            error: GausscertError = Unreachable(
                Reason.UNREACHABLE, "the agent has ended the stream", node=client.name
            )
        except GausscertError as failed:
            error = failed
        if error.reason is not lost:
            lost = error.reason
            await told.put(NodeEvent(client.name, error=error))
        await pause()
