"""The operator's wish to stop a running transaction, counted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")

ABANDON_AFTER: Final = 3
"""The first request turns back, the second is noted, the third leaves everything as it is, in doubt."""


class Interrupt:
    """Set from a signal handler of the event loop (`loop.add_signal_handler`), read by the engine.

    Belongs to one event loop; from another thread use `loop.call_soon_threadsafe(interrupt.request)`.
    """

    def __init__(self) -> None:
        self._count = 0
        self.first = asyncio.Event()
        """Set by the first request."""
        self.third = asyncio.Event()
        """Set by the request that abandons."""
        self._listeners: list[Callable[[int], None]] = []

    def request(self) -> None:
        """Ask once more to stop."""
        self._count += 1
        self.first.set()
        if self._count >= ABANDON_AFTER:
            self.third.set()
        for listener in tuple(self._listeners):
            listener(self._count)

    @property
    def requested(self) -> bool:
        """Whether anybody asked."""
        return self._count > 0

    @property
    def abandoned(self) -> bool:
        """Whether somebody insisted so often that even a rollback is left undone."""
        return self.third.is_set()

    def listen(self, listener: Callable[[int], None]) -> None:
        """Call `listener` with the number of requests so far, at each further request."""
        self._listeners.append(listener)

    def forget(self, listener: Callable[[int], None]) -> None:
        """Undo `listen`."""
        self._listeners.remove(listener)


async def unless(event: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """The result of `work`, or None when the event came first; `work` is then cancelled and awaited.

    Whoever cancels calls to nodes this way must treat their answers as unknown.
    """
    doing = asyncio.ensure_future(work)
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({doing, waiting}, return_when=asyncio.FIRST_COMPLETED)
        return doing.result() if doing.done() else None
    finally:
        for task in (doing, waiting):
            task.cancel()
        await asyncio.gather(doing, waiting, return_exceptions=True)
