"""Time that passes only when nobody has anything left to do: an asyncio event loop, and fibres on it.

The coordinators run on the loop as they are. Agents are written for threads; each of their handlers runs in a
fibre (a greenlet), which gives way only where something takes time. So there is one order of events for
one seed, in any process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar, TypeVarTuple, Unpack

from greenlet import getcurrent, greenlet

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

RESOLUTION_S: Final = 1e-9
HORIZON_S: Final = 20_000.0
"""Longer than anything here may take, however often it is repeated."""


class Standstill(Exception):
    """Nothing will ever happen again, or things never come to an end."""


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop without sockets, signals or threads, whose clock jumps to the next thing to do."""

    _scheduled: list[asyncio.TimerHandle]

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._clock_resolution = RESOLUTION_S
        self._selector = self

    def time(self) -> float:
        return self._now

    def select(self, timeout: float | None) -> tuple[()]:
        """What the loop calls when nothing is ready; there never is anything but timers."""
        if timeout is None:
            raise Standstill("everybody waits, and for nothing")
        if timeout > 0:
            self._now = max(self._now, self._scheduled[0].when())
        if self._now > HORIZON_S:
            raise Standstill(f"no end after {HORIZON_S:.0f} s")
        return ()

    def run_in_executor(
        self, executor: object, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """At once: threads have no place in an order of events."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - the awaiter's
            future.set_exception(error)
        return future

    def _process_events(self, event_list: object) -> None:
        pass

    def _write_to_self(self) -> None:
        pass


class Died(BaseException):
    """The process that this fibre belongs to is no more. Nobody may catch it and go on."""


class Fibre(greenlet):
    """One thread of an agent.

    Args:
        loop: Its time.
        work: What it does; it raises nothing but `Died`.
    """

    def __init__(self, loop: VirtualLoop, work: Callable[[], None]) -> None:
        super().__init__(self._whole)
        self._loop = loop
        self._work = work
        self.alive = True

    def begin(self) -> None:
        """Run when the loop comes to it."""
        self._loop.call_soon(self.resume)

    def resume(self) -> None:
        """Go on; for callbacks of the loop."""
        if self.alive:
            self.switch()

    def wait(self, seconds: float) -> None:
        """Give way for so long."""
        self._loop.call_later(seconds, self.resume)
        self.park()

    def park(self) -> None:
        """Give way until somebody calls `resume`."""
        parent = self.parent
        if parent is None:
            raise RuntimeError("a fibre has the loop above it")
        parent.switch()

    def kill(self) -> None:
        """End it where it stands; it unwinds without giving way."""
        if not self.alive:
            return
        self.alive = False
        if self is getcurrent():
            raise Died
        if self:
            self.parent = getcurrent()
            self.throw(Died)

    def _whole(self) -> None:
        try:
            self._work()
        except Died:
            pass
        finally:
            self.alive = False


class FibreLock:
    """What `threading.Lock` is to threads; who waits longest comes first."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._held = False
        self._waiting: list[Fibre] = []

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if not self._held:
            self._held = True
            return True
        if not blocking or timeout == 0:
            return False
        me = getcurrent()
        assert isinstance(me, Fibre)
        self._waiting.append(me)
        patience = self._loop.call_later(timeout, self._give_up, me) if timeout > 0 else None
        me.park()
        if me in self._waiting:
            self._waiting.remove(me)
            return False
        if patience is not None:
            patience.cancel()
        return True

    def release(self) -> None:
        assert self._held
        while self._waiting:
            following = self._waiting.pop(0)
            if following.alive:  # the lock is handed on, never let go in between
                self._loop.call_soon(following.resume)
                return
        self._held = False

    def locked(self) -> bool:
        return self._held

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def _give_up(self, fibre: Fibre) -> None:
        if fibre in self._waiting:
            fibre.resume()
