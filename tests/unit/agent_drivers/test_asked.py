"""One child tells, everybody shares it; failures are remembered for those who only look."""

from __future__ import annotations

import threading

import pytest
from gausscert_agent.drivers.asked import FAILURE_S, Asked
from gausscert_common.errors import NodeFailure, Reason


class Child:
    """Tells how often it ran, or fails."""

    def __init__(self) -> None:
        self.runs = 0
        self.fails = False
        self.inside = threading.Event()
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self) -> int:
        self.runs += 1
        self.inside.set()
        assert self.gate.wait(10)
        if self.fails:
            raise NodeFailure(Reason.CM_CTL_TIMEOUT, "it hangs", remedy="look")
        return self.runs


class Bench:
    def __init__(self) -> None:
        self.child, self.mark, self.now = Child(), 1, 100.0
        self.asked = Asked(self.child, lambda: (self.mark,), monotonic=lambda: self.now)


@pytest.fixture
def bench():
    return Bench()


def test_what_was_told_is_kept_until_its_source_changes(bench):
    assert [bench.asked.look(), bench.asked.need(), bench.asked.last()] == [1, 1, 1]
    bench.mark = 2
    assert bench.asked.last() == 1
    assert [bench.asked.look(), bench.asked.last()] == [2, 2]


def test_a_failure_is_told_again_for_a_while_to_those_who_only_look(bench):
    bench.child.fails = True
    for _ in range(3):
        with pytest.raises(NodeFailure, match="it hangs") as caught:
            bench.asked.look()
        caught.value.node = "n1"
    assert (bench.child.runs, caught.value.remedy) == (1, "look")
    bench.now += FAILURE_S
    bench.child.fails = False
    assert bench.asked.look() == 2


def test_a_remembered_failure_is_a_new_error_each_time(bench):
    bench.child.fails = True
    caught = []
    for _ in range(3):
        with pytest.raises(NodeFailure) as one:
            bench.asked.look()
        caught.append(one.value)
    assert len({id(error) for error in caught}) == 3


def test_a_command_never_fails_for_what_is_mended_already(bench):
    bench.child.fails = True
    with pytest.raises(NodeFailure):
        bench.asked.look()
    bench.child.fails = False
    assert bench.asked.need() == 2
    assert bench.asked.look() == 2


def test_a_failure_counts_for_its_source_only(bench):
    bench.child.fails = True
    with pytest.raises(NodeFailure):
        bench.asked.look()
    bench.mark, bench.child.fails = 2, False
    assert bench.asked.look() == 2


def test_what_was_told_last_waits_for_nobody(bench):
    assert bench.asked.last() is None
    bench.asked.look()
    bench.mark = 2
    bench.child.gate.clear()
    bench.child.inside.clear()
    looking = threading.Thread(target=bench.asked.look)
    looking.start()
    assert bench.child.inside.wait(5)
    assert bench.asked.last() == 1
    bench.child.gate.set()
    looking.join(5)


def test_whoever_comes_meanwhile_shares_what_the_child_brings(bench):
    told = []
    bench.child.gate.clear()
    looking = [threading.Thread(target=lambda: told.append(bench.asked.look())) for _ in range(4)]
    for one in looking:
        one.start()
    assert bench.child.inside.wait(5)
    bench.child.gate.set()
    for one in looking:
        one.join(5)
    assert told == [1, 1, 1, 1]
