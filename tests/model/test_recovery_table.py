"""The recovery table of design section 5, row by row."""

from __future__ import annotations

import itertools

import pytest
from gausscert_common.protocol.coordinator import Stage, Verdict
from gausscert_common.protocol.recovery import Answer, Choice, decide
from gausscert_common.protocol.words import LiveState, Outcome, Phase, RestartScope

T = "transaction-1"
CLUSTER = RestartScope.CLUSTER

NONE = Answer(Phase.NONE)
PREPARING = Answer(Phase.PREPARING, T, LiveState.OLD)
PREPARED = Answer(Phase.PREPARED, T, LiveState.OLD)
SWAPPED = Answer(Phase.SWAPPED, T, LiveState.NEW, running=False)
COMMITTED = Answer(Phase.COMMITTED, T, LiveState.NEW)
ABORTED = Answer(Phase.ABORTED, T, LiveState.OLD)
ABORTED_NEW = Answer(Phase.ABORTED, T, LiveState.NEW, running=False)
TOMB_COMMIT = Answer(Phase.NONE, outcome=Outcome.COMMITTED)
TOMB_ABORT = Answer(Phase.NONE, outcome=Outcome.ABORTED)
FOREIGN = Answer(Phase.PREPARED, T, LiveState.FOREIGN)


def course(*answers: Answer, prefer: Choice = Choice.ROLL_BACK):
    return decide({f"node-{n}": answer for n, answer in enumerate(answers)}, CLUSTER, prefer).course


@pytest.mark.parametrize("prefer", list(Choice))
@pytest.mark.parametrize("knows", [COMMITTED, TOMB_COMMIT])
@pytest.mark.parametrize("other", [SWAPPED, COMMITTED, TOMB_COMMIT])
def test_somebody_knows_of_the_commit_so_it_is_finished(knows, other, prefer):
    found = course(knows, other, prefer=prefer)

    assert found.now is Stage.COMMIT
    assert found.ensure_up
    assert not found.may_turn_back


@pytest.mark.parametrize("prefer", list(Choice))
@pytest.mark.parametrize("knows", [ABORTED, TOMB_ABORT])
@pytest.mark.parametrize("other", [NONE, PREPARING, PREPARED, ABORTED, TOMB_ABORT])
def test_somebody_knows_of_the_abort_so_it_is_rolled_back_without_an_outage(knows, other, prefer):
    found = course(knows, other, prefer=prefer)

    assert found.now is Stage.ABORT
    assert not found.touched_cm


@pytest.mark.parametrize("knows", [ABORTED, ABORTED_NEW])
@pytest.mark.parametrize("other", [SWAPPED, ABORTED_NEW])
def test_a_rollback_stops_cm_first_where_the_new_set_is_live(knows, other):
    assert course(knows, other).now is Stage.ROLLBACK_STOP


def test_all_swapped_is_rolled_back_or_finished_from_start():
    assert course(SWAPPED, SWAPPED).now is Stage.ROLLBACK_STOP
    finishing = course(SWAPPED, SWAPPED, prefer=Choice.FINISH)
    assert finishing.now is Stage.START
    assert finishing.touched_cm


@pytest.mark.parametrize("other", [PREPARED, SWAPPED])
def test_all_staged_is_rolled_back_or_finished_from_stop(other):
    expected = Stage.ROLLBACK_STOP if other is SWAPPED else Stage.ABORT

    assert course(PREPARED, other).now is expected
    assert course(PREPARED, other, prefer=Choice.FINISH).now is Stage.STOP


@pytest.mark.parametrize(("other", "back"), [(PREPARED, Stage.ABORT), (SWAPPED, Stage.ROLLBACK_STOP)])
def test_a_finishing_that_fails_to_stop_cm_goes_back_by_what_is_live(other, back):
    assert course(PREPARED, other, prefer=Choice.FINISH).failed().now is back


@pytest.mark.parametrize("prefer", list(Choice))
@pytest.mark.parametrize("other", [NONE, PREPARING])
def test_not_all_staged_is_rolled_back_without_an_outage(other, prefer):
    found = course(PREPARED, other, prefer=prefer)

    assert found.now is Stage.ABORT
    assert not found.touched_cm


def test_a_rollback_starts_cm_where_it_was_found_down():
    down = Answer(Phase.PREPARED, T, LiveState.OLD, running=False)

    assert course(PREPARED, down).touched_cm


def test_all_none_is_nothing_in_doubt():
    assert course(NONE, NONE).now is Verdict.NOTHING_DONE


@pytest.mark.parametrize(
    "answers",
    [
        (FOREIGN, PREPARED),
        (FOREIGN, COMMITTED),
        (COMMITTED, ABORTED),
        (COMMITTED, TOMB_ABORT),
        (TOMB_COMMIT, ABORTED),
        (TOMB_COMMIT, TOMB_ABORT),
        (PREPARED, Answer(Phase.PREPARED, "transaction-2", LiveState.OLD)),
    ],
)
@pytest.mark.parametrize("prefer", list(Choice))
def test_what_cannot_be_is_not_touched_and_is_explained(answers, prefer):
    for order in itertools.permutations(answers):
        decision = decide({f"node-{n}": each for n, each in enumerate(order)}, CLUSTER, prefer)
        assert decision.course is None
        assert decision.why


def test_who_holds_a_foreign_set_is_named():
    assert "node-b" in decide({"node-a": PREPARED, "node-b": FOREIGN}, CLUSTER).why


def test_every_course_is_marked_as_recovery_and_keeps_the_scope():
    for answers in itertools.product([NONE, PREPARED, SWAPPED, COMMITTED, ABORTED], repeat=2):
        found = decide(dict(zip("ab", answers, strict=True)), RestartScope.NODE).course
        if found is not None:
            assert found.recovering
            assert found.restart is RestartScope.NODE
