"""The one loop: does what `protocol.coordinator.Course` says next on all nodes, and tells it how that went.

Nothing here decides what comes next. What the engine adds to the course: which nodes a stage goes to, what
counts as having gone well, the operator's interruptions, and the words for how it ended.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from gausscert_common.errors import GausscertError, InternalError, Reason
from gausscert_common.protocol.coordinator import POINT_OF_NO_RETURN, Stage, Verdict
from gausscert_common.protocol.words import RestartScope

from gausscert_coordinator import (
    baseline,
    expectation,
    live_sets,
    objections,
    query,
    recovery_view,
    running,
    sightings,
    standing,
    takeover,
)
from gausscert_coordinator.hands import PROBE_TIMEOUT_S, Hands
from gausscert_coordinator.heartbeat import Heartbeat
from gausscert_coordinator.interrupt import unless
from gausscert_coordinator.job import PROOFS, STARTS, STOPS
from gausscert_coordinator.looking_before import LookBefore
from gausscert_coordinator.merging import merge
from gausscert_coordinator.objections import (
    answers_again,
    as_finding,
    finished_without,
    in_doubt,
    rolled_back_without,
    staged_another,
    stays_down,
    still_excluded,
    told_together,
    unlike_plan,
)
from gausscert_coordinator.prover import Prover
from gausscert_coordinator.report import Mark, Result
from gausscert_coordinator.start_watch import StartWatch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from gausscert_common.findings import Finding
    from gausscert_common.model import NodeReport, Overlap
    from gausscert_common.protocol.coordinator import Course
    from gausscert_common.protocol.words import Step

    from gausscert_coordinator.baseline import Baseline
    from gausscert_coordinator.expectation import Expectation
    from gausscert_coordinator.fanout import Answers
    from gausscert_coordinator.heartbeat import Wait
    from gausscert_coordinator.interrupt import Interrupt
    from gausscert_coordinator.job import Job, Replacement
    from gausscert_coordinator.ports import AgentClient
    from gausscert_coordinator.reporter import Reporter
    from gausscert_coordinator.running import Processes
    from gausscert_coordinator.takeover import TakenOver

_START_REASONS: Final = frozenset({Reason.CM_NOT_STARTED, Reason.CM_CTL_FAILED, Reason.CM_CTL_TIMEOUT})

_OUTSIDE: Final = "CM is not started from here: start the cluster now; what it serves is not proven"


class Engine:
    """One run over one job."""

    def __init__(
        self,
        job: Job,
        clients: Mapping[str, AgentClient],
        reporter: Reporter,
        interrupt: Interrupt,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._job = job
        self._reporter = reporter
        self._recorder = reporter.recorder
        self._interrupt = interrupt
        self._sleep = sleep
        self._hands = Hands(job, clients, reporter)
        self._prover = Prover(self._hands, reporter, clock)
        self._start_watch = StartWatch(self._hands, reporter, sleep)
        self._heartbeat = Heartbeat(reporter, self._waits, self._sees, pause)
        self._granted: tuple[str, ...] = ()
        self._prepare_sent = job.replacement is None
        self._before: Baseline | None = None
        self._failures: list[GausscertError] = []
        self._findings: list[Finding] = []
        self._overlaps: Mapping[str, Overlap] = {}
        self._turned_back_at: Stage | None = None
        self._stopped_at: Stage | None = None
        self._interrupted = False
        self._abandoned = False
        self._taken_over: TakenOver | None = None
        self._forward = True
        self._outside = False
        self._touched_cm = False
        self._own_ways: dict[Stage, Callable[[], Awaitable[list[GausscertError]]]] = {
            Stage.ACQUIRE: lambda: self._acquire_as_planned(self._replacement()),
            Stage.PREPARE: lambda: self._prepare(self._replacement()),
            Stage.STOP: self._stop,
            Stage.SWAP: self._swap,
            Stage.START: self._start,
            Stage.VERIFY: self._verify,
            Stage.ENSURE_UP: self._ensure_up,
            Stage.ROLLBACK_STOP: lambda: self._hands.restart(Stage.ROLLBACK_STOP),
            Stage.ROLLBACK_START: self._rollback_start,
            Stage.ROLLBACK_VERIFY: self._verify_rollback,
        }
        """What is more than sending one command to all nodes."""

    async def acquire(self, epoch: int) -> Answers[NodeReport]:
        """Take the fence on all participants; `run` does it by itself for a new transaction."""
        self._reporter.stage = Stage.ACQUIRE
        self._reporter.tell(Mark.STARTED)
        self._hands.epoch = epoch
        answers = await self._heartbeat.during(self._hands.acquire())
        self._granted = tuple(answers.good)
        wrong = list(answers.bad.values())
        self._reporter.tell(Mark.FAILED if wrong else Mark.DONE, detail=told_together(wrong))
        return answers

    async def let_go(self) -> None:
        """Give back what `acquire` was granted, where nothing is to follow. The fence stays where it is. A
        node that does not hear of it keeps its lease until that runs out, unless another coordinator has it
        by then."""
        self._tell_kept(await self._hands.give_back(self._granted))

    def _tell_kept(self, errors: Iterable[GausscertError]) -> None:
        for error in errors:
            taken = error.reason in (Reason.FENCED, Reason.LOCKED)
            how = "has another coordinator by now" if taken else "keeps its lease until it runs out"
            self._reporter.tell(Mark.NOTE, error.node, f"{how}: {error.message}")

    @property
    def done(self) -> Mapping[str, tuple[Step, ...]]:
        """What each node has carried out so far, by name."""
        return {node: tuple(steps) for node, steps in self._hands.done.items()}

    async def run(self, course: Course) -> Result:
        """Follow the course to its end. Raises nothing that nodes do: it is in the result."""
        recovering, self._outside = course.recovering, course.outside
        self._hands.start_follows = course.ensure_up and self._job.restart is not RestartScope.NONE
        self._interrupt.listen(self._note_interrupt)
        try:
            while isinstance(course.now, Stage) and not self._abandoned:
                course = await self._next(course, course.now)
        finally:
            self._interrupt.forget(self._note_interrupt)
        if takeover.is_fenced(self._failures) and self._prepare_sent:
            self._taken_over = await self._ask_how_it_stands()
        self._touched_cm = course.touched_cm
        return self._result(self._verdict(course, recovering=recovering))

    async def _next(self, course: Course, stage: Stage) -> Course:
        self._reporter.stage = stage
        self._forward = course.may_turn_back
        if self._turning(course):
            return self._turn_back(course, stage)
        self._reporter.tell(Mark.STARTED)
        if stage is POINT_OF_NO_RETURN:
            await self._recorder.durable()
        wrong = await unless(self._interrupt.third, self._heartbeat.during(self._carry_out(stage)))
        if wrong is None:
            self._abandoned = self._interrupted = True
            self._stopped_at = stage
            self._reporter.tell(Mark.FAILED, detail="abandoned; the nodes' answers are not known")
            return course
        if self._turning(course):
            # An interrupted proof has proven nothing yet; that is no failure of a node.
            self._failures.extend([] if stage is Stage.VERIFY else wrong)
            return self._turn_back(course, stage)
        if not wrong:
            self._reporter.tell(Mark.DONE)
            return course.succeeded()
        self._reporter.tell(Mark.FAILED, detail=told_together(wrong))
        self._failures.extend(wrong)
        self._stopped_at = stage
        if takeover.is_fenced(wrong) and self._prepare_sent:
            return course.taken_over()
        if self._forward:
            self._turned_back_at = stage
        return course.failed()

    def _turning(self, course: Course) -> bool:
        return self._interrupt.requested and course.may_turn_back

    def _turn_back(self, course: Course, stage: Stage) -> Course:
        self._interrupted = True
        self._turned_back_at = stage
        self._reporter.tell(Mark.NOTE, detail="interrupted: turning back")
        return course.interrupted()

    def _note_interrupt(self, count: int) -> None:
        if self._interrupt.abandoned:
            text = "interrupted for the third time: abandoned"
        elif self._forward:
            text = "interrupted: what runs now ends first, then everything is turned back"
        else:
            text = "interrupted: put off, there is no way back from here; a third time abandons"
        if count == 1 or not self._forward:
            self._reporter.tell(Mark.NOTE, detail=text)

    async def _ask_how_it_stands(self) -> TakenOver:
        read = await self._hands.read()
        job = self._job
        return takeover.standing(
            job.transaction_id,
            read.good,
            job.participants,
            self._hands.epoch,
            restarted=job.restart is not RestartScope.NONE,
        )

    async def _carry_out(self, stage: Stage) -> list[GausscertError]:
        if self._job.restart is RestartScope.NONE and stage in STARTS | PROOFS:
            self._reporter.tell(Mark.NOTE, detail=_OUTSIDE)
            return []
        if stage in (Stage.ABORT, Stage.CLEAN) and not self._prepare_sent:
            return await self._release(stage)
        if stage in self._own_ways:
            return await self._own_ways[stage]()
        return await self._hands.command(stage, self._job.participants)

    def _waits(self) -> Wait | None:
        return self._hands.wait or self._prover.wait

    async def _sees(self) -> str:
        """What a heartbeat tells beside who is waited for."""
        if self._prover.wait is not None:
            return self._prover.said
        if self._reporter.stage in STARTS:
            return self._start_watch.silent
        if self._reporter.stage in STOPS:
            with self._reporter.aside():
                return running.where((await self._hands.glance_at_nodes()).good)
        return ""

    async def _rollback_start(self) -> list[GausscertError]:
        mixed = await self._mixed()
        if mixed:
            return mixed
        start = self._hands.restart(Stage.ROLLBACK_START)
        return self._left_to_proof(await self._start_watch.during(start, self._old_set, None))

    async def _mixed(self) -> list[GausscertError]:
        """Who recovers starts CM with one set only: running nodes must have loaded the same (I3)."""
        if self._before is not None or self._job.accept_state or self._job.joins:
            return []
        read = await self._hands.read(witnesses=True)
        return [*read.bad.values(), *live_sets.unlike(read.good)]

    async def _stop(self) -> list[GausscertError]:
        if self._before is None and not self._job.accept_state:  # who recovers has made no plan
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
        wrong = await self._start_watch.during(start, self._new_set, self._processes_before)
        tried = any(error.reason in _START_REASONS for error in wrong)
        if not tried and not any(error.reason is Reason.DEADLINE for error in wrong):
            return wrong
        if tried and self._job.accept_state and (self._before is None or not self._before.normal):
            return self._left_to_proof(wrong)
        read, probes = await self._hands.look(longest_s=PROBE_TIMEOUT_S)
        self._tell_causes(finding for report in probes.good.values() for finding in report.findings)
        blamed = {error.node for error in wrong}
        wanted, before = self._new_set(read.good), self._processes_before
        look = sightings.after_failed_start if tried else sightings.while_starting
        seen = look(wanted, before, read.good, probes.good)
        return [*wrong, *(each for each in seen if not (sightings.is_silence(each) and each.node in blamed))]

    @property
    def _processes_before(self) -> Processes | None:
        return self._before.processes if self._before is not None else None

    def _left_to_proof(self, wrong: list[GausscertError]) -> list[GausscertError]:
        """With the old set live everywhere it does not matter what cm_ctl says of a start, only what runs:
        a start that was slow, or begun by hand, is seen by the proof that follows."""
        said = [error for error in wrong if error.reason in _START_REASONS]
        for error in said:
            self._reporter.tell(Mark.NOTE, error.node, f"left to the proof: {error.message}")
        self._findings.extend(as_finding(error) for error in said)
        return [error for error in wrong if error.reason not in _START_REASONS]

    def _replacement(self) -> Replacement:
        if self._job.replacement is None:
            raise InternalError(Reason.INTERNAL, "a recovery has nothing to prepare")
        return self._job.replacement

    async def _acquire_as_planned(self, replacement: Replacement) -> list[GausscertError]:
        """Reads first: nodes that are away or not as planned are then found before anything is locked."""
        read = await self._hands.read()
        back = await self._hands.excluded_that_answer()
        wrong = [*read.bad.values(), *map(answers_again, back)] or self._unlike_plan(read.good, replacement)
        if wrong:
            return wrong
        self._hands.epoch = recovery_view.promised_epoch(read.good) + 1
        answers = await self._hands.acquire()
        self._granted = tuple(answers.good)
        return list(answers.bad.values()) or self._unlike_plan(answers.good, replacement)

    def _unlike_plan(
        self, reports: Mapping[str, NodeReport], replacement: Replacement
    ) -> list[GausscertError]:
        return unlike_plan(reports, replacement, stopped_is_fine=self._stopped_is_fine)

    @property
    def _stopped_is_fine(self) -> bool:
        """A node that joins may well have been kept from starting CM by hand."""
        return self._job.restart is RestartScope.NONE or bool(self._job.joins)

    async def _release(self, stage: Stage) -> list[GausscertError]:
        """Tell those that granted Acquire that nothing will come. Nothing was prepared anywhere, so a node
        that does not hear of it only keeps its lease until that runs out."""
        self._tell_kept(await self._hands.command(stage, self._granted))
        return []

    async def _prepare(self, replacement: Replacement) -> list[GausscertError]:
        self._prepare_sent = True
        answers = await self._hands.prepare(replacement)
        self._findings.extend(replacement.accepted)
        self._findings.extend(merge({node: answer.findings for node, answer in answers.good.items()}))
        self._recorder.found(self._findings)
        self._overlaps = {node: answer.overlap for node, answer in answers.good.items()}
        wrong = list(answers.bad.values())
        staged = answers.good.items()
        wrong += [staged_another(node) for node, made in staged if replacement.is_another(node, made.stage)]
        if wrong or self._job.restart is RestartScope.NONE:
            return wrong
        return await self._look_before(replacement)

    async def _look_before(self, replacement: Replacement) -> list[GausscertError]:
        looking = LookBefore(self._job, self._hands, self._reporter, self._sleep)
        wrong = await looking.look(replacement, stopped_is_fine=self._stopped_is_fine)
        self._before = looking.baseline
        self._findings.extend(looking.findings)
        return wrong

    def _new_set(self, reports: Mapping[str, NodeReport]) -> Expectation:
        """What must be served after Start."""
        replacement = self._job.replacement
        leaf = replacement.leaf if replacement is not None else ""
        wish = replacement.ssl_wish if replacement is not None else recovery_view.ssl_wish(reports)
        return expectation.new_set(reports, leaf, self._before, wish, self._job.absent)

    def _old_set(self, reports: Mapping[str, NodeReport]) -> Expectation:
        """What must be served after a rollback."""
        wanted = expectation.old_set(reports, self._before)
        if self._before is not None and self._before.sound:
            return standing.least(wanted, self._before)
        return wanted

    def _live_set(self, reports: Mapping[str, NodeReport]) -> Expectation:
        return expectation.new_set(reports, "", None, absent=self._job.absent)

    async def _verify(self) -> list[GausscertError]:
        return await self._proven_new() or await self._told_to_stop()

    async def _proven_new(self) -> list[GausscertError]:
        read = await self._hands.read()
        if not read.complete:
            return list(read.bad.values())
        wanted, before = self._new_set(read.good), self._processes_before
        if self._job.joins:
            wanted = replace(wanted, normal=frozenset(read.good))
        if not self._job.accept_state:
            return await self._prove(wanted, forward=True, before=before)
        hoped = replace(wanted, normal=frozenset(read.good))
        owners = {node: each.topology.local_node_id for node, each in read.good.items()}
        least = standing.least(
            hoped, self._before or baseline.Baseline(), anyway=self._job.joining(read.good), owners=owners
        )
        return await self._prove(hoped, forward=True, before=before, least=least)

    async def _verify_rollback(self) -> list[GausscertError]:
        read = await self._hands.read()
        if not read.complete:
            return list(read.bad.values())
        if self._before is None:
            mixed = live_sets.unlike(read.good)
            if mixed and not self._job.accept_state:  # waiting mends nothing
                return mixed
            self._findings.extend(map(as_finding, mixed))
        wrong = await self._prove(self._old_set(read.good), forward=False) or await self._told_to_stop()
        unknown = self._before is None and self._job.accept_state
        if not unknown and (self._before is None or self._before.sound):
            return wrong
        self._findings.extend(as_finding(error) for error in wrong)
        return []

    async def _told_to_stop(self) -> list[GausscertError]:
        """A cm_server that no stop has reached yet serves the wanted set, too, and ends later."""
        read = await self._hands.read()
        replacement = self._job.replacement
        stopped = replacement.stopped if replacement is not None else frozenset()
        return [*read.bad.values(), *running.told_to_stop(read.good, but=stopped)]

    async def _ensure_up(self) -> list[GausscertError]:
        """The decision is durable everywhere already: what is not proven here is told, no more."""
        mixed = await self._mixed()
        if mixed:
            return mixed
        start = self._hands.restart(Stage.ENSURE_UP)
        wrong = await self._start_watch.during(start, self._live_set, None)
        if wrong:
            return wrong
        read = await self._hands.read()
        unproven = [*read.bad.values(), *await self._prove(self._live_set(read.good), forward=False)]
        self._findings.extend(as_finding(error) for error in unproven)
        return []

    async def _prove(
        self,
        expectation: Expectation,
        *,
        forward: bool,
        before: Processes | None = None,
        least: Expectation | None = None,
    ) -> list[GausscertError]:
        async def pause(seconds: float) -> None:
            if forward:
                await unless(self._interrupt.first, _wait(self._sleep, seconds))
            else:
                await self._sleep(seconds)

        wrong = await self._prover.prove(
            self._in_these_words(expectation),
            least=self._in_these_words(least) if least is not None else None,
            before=before,
            within_s=self._job.timeouts.verify_s,
            pause=pause,
            enough=lambda: forward and self._interrupt.requested,
            gives_up=forward,
        )
        self._recorder.seen(self._reporter.stage, self._prover.evidence)
        self._findings.extend(as_finding(error) for error in self._prover.short_of)
        if wrong:
            self._tell_causes(self._prover.causes)
        elif self._before is not None:
            self._tell_roles(standing.roles_moved(self._before.state, self._prover.cluster_state))
        return wrong

    def _tell_roles(self, moved: Finding | None) -> None:
        if moved is not None:
            self._reporter.tell(Mark.NOTE, detail=f"roles have changed: {moved.cause}")
            self._findings.append(moved)

    def _in_these_words(self, expectation: Expectation) -> Expectation:
        """Without some node a cluster is Degraded at best."""
        return replace(expectation, words=expectation.words | query.WORKING[self._job.whole])

    def _tell_causes(self, found: Iterable[Finding]) -> None:
        """What CM's own logs say, once for each node."""
        for cause in dict.fromkeys(found):
            if cause not in self._findings:
                self._reporter.tell(Mark.NOTE, cause.node, f"{cause.cause} (do: {cause.remedy})")
                self._findings.append(cause)

    def _verdict(self, course: Course, *, recovering: bool) -> Verdict:
        """The course counts Abort and Clean after a failed Prepare as a rollback; for the operator nothing
        has happened as long as CM was not touched."""
        if self._taken_over is not None:
            return self._taken_over.verdict
        if self._abandoned:
            return Verdict.IN_DOUBT if self._prepare_sent else Verdict.NOTHING_DONE
        if not isinstance(course.now, Verdict):
            raise InternalError(Reason.INTERNAL, f"the course ended at {course.now}")
        untouched = not recovering and not course.touched_cm
        if course.now is Verdict.ROLLED_BACK and untouched:
            return Verdict.NOTHING_DONE
        return course.now

    def _result(self, verdict: Verdict) -> Result:
        if self._taken_over is not None:
            kept = [error for error in self._failures if error.reason is not Reason.FENCED]
            self._failures = [*kept, self._taken_over.error]
            self._findings.append(as_finding(self._taken_over.error))
        elif verdict is Verdict.IN_DOUBT:
            stage = self._stopped_at or self._reporter.stage
            self._failures.append(in_doubt(self._job.transaction_id, stage, self._failures))
        committed = verdict is Verdict.COMMITTED
        self._findings.extend(self._left_open(verdict))
        return Result(
            transaction_id=self._job.transaction_id,
            verdict=verdict,
            failures=() if committed else _distinct(self._failures),
            proof=self._prover.evidence,
            cluster_state=self._prover.cluster_state,
            findings=tuple(self._findings),
            overlaps=self._overlaps,
            duration_s=self._reporter.elapsed_s,
            last_stage=self._stopped_at if verdict is Verdict.IN_DOUBT else self._turned_back_at,
            interrupted=self._interrupted,
            taken_over=self._taken_over is not None,
            waiting=self._waiting_for(verdict),
        )

    def _left_open(self, verdict: Verdict) -> list[Finding]:
        """What is as it must be, and yet not as the operator may think."""
        if verdict is Verdict.ROLLED_BACK and self._outside and self._touched_cm:
            return [stays_down(node) for node in self._job.participants]
        missing = self._job.missing
        if verdict is Verdict.ROLLED_BACK:
            return list(map(rolled_back_without, missing))
        return [
            finished_without(node) if node in missing else still_excluded(node)
            for node in self._waiting_for(verdict)
        ]

    def _waiting_for(self, verdict: Verdict) -> tuple[str, ...]:
        """Whoever has taken a transaction over and ended it waits for nobody any more."""
        committed = verdict is Verdict.COMMITTED and self._taken_over is None
        return self._job.unsettled if committed else ()


def _distinct(errors: list[GausscertError]) -> tuple[GausscertError, ...]:
    """The same failure of going forward and of turning back is said once."""
    return tuple({(error.reason, str(error)): error for error in errors}.values())


async def _wait(sleep: Callable[[float], Awaitable[None]], seconds: float) -> None:
    await sleep(seconds)
