"""Looks until the cluster is seen to serve what it must, or until there is no more time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gausscert_coordinator import proof, running
from gausscert_coordinator.report import Mark

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from gausscert_common.errors import GausscertError
    from gausscert_common.findings import Finding
    from gausscert_common.model import ClusterState, ProbeReport

    from gausscert_coordinator.hands import Hands
    from gausscert_coordinator.proof import Expectation
    from gausscert_coordinator.report import Proof
    from gausscert_coordinator.reporter import Reporter
    from gausscert_coordinator.running import Processes

POLL_S: Final = 1.0
"""Between two looks; cm_server serves 1 to 2 s after its start (facts section 17)."""


_TOLD: Final = 6
"""Things that are wrong and named while there is still time; the result has all."""


class Prover:
    """Proof by handshake, from every node."""

    def __init__(self, hands: Hands, reporter: Reporter, clock: Callable[[], float]) -> None:
        self._hands = hands
        self._reporter = reporter
        self._clock = clock
        self.evidence: tuple[Proof, ...] = ()
        """What was seen last."""
        self.cluster_state: ClusterState | None = None
        self.causes: tuple[Finding, ...] = ()
        """What CM's logs said when something was last seen to be wrong."""
        self.short_of: list[GausscertError] = []
        """What was hoped for and not seen, once no less than before was."""

    async def prove(
        self,
        expectation: Expectation,
        *,
        least: Expectation | None = None,
        before: Processes | None = None,
        within_s: float,
        pause: Callable[[float], Awaitable[None]],
        enough: Callable[[], bool],
    ) -> list[GausscertError]:
        """Everything that is still not as wanted at the end; [] is the proof.

        Args:
            expectation: What must be seen.
            least: What is enough if that is not seen in time; None: nothing less.
            before: The processes that must be gone, by node; None: not looked at.
            within_s: How long the cluster gets.
            pause: Waits between two looks, or less.
            enough: Asked after each look; True ends the looking at once.
        """
        deadline_s = self._clock() + within_s
        said = ""
        while True:
            wrong, hopeless = await self._look(expectation, before)
            if not wrong or hopeless or enough():
                return wrong
            if self._clock() >= deadline_s:
                return await self._settle_for(least, wrong, before)
            taken = await self._hands.fenced_out()
            if taken:
                return taken
            text = _named(wrong)
            if text != said:
                self._reporter.tell(Mark.NOTE, detail=f"waiting: {text}")
                said = text
            await pause(POLL_S)

    async def _settle_for(
        self, least: Expectation | None, wrong: list[GausscertError], before: Processes | None
    ) -> list[GausscertError]:
        if least is None:
            return wrong
        worse, _ = await self._look(least, before)
        if not worse:
            self.short_of = wrong
        return worse

    async def _look(
        self, expectation: Expectation, before: Processes | None
    ) -> tuple[list[GausscertError], bool]:
        """Everything that is wrong, what the process lists show first, and whether waiting is in vain."""
        wrong = await self._look_at_servers(expectation)
        if before is None and not wrong:
            return [], False
        read = await self._hands.read()
        stale = running.not_restarted(read.good, before or {})
        gone = running.absent(read.good) if wrong else []
        return [*stale, *gone, *wrong, *read.bad.values()], bool(stale)

    async def _look_at_servers(self, expectation: Expectation) -> list[GausscertError]:
        """`query` is asked only once every handshake is right: before that cm_ctl may hang for 91 s on a
        connection that is refused (facts section 17)."""
        probes = await self._hands.probe(query=False)
        self.evidence = proof.evidence(probes.good)
        self._note_causes(probes.good.values())
        wrong = [*probes.bad.values(), *proof.objections(expectation, probes.good)]
        if wrong:
            return wrong
        asked = await self._hands.probe(query=True)
        self.cluster_state = proof.cluster_state(asked.good)
        self.evidence = proof.evidence(asked.good)
        self._note_causes(asked.good.values())
        return [
            *asked.bad.values(),
            *proof.objections(expectation, asked.good),
            *proof.state_objections(expectation, asked.good),
        ]

    def _note_causes(self, reports: Iterable[ProbeReport]) -> None:
        found = [finding for report in reports for finding in report.findings]
        self.causes = tuple(dict.fromkeys(found)) or self.causes


def _named(wrong: Iterable[GausscertError]) -> str:
    """Everything that is wrong, each once, by the first node that sees it."""
    seen: dict[str, str] = {}
    for error in wrong:
        seen.setdefault(error.message, error.node)
    shown = [f"{node}: {message}" if node else message for message, node in seen.items()]
    more = f"; and {len(shown) - _TOLD} more" if len(shown) > _TOLD else ""
    return "; ".join(shown[:_TOLD]) + more
