from __future__ import annotations

import asyncio
import re
from dataclasses import fields, replace
from pathlib import Path

import pytest
from gausscert_common.errors import Reason, Unreachable
from gausscert_coordinator.inventory import Timeouts
from gausscert_coordinator.policy import FIRST_CONTACT_S, TABLE, Call, Repeatable, persist

PROTO = Path(__file__).parents[2] / "protos" / "gausscert" / "v1" / "agent_service.proto"
TIMEOUTS = Timeouts()
READS = {Call.GET_NODE, Call.PREFLIGHT, Call.GET_EXPIRY, Call.PROBE}


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


def unavailable() -> Repeatable:
    return Repeatable(Unreachable(Reason.UNREACHABLE, "gone", node="n1"))


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


def test_every_unary_call_of_the_proto_has_a_row():
    calls = set(re.findall(r"^  rpc (\w+)\(\w+\) returns \((?!stream)", PROTO.read_text(), re.MULTILINE))

    assert {call.method for call in TABLE} == calls
    assert set(TABLE) == set(Call)


def test_every_row_says_why():
    assert all(policy.why for policy in TABLE.values())


@pytest.mark.parametrize("call", list(Call))
def test_deadlines_and_budgets_follow_the_inventory(call):
    policy = TABLE[call]
    doubled = Timeouts(**{field.name: 2 * getattr(TIMEOUTS, field.name) for field in fields(Timeouts)})

    assert policy.deadline_s(doubled) == 2 * policy.deadline_s(TIMEOUTS) > 0
    assert policy.budget_s(doubled) == 2 * policy.budget_s(TIMEOUTS) > 0


@pytest.mark.parametrize("call", [Call.STOP, Call.START])
def test_a_restart_may_take_longer_than_cm_ctl_gets(call):
    timeouts = replace(TIMEOUTS, stop_s=500.0, start_s=500.0)

    assert TABLE[call].deadline_s(timeouts) > 500.0


@pytest.mark.parametrize("call", sorted(set(Call) - READS))
def test_commands_have_the_whole_budget(call):
    assert TABLE[call].budget_s(TIMEOUTS) == TIMEOUTS.retry_s


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
