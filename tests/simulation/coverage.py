"""Which transitions of the protocol's tables were taken. What there is to take is read off the tables
themselves; what nobody can take is named, with its reason.

    with watching() as taken:
        ...
    missing(taken)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, Final

from gausscert_agent import runner
from gausscert_common.errors import InvalidInput, NodeFailure, NodeRefusal, Reason
from gausscert_common.protocol import recovery, recovery_without, script
from gausscert_common.protocol.coordinator import TABLE, Course, Stage, Verdict
from gausscert_common.protocol.recovery import Choice
from gausscert_common.protocol.recovery_without import Way
from gausscert_common.protocol.rules import RULES
from gausscert_common.protocol.state import NodeState
from gausscert_common.protocol.words import Fence, LiveState, Outcome, Phase, Step
from gausscert_coordinator import recoverer, recovery_case
from gausscert_coordinator.joining import Joining
from gausscert_coordinator.recovery_case import Case, Waiting

Taken = Counter[str]

_REFUSALS: Final = (
    Reason.FENCED,
    Reason.LOCKED,
    Reason.OTHER_TRANSACTION,
    Reason.WRONG_PHASE,
    Reason.LIVE_CHANGED,
    Reason.FOREIGN_SET,
    Reason.NOT_STOPPED,
    Reason.SET_INVALID,
    Reason.BUSY,
)
"""All that `node.accept`, the mutex and staging refuse with, but for a set that cannot be read, and for what
nobody runs into who follows the tables: NOT_ACQUIRED, because commands go only where the epoch was granted,
and TRANSACTION_ENDED, because the fence comes first. The explorer sends these all the same."""

_PREPARING: Final = "it stays only where a failed Prepare could not remove its stage, and then comes Abort"
NEVER: Final[dict[str, str]] = {
    "STOP in PREPARING": _PREPARING,
    "START in PREPARING": _PREPARING,
    "ROLLBACK_STOP in PREPARING": _PREPARING,
    "ROLLBACK_START in PREPARING": _PREPARING,
    "STOP in NONE": "Stop comes after all nodes have prepared, or by a recovery that saw them so",
    "STOP in COMMITTED": "once a node has committed there is only Commit, Purge, Start",
    "STOP in ABORTED": "Abort has the higher step, and a recovery only goes on aborting",
    "ROLLBACK_STOP in COMMITTED": "once a node has committed nothing turns back",
    "START in NONE": "Start comes after all nodes have swapped",
    "START in PREPARED": "Start comes after all nodes have swapped",
    "START in COMMITTED": "a recovery that finds a node committed starts CM after Purge",
    "START in ABORTED": "Abort has the higher step, and a recovery only goes on aborting",
    "ROLLBACK_START in PREPARED": "it comes after all nodes have aborted, or purged",
    "ROLLBACK_START in SWAPPED": "it comes after all nodes have aborted, or purged",
}
"""Carried out in that phase: by nobody who follows the tables. The explorer sends them all the same."""

_SETTLED: Final = (
    "settles PREPARING as NONE",
    "settles PREPARED as SWAPPED",
    *(f"settles {phase} as {phase}" for phase in Phase if phase is not Phase.PREPARING),
)


def wanted() -> list[str]:
    """Everything there is to take."""
    return [*_of_nodes(), *_of_coordinators(), *_of_recovery()]


def missing(taken: Taken) -> list[str]:
    """What was not."""
    return [each for each in wanted() if not taken[each]]


def never_taken(taken: Taken) -> list[str]:
    """What was, although it is said that nobody can."""
    return [each for each in NEVER if taken[f"node: {each}"]]


@contextmanager
def watching() -> Iterator[Taken]:
    """Count until the end of the block; the product is as before afterwards."""
    taken: Taken = Counter()
    changes: list[tuple[Any, str, Callable[..., Any]]] = [
        (runner, "carry_out", _watched_command(taken, script.carry_out)),
        (runner, "settle", _watched_settling(taken, script.settle)),
        (recovery_case, "decide", _watched_decision(taken, recovery.decide)),
        (recovery_without, "decide", _watched_without(taken, recovery_without.decide)),
        (recoverer, "examine", _watched_piece(taken, recovery_case.examine)),
    ]
    arrows = ("succeeded", "failed", "interrupted", "taken_over")
    changes += [(Course, how, _watched_step(taken, how, getattr(Course, how))) for how in arrows]
    before = [(where, name, getattr(where, name)) for where, name, _ in changes]
    for where, name, watched in changes:
        setattr(where, name, watched)
    try:
        yield taken
    finally:
        for where, name, real in before:
            setattr(where, name, real)


def _of_nodes() -> Iterator[str]:
    yield "node: ACQUIRE done"
    for step, rule in RULES.items():
        yield f"node: {step.name} done"
        if rule.effects:
            yield f"node: {step.name} fails"
        if rule.ended_as is not None:
            yield f"node: {step.name} answered as {rule.ended_as}"
        for phase in rule.phases:
            if f"{step.name} in {phase}" not in NEVER:
                yield f"node: {step.name} in {phase}"
    yield from (f"node: refuses with {reason}" for reason in _REFUSALS)
    yield from (f"node: {each}" for each in _SETTLED)


def _of_coordinators() -> Iterator[str]:
    for stage, row in TABLE.items():
        yield f"coordinator: {stage} succeeded: {row.then}"
        yield f"coordinator: {stage} failed: {row.otherwise}"
        course = Course(stage, restart=None)  # type: ignore[arg-type]
        if course.may_turn_back:
            yield f"coordinator: {stage} interrupted: {row.otherwise}"
        if stage not in (Stage.ACQUIRE, Stage.ROLLBACK_VERIFY):
            yield f"coordinator: {stage} taken over"
    yield f"coordinator: {Stage.STOP} failed: {Stage.ROLLBACK_STOP}"
    yield f"coordinator: {Stage.PURGE} succeeded: {Stage.ENSURE_UP}"
    yield f"coordinator: {Stage.ABORT} succeeded: {Stage.CLEAN}"
    yield f"coordinator: {Stage.COMMIT} succeeded: {Verdict.COMMITTED}"
    yield f"coordinator: {Stage.COMMIT} succeeded: {Stage.ENSURE_UP}"


_PIECES: Final = (
    "what nodes are in that were left out of another one",
    "a join that was cut short",
    "joins those that are back",
    "waits for those that are away",
    "waits for those that are back, for want of the bundle",
    "finishes without those that are left out",
    "finishes when those are settled that were left out",
    "rolls back what was begun without some node",
    "settles what all are in without machines that are dead",
    "goes on without machines, as the others remember",
    "takes machines in again that are back, and were recovered without",
    "rolls those back alone that are back",
)
"""What recovery finds first where nodes were left out (`recovery_case.examine`)."""

_WITHOUT: Final = {
    "a node knows of the commit": Way.FINISH,
    "a node knows of the abort": Way.ROLL_BACK,
    "fewer than half answer": Way.NEITHER,
    "a node has not voted": Way.ROLL_BACK,
    "all were left out before": Way.NEITHER,
    "the last one was turning back": Way.ROLL_BACK,
    "the last one had not told all to start": Way.ROLL_BACK,
    "the last one may have sent Commit": Way.FINISH,
}
"""What those that answer show of a transaction of which others are dead, and what is decided. Left out is
what only an agent of an older release, or a set or a switch that somebody has put back, can show."""

_COMMITTED, _ABORTED, _NOTHING = "a node is committed", "a node is aborted", "all NONE"
_FOREIGN, _DIFFERENT = "a foreign set", "different transactions"
_BOTH = "committed beside aborted"
_FORGOTTEN = "one that remembers nothing, and others that went on to swap"
_UNEXPLAINED = "one that remembers nothing, and has the new set"
_SWAPPED, _STAGED, _SOME = "all SWAPPED", "all PREPARED or SWAPPED", "some NONE, some PREPARED"


def _of_recovery() -> Iterator[str]:
    """Nodes in different transactions are told apart before the table is asked (`exclusion.subject`)."""
    yield from (f"recovery: {row}" for row in (_FOREIGN, _BOTH, _FORGOTTEN, _COMMITTED, _NOTHING))
    for row in (_ABORTED, _STAGED):
        yield f"recovery: {row}: roll back"
        yield f"recovery: {row}, a set has moved: roll back"
    yield f"recovery: {_SWAPPED}, a set has moved: roll back"
    yield f"recovery: {_SWAPPED}, a set has moved: finish"
    yield f"recovery: {_STAGED}: finish"
    yield f"recovery: {_STAGED}, a set has moved: finish"
    yield f"recovery: {_SOME}: roll back"
    yield from (f"recovery: {each}" for each in _PIECES)
    yield from (f"recovery without the dead: {row}: {way}" for row, way in _WITHOUT.items())


def _watched_command(taken: Taken, real: Callable[..., Any]) -> Callable[..., Any]:
    def carry_out(state: NodeState, command: Any) -> Generator[Any, Any, NodeState]:
        step: Step = command.step
        rule = RULES.get(step)
        try:
            after: NodeState = yield from real(state, command)
        except NodeRefusal as error:
            taken[f"node: refuses with {error.reason}"] += 1
            raise
        except NodeFailure:
            taken[f"node: {step.name} fails"] += 1
            raise
        except InvalidInput:
            taken[f"node: {step.name} gets what is wrong"] += 1
            raise
        if rule is not None and rule.ended_as is not None and state.outcome_of(command.transaction_id):
            taken[f"node: {step.name} answered as {rule.ended_as}"] += 1
        else:
            taken[f"node: {step.name} done"] += 1
            taken[f"node: {step.name} in {state.phase}"] += 1
        return after

    return carry_out


def _watched_settling(taken: Taken, real: Callable[..., Any]) -> Callable[..., Any]:
    def settle(state: NodeState) -> Generator[Any, Any, NodeState]:
        after: NodeState = yield from real(state)
        taken[f"node: settles {state.phase} as {after.phase}"] += 1
        return after

    return settle


def _watched_step(taken: Taken, how: str, real: Callable[[Course], Course]) -> Callable[[Course], Course]:
    told = how.replace("_", " ")

    def went(course: Course) -> Course:
        after = real(course)
        counted = f"coordinator: {course.now} {told}"
        taken[counted if how == "taken_over" else f"{counted}: {after.now}"] += 1
        if how in ("interrupted", "taken_over"):  # they are made of a failure, which is none
            taken[f"coordinator: {course.now} failed: {_of_failure(course)}"] -= 1
        return after

    return went


def _of_failure(course: Course) -> object:
    moved = course.moved and course.now is Stage.STOP
    return Stage.ROLLBACK_STOP if moved else TABLE[course.now].otherwise  # type: ignore[index]


def _watched_decision(taken: Taken, real: Callable[..., Any]) -> Callable[..., Any]:
    def decide(answers: Any, restart: Any, prefer: Choice = Choice.ROLL_BACK, **where: bool) -> Any:
        decision = real(answers, restart, prefer, **where)
        if not where.get("missing"):
            taken[f"recovery: {_row(list(answers.values()), prefer)}"] += 1
        return decision

    return decide


def _watched_without(taken: Taken, real: Callable[..., Any]) -> Callable[..., Any]:
    def decide(answers: Any, missing: Any) -> Any:
        found = real(answers, missing)
        row = _row_without(list(answers.items()), len(missing))
        taken[f"recovery without the dead: {row}: {found.way}"] += 1
        return found

    return decide


def _row_without(found: list[tuple[str, Any]], missing: int) -> str:
    """Worked out anew, as `_row`."""
    answers = [answer for _, answer in found]
    if any(each.phase is Phase.COMMITTED or each.outcome is Outcome.COMMITTED for each in answers):
        return "a node knows of the commit"
    if any(each.phase is Phase.ABORTED or each.outcome is Outcome.ABORTED for each in answers):
        return "a node knows of the abort"
    if len(answers) < missing:
        return "fewer than half answer"
    inside = [(name, each) for name, each in found if each.phase is not Phase.NONE]
    if not all(each.voted for _, each in inside):
        return "a node has not voted"
    before = {name for _, each in inside for name in each.left_out}
    reached = [each.reached for name, each in inside if name not in before]
    if not reached:
        return "all were left out before"
    last = max(reached)
    if last.step >= Step.ROLLBACK_STOP:
        return "the last one was turning back"
    if last.step < Step.COMMIT and min(reached) < Fence(last.epoch, Step.START):
        return "the last one had not told all to start"
    return "the last one may have sent Commit"


def _watched_piece(taken: Taken, real: Callable[..., Any]) -> Callable[..., Any]:
    def examine(*given: Any) -> Any:
        piece = real(*given)
        taken[f"recovery: {_piece(piece)}"] += 1
        return piece

    return examine


def _piece(piece: object) -> str:
    apart, cut, joins, away, lacks, without, settled, back, dead, remembered, again, alone = _PIECES
    if isinstance(piece, Joining):
        return joins
    if isinstance(piece, Waiting):
        return lacks if piece.lacks_bundle else away
    if not isinstance(piece, Case):
        return "nothing, or it is refused"
    if piece.subject.outside:
        return cut if piece.subject.joins else apart
    if piece.subject.missing:
        return dead if piece.subject.unrecorded else remembered
    if piece.subject.through:
        return alone
    if not set(piece.subject.excluded).isdisjoint(piece.subject.nodes):
        return again
    if not piece.subject.excluded:
        return "one transaction of all nodes, or a start of CM"
    if piece.course is None or piece.course.now not in (Stage.COMMIT, Stage.START, Stage.STOP):
        return back
    return without if piece.waits else settled


def _row(found: list[Any], prefer: Choice) -> str:
    """Worked out anew from the answers, row by row (design section 5)."""
    phases = {answer.phase for answer in found}
    committed = any(each.phase is Phase.COMMITTED or each.outcome is Outcome.COMMITTED for each in found)
    aborted = any(each.phase is Phase.ABORTED or each.outcome is Outcome.ABORTED for each in found)
    wrong = _contradiction(found)
    if wrong:
        return wrong
    if committed:
        return _COMMITTED
    moved = ", a set has moved" if any(answer.live is LiveState.NEW for answer in found) else ""
    if aborted:
        return f"{_ABORTED}{moved}: {Choice.ROLL_BACK}"
    if phases == {Phase.NONE}:
        return _NOTHING
    if phases == {Phase.SWAPPED}:
        return f"{_SWAPPED}{moved}: {prefer}"
    if phases <= {Phase.PREPARED, Phase.SWAPPED}:
        return f"{_STAGED}{moved}: {prefer}"
    return f"{_SOME}{moved}: {Choice.ROLL_BACK}"


def _contradiction(found: list[Any]) -> str:
    """What cannot be; "" where nothing is."""
    committed = any(each.phase is Phase.COMMITTED or each.outcome is Outcome.COMMITTED for each in found)
    aborted = any(each.phase is Phase.ABORTED or each.outcome is Outcome.ABORTED for each in found)
    blank = [each for each in found if _remembers_nothing(each)]
    rows = {
        _FOREIGN: any(each.live is LiveState.FOREIGN for each in found),
        _DIFFERENT: len({each.transaction_id for each in found} - {""}) > 1,
        _BOTH: committed and aborted,
        _FORGOTTEN: bool(blank) and any(map(_went_on_to_swap, found)),
        _UNEXPLAINED: any(each.live is LiveState.NEW for each in blank),
    }
    return next((row for row, holds in rows.items() if holds), "")


def _remembers_nothing(answer: Any) -> bool:
    return answer.phase is Phase.NONE and answer.outcome is None and not answer.through


def _went_on_to_swap(answer: Any) -> bool:
    in_it = answer.phase is not Phase.NONE
    swapped = answer.phase in (Phase.SWAPPED, Phase.COMMITTED) or answer.live is LiveState.NEW
    return swapped if in_it else answer.outcome is Outcome.COMMITTED
