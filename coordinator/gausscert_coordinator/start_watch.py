"""Looks at the cluster beside a start that runs: what is wrong is named while cm_ctl still waits for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from gausscert_coordinator import sightings
from gausscert_coordinator.beside import beside
from gausscert_coordinator.hands import GLANCE_S
from gausscert_coordinator.report import Mark

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping
    from typing import Any

    from gausscert_common.errors import NodeFailure
    from gausscert_common.model import NodeReport

    from gausscert_coordinator.expectation import Expectation
    from gausscert_coordinator.hands import Hands
    from gausscert_coordinator.reporter import Reporter
    from gausscert_coordinator.running import Processes

T = TypeVar("T")

EVERY_S: Final = 1.0
"""Between two looks; with the longest look (`hands.GLANCE_S`) a cm_server that serves what it must not
is named within 5 s."""


class StartWatch:
    """Tells what it sees as notes, each once. Decides nothing: the command that runs is left alone.

    Args:
        hands: To look with.
        reporter: Told what is seen.
        sleep: Waits between two looks.
        patience_s: How long each node may take to answer; one that is late is left out of that look.
    """

    def __init__(
        self,
        hands: Hands,
        reporter: Reporter,
        sleep: Callable[[float], Awaitable[None]],
        patience_s: float = GLANCE_S,
    ) -> None:
        self._hands = hands
        self._reporter = reporter
        self._sleep = sleep
        self._patience_s = patience_s
        self.silent = ""
        """The cm_servers that nobody has heard in the last look, for a person."""

    async def during(
        self,
        start: Coroutine[Any, Any, T],
        wanted: Callable[[Mapping[str, NodeReport]], Expectation],
        before: Processes | None,
    ) -> T:
        """Carry out `start` and look beside it until it is over.

        Args:
            start: The commands.
            wanted: What must be served, by what the nodes hold.
            before: The processes that must be gone, by node; None: not looked at.
        """
        self.silent = ""
        return await beside(start, self._look_on(wanted, before), "looking beside the start")

    async def _look_on(
        self, wanted: Callable[[Mapping[str, NodeReport]], Expectation], before: Processes | None
    ) -> None:
        told, served = set[tuple[str, str]](), set[int]()
        while True:
            await self._sleep(EVERY_S)
            for failure in await self._look(wanted, before, served):
                if (gist := sightings.gist(failure)) not in told:
                    told.add(gist)
                    self._reporter.tell(Mark.NOTE, failure.node, failure.message)

    async def _look(
        self,
        wanted: Callable[[Mapping[str, NodeReport]], Expectation],
        before: Processes | None,
        served: set[int],
    ) -> list[NodeFailure]:
        with self._reporter.aside():
            read, probes = await self._hands.glance(self._patience_s)
        expectation = wanted(read.good)
        served |= sightings.speaking(probes.good)
        self.silent = sightings.silent(expectation, read.good, probes.good)
        return [
            *sightings.while_starting(expectation, before, read.good, probes.good),
            *sightings.not_up_yet(expectation, read.good, probes.good, served),
        ]
