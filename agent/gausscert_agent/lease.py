"""The lease: keeps a second coordinator from barging in. It is convenience, never safety: the fence
alone decides what is carried out, so the lease lives in memory and ends with the agent."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Lease:
    """Who may expect not to be disturbed, and for how long.

    Args:
        monotonic: Seconds, for the lease's end.
        clock: Seconds since the epoch, for what is told to operators.
    """

    def __init__(self, monotonic: Callable[[], float], clock: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._clock = clock
        self._holder = ""
        self._duration_s = 0.0
        self._end = 0.0
        self._since = 0.0

    @property
    def holder(self) -> str:
        """Who holds it, "" when it is free or has run out."""
        return self._holder if self.left_s > 0 else ""

    @property
    def left_s(self) -> float:
        """Seconds until it runs out; 0 when it is free."""
        return max(0.0, self._end - self._monotonic()) if self._holder else 0.0

    @property
    def held_since(self) -> float | None:
        """When the holder last acted, seconds since the epoch; None when it is free."""
        return self._since if self.holder else None

    def grant(self, holder: str, duration_s: float) -> None:
        """Give it to a holder, whoever had it."""
        self._holder, self._duration_s = holder, duration_s
        self.renew(holder)

    def renew(self, holder: str) -> None:
        """The holder acts: its time runs anew. Does nothing for anybody else."""
        if holder and holder == self._holder:
            self._end = self._monotonic() + self._duration_s
            self._since = self._clock()

    def release(self) -> None:
        """Free for anyone."""
        self._holder = ""
