"""What to do with a transaction that somebody else left behind: the recovery table of design section 5.

All nodes of the transaction must have granted Acquire, but those that the operator leaves out because they
are dead: `recovery_without` says what is safe then. The first matching row decides. A coordinator never
decides from a history of its own: the nodes' answers are all there is.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from gausscert_common.protocol import recovery_without
from gausscert_common.protocol.contradiction import contradiction, is_aborted, is_committed, told
from gausscert_common.protocol.coordinator import Course, Stage, Verdict
from gausscert_common.protocol.recovery_without import Way
from gausscert_common.protocol.words import Fence, LiveState, Outcome, Phase, RestartScope

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


@dataclass(frozen=True, slots=True)
class Answer:
    """What one node says of the transaction in doubt."""

    phase: Phase
    transaction_id: str = ""
    """"" in phase NONE."""
    live: LiveState | None = None
    """None when there is nothing to compare with. In phase NONE only a node that remembers the commit must
    hold a certain set: NEW, or it is FOREIGN."""
    outcome: Outcome | None = None
    """Its tombstone for the transaction in doubt."""
    participants: tuple[str, ...] = ()
    running: bool = True
    """CM runs on the node, and no stop of it has been asked for."""
    through: bool = False
    """It is in another transaction by now, which the nodes of this one were left out of, or this one has
    ended there already: only what it remembers counts, and it may have forgotten."""
    voted: bool = False
    """Its journal says SWAPPED, whatever has become of that vote since."""
    reached: Fence = Fence()
    """The last command of the transaction but Acquire that was accepted there; `Fence()` if not known."""
    left_out: tuple[str, ...] = ()
    """Nodes that it remembers the transaction to have been begun, or recovered, without."""


class Choice(StrEnum):
    """What the operator prefers where the table leaves a choice."""

    ROLL_BACK = "roll back"
    FINISH = "finish"


@dataclass(frozen=True, slots=True)
class Decision:
    """The row that matched."""

    course: Course | None
    """None: touch nothing and report."""
    why: str
    """For the operator: what the answers showed."""
    said: Mapping[str, str] = field(default_factory=dict)
    """Where nothing may be touched: what each node answered, by name."""
    remedy: str = ""
    """Then: what a person can do, where that is not to put a set back by hand."""


_BRING_BACK: Final = (
    "only the missing nodes know: bring them back, then run gausscert recover; if they never come back,"
    " decide by hand (docs/runbook.md, A machine that dies in the middle)"
)


def decide(
    answers: Mapping[str, Answer],
    restart: RestartScope,
    prefer: Choice = Choice.ROLL_BACK,
    *,
    waits: bool = False,
    outside: bool = False,
    joins: bool = False,
    missing: Collection[str] = (),
) -> Decision:
    """Find the row that matches.

    Args:
        answers: By node; all nodes of the transaction but those that are missing.
        restart: How CM is to be stopped and started.
        prefer: What to do where all nodes have voted or could vote.
        waits: The transaction was begun without nodes that are not settled (`exclusion`): where it is
            finished, that ends with Commit.
        outside: As `exclusion.Subject` has it: CM starts on these nodes with the set of another one only,
        joins: which this one brings.
        missing: Nodes of the transaction that do not answer, and that the operator has left out
            (`recovery_without`).
    """
    decision = _first_row(answers, restart, prefer, missing)
    course = decision.course
    if course is None or not (waits or outside):
        return decision
    ensure_up = course.ensure_up and (joins or not outside)
    return replace(decision, course=replace(course, waits=waits, outside=outside, ensure_up=ensure_up))


def _first_row(
    answers: Mapping[str, Answer], restart: RestartScope, prefer: Choice, missing: Collection[str]
) -> Decision:
    found = list(answers.values())
    wrong = contradiction(answers)
    if wrong:
        return _untouched(wrong, answers)
    if missing and any(answer.transaction_id for answer in found):
        without = recovery_without.decide(answers, missing)
        why = f"without {', '.join(sorted(missing))}: {without.why}"
        if without.way is Way.NEITHER:
            return replace(_untouched(why, answers), remedy=_BRING_BACK)
        if without.way is Way.FINISH:
            return _go(Stage.COMMIT, restart, why, ensure_up=True)
        return _roll_back(found, restart, why)
    if any(is_committed(answer) for answer in found):
        return _go(Stage.COMMIT, restart, "a node knows that the transaction is committed", ensure_up=True)
    if any(is_aborted(answer) for answer in found):
        return _roll_back(found, restart, "a node knows that the transaction is aborted")
    phases = {answer.phase for answer in found}
    if phases == {Phase.NONE}:
        return Decision(Course(Verdict.NOTHING_DONE, restart, recovering=True), "no transaction is in doubt")
    if phases == {Phase.SWAPPED}:
        why = "every node has voted for the new set"
        return _finish_or_roll_back(found, restart, prefer, Stage.START, why)
    if phases <= {Phase.PREPARED, Phase.SWAPPED}:
        why = "every node has staged the new set"
        return _finish_or_roll_back(found, restart, prefer, Stage.STOP, why)
    return _roll_back(found, restart, "not every node has staged the new set")


def _untouched(why: str, answers: Mapping[str, Answer]) -> Decision:
    return Decision(None, why, {name: told(answer) for name, answer in sorted(answers.items())})


def _finish_or_roll_back(
    found: list[Answer], restart: RestartScope, prefer: Choice, finish_from: Stage, why: str
) -> Decision:
    if prefer is Choice.FINISH:
        moved = any(answer.live is LiveState.NEW for answer in found)
        return _go(finish_from, restart, why, touched_cm=finish_from is Stage.START, moved=moved)
    return _roll_back(found, restart, why)


def _roll_back(found: list[Answer], restart: RestartScope, why: str) -> Decision:
    if any(answer.live is LiveState.NEW for answer in found):
        return _go(Stage.ROLLBACK_STOP, restart, why, touched_cm=True)
    down = not all(answer.running for answer in found)
    return _go(Stage.ABORT, restart, why, touched_cm=down or _was_not_proven(found))


def _was_not_proven(found: list[Answer]) -> bool:
    """Nobody cleans up before the old set is proven to be served again, if CM was touched. Where all nodes
    have aborted and none has cleaned up, that proof may have failed: it is asked for again."""
    return all(answer.phase is Phase.ABORTED for answer in found)


def _go(
    stage: Stage,
    restart: RestartScope,
    why: str,
    *,
    touched_cm: bool = False,
    ensure_up: bool = False,
    moved: bool = False,
) -> Decision:
    course = Course(stage, restart, touched_cm=touched_cm, ensure_up=ensure_up, recovering=True, moved=moved)
    return Decision(course, why)
