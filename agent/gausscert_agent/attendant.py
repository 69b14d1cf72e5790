"""The one thread that does something for many callers, of whom none may wait for it or fail without it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Attendant:
    """Made by the first who needs it. Where no thread can be had (RLIMIT_NPROC counts those of the database,
    too), by the next. Whoever asks for it holds the lock of what it attends to.

    Args:
        name: Of the thread.
        attend: What it does, until there is nothing more to do.
    """

    def __init__(self, name: str, attend: Callable[[], None]) -> None:
        self._name = name
        self._attend = attend
        self._thread: threading.Thread | None = None

    def is_there(self) -> bool:
        """Whether somebody attends, from now on at the latest."""
        if self._thread is None:
            thread = threading.Thread(target=self._attend, name=self._name, daemon=True)
            try:
                thread.start()
            except RuntimeError:
                return False
            self._thread = thread
        return True

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for its end, which somebody must have told it; False if it has not come in time."""
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()
