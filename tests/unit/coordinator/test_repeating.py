from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from gausscert_common.errors import NodeRefusal, Reason, Unreachable
from gausscert_coordinator.inventory import Timeouts
from gausscert_coordinator.policy import FIRST_CONTACT_S, TABLE, Call
from gausscert_coordinator.repeating import Repeatable, persist

TIMEOUTS = Timeouts()
COMMANDS = sorted(call for call, row in TABLE.items() if row.patience_s(TIMEOUTS) > row.budget_s(TIMEOUTS))


class Failing:
    """Raises the errors given, then answers."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.attempts = 0

    async def __call__(self) -> str:
        self.attempts += 1
        if self.errors:
            raise self.errors.pop(0)
        return "answer"


class Endless(Failing):
    """Never answers."""

    async def __call__(self) -> str:
        self.attempts += 1
        raise unavailable()


class Slow(Failing):
    """Alive, and at work on something else for so many attempts; then gone for ever."""

    def __init__(self, busy: int) -> None:
        super().__init__()
        self.busy = busy

    async def __call__(self) -> str:
        self.attempts += 1
        raise at_work() if self.attempts <= self.busy else unavailable()


def unavailable() -> Repeatable:
    return Repeatable(Unreachable(Reason.UNREACHABLE, "gone", node="n1"))


def at_work() -> Repeatable:
    return Repeatable(NodeRefusal(Reason.BUSY, "another command is being carried out"), alive=True)


class Sleeps:
    """Remembers how long it was told to sleep, and does not."""

    def __init__(self) -> None:
        self.lengths: list[float] = []

    async def __call__(self, length_s: float) -> None:
        self.lengths.append(length_s)


def make(call, sleep, *, met=True, timeouts=TIMEOUTS, on_retry=None):
    async def run(attempt):
        return await persist(attempt, call, timeouts, met=met, node="n1", on_retry=on_retry, sleep=sleep)

    return run


async def test_unavailable_is_repeated_until_there_is_an_answer():
    sleep = Sleeps()
    attempt = Failing(unavailable(), unavailable())

    assert await make(Call.COMMIT, sleep)(attempt) == "answer"
    assert (attempt.attempts, len(sleep.lengths)) == (3, 2)


async def test_anything_else_is_raised_at_once():
    sleep = Sleeps()
    attempt = Failing(Unreachable(Reason.DEADLINE, "late"))

    with pytest.raises(Unreachable):
        await make(Call.COMMIT, sleep)(attempt)
    assert (attempt.attempts, sleep.lengths) == (1, [])


@pytest.mark.parametrize("call", list(Call))
async def test_attempts_end_with_the_budget(call):
    sleep = Sleeps()
    budget_s = TABLE[call].budget_s(TIMEOUTS)

    with pytest.raises(Repeatable):
        await make(call, sleep)(Endless())
    assert budget_s - 5.0 < sum(sleep.lengths) <= budget_s


@pytest.mark.parametrize("call", list(Call))
async def test_a_node_that_never_answered_is_given_up_soon(call):
    sleep = Sleeps()
    attempt = Endless()

    with pytest.raises(Repeatable):
        await make(call, sleep, met=False)(attempt)
    assert sum(sleep.lengths) <= FIRST_CONTACT_S
    assert attempt.attempts > 2


async def test_waits_grow_are_bounded_and_differ_between_nodes():
    runs = []
    for _ in range(2):
        sleep = Sleeps()
        with pytest.raises(Repeatable):
            await make(Call.COMMIT, sleep)(Endless())
        runs.append(sleep.lengths)

    assert runs[0] != runs[1]
    assert max(runs[0][:3]) <= 0.4
    assert 1.0 < max(runs[0]) <= 4.0
    assert min(runs[0]) >= 0.05


async def test_every_repetition_is_announced_with_its_cause():
    notices = []
    await make(Call.PREFLIGHT, Sleeps(), on_retry=notices.append)(Failing(unavailable(), unavailable()))

    assert [(n.node, n.rpc, n.attempt, n.cause) for n in notices] == [
        ("n1", "GetNode", 1, "n1: gone"),
        ("n1", "GetNode", 2, "n1: gone"),
    ]
    assert all(notice.wait_s > 0 for notice in notices)


async def test_no_budget_no_second_attempt():
    attempt = Endless()

    with pytest.raises(Repeatable):
        await make(Call.COMMIT, Sleeps(), timeouts=replace(TIMEOUTS, retry_s=0.0))(attempt)
    assert attempt.attempts == 1


async def test_time_that_attempts_take_counts_from_the_first_one_on():
    """A silent node costs one deadline to connect, not one for each attempt."""

    class Slow(Endless):
        async def __call__(self) -> str:
            await asyncio.sleep(0.2)
            return await super().__call__()

    attempt = Slow()
    with pytest.raises(Repeatable):
        await make(Call.GET_NODE, Sleeps(), timeouts=replace(TIMEOUTS, call_s=0.2))(attempt)
    assert attempt.attempts == 1


@pytest.mark.parametrize("call", COMMANDS)
async def test_a_node_that_is_slow_is_waited_for_longer_than_one_that_is_dead(call):
    sleep = Sleeps()

    with pytest.raises(Repeatable):
        await make(call, sleep)(Slow(busy=10_000))
    patience_s = TABLE[call].patience_s(TIMEOUTS)
    assert patience_s - 5.0 < sum(sleep.lengths) <= patience_s


async def test_a_node_that_was_slow_and_then_died_is_given_up_a_budget_after_its_last_word():
    sleep = Sleeps()
    attempt = Slow(busy=60)

    with pytest.raises(Repeatable):
        await make(Call.COMMIT, sleep)(attempt)
    alive_s, dead_s = sum(sleep.lengths[:59]), sum(sleep.lengths[59:])
    assert alive_s > 60
    assert TIMEOUTS.retry_s - 5.0 < dead_s <= TIMEOUTS.retry_s + 4.0


async def test_a_node_that_is_busy_at_first_contact_is_there():
    sleep = Sleeps()

    with pytest.raises(Repeatable):
        await make(Call.ACQUIRE, sleep, met=False)(Slow(busy=10_000))
    assert sum(sleep.lengths) > TIMEOUTS.retry_s
