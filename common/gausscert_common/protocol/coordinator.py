"""The coordinator's side of the transaction as a table. Two rules bind this file: what comes next is
decided only here, and nothing here sends, waits or looks at a clock.

The engine asks `Course.now` what to do, does it on every node, and says how it went:

    course = begin(restart)                     # or a course that `recovery` chose
    while not course.over:
        ... carry out course.now on all nodes ...
        course = course.succeeded() | course.failed() | course.interrupted()

Every arrow needs the answers of all nodes of the transaction. Before Commit was sent to anyone any failure
turns to rolling back; after it only repetition is left, and if that fails the transaction is in doubt.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from gausscert_common.protocol.words import RestartScope, Step


class Stage(StrEnum):
    """What the coordinator does at a moment. Not a phase: phases belong to nodes."""

    ACQUIRE = "acquire"
    PREPARE = "prepare"
    STOP = "stop"
    SWAP = "swap"
    START = "start"
    VERIFY = "verify"
    COMMIT = "commit"
    PURGE = "purge"
    ENSURE_UP = "ensure up"
    """After finishing or finding nothing in doubt: start CM with whatever set is live."""
    ROLLBACK_STOP = "rollback stop"
    ABORT = "abort"
    ROLLBACK_START = "rollback start"
    ROLLBACK_VERIFY = "rollback verify"
    CLEAN = "clean"


class Verdict(StrEnum):
    """How a course ends."""

    COMMITTED = "committed"
    ROLLED_BACK = "rolled back"
    NOTHING_DONE = "nothing done"
    IN_DOUBT = "in doubt"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table: where success and failure lead from a stage."""

    step: Step | None
    """The command to send; None for looking only."""
    then: Stage | Verdict
    otherwise: Stage | Verdict


TABLE: Final[dict[Stage, Row]] = {
    # A node that granted Acquire holds nothing else yet; Abort and Clean tell it that nothing will come.
    Stage.ACQUIRE: Row(Step.ACQUIRE, Stage.PREPARE, Stage.ABORT),
    Stage.PREPARE: Row(Step.PREPARE, Stage.STOP, Stage.ABORT),
    # A failed Stop may have stopped some nodes, but no set has moved: no need to stop the others. Where
    # recovery found a set moved already, `failed` leads to ROLLBACK_STOP instead.
    Stage.STOP: Row(Step.STOP, Stage.SWAP, Stage.ABORT),
    Stage.SWAP: Row(Step.SWAP, Stage.START, Stage.ROLLBACK_STOP),
    Stage.START: Row(Step.START, Stage.VERIFY, Stage.ROLLBACK_STOP),
    Stage.VERIFY: Row(None, Stage.COMMIT, Stage.ROLLBACK_STOP),
    Stage.COMMIT: Row(Step.COMMIT, Stage.PURGE, Verdict.IN_DOUBT),
    Stage.PURGE: Row(Step.PURGE, Verdict.COMMITTED, Verdict.IN_DOUBT),
    Stage.ENSURE_UP: Row(Step.ROLLBACK_START, Verdict.COMMITTED, Verdict.IN_DOUBT),
    Stage.ROLLBACK_STOP: Row(Step.ROLLBACK_STOP, Stage.ABORT, Verdict.IN_DOUBT),
    Stage.ABORT: Row(Step.ABORT, Stage.ROLLBACK_START, Verdict.IN_DOUBT),
    Stage.ROLLBACK_START: Row(Step.ROLLBACK_START, Stage.ROLLBACK_VERIFY, Verdict.IN_DOUBT),
    Stage.ROLLBACK_VERIFY: Row(None, Stage.CLEAN, Verdict.IN_DOUBT),
    Stage.CLEAN: Row(Step.CLEAN, Verdict.ROLLED_BACK, Verdict.IN_DOUBT),
}

POINT_OF_NO_RETURN: Final = Stage.COMMIT
"""Once Commit was sent to anyone, nothing may turn to rolling back."""

_FORWARD: Final = frozenset({Stage.ACQUIRE, Stage.PREPARE, Stage.STOP, Stage.SWAP, Stage.START, Stage.VERIFY})
_BACKWARD: Final = frozenset(
    {Stage.ROLLBACK_STOP, Stage.ABORT, Stage.ROLLBACK_START, Stage.ROLLBACK_VERIFY, Stage.CLEAN}
)
_LEAVES_CM_ALONE: Final = frozenset({Stage.ACQUIRE, Stage.PREPARE})


@dataclass(frozen=True, slots=True)
class Course:
    """Where a coordinator is, and how it came there."""

    now: Stage | Verdict
    restart: RestartScope
    touched_cm: bool = False
    """Stop or Start was sent to some node: a rollback must start CM again and prove it."""
    ensure_up: bool = False
    """Start CM after Purge: this coordinator has not seen it start."""
    recovering: bool = False
    """Begun by `recovery`, which has acquired all nodes already."""
    moved: bool = False
    """Some node had the new set live when this course began: CM must be stopped before any Abort."""
    waits: bool = False
    """Nodes were excluded and are not settled: the course ends with Commit, and both sets are kept."""
    outside: bool = False
    """Another transaction was begun without these nodes: a rollback leaves CM down, for it starts there with
    the cluster's set only."""

    @property
    def over(self) -> bool:
        """Whether there is nothing left to do."""
        return isinstance(self.now, Verdict)

    @property
    def may_turn_back(self) -> bool:
        """Whether an interruption now leads to a rollback instead of being put off."""
        return self.now in _FORWARD

    @property
    def turns_back(self) -> bool:
        """Whether it leads to the old set."""
        return self.now in _BACKWARD

    @property
    def step(self) -> Step | None:
        """The command of the present stage, if it has one."""
        return TABLE[self.now].step if isinstance(self.now, Stage) else None

    def succeeded(self) -> Course:
        """All nodes did it."""
        row = self._row()
        touched = self.touched_cm or row.step in (Step.STOP, Step.ROLLBACK_STOP)
        course = replace(self, touched_cm=touched)
        if self.now is (Stage.COMMIT if self.waits else Stage.PURGE):
            return replace(course, now=Stage.ENSURE_UP if self.ensure_up else Verdict.COMMITTED)
        if self.now is Stage.ABORT and (self.outside or not course.touched_cm):
            return replace(course, now=Stage.CLEAN)
        return replace(course, now=row.then)

    def failed(self) -> Course:
        """Some node refused, failed or did not answer, after all retries; or the proof failed."""
        row = self._row()
        touched = self.touched_cm or self.now not in _LEAVES_CM_ALONE
        otherwise = Stage.ROLLBACK_STOP if self.moved and self.now is Stage.STOP else row.otherwise
        return replace(self, now=otherwise, touched_cm=touched)

    def interrupted(self) -> Course:
        """The operator wants to stop. Put off, not obeyed, once there is no way back."""
        return self.failed() if self.may_turn_back else self

    def taken_over(self) -> Course:
        """A node obeys a later coordinator: nothing that this one sends can end the transaction any more, and
        what would still be carried out elsewhere only gets into the other's way."""
        return replace(self.failed(), now=Verdict.IN_DOUBT)

    def _row(self) -> Row:
        if not isinstance(self.now, Stage):
            raise ValueError(f"the course is over: {self.now}")
        return TABLE[self.now]


def begin(restart: RestartScope, *, waits: bool = False, outside: bool = False) -> Course:
    """A new transaction; `waits` and `outside` as in its `Course`."""
    return Course(Stage.ACQUIRE, restart, waits=waits, outside=outside)
