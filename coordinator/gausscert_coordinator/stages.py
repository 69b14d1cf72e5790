"""What each stage of a course does to the nodes, and what counts as having gone well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gausscert_common.errors import InternalError, Reason
from gausscert_common.protocol.coordinator import Stage
from gausscert_common.protocol.words import RestartScope

from gausscert_coordinator import live_sets, objections, recovery_view, running, sightings
from gausscert_coordinator.hands import PROBE_TIMEOUT_S
from gausscert_coordinator.job import PROOFS, STARTS
from gausscert_coordinator.looking_before import LookBefore
from gausscert_coordinator.merging import merge
from gausscert_coordinator.objections import answers_again, as_finding, staged_another, unlike_plan
from gausscert_coordinator.proofs import START_REASONS
from gausscert_coordinator.report import Mark
from gausscert_coordinator.start_watch import StartWatch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from gausscert_common.errors import GausscertError
    from gausscert_common.model import NodeReport

    from gausscert_coordinator.gathered import Gathered
    from gausscert_coordinator.hands import Hands
    from gausscert_coordinator.job import Job, Replacement
    from gausscert_coordinator.proofs import Proofs
    from gausscert_coordinator.reporter import Reporter

_OUTSIDE: Final = "CM is not started from here: start the cluster now; what it serves is not proven"


class Stages:
    """Acts on the nodes through `hands`."""

    def __init__(
        self,
        job: Job,
        hands: Hands,
        reporter: Reporter,
        proofs: Proofs,
        met: Gathered,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._job = job
        self._hands = hands
        self._reporter = reporter
        self._proofs = proofs
        self._met = met
        self._sleep = sleep
        self.start_watch = StartWatch(hands, reporter, sleep)
        self._own_ways: dict[Stage, Callable[[], Awaitable[list[GausscertError]]]] = {
            Stage.ACQUIRE: lambda: self._acquire_as_planned(self._replacement()),
            Stage.PREPARE: lambda: self._prepare(self._replacement()),
            Stage.STOP: self._stop,
            Stage.SWAP: self._swap,
            Stage.START: self._start,
            Stage.VERIFY: proofs.verify,
            Stage.ENSURE_UP: self._ensure_up,
            Stage.ROLLBACK_STOP: lambda: hands.restart(Stage.ROLLBACK_STOP),
            Stage.ROLLBACK_START: self._rollback_start,
            Stage.ROLLBACK_VERIFY: proofs.verify_rollback,
        }
        """What is more than sending one command to all nodes."""

    async def carry_out(self, stage: Stage) -> list[GausscertError]:
        """Take one stage on all nodes.

        Returns:
            Why it has not gone well; empty where it has.
        """
        if self._job.restart is RestartScope.NONE and stage in STARTS | PROOFS:
            self._reporter.tell(Mark.NOTE, detail=_OUTSIDE)
            return []
        if stage in (Stage.ABORT, Stage.CLEAN) and not self._met.prepare_sent:
            return await self._release(stage)
        if stage in self._own_ways:
            return await self._own_ways[stage]()
        return await self._hands.command(stage, self._job.participants)

    async def _acquire_as_planned(self, replacement: Replacement) -> list[GausscertError]:
        """Reads first: nodes that are away or not as planned are then found before anything is locked."""
        read = await self._hands.read()
        back = await self._hands.excluded_that_answer()
        wrong = [*read.bad.values(), *map(answers_again, back)] or self._unlike_plan(read.good, replacement)
        if wrong:
            return wrong
        self._hands.epoch = recovery_view.promised_epoch(read.good) + 1
        answers = await self._hands.acquire()
        self._met.granted = tuple(answers.good)
        return list(answers.bad.values()) or self._unlike_plan(answers.good, replacement)

    def _unlike_plan(
        self, reports: Mapping[str, NodeReport], replacement: Replacement
    ) -> list[GausscertError]:
        return unlike_plan(reports, replacement, stopped_is_fine=self._stopped_is_fine)

    @property
    def _stopped_is_fine(self) -> bool:
        """A node that joins may well have been kept from starting CM by hand."""
        return self._job.restart is RestartScope.NONE or bool(self._job.joins)

    async def _prepare(self, replacement: Replacement) -> list[GausscertError]:
        self._met.prepare_sent = True
        answers = await self._hands.prepare(replacement)
        self._met.findings.extend(replacement.accepted)
        self._met.findings.extend(merge({node: answer.findings for node, answer in answers.good.items()}))
        self._reporter.recorder.found(self._met.findings)
        self._met.overlaps = {node: answer.overlap for node, answer in answers.good.items()}
        wrong = list(answers.bad.values())
        staged = answers.good.items()
        wrong += [staged_another(node) for node, made in staged if replacement.is_another(node, made.stage)]
        if wrong or self._job.restart is RestartScope.NONE:
            return wrong
        return await self._look_before(replacement)

    async def _look_before(self, replacement: Replacement) -> list[GausscertError]:
        looking = LookBefore(self._job, self._hands, self._reporter, self._sleep)
        wrong = await looking.look(replacement, stopped_is_fine=self._stopped_is_fine)
        self._met.before = looking.baseline
        self._met.findings.extend(looking.findings)
        return wrong

    async def _stop(self) -> list[GausscertError]:
        if self._met.before is None and not self._job.accept_state:  # who recovers has made no plan
            read = await self._hands.read()
            wrong = [*read.bad.values(), *objections.steered(read.good)]
            if wrong:
                return wrong
        return await self._hands.restart(Stage.STOP) or await self._seen_stopped("although it was stopped")

    async def _swap(self) -> list[GausscertError]:
        """Each node looks before and after it exchanges its own set. A cm_server that came up there while
        others had yet to exchange theirs would run beside the old set; only all nodes together show that."""
        wrong = await self._hands.command(Stage.SWAP, self._job.participants)
        return wrong or await self._seen_stopped("before all nodes had exchanged their sets")

    async def _seen_stopped(self, when: str) -> list[GausscertError]:
        read = await self._hands.read()
        return [*read.bad.values(), *running.still_there(read.good, when)]

    async def _start(self) -> list[GausscertError]:
        """cm_ctl on one node may have failed because of a cm_server on another: that one is named, too. Where
        the cluster was accepted as it was, cm_ctl may well wait in vain for it to be Normal. A start without
        an answer may not even have begun: then only what runs, and runs wrongly, is named."""
        start = self._hands.restart(Stage.START)
        wrong = await self.start_watch.during(start, self._proofs.new_set, self._proofs.processes_before)
        tried = any(error.reason in START_REASONS for error in wrong)
        if not tried and not any(error.reason is Reason.DEADLINE for error in wrong):
            return wrong
        if tried and self._job.accept_state and (self._met.before is None or not self._met.before.normal):
            return self._proofs.left_to_proof(wrong)
        read, probes = await self._hands.look(longest_s=PROBE_TIMEOUT_S)
        self._proofs.tell_causes(finding for report in probes.good.values() for finding in report.findings)
        blamed = {error.node for error in wrong}
        wanted, before = self._proofs.new_set(read.good), self._proofs.processes_before
        look = sightings.after_failed_start if tried else sightings.while_starting
        seen = look(wanted, before, read.good, probes.good)
        return [*wrong, *(each for each in seen if not (sightings.is_silence(each) and each.node in blamed))]

    async def _rollback_start(self) -> list[GausscertError]:
        mixed = await self._mixed()
        if mixed:
            return mixed
        start = self._hands.restart(Stage.ROLLBACK_START)
        return self._proofs.left_to_proof(await self.start_watch.during(start, self._proofs.old_set, None))

    async def _mixed(self) -> list[GausscertError]:
        """Who recovers starts CM with one set only: running nodes must have loaded the same (I3)."""
        if self._met.before is not None or self._job.accept_state or self._job.joins:
            return []
        read = await self._hands.read(witnesses=True)
        return [*read.bad.values(), *live_sets.unlike(read.good)]

    async def _ensure_up(self) -> list[GausscertError]:
        """The decision is durable everywhere already: what is not proven here is told, no more."""
        mixed = await self._mixed()
        if mixed:
            return mixed
        start = self._hands.restart(Stage.ENSURE_UP)
        wrong = await self.start_watch.during(start, self._proofs.live_set, None)
        if wrong:
            return wrong
        read = await self._hands.read()
        unproven = [
            *read.bad.values(),
            *await self._proofs.prove(self._proofs.live_set(read.good), forward=False),
        ]
        self._met.findings.extend(as_finding(error) for error in unproven)
        return []

    async def _release(self, stage: Stage) -> list[GausscertError]:
        """Tell those that granted Acquire that nothing will come. Nothing was prepared anywhere, so a node
        that does not hear of it only keeps its lease until that runs out."""
        self.tell_kept(await self._hands.command(stage, self._met.granted))
        return []

    def _replacement(self) -> Replacement:
        if self._job.replacement is None:
            raise InternalError(Reason.INTERNAL, "a recovery has nothing to prepare")
        return self._job.replacement

    def tell_kept(self, errors: Iterable[GausscertError]) -> None:
        """Who did not give back its lease, and why."""
        for error in errors:
            taken = error.reason in (Reason.FENCED, Reason.LOCKED)
            how = "has another coordinator by now" if taken else "keeps its lease until it runs out"
            self._reporter.tell(Mark.NOTE, error.node, f"{how}: {error.message}")
