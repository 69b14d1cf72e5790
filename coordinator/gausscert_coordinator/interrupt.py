"""The operator's wish to stop a running transaction, counted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")

ABANDON_AFTER: Final = 3
"""The first request turns back, the second is noted, the third leaves everything as it is, in doubt."""

_DOES: Final = {
    True: "what runs now ends first, then everything is turned back",
    False: "put off, there is no way back from here",
    None: "noted, it takes effect with the next step",
}
_THIRD: Final = "a third time abandons it as it is, in doubt and perhaps with CM down"


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
        self.ended = False
        """Nothing follows any more that could be turned back or abandoned; said by whoever acts."""
        self._listeners: list[Callable[[int], None]] = []

    def request(self) -> bool:
        """Ask once more to stop.

        Returns:
            Whether anybody heard it; else it is answered as soon as somebody listens.
        """
        self._count += 1
        self.first.set()
        if self._count >= ABANDON_AFTER:
            self.third.set()
        for listener in tuple(self._listeners):
            listener(self._count)
        return bool(self._listeners)

    @property
    def count(self) -> int:
        """Requests so far."""
        return self._count

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


def answer(count: int, *, forward: bool | None = None, ended: bool = False) -> str:
    """What the operator is told of a request: what it does, and from the first one on what the next ones do.

    Args:
        count: Requests so far, at least one.
        forward: Whether there is still a way back; None: nothing is under way at this moment.
        ended: Nothing will be any more, see `Interrupt`.
    """
    if ended:
        return "interrupted, which changes nothing: it has ended already, and how is told next"
    if count >= ABANDON_AFTER:
        return "interrupted for the third time: abandoned as it is"
    if count > 1:
        return f"interrupted again, which changes nothing: {_DOES[forward]}; {_THIRD}"
    return f"interrupted: {_DOES[forward]}; a second time changes nothing, {_THIRD}"


async def unless(event: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """The result of `work`, or None when the event came first; `work` is then cancelled and awaited. Where
    the event is set already, `work` does not even begin.

    Whoever cancels calls to nodes this way must treat their answers as unknown.
    """
    if event.is_set():
        work.close()
        return None
    doing = asyncio.ensure_future(work)
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({doing, waiting}, return_when=asyncio.FIRST_COMPLETED)
        return doing.result() if doing.done() else None
    finally:
        for task in (doing, waiting):
            task.cancel()
        await asyncio.gather(doing, waiting, return_exceptions=True)
