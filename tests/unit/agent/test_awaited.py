"""For how long a request may be waited for."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from gausscert_agent.awaited import Awaited

WAIT_S = 20.0
LIMIT_S = 30.0


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Call:
    def __init__(self) -> None:
        self.count = 0
        self.cancelled = threading.Event()

    def cancel(self) -> None:
        self.count += 1
        self.cancelled.set()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def awaited(clock) -> Iterator[Awaited]:
    """By a clock that stands still."""
    made = Awaited(LIMIT_S, clock)
    yield made
    made.close()


@pytest.fixture
def impatient() -> Iterator[Awaited]:
    made = Awaited(0.02)
    yield made
    made.close()


def test_whoever_has_waited_long_enough_is_given_up_once_and_nobody_before(awaited, clock):
    first, second = Call(), Call()
    with awaited.waiting(first):
        clock.now += 10
        with awaited.waiting(second):
            clock.now += 5
            awaited.give_up(15.5)
            assert (first.count, second.count) == (0, 0)
            awaited.give_up(15.0)
            awaited.give_up(15.0)
            assert (first.count, second.count) == (1, 0)
            awaited.give_up(5.0)
            assert (first.count, second.count) == (1, 1)


@pytest.mark.parametrize("error", [None, ValueError])
def test_whose_request_has_come_or_failed_is_given_up_no_more(awaited, error):
    call = Call()
    try:
        with awaited.waiting(call):
            if error is not None:
                raise error
    except ValueError:
        pass

    awaited.give_up(0.0)

    assert call.count == 0


def test_one_after_the_other_is_given_up_though_nobody_else_comes(impatient):
    first, second = Call(), Call()
    with impatient.waiting(first), impatient.waiting(second):
        assert first.cancelled.wait(WAIT_S)
        assert second.cancelled.wait(WAIT_S)
    third = Call()
    with impatient.waiting(third):
        assert third.cancelled.wait(WAIT_S)
    assert (first.count, second.count, third.count) == (1, 1, 1)


def test_its_thread_rests_while_nobody_waits_and_is_woken_by_the_next(impatient):
    with impatient.waiting(Call()):
        pass
    ends = threading.Event()
    while not impatient._idle:
        assert not ends.wait(0.01)
    call = Call()
    with impatient.waiting(call):
        assert call.cancelled.wait(WAIT_S)


def test_without_a_thread_nobody_fails_and_the_next_one_has_it_made(impatient, monkeypatch):
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    first, second = Call(), Call()
    with monkeypatch.context() as busy:
        busy.setattr(threading.Thread, "start", refuse)
        held = impatient.waiting(first)
        held.__enter__()
    with impatient.waiting(second):
        assert first.cancelled.wait(WAIT_S)
        assert second.cancelled.wait(WAIT_S)
    held.__exit__(None, None, None)


def test_closing_ends_the_thread_whoever_waits(awaited):
    call = Call()
    with awaited.waiting(call):
        awaited.close()
        assert awaited._attendant.join(0)
    assert call.count == 0
