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
