"""How many calls of one kind may be inside at once, so that no kind can lock out another.

gRPC itself has one limit for all calls, and counts those that only wait for a thread: eighty slow Probes of
an observer would keep out the operator's Abort. Here each kind has its own threads and its own slots.
"""

from __future__ import annotations

import threading
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


class Pool(ThreadPoolExecutor):
    """The threads for one kind of call. They are made on demand.

    Args:
        name: Of the threads.
        threads: Calls that run at once.
        slots: Calls that run or wait for a thread.
    """

    def __init__(self, name: str, threads: int, slots: int) -> None:
        super().__init__(threads, f"gausscert-{name}")
        self._slots = slots
        self._counting = threading.Lock()
        self._taken = 0

    @property
    def full(self) -> bool:
        """Whether the next call is to be turned away."""
        with self._counting:
            return self._taken >= self._slots

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Take a slot until the call has ended, in whatever way: also one whose caller hung up before."""
        with self._counting:
            self._taken += 1
        try:
            future = super().submit(fn, *args, **kwargs)
        except BaseException:
            self._give_back()
            raise
        future.add_done_callback(lambda _: self._give_back())
        return future

    def _give_back(self) -> None:
        with self._counting:
            self._taken -= 1
