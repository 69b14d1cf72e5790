"""What must be served after a start, and whether it is: the stages that prove."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from gausscert_common.errors import Reason

from gausscert_coordinator import baseline, expectation, live_sets, query, recovery_view, running, standing
from gausscert_coordinator.interrupt import unless
from gausscert_coordinator.objections import as_finding
from gausscert_coordinator.prover import Prover
from gausscert_coordinator.report import Mark

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from gausscert_common.errors import GausscertError
    from gausscert_common.findings import Finding
    from gausscert_common.model import NodeReport

    from gausscert_coordinator.expectation import Expectation
    from gausscert_coordinator.gathered import Gathered
    from gausscert_coordinator.hands import Hands
    from gausscert_coordinator.interrupt import Interrupt
    from gausscert_coordinator.job import Job
    from gausscert_coordinator.reporter import Reporter
    from gausscert_coordinator.running import Processes

START_REASONS: Final = frozenset({Reason.CM_NOT_STARTED, Reason.CM_CTL_FAILED, Reason.CM_CTL_TIMEOUT})
"""What cm_ctl says of a start that may have worked all the same."""


class Proofs:
    """Looks at what the nodes serve."""

    def __init__(
        self,
        job: Job,
        hands: Hands,
        reporter: Reporter,
        interrupt: Interrupt,
        met: Gathered,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._job = job
        self._hands = hands
        self._reporter = reporter
        self._interrupt = interrupt
        self._met = met
        self._sleep = sleep
        self.prover = Prover(hands, reporter, clock)

    def new_set(self, reports: Mapping[str, NodeReport]) -> Expectation:
        """What must be served after Start."""
        replacement = self._job.replacement
        leaf = replacement.leaf if replacement is not None else ""
        wish = replacement.ssl_wish if replacement is not None else recovery_view.ssl_wish(reports)
        return expectation.new_set(reports, leaf, self._met.before, wish, self._job.absent)

    def old_set(self, reports: Mapping[str, NodeReport]) -> Expectation:
        """What must be served after a rollback."""
        wanted = expectation.old_set(reports, self._met.before)
        if self._met.before is not None and self._met.before.sound:
            return standing.least(wanted, self._met.before)
        return wanted

    def live_set(self, reports: Mapping[str, NodeReport]) -> Expectation:
        """What must be served where what is decided stays."""
        return expectation.new_set(reports, "", None, absent=self._job.absent)

    @property
    def processes_before(self) -> Processes | None:
        """Those of CM as they ran before the stop; None for whoever recovers."""
        return self._met.before.processes if self._met.before is not None else None

    async def verify(self) -> list[GausscertError]:
        """That every node serves the new set."""
        return await self._proven_new() or await self._told_to_stop()

    async def _proven_new(self) -> list[GausscertError]:
        read = await self._hands.read()
        if not read.complete:
            return list(read.bad.values())
        wanted, before = self.new_set(read.good), self.processes_before
        if self._job.joins:
            wanted = replace(wanted, normal=frozenset(read.good))
        if not self._job.accept_state:
            return await self.prove(wanted, forward=True, before=before)
        hoped = replace(wanted, normal=frozenset(read.good))
        owners = {node: each.topology.local_node_id for node, each in read.good.items()}
        least = standing.least(
            hoped, self._met.before or baseline.Baseline(), anyway=self._job.joining(read.good), owners=owners
        )
        return await self.prove(hoped, forward=True, before=before, least=least)

    async def verify_rollback(self) -> list[GausscertError]:
        """That every node serves the former set again, as far as it did before."""
        read = await self._hands.read()
        if not read.complete:
            return list(read.bad.values())
        if self._met.before is None:
            mixed = live_sets.unlike(read.good)
            if mixed and not self._job.accept_state:  # waiting mends nothing
                return mixed
            self._met.findings.extend(map(as_finding, mixed))
        wrong = await self.prove(self.old_set(read.good), forward=False) or await self._told_to_stop()
        unknown = self._met.before is None and self._job.accept_state
        if not unknown and (self._met.before is None or self._met.before.sound):
            return wrong
        self._met.findings.extend(as_finding(error) for error in wrong)
        return []

    async def _told_to_stop(self) -> list[GausscertError]:
        """A cm_server that no stop has reached yet serves the wanted set, too, and ends later."""
        read = await self._hands.read()
        replacement = self._job.replacement
        stopped = replacement.stopped if replacement is not None else frozenset()
        return [*read.bad.values(), *running.told_to_stop(read.good, but=stopped)]

    def left_to_proof(self, wrong: list[GausscertError]) -> list[GausscertError]:
        """With the old set live everywhere it does not matter what cm_ctl says of a start, only what runs:
        a start that was slow, or begun by hand, is seen by the proof that follows."""
        said = [error for error in wrong if error.reason in START_REASONS]
        for error in said:
            self._reporter.tell(Mark.NOTE, error.node, f"left to the proof: {error.message}")
        self._met.findings.extend(as_finding(error) for error in said)
        return [error for error in wrong if error.reason not in START_REASONS]

    async def prove(
        self,
        expectation: Expectation,
        *,
        forward: bool,
        before: Processes | None = None,
        least: Expectation | None = None,
    ) -> list[GausscertError]:
        """Look until all is as it must be, or time is up.

        Args:
            expectation: What must be served.
            forward: Whether there is still a way back: then an interruption ends the proof.
            before: The processes that must have gone.
            least: What will do where not all can be as expected.

        Returns:
            What is wrong; empty where it is proven.
        """

        async def pause(seconds: float) -> None:
            if forward:
                await unless(self._interrupt.first, _wait(self._sleep, seconds))
            else:
                await self._sleep(seconds)

        wrong = await self.prover.prove(
            self._in_these_words(expectation),
            least=self._in_these_words(least) if least is not None else None,
            before=before,
            within_s=self._job.timeouts.verify_s,
            pause=pause,
            enough=lambda: forward and self._interrupt.requested,
            gives_up=forward,
        )
        self._reporter.recorder.seen(self._reporter.stage, self.prover.evidence)
        self._met.findings.extend(as_finding(error) for error in self.prover.short_of)
        if wrong:
            self.tell_causes(self.prover.causes)
        elif self._met.before is not None:
            self._tell_roles(standing.roles_moved(self._met.before.state, self.prover.cluster_state))
        return wrong

    def _in_these_words(self, expectation: Expectation) -> Expectation:
        """Without some node a cluster is Degraded at best."""
        return replace(expectation, words=expectation.words | query.WORKING[self._job.whole])

    def tell_causes(self, found: Iterable[Finding]) -> None:
        """What CM's own logs say, once for each node."""
        for cause in dict.fromkeys(found):
            if cause not in self._met.findings:
                self._reporter.tell(Mark.NOTE, cause.node, f"{cause.cause} (do: {cause.remedy})")
                self._met.findings.append(cause)

    def _tell_roles(self, moved: Finding | None) -> None:
        if moved is not None:
            self._reporter.tell(Mark.NOTE, detail=f"roles have changed: {moved.cause}")
            self._met.findings.append(moved)


async def _wait(sleep: Callable[[float], Awaitable[None]], seconds: float) -> None:
    await sleep(seconds)
