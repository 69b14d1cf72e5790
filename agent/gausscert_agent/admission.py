"""How many calls of one kind may be inside at once, so that no kind can lock out another.

gRPC itself has one limit for all calls, and counts those that only wait for a thread: eighty slow Probes of
an observer would keep out the operator's Abort. Here each kind has its own threads and its own slots. Of
those for looking nobody gets all: a thousand calls of one observer leave room for the operator's status.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

WATCHERS: Final = 16
"""Who may watch the transaction at once."""
HEALTH_WATCHERS: Final = 8
"""Who may watch the agent's health at once."""

PAUSE_S: Final = 0.5
KEPT_WAITING: Final = 1024

P = ParamSpec("P")
T = TypeVar("T")

_here = threading.local()


def is_turned_away() -> bool:
    """Whether this thread is to tell its caller that there is no slot for him."""
    return bool(getattr(_here, "turned_away", False))


class Door(ThreadPoolExecutor):
    """Tells callers that there is no slot for them, after a while: whoever calls again as soon as he is
    turned away, a thousand times at once, would otherwise keep gRPC's only thread from the calls of others.

    Args:
        pause_s: How long each is kept waiting.
        most: So many are; with more, those who have waited longest are told at once. Each counts as a call
            under way, of which gRPC takes a limited number.
    """

    def __init__(self, pause_s: float = PAUSE_S, most: int = KEPT_WAITING) -> None:
        super().__init__(1, "gausscert-door")
        self._pause_s = pause_s
        self._most = most
        self._waiting = 0
        self._closing = False
        self._changed = threading.Condition()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have it told."""
        due = time.monotonic() + self._pause_s
        with self._changed:
            self._waiting += 1
            if self._waiting > self._most:
                self._changed.notify()
        return super().submit(self._tell, due, partial(fn, *args, **kwargs))

    def close(self) -> None:
        """Tell all at once, and wait until they are told. Nobody may come any more."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self.shutdown()

    def _tell(self, due: float, tell: Callable[[], T]) -> T:
        with self._changed:
            while (left := due - time.monotonic()) > 0 and not self._is_pressed():
                self._changed.wait(left)
            self._waiting -= 1
        _here.turned_away = True
        return tell()

    def _is_pressed(self) -> bool:
        return self._closing or self._waiting > self._most


class Pool(ThreadPoolExecutor):
    """The threads for one kind of call. They are made on demand.

    Args:
        name: Of the threads.
        threads: Calls that run at once.
        slots: Calls that run or wait for a thread.
        door: Where callers are told that there is no slot for them.
        share: How many slots one caller may have; fewer than there are threads, so that some are left.
    """

    def __init__(self, name: str, threads: int, slots: int, *, door: Door, share: int | None = None) -> None:
        super().__init__(threads, f"gausscert-{name}")
        self._slots = slots
        self._share = share
        self._door = door
        self._counting = threading.Lock()
        self._taken = 0
        self._taken_by: Counter[object] = Counter()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Take a slot until the call has ended, in whatever way: also one whose caller hung up before.
        Where none is left, or the caller has had his share, he is told so at the door."""
        caller = None if self._share is None else _caller(args)
        with self._counting:
            full = self._taken >= self._slots
            let_in = not full and self._taken_by[caller] < (self._share or self._slots)
            if let_in:
                self._take(caller, 1)
        if not let_in:
            return self._door.submit(fn, *args, **kwargs)
        try:
            future = super().submit(fn, *args, **kwargs)
        except BaseException:
            self._give_back(caller)
            raise
        future.add_done_callback(lambda _: self._give_back(caller))
        return future

    def _give_back(self, caller: object) -> None:
        with self._counting:
            self._take(caller, -1)

    def _take(self, caller: object, count: int) -> None:
        self._taken += count
        self._taken_by[caller] += count
        if not self._taken_by[caller]:
            del self._taken_by[caller]


def _caller(args: tuple[object, ...]) -> object:
    """Who calls, as TLS knows him, out of what gRPC hands to a pool. All that cannot be seen are one.

    gRPC tells interceptors nothing of the caller before a thread has been found (grpc._server: the second
    argument is the event that holds the call), and then it is too late to keep a thread free.
    """
    from grpc._cython import cygrpc  # type: ignore[attr-defined] # compiled, without stubs

    call = next((found for each in args if (found := getattr(each, "call", None)) is not None), None)
    if not isinstance(call, cygrpc.Call):
        return None
    known = cygrpc.auth_context(call) or {}
    return tuple(known.get(b"peer_uri", ()))
