"""Of what may come a thousand times a second, a few are told, and the others counted."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Sparing:
    """Lets some through at once, and then one every now and then; may be used from any thread.

    Args:
        at_once: How many.
        every_s: How often afterwards.
        monotonic: Seconds, never set back.
    """

    def __init__(self, at_once: int, every_s: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._at_once = at_once
        self._every_s = every_s
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._allowance = float(at_once)
        self._asked_at = monotonic()
        self._left_out = 0

    def ask(self) -> bool:
        """May the next one be told? It is counted where it may not."""
        with self._lock:
            now = self._monotonic()
            self._allowance = min(self._at_once, self._allowance + (now - self._asked_at) / self._every_s)
            self._asked_at = now
            if self._allowance < 1:
                self._left_out += 1
                return False
            self._allowance -= 1
            return True

    def leave_out(self) -> None:
        """One that is not told, and does not ask."""
        with self._lock:
            self._left_out += 1

    @property
    def left_out(self) -> int:
        """How many since `told`."""
        return self._left_out

    def told(self) -> int:
        """How many were left out is known now: count anew.

        Returns:
            How many.
        """
        with self._lock:
            left_out, self._left_out = self._left_out, 0
            return left_out
