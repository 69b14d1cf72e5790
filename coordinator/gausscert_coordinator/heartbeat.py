"""Says every so often that a stage still waits: for whom, for how long, how long it may take, what is seen.

`cm_ctl start` may take ten minutes. Whoever reads the log of an automation must be able to tell a command
that waits from one that hangs.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from gausscert_coordinator.beside import beside

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable
    from typing import Any

    from gausscert_coordinator.reporter import Reporter

T = TypeVar("T")

EVERY_S: Final = 20.0
"""Between two words; often enough for a person, and half a line per node and minute in a log."""

_NAMED: Final = 20
"""A cluster of CM has nine nodes at most (facts section 7)."""


@dataclass(slots=True)
class Wait:
    """What is waited for; whoever waits keeps it up to date."""

    nodes: set[str]
    """Whose answer is still to come; empty where it is the cluster as a whole."""
    since_s: float
    """When it began, by `Reporter.elapsed_s`."""
    longest_s: float
    """How long it may take."""
    repeated: bool = False
    """Then it begins anew: there is no other way than through this."""

    def told(self, now_s: float, seen: str = "") -> str:
        """For a person.

        Args:
            now_s: By the same clock as `since_s`.
            seen: What is seen of it.
        """
        whom = f"for {_listed(self.nodes)}, " if self.nodes else ""
        end = "then it is tried again" if self.repeated else "no longer"
        so_far = f"{whom}{now_s - self.since_s:.0f} s so far, up to {self.longest_s:.0f} s and {end}"
        return f"{so_far}; {seen}" if seen else so_far


class Heartbeat:
    """See the module.

    Args:
        reporter: Told.
        waits: What is waited for now; None: nothing that takes long.
        sees: What is seen of it, "" for nothing; may look.
        pause: Waits that many seconds.
    """

    def __init__(
        self,
        reporter: Reporter,
        waits: Callable[[], Wait | None],
        sees: Callable[[], Awaitable[str]],
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._reporter = reporter
        self._waits = waits
        self._sees = sees
        self._pause = pause

    async def during(self, stage: Coroutine[Any, Any, T]) -> T:
        """Carry out a stage and say meanwhile that it waits."""
        return await beside(stage, self._beat(), "saying that a stage still waits")

    async def _beat(self) -> None:
        while True:
            await self._pause(EVERY_S)
            wait = self._waits()
            seen = await self._sees() if wait is not None else ""
            if wait is not None and wait is self._waits():
                self._reporter.waiting(wait.told(self._reporter.elapsed_s, seen))


def _listed(names: Iterable[str]) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - _NAMED} more" if len(ordered) > _NAMED else ""
    return ", ".join(ordered[:_NAMED]) + more
