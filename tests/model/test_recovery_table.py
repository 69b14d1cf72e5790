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
    # All aborted and none cleaned up: what a proof that failed leaves. CM runs, so starting it is no outage.
    assert found.touched_cm is (knows is other is ABORTED)


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


NONE_OLD = Answer(Phase.NONE, live=LiveState.OLD)
NONE_FOREIGN = Answer(Phase.NONE, live=LiveState.FOREIGN)
THROUGH = Answer(Phase.NONE, through=True)
BLANK = {"not compared": NONE, "old": NONE_OLD, "foreign": NONE_FOREIGN}
"""Not the new one: who was never in it may have had any set, so that nobody compares it (`recovery_view`)."""
OTHERS = {
    "preparing": PREPARING,
    "prepared": PREPARED,
    "prepared, new live": Answer(Phase.PREPARED, T, LiveState.NEW, running=False),
    "swapped": SWAPPED,
    "committed": COMMITTED,
    "aborted": ABORTED,
    "aborted, new live": ABORTED_NEW,
    "ended committed": TOMB_COMMIT,
    "ended aborted": TOMB_ABORT,
}
HARMLESS = {"preparing", "prepared", "aborted", "ended aborted"}
"""What a node may be in while another one was never prepared: no set was swapped anywhere yet."""


@pytest.mark.parametrize("prefer", list(Choice))
@pytest.mark.parametrize("third", [None, *OTHERS])
@pytest.mark.parametrize("other", list(OTHERS))
@pytest.mark.parametrize("blank", list(BLANK))
def test_a_node_that_remembers_nothing_beside_everything(blank, other, third, prefer):
    """Swap is sent only when all are PREPARED: beside one that went further it has forgotten."""
    beside = {other} | ({third} if third else set())
    found = [BLANK[blank], *(OTHERS[each] for each in beside)]
    answers = {f"node-{number}": answer for number, answer in enumerate(found)}

    decision = decide(answers, CLUSTER, prefer)

    if blank in ("not compared", "old") and beside <= HARMLESS:
        assert decision.course.now is Stage.ABORT
        assert not decision.course.touched_cm
        assert decision.said == {}
    else:
        assert decision.course is None
        assert decision.said.keys() == answers.keys()
        assert all(decision.said.values())


@pytest.mark.parametrize("other", list(OTHERS))
def test_one_that_is_in_another_transaction_by_now_may_have_forgotten(other):
    """Its tombstones are many, but not endless; and what is left of this one concerns the others alone."""
    assert decide({"a": OTHERS[other], "b": THROUGH}, CLUSTER, outside=True).course is not None


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
        assert sorted(decision.said) == [f"node-{n}" for n in range(len(answers))]


def test_each_node_is_told_with_phase_outcome_and_live_set():
    said = decide({"a": SWAPPED, "b": NONE_OLD, "c": TOMB_COMMIT}, CLUSTER).said

    assert said == {
        "a": "phase SWAPPED of transaction transaction-1; live set NEW",
        "b": "phase NONE, remembers no end of the transaction; live set OLD",
        "c": "remembers that it ended COMMITTED; live set not compared",
    }


def test_who_holds_a_foreign_set_is_named():
    assert "node-b" in decide({"node-a": PREPARED, "node-b": FOREIGN}, CLUSTER).why


def test_every_course_is_marked_as_recovery_and_keeps_the_scope():
    for answers in itertools.product([NONE, PREPARED, SWAPPED, COMMITTED, ABORTED], repeat=2):
        found = decide(dict(zip("ab", answers, strict=True)), RestartScope.NODE).course
        if found is not None:
            assert found.recovering
            assert found.restart is RestartScope.NODE
