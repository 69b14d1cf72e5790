"""Calls whose request has not come yet, and for how long that may be so."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from gausscert_agent.attendant import Attendant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REQUEST_S: Final = 30.0
"""A request is 1 MiB at most, and on its way when the call comes."""


class Cancellable(Protocol):
    """`grpc.ServicerContext` is one."""

    def cancel(self) -> object:
        """End the call, whoever waits for what."""


class Awaited:
    """Gives up calls of which no request comes: each would hold a thread and a slot until its connection
    ends, and an agent from stopping. May be used from any thread.

    Args:
        limit_s: So long a request may take.
        monotonic: Seconds, never set back.
    """

    def __init__(self, limit_s: float = REQUEST_S, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._limit_s = limit_s
        self._monotonic = monotonic
        self._changed = threading.Condition()
        self._since: dict[Cancellable, float] = {}
        """The oldest first."""
        self._idle = False
        self._closing = False
        self._attendant = Attendant("gausscert-awaited", self._attend)

    @contextmanager
    def waiting(self, call: Cancellable) -> Iterator[None]:
        """While its request is waited for."""
        with self._changed:
            self._since[call] = self._monotonic()
            self._attended()
        try:
            yield
        finally:
            with self._changed:
                self._since.pop(call, None)

    def give_up(self, limit_s: float) -> None:
        """End those that have waited so long at least."""
        with self._changed:
            until = self._monotonic() - limit_s
            due = [call for call, since in self._since.items() if since <= until]
            for call in due:
                del self._since[call]
        for call in due:
            call.cancel()

    def close(self) -> None:
        """End the thread; no call may come any more."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._attendant.join()

    def _attended(self) -> None:
        """The thread is woken no more than once within `limit_s`, however many calls come and go."""
        if not self._closing and self._attendant.is_there() and self._idle:
            self._idle = False
            self._changed.notify()

    def _attend(self) -> None:
        while self._has_waited():
            self.give_up(self._limit_s)

    def _has_waited(self) -> bool:
        """Whether some call has had its time; False when it is to end."""
        with self._changed:
            while not self._closing:
                self._idle = not self._since
                left_s = self._left_s()
                if left_s is not None and left_s <= 0:
                    return True
                self._changed.wait(left_s)
            return False

    def _left_s(self) -> float | None:
        """Until the oldest has had its time; None where there is none."""
        oldest = next(iter(self._since.values()), None)
        return None if oldest is None else oldest + self._limit_s - self._monotonic()
