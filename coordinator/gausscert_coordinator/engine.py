"""The one loop: does what `protocol.coordinator.Course` says next on all nodes, and tells it how that went.

Nothing here decides what comes next. What the engine adds to the course: the operator's interruptions, and
the words for how it ended. What a stage does is in `stages`, what is to be served in `proofs`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from gausscert_common.errors import InternalError, Reason
from gausscert_common.protocol.coordinator import POINT_OF_NO_RETURN, Stage, Verdict
from gausscert_common.protocol.words import RestartScope

from gausscert_coordinator import running, takeover
from gausscert_coordinator.gathered import Gathered
from gausscert_coordinator.hands import Hands
from gausscert_coordinator.heartbeat import Heartbeat
from gausscert_coordinator.interrupt import answer, unless
from gausscert_coordinator.job import STARTS, STOPS
from gausscert_coordinator.objections import (
    as_finding,
    finished_without,
    in_doubt,
    rolled_back_without,
    stays_down,
    still_excluded,
    told_together,
)
from gausscert_coordinator.proofs import Proofs
from gausscert_coordinator.report import Mark, Result
from gausscert_coordinator.stages import Stages

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from gausscert_common.errors import GausscertError
    from gausscert_common.findings import Finding
    from gausscert_common.model import NodeReport
    from gausscert_common.protocol.coordinator import Course
    from gausscert_common.protocol.words import Step

    from gausscert_coordinator.fanout import Answers
    from gausscert_coordinator.heartbeat import Wait
    from gausscert_coordinator.interrupt import Interrupt
    from gausscert_coordinator.job import Job
    from gausscert_coordinator.ports import AgentClient
    from gausscert_coordinator.reporter import Reporter
    from gausscert_coordinator.takeover import TakenOver

_NOT_KNOWN: Final = "abandoned; the nodes' answers are not known"


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
        self._hands = Hands(job, clients, reporter)
        self._met = Gathered(prepare_sent=job.replacement is None)
        proofs = Proofs(job, self._hands, reporter, interrupt, self._met, clock=clock, sleep=sleep)
        self._prover = proofs.prover
        self._stages = Stages(job, self._hands, reporter, proofs, self._met, sleep)
        self._heartbeat = Heartbeat(reporter, self._waits, self._sees, pause)
        self._failures: list[GausscertError] = []
        self._turned_back_at: Stage | None = None
        self._stopped_at: Stage | None = None
        self._interrupted = False
        self._abandoned = False
        self._taken_over: TakenOver | None = None
        self._forward = True
        self._outside = False
        self._touched_cm = False

    async def acquire(self, epoch: int) -> Answers[NodeReport] | None:
        """Take the fence on all participants; `run` does it by itself for a new transaction.

        Returns:
            What they answered; None where it was abandoned: some nodes may have granted it.
        """
        self._interrupt.ended = False
        self._reporter.stage = Stage.ACQUIRE
        self._reporter.tell(Mark.STARTED)
        self._hands.epoch = epoch
        answers = await unless(self._interrupt.third, self._acquired())
        if answers is None or self._interrupt.abandoned:
            self._abandon(Stage.ACQUIRE, Mark.FAILED, _NOT_KNOWN)
            return None
        self._met.granted = tuple(answers.good)
        wrong = list(answers.bad.values())
        self._reporter.tell(Mark.FAILED if wrong else Mark.DONE, detail=told_together(wrong))
        return answers

    async def let_go(self) -> None:
        """Give back what `acquire` was granted, where nothing is to follow. The fence stays where it is. A
        node that does not hear of it keeps its lease until that runs out, unless another coordinator has it
        by then."""
        self._stages.tell_kept(await self._hands.give_back(self._met.granted))

    @property
    def done(self) -> Mapping[str, tuple[Step, ...]]:
        """What each node has carried out so far, by name."""
        return {node: tuple(steps) for node, steps in self._hands.done.items()}

    async def run(self, course: Course) -> Result:
        """Follow the course to its end. Raises nothing that nodes do: it is in the result."""
        recovering, self._outside = course.recovering, course.outside
        self._hands.start_follows = course.ensure_up and self._job.restart is not RestartScope.NONE
        self._forward = course.may_turn_back
        self._interrupt.ended = False
        if self._interrupt.requested:  # before anybody listened
            self._note_interrupt(self._interrupt.count)
        self._interrupt.listen(self._note_interrupt)
        try:
            while isinstance(course.now, Stage) and not self._abandoned:
                if self._interrupt.abandoned:
                    self._abandon(course.now, Mark.NOTE, "abandoned before it was begun")
                else:
                    course = await self._next(course, course.now)
        finally:
            self._interrupt.forget(self._note_interrupt)
            self._interrupt.ended = True  # but for a recovery that goes on
        if takeover.is_fenced(self._failures) and self._met.prepare_sent:
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
        wrong = await unless(self._interrupt.third, self._carried_out(stage))
        if wrong is None:
            self._abandon(stage, Mark.FAILED, _NOT_KNOWN)
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
        if takeover.is_fenced(wrong) and self._met.prepare_sent:
            return course.taken_over()
        if self._forward:
            self._turned_back_at = stage
        return course.failed()

    async def _acquired(self) -> Answers[NodeReport]:
        return await self._heartbeat.during(self._hands.acquire())

    async def _carried_out(self, stage: Stage) -> list[GausscertError]:
        return await self._heartbeat.during(self._stages.carry_out(stage))

    def _abandon(self, stage: Stage, mark: Mark, said: str) -> None:
        self._abandoned = self._interrupted = True
        self._stopped_at = self._reporter.stage = stage
        self._reporter.tell(mark, detail=said)

    def _turning(self, course: Course) -> bool:
        return self._interrupt.requested and course.may_turn_back

    def _turn_back(self, course: Course, stage: Stage) -> Course:
        self._interrupted = True
        self._turned_back_at = stage
        self._reporter.tell(Mark.NOTE, detail="interrupted: turning back")
        return course.interrupted()

    def _note_interrupt(self, count: int) -> None:
        self._reporter.answer(answer(count, forward=self._forward))

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

    def _waits(self) -> Wait | None:
        return self._hands.wait or self._prover.wait

    async def _sees(self) -> str:
        """What a heartbeat tells beside who is waited for."""
        if self._prover.wait is not None:
            return self._prover.said
        if self._reporter.stage in STARTS:
            return self._stages.start_watch.silent
        if self._reporter.stage in STOPS:
            with self._reporter.aside():
                return running.where((await self._hands.glance_at_nodes()).good)
        return ""

    def _verdict(self, course: Course, *, recovering: bool) -> Verdict:
        """The course counts Abort and Clean after a failed Prepare as a rollback; for the operator nothing
        has happened as long as CM was not touched."""
        if self._taken_over is not None:
            return self._taken_over.verdict
        if self._abandoned:
            return Verdict.IN_DOUBT if self._met.prepare_sent else Verdict.NOTHING_DONE
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
            self._met.findings.append(as_finding(self._taken_over.error))
        elif verdict is Verdict.IN_DOUBT:
            stage = self._stopped_at or self._reporter.stage
            self._failures.append(in_doubt(self._job.transaction_id, stage, self._failures))
        committed = verdict is Verdict.COMMITTED
        self._met.findings.extend(self._left_open(verdict))
        return Result(
            transaction_id=self._job.transaction_id,
            verdict=verdict,
            failures=() if committed else _distinct(self._failures),
            proof=self._prover.evidence,
            cluster_state=self._prover.cluster_state,
            findings=tuple(self._met.findings),
            overlaps=self._met.overlaps,
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
