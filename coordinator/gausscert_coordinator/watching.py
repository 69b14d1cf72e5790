"""Relays what a node does while it carries out a command that may take long, so that waiting is not silent.

A task of its own beside the call, which begins and ends with it. Nothing that matters hangs on it: a watch
that cannot be had, fails or ends is no failure of the node.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

from gausscert_common.errors import GausscertError
from gausscert_common.protocol.coordinator import Stage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from gausscert_common.protocol.words import Fence

    from gausscert_coordinator.ports import AgentClient
    from gausscert_coordinator.reporter import Reporter

PATIENCE_S: Final = 1.0
"""A command that is over by then is not watched: a thousand streams to a thousand nodes would cost more than
it does. Nothing is missed, because a node tells a new watcher what it is about."""

MOST_RELAYED: Final = 100
"""Different things that one node is about during one command; more are no help to anybody."""
_SHOWN: Final = 200

WATCHED: Final = frozenset(
    {Stage.PREPARE, Stage.STOP, Stage.SWAP, Stage.START, Stage.ENSURE_UP}
    | {Stage.ROLLBACK_STOP, Stage.ABORT, Stage.ROLLBACK_START}
)
"""Stages in which a node runs cm_ctl or waits for CM; the others are one record or one rename."""

_logger = logging.getLogger(__name__)


class Watching:
    """See the module. An async context manager around one call.

    Args:
        client: The node.
        reporter: Told what it does.
        fence: Of the command: what the node tells of others is not relayed.
        pause: Waits that many seconds.
    """

    def __init__(
        self,
        client: AgentClient,
        reporter: Reporter,
        fence: Fence,
        *,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._reporter = reporter
        self._fence = fence
        self._pause = pause
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._relay())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.wait([task])
        bug = None if task.cancelled() else task.exception()
        if bug is not None:
            _logger.error("watching a node failed", exc_info=bug, extra={"node": self._client.name})

    async def _relay(self) -> None:
        await self._pause(PATIENCE_S)
        told: set[str] = set()
        with suppress(GausscertError):
            async for event in self._client.watch():
                activity = event.activity[:_SHOWN]
                is_new = activity and activity not in told and len(told) < MOST_RELAYED
                if event.fence == self._fence and is_new:
                    told.add(activity)
                    self._reporter.relay(self._client.name, activity)
