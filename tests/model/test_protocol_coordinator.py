"""The coordinator's table: every stage's success, failure and interruption."""

from __future__ import annotations

import pytest
from gausscert_common.protocol.coordinator import (
    POINT_OF_NO_RETURN,
    TABLE,
    Course,
    Stage,
    Verdict,
    begin,
)
from gausscert_common.protocol.words import RestartScope, Step

CLUSTER = RestartScope.CLUSTER
FORWARD = [Stage.ACQUIRE, Stage.PREPARE, Stage.STOP, Stage.SWAP, Stage.START, Stage.VERIFY]
NO_WAY_BACK = [stage for stage in Stage if stage not in FORWARD]


def at(stage: Stage, **flags: bool) -> Course:
    return Course(stage, CLUSTER, **flags)


def walk(course: Course) -> list[Stage | Verdict]:
    seen: list[Stage | Verdict] = [course.now]
    while not course.over:
        course = course.succeeded()
        seen.append(course.now)
    return seen


def test_the_way_forward():
    assert walk(begin(CLUSTER)) == [*FORWARD, Stage.COMMIT, Stage.PURGE, Verdict.COMMITTED]


@pytest.mark.parametrize(
    ("stage", "way"),
    [
        (Stage.ACQUIRE, [Stage.ABORT, Stage.CLEAN]),
        (Stage.PREPARE, [Stage.ABORT, Stage.CLEAN]),
        (Stage.STOP, [Stage.ABORT, Stage.ROLLBACK_START, Stage.ROLLBACK_VERIFY, Stage.CLEAN]),
        *(
            (
                stage,
                [
                    Stage.ROLLBACK_STOP,
                    Stage.ABORT,
                    Stage.ROLLBACK_START,
                    Stage.ROLLBACK_VERIFY,
                    Stage.CLEAN,
                ],
            )
            for stage in (Stage.SWAP, Stage.START, Stage.VERIFY)
        ),
    ],
)
def test_failure_and_interruption_lead_the_same_way_back(stage, way):
    touched = stage not in (Stage.ACQUIRE, Stage.PREPARE, Stage.STOP)
    course = at(stage, touched_cm=touched)

    assert walk(course.failed()) == [*way, Verdict.ROLLED_BACK]
    assert course.interrupted() == course.failed()


@pytest.mark.parametrize("stage", NO_WAY_BACK)
def test_without_a_way_back_a_failure_ends_in_doubt_and_an_interruption_is_put_off(stage):
    course = at(stage, touched_cm=True)

    assert course.failed().now is Verdict.IN_DOUBT
    assert course.interrupted() == course
    assert not course.may_turn_back


def test_nothing_leads_back_from_the_point_of_no_return():
    reached, open_stages = set(), [POINT_OF_NO_RETURN]
    while open_stages:
        stage = open_stages.pop()
        if isinstance(stage, Stage) and stage not in reached:
            reached.add(stage)
            open_stages += [TABLE[stage].then, TABLE[stage].otherwise]

    assert reached.isdisjoint({Stage.ROLLBACK_STOP, Stage.ABORT, Stage.CLEAN})


def test_recovery_ensures_that_cm_runs_after_purge():
    assert walk(at(Stage.COMMIT, ensure_up=True)) == [
        Stage.COMMIT,
        Stage.PURGE,
        Stage.ENSURE_UP,
        Verdict.COMMITTED,
    ]


def test_a_failed_stop_stops_again_where_a_set_has_moved_already():
    assert at(Stage.STOP, moved=True, recovering=True).failed().now is Stage.ROLLBACK_STOP
    assert at(Stage.STOP, moved=True, recovering=True).interrupted().now is Stage.ROLLBACK_STOP
    assert at(Stage.STOP, recovering=True).failed().now is Stage.ABORT


def test_every_stage_has_a_row_and_steps_only_grow_along_both_ways():
    assert set(TABLE) == set(Stage)
    for stage, row in TABLE.items():
        for following in (row.then, row.otherwise):
            if isinstance(following, Stage):
                later = TABLE[following].step
                assert row.step is None or later is None or later > row.step, (stage, following)


@pytest.mark.parametrize("stage", [Stage.VERIFY, Stage.ROLLBACK_VERIFY])
def test_looking_sends_no_command(stage):
    assert at(stage).step is None


def test_a_course_that_is_over_goes_nowhere():
    over = Course(Verdict.COMMITTED, CLUSTER)

    assert over.over
    assert over.step is None
    with pytest.raises(ValueError, match="over"):
        over.succeeded()
    with pytest.raises(ValueError, match="over"):
        over.failed()


def test_acquire_is_the_first_step():
    assert begin(CLUSTER).step is Step.ACQUIRE
