"""Looks until the cluster is seen to serve what it must, or until there is no more time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gausscert_coordinator import proof
from gausscert_coordinator.report import Mark

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gausscert_common.errors import GausscertError
    from gausscert_common.model import ClusterState

    from gausscert_coordinator.hands import Hands
    from gausscert_coordinator.proof import Expectation
    from gausscert_coordinator.report import Proof
    from gausscert_coordinator.reporter import Reporter

POLL_S: Final = 1.0
"""Between two looks; cm_server serves 1 to 2 s after its start (facts section 17)."""


class Prover:
    """Proof by handshake, from every node."""

    def __init__(self, hands: Hands, reporter: Reporter, clock: Callable[[], float]) -> None:
        self._hands = hands
        self._reporter = reporter
        self._clock = clock
        self.evidence: tuple[Proof, ...] = ()
        """What was seen last."""
        self.cluster_state: ClusterState | None = None

    async def prove(
        self,
        expectation: Expectation,
        *,
        within_s: float,
        pause: Callable[[float], Awaitable[None]],
        enough: Callable[[], bool],
    ) -> list[GausscertError]:
        """Everything that is still not as wanted at the end; [] is the proof.

        Args:
            expectation: What must be seen.
            within_s: How long the cluster gets.
            pause: Waits between two looks, or less.
            enough: Asked after each look; True ends the looking at once.
        """
        deadline_s = self._clock() + within_s
        said = ""
        while True:
            wrong = await self._look(expectation)
            if not wrong or enough() or self._clock() >= deadline_s:
                return wrong
            taken = await self._hands.fenced_out()
            if taken:
                return taken
            text = str(wrong[0])
            if text != said:
                self._reporter.tell(Mark.NOTE, detail=f"waiting: {text}")
                said = text
            await pause(POLL_S)

    async def _look(self, expectation: Expectation) -> list[GausscertError]:
        """`query` is asked only once every handshake is right: before that cm_ctl may hang for 91 s on a
        connection that is refused (facts section 17)."""
        probes = await self._hands.probe(query=False)
        self.evidence = proof.evidence(probes.good)
        wrong = [*probes.bad.values(), *proof.objections(expectation, probes.good)]
        if wrong:
            return wrong
        asked = await self._hands.probe(query=True)
        self.cluster_state = proof.cluster_state(asked.good)
        self.evidence = proof.evidence(asked.good)
        return [
            *asked.bad.values(),
            *proof.objections(expectation, asked.good),
            *proof.state_objections(expectation, asked.good),
        ]
