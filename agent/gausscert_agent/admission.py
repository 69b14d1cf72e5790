"""How many calls of one kind may be inside at once, so that no kind can lock out another.

gRPC itself has one limit for all calls, and counts those that only wait for a thread: eighty slow Probes of
an observer would keep out the operator's Abort. Here each kind has its own threads and its own slots, and so
have those of each kind who may do less: however many observers ask, an operator's status finds room, and
nobody has all that there is for his like.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, ParamSpec, TypeVar, cast

from gausscert_agent.attendant import Attendant

if TYPE_CHECKING:
    from collections.abc import Callable

WATCHERS: Final = 16
"""Who may watch the transaction at once."""
HEALTH_WATCHERS: Final = 8
"""Who may watch the agent's health at once."""

PAUSE_S: Final = 0.5
KEPT_WAITING: Final = 1024
ROOM: Final = 1536

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger(__name__)
_here = threading.local()


def is_turned_away() -> bool:
    """Whether this thread is to tell its caller that there is no slot for him."""
    return bool(getattr(_here, "turned_away", False))


class _Call(Generic[T]):
    """One call, which is carried out once, by whoever comes first."""

    def __init__(self, carry_out: Callable[[], T]) -> None:
        self._carry_out: Callable[[], T] | None = carry_out
        self.future: Future[T] = Future()

    def withdraw(self) -> bool:
        """Nobody carries it out any more; False if somebody does already.

        It stays in the queue of a pool without threads (`ThreadPoolExecutor.submit` puts it there before it
        makes one), and so must hold nothing of its caller.
        """
        if not self.future.cancel():
            return False
        self._carry_out = None
        return True

    def run(self) -> None:
        """Carry it out. What is raised is for whoever asks the future; gRPC does not."""
        if not self.future.set_running_or_notify_cancel():
            return
        carry_out, self._carry_out = self._carry_out, None
        try:
            self.future.set_result(cast("Callable[[], T]", carry_out)())
        except BaseException as error:
            logger.error("a call has ended in an exception", exc_info=error)
            self.future.set_exception(error)


class Door:
    """Tells callers that there is no slot for them, after a while: whoever calls again as soon as he is
    turned away, a thousand times at once, would otherwise keep gRPC's only thread from the calls of others.

    Whoever finds the door crowded is told by the thread that brings him, without a pause. gRPC would refuse
    callers for whom there are slots, too, if it were left to count (`MAX_CONCURRENT_RPCS`).

    Args:
        pause_s: How long each is kept waiting.
        most: So many are; with more, those who have waited longest are told at once.
        room: No more than so many wait, whatever comes: each holds memory.
    """

    def __init__(self, pause_s: float = PAUSE_S, most: int = KEPT_WAITING, room: int = ROOM) -> None:
        self._pause_s = pause_s
        self._most = most
        self._room = room
        self._waiting: deque[tuple[float, _Call[Any]]] = deque()
        self._closing = False
        self._changed = threading.Condition()
        self._attendant = Attendant("gausscert-door", self._attend)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have it told. Never raises."""
        call = _Call(partial(fn, *args, **kwargs))
        if not self._keeps_waiting(call):
            _turn_away(call)
        return call.future

    def is_empty(self) -> bool:
        """Whether nobody waits."""
        with self._changed:
            return not self._waiting

    def close(self) -> None:
        """Tell all at once, and wait until they are told. Whoever comes after that is told at once, too."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._attendant.join()

    def _keeps_waiting(self, call: _Call[Any]) -> bool:
        with self._changed:
            if self._closing or len(self._waiting) >= self._room or not self._attendant.is_there():
                return False
            self._waiting.append((time.monotonic() + self._pause_s, call))
            if len(self._waiting) == 1 or len(self._waiting) > self._most:
                self._changed.notify()
            return True

    def _attend(self) -> None:
        while self._tell_next():
            pass

    def _tell_next(self) -> bool:
        """Nobody who was told is held while nobody else comes."""
        call = self._next()
        if call is not None:
            _turn_away(call)
        return call is not None

    def _next(self) -> _Call[Any] | None:
        """Whose turn it is; None when nobody comes any more."""
        with self._changed:
            while True:
                if not self._waiting:
                    if self._closing:
                        return None
                    self._changed.wait()
                elif (left := self._waiting[0][0] - time.monotonic()) <= 0 or self._is_pressed():
                    return self._waiting.popleft()[1]
                else:
                    self._changed.wait(left)

    def _is_pressed(self) -> bool:
        return self._closing or len(self._waiting) > self._most


def _turn_away(call: _Call[Any]) -> None:
    _here.turned_away = True
    try:
        call.run()
    finally:
        _here.turned_away = False


class Caller(NamedTuple):
    """As TLS knows him. A credential that was stolen shares nothing with the one that has taken its place."""

    uris: tuple[bytes, ...] = ()
    certificate: tuple[bytes, ...] = ()


NOBODY: Final = Caller()
"""All who cannot be seen are one."""


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
        self._taken_by: Counter[Caller] = Counter()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """As `admit`, for whoever calls."""
        return self.admit(_caller(args), fn, *args, **kwargs)

    def admit(self, caller: Caller, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Take a slot until the call has ended, in whatever way: also one whose caller hung up before.
        Where none is left, or the caller has had his share, he is told so at the door."""
        with self._counting:
            full = self._taken >= self._slots
            let_in = not full and self._taken_by[caller] < (self._share or self._slots)
            if let_in:
                self._take(caller, 1)
        return self._let_in(caller, fn, *args, **kwargs) if let_in else self._door.submit(fn, *args, **kwargs)

    def is_empty(self) -> bool:
        """Whether no slot is taken."""
        with self._counting:
            return not self._taken

    def _let_in(self, caller: Caller, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Whoever a thread would have to be made for, and cannot, is turned away: what is raised here ends
        gRPC's own thread (grpc._server._serve), and with it an agent that looks as if it lived."""
        call = _Call(partial(fn, *args, **kwargs))
        call.future.add_done_callback(lambda _: self._give_back(caller))
        try:
            super().submit(call.run)
        except RuntimeError:
            if call.withdraw():
                return self._door.submit(fn, *args, **kwargs)
        return call.future

    def _give_back(self, caller: Caller) -> None:
        with self._counting:
            self._take(caller, -1)

    def _take(self, caller: Caller, count: int) -> None:
        self._taken += count
        self._taken_by[caller] += count
        if not self._taken_by[caller]:
            del self._taken_by[caller]


class Entrance(ThreadPoolExecutor):
    """Where the callers of one method part: whoever may do less takes no slot of those who may do more.

    It has no threads; gRPC takes calls to nothing but a `ThreadPoolExecutor`.

    Args:
        choose: The pool for such a caller. It must not raise.
    """

    def __init__(self, choose: Callable[[Caller], Pool]) -> None:
        super().__init__(1)
        self._choose = choose

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Through the pool that is his."""
        caller = _caller(args)
        return self._choose(caller).admit(caller, fn, *args, **kwargs)


def _caller(args: tuple[object, ...]) -> Caller:
    """Who calls, as TLS knows him, out of what gRPC hands to a pool.

    gRPC tells interceptors nothing of the caller before a thread has been found (grpc._server: the second
    argument is the event that holds the call), and then it is too late to keep a thread free.
    """
    from grpc._cython import cygrpc  # type: ignore[attr-defined] # compiled, without stubs

    call = next((found for each in args if (found := getattr(each, "call", None)) is not None), None)
    if not isinstance(call, cygrpc.Call):
        return NOBODY
    known = cygrpc.auth_context(call) or {}
    return Caller(tuple(known.get(b"peer_uri", ())), tuple(known.get(b"x509_pem_cert", ())))
