"""The last look before CM is stopped: what "as good as before" is measured by, and whether the cluster still
is as it was planned for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from gausscert_common.protocol.coordinator import Stage

from gausscert_coordinator import baseline, proof, query, running, standing
from gausscert_coordinator.objections import as_finding, interfered
from gausscert_coordinator.prover import POLL_S
from gausscert_coordinator.report import Mark

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from gausscert_common.errors import GausscertError
    from gausscert_common.findings import Finding
    from gausscert_common.model import NodeReport, ProbeReport

    from gausscert_coordinator.baseline import Baseline
    from gausscert_coordinator.fanout import Answers
    from gausscert_coordinator.hands import Hands
    from gausscert_coordinator.job import Job, Replacement
    from gausscert_coordinator.reporter import Reporter

_FURTHER_LOOKS: Final = 2
"""At a cm_server that does not serve."""


class LookBefore:
    """One look; its outcome stays here."""

    def __init__(
        self, job: Job, hands: Hands, reporter: Reporter, sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        self._job = job
        self._hands = hands
        self._reporter = reporter
        self._sleep = sleep
        self.baseline: Baseline | None = None
        """How the cluster is."""
        self.findings: list[Finding] = []
        """What is told of it and refuses nothing."""

    async def look(self, replacement: Replacement, *, stopped_is_fine: bool) -> list[GausscertError]:
        """Everything that speaks against stopping it. The reports come last: what they say of a pause, an
        upgrade or a stop is the newest there is."""
        probes = await self._hands.probe(query=True, longest_s=query.LONGEST_S)
        before = baseline.of(probes.good, query.WORKING[self._job.whole])
        if self._job.accept_state:
            before = await self._look_again(before, probes)
        read = await self._hands.read()
        self.baseline = before = replace(before, processes=running.running(read.good))
        self._reporter.recorder.seen(Stage.PREPARE, proof.evidence(probes.good))
        self._reporter.recorder.before(before.state)
        if self._job.accept_state:
            self._tell(before, probes.good, read.good)
        unfit: list[GausscertError] = [*probes.bad.values(), *read.bad.values()]
        unfit += interfered(read.good, replacement, stopped_is_fine=stopped_is_fine)
        if unfit or self._job.joins:  # its own old set may be what keeps it out
            return unfit
        if not self._job.accept_state:
            return list(baseline.no_longer_normal(before, probes.good))
        return list(standing.worse_than_planned(replacement.planned_state, before, probes.good))

    async def _look_again(self, before: Baseline, probes: Answers[ProbeReport]) -> Baseline:
        """One that is out of reach for a moment must not be taken for one that did not serve before."""
        for _ in range(_FURTHER_LOOKS):
            if not standing.exempt(before, probes.good):
                break
            await self._sleep(POLL_S)
            probes = await self._hands.probe(query=False)
            seen = baseline.of(probes.good).served
            before = replace(before, served=baseline.best_of(before.served, seen))
        return before

    def _tell(
        self, before: Baseline, probes: Mapping[str, ProbeReport], reports: Mapping[str, NodeReport]
    ) -> None:
        self._reporter.tell(Mark.NOTE, detail=f"accepted as it is: {standing.told(probes)}")
        for each in standing.exempt(before, probes, self._job.joining(reports)):
            self._reporter.tell(Mark.NOTE, detail=f"{each.message} (do: {each.remedy})")
            self.findings.append(as_finding(each))
