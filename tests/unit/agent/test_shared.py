from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from gausscert_agent.shared import Shared

WAIT_S = 20.0


class Look:
    """Takes as long as it is told to; answers how many there were."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.let_go = threading.Semaphore(0)
        self.count = 0

    def __call__(self) -> int:
        self.count += 1
        mine = self.count
        self.begun.release()
        assert self.let_go.acquire(timeout=WAIT_S)
        return mine


def asked(shared: Shared[int], pool: ThreadPoolExecutor, times: int):
    """Futures of callers that all have asked by now."""
    waiting = threading.Semaphore(0)

    def ask() -> int:
        waiting.release()
        return shared.get()

    futures = [pool.submit(ask) for _ in range(times)]
    for _ in futures:
        assert waiting.acquire(timeout=WAIT_S)
    time.sleep(0.1)  # from there to the lock is no way to speak of
    return futures


def test_those_who_ask_while_one_looks_share_the_next_and_never_that_one():
    look = Look()
    shared = Shared(look, patience_s=WAIT_S)
    with ThreadPoolExecutor() as pool:
        (first,) = asked(shared, pool, 1)
        assert look.begun.acquire(timeout=WAIT_S)
        others = asked(shared, pool, 4)
        look.let_go.release(2)

        assert first.result(WAIT_S) == 1
        assert [each.result(WAIT_S) for each in others] == [2] * 4


def test_who_asks_later_gets_a_look_of_his_own():
    look = Look()
    look.let_go.release(2)
    shared = Shared(look)

    assert [shared.get(), shared.get()] == [1, 2]


def test_a_look_that_hangs_holds_up_nobody_for_longer_than_patience():
    look = Look()
    shared = Shared(look, patience_s=0.05)
    with ThreadPoolExecutor() as pool:
        (hangs,) = asked(shared, pool, 1)
        assert look.begun.acquire(timeout=WAIT_S)
        (beside,) = asked(shared, pool, 1)
        assert look.begun.acquire(timeout=WAIT_S)  # while the first one still hangs
        look.let_go.release(2)

        assert {hangs.result(WAIT_S), beside.result(WAIT_S)} == {1, 2}


def test_only_what_a_crowd_has_shared_is_followed_by_a_rest():
    look = Look()
    shared = Shared(look, patience_s=WAIT_S, rest_s=0.05)
    look.let_go.release()
    assert shared.get() == 1
    assert shared._rested_at <= time.monotonic()
    assert look.begun.acquire(timeout=WAIT_S)

    with ThreadPoolExecutor() as pool:
        (first,) = asked(shared, pool, 1)
        assert look.begun.acquire(timeout=WAIT_S)
        others = asked(shared, pool, 3)
        before = time.monotonic()
        look.let_go.release(2)
        assert [each.result(WAIT_S) for each in (first, *others)] == [2, 3, 3, 3]
    assert shared._rested_at > before


def test_what_fails_fails_for_all_and_the_next_one_is_tried_again():
    tries: list[int] = []

    def look() -> str:
        tries.append(1)
        if len(tries) == 1:
            raise OSError("no such thing")
        return "seen"

    shared = Shared(look)

    with pytest.raises(OSError, match="no such thing"):
        shared.get()
    assert shared.get() == "seen"


class Clock:
    """Stands still, but where somebody sleeps or a look says that it took its time."""

    def __init__(self) -> None:
        self.now, self.slept = 100.0, []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 6))
        self.now += seconds


@pytest.mark.parametrize(("takes_s", "rest_s"), [(0.002, 0.01), (3.0, 0.05)])
def test_a_crowd_rests_five_times_as_long_as_it_took_but_never_long_and_only_once(takes_s, rest_s):
    clock, look = Clock(), Look()

    def timed() -> int:
        clock.now += takes_s
        return look()

    shared = Shared(timed, patience_s=WAIT_S, rest_s=0.05, monotonic=clock, sleep=clock.sleep)
    with ThreadPoolExecutor() as pool:
        (first,) = asked(shared, pool, 1)
        assert look.begun.acquire(timeout=WAIT_S)
        others = asked(shared, pool, 3)
        look.let_go.release(2)
        assert [each.result(WAIT_S) for each in (first, *others)] == [1, 2, 2, 2]
    look.let_go.release(3)

    assert [shared.get(), shared.get(), shared.get()] == [3, 4, 5]
    assert clock.slept == [0.0, 0.0, rest_s, 0.0, 0.0]


def test_what_fails_fails_for_all_who_share_it():
    running, fail = threading.Event(), threading.Event()

    def look() -> str:
        running.set()
        assert fail.wait(WAIT_S)
        raise OSError("no such thing")

    shared = Shared(look, patience_s=WAIT_S)
    with ThreadPoolExecutor() as pool:
        (first,) = asked(shared, pool, 1)
        assert running.wait(WAIT_S)
        others = asked(shared, pool, 3)
        fail.set()
        failed = {each.exception(WAIT_S) for each in others}

    assert [str(each) for each in failed] == ["no such thing"]
    assert first.exception(0) not in failed


def test_nobody_who_asks_after_a_change_is_told_what_was_seen_before_it():
    """Also where the look began before it, and ends after it."""
    live, seen = ["old"], Look()

    def look() -> str:
        found = live[0]
        seen()
        return found

    shared = Shared(look, patience_s=WAIT_S)
    with ThreadPoolExecutor() as pool:
        (before,) = asked(shared, pool, 1)
        assert seen.begun.acquire(timeout=WAIT_S)
        live[0] = "new"
        after = asked(shared, pool, 2)
        seen.let_go.release(2)

        assert before.result(WAIT_S) == "old"
        assert [each.result(WAIT_S) for each in after] == ["new", "new"]


def test_a_look_that_hung_leaves_no_room_for_two_afterwards():
    look = Look()
    shared = Shared(look, patience_s=0.05)
    with ThreadPoolExecutor() as pool:
        asked(shared, pool, 1)
        assert look.begun.acquire(timeout=WAIT_S)
        asked(shared, pool, 1)
        assert look.begun.acquire(timeout=WAIT_S)  # beside it
        look.let_go.release(2)
    assert shared._running._value == 1
