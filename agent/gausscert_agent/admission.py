"""How many calls of one kind may be inside at once, so that no kind can lock out another.

gRPC itself has one limit for all calls, and counts those that only wait for a thread: eighty slow Probes of
an observer would keep out the operator's Abort. Here each kind has its own threads and its own slots. Of
those for looking nobody gets all: a thousand calls of one observer leave room for the operator's status.
"""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

WATCHERS: Final = 16
"""Who may watch the transaction at once."""
HEALTH_WATCHERS: Final = 8
"""Who may watch the agent's health at once."""

P = ParamSpec("P")
T = TypeVar("T")

_here = threading.local()


def is_turned_away() -> bool:
    """Whether this thread is to tell its caller that there is no slot for him."""
    return bool(getattr(_here, "turned_away", False))


class Door(ThreadPoolExecutor):
    """Turns callers away, in gRPC's own thread: nothing there waits, and to hand a call to another thread
    costs more than to refuse it. Whoever else calls waits for all that are turned away before him.

    gRPC takes nothing for a pool but this class; no thread is ever made.
    """

    def __init__(self) -> None:
        super().__init__(1, "gausscert-door")

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have it told at once."""
        told: Future[T] = Future()
        _here.turned_away = True
        try:
            told.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - as every pool does
            told.set_exception(error)
        finally:
            _here.turned_away = False
        return told


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
