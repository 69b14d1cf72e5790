"""Who is turned away, when, and by whom."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from gausscert_agent.admission import Door, Pool, is_turned_away

WAIT_S = 20.0
FOR_EVER_S = 3600.0


@pytest.fixture
def patient() -> Iterator[Door]:
    """Keeps two waiting, for as long as it takes."""
    door = Door(FOR_EVER_S, most=2)
    yield door
    door.close()


def test_whoever_is_turned_away_is_told_after_a_while_by_a_thread_that_does_nothing_else():
    door = Door(pause_s=0.05)

    told = door.submit(lambda: (is_turned_away(), threading.current_thread().name))

    assert told.result(WAIT_S) == (True, "gausscert-door_0")
    assert not is_turned_away()
    door.close()


def test_with_too_many_those_who_have_waited_longest_are_told_at_once(patient: Door):
    told = [patient.submit(lambda number=number: number) for number in range(5)]

    assert [each.result(WAIT_S) for each in told[:3]] == [0, 1, 2]
    assert not any(each.done() for each in told[3:])


def test_a_door_that_is_closed_tells_all_who_still_wait():
    door = Door(FOR_EVER_S, most=10)
    told = [door.submit(lambda number=number: number) for number in range(3)]

    door.close()

    assert [each.result(0) for each in told] == [0, 1, 2]


def test_a_pool_lets_in_as_many_as_it_has_slots_for_and_sends_the_others_to_the_door():
    gate, door = threading.Event(), Door(pause_s=0.0)
    pool = Pool("work", threads=1, slots=2, door=door)

    def work() -> str:
        if is_turned_away():
            return "turned away"
        gate.wait(WAIT_S)
        return "done"

    inside = [pool.submit(work) for _ in range(2)]
    assert pool.submit(work).result(WAIT_S) == "turned away"
    gate.set()
    assert [each.result(WAIT_S) for each in inside] == ["done", "done"]
    pool.shutdown()
    assert pool._taken == 0
    door.close()
