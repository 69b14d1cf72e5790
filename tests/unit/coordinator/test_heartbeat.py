"""A stage that takes long says that it waits: for whom, for how long, how long it may take, what is seen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from gausscert_common.protocol.coordinator import Stage, Verdict
from gausscert_coordinator import policy
from gausscert_coordinator.heartbeat import EVERY_S, Heartbeat, Wait
from gausscert_coordinator.report import Mark, Progress, ReplaceOptions, Result
from gausscert_coordinator.reporter import Reporter
from support.fake_agents import FakeAgent, Fault
from support.fake_cluster import TICKS, FakeCluster
from support.fake_node import bundle

BEATS = 3
NEW = bundle("new")


class Clock:
    """Time passes only where somebody pauses; after so many pauses nobody ever comes back."""

    def __init__(self, beats: int = BEATS) -> None:
        self.now_s, self._left, self.over = 0.0, beats, asyncio.Event()

    async def pause(self, seconds: float) -> None:
        if not self._left:
            self.over.set()
            await asyncio.Event().wait()
        self._left -= 1
        self.now_s += seconds


def beating(wait: Wait | None, seen: str = "") -> tuple[Clock, list[Progress], Heartbeat]:
    clock, told = Clock(), list[Progress]()
    reporter = Reporter(told.append, lambda: clock.now_s)
    reporter.stage = Stage.STOP

    async def sees() -> str:
        return seen

    return clock, told, Heartbeat(reporter, lambda: wait, sees, clock.pause)


async def test_it_tells_who_is_waited_for_how_long_and_until_when():
    wait = Wait({"n2", "n1"}, 0.0, 635.0)
    clock, told, heart = beating(wait, "CM still runs on n2: cm_server (pid 7)")

    async def stage() -> str:
        await clock.over.wait()
        return "done"

    async with asyncio.timeout(30):
        assert await heart.during(stage()) == "done"

    assert 15 <= EVERY_S <= 30
    assert [(each.at_s, each.stage, each.mark, each.node) for each in told] == [
        (EVERY_S * beat, Stage.STOP, Mark.WAITING, "") for beat in range(1, BEATS + 1)
    ]
    assert told[1].detail == (
        "for n1, n2, 40 s so far, up to 635 s and no longer; CM still runs on n2: cm_server (pid 7)"
    )
    assert len(asyncio.all_tasks()) == 1


async def test_nothing_is_said_where_nothing_is_waited_for():
    clock, told, heart = beating(None)
    async with asyncio.timeout(30):
        await heart.during(clock.over.wait())
    assert told == []


async def test_what_is_over_by_the_time_that_it_was_looked_at_is_not_told():
    clock, told = Clock(), list[Progress]()
    waits = [Wait({"n1"}, 0.0, 635.0)]

    async def sees() -> str:
        waits[0] = Wait({"n2"}, clock.now_s, 30.0)
        return "what was seen of n1"

    heart = Heartbeat(Reporter(told.append, lambda: clock.now_s), lambda: waits[0], sees, clock.pause)
    async with asyncio.timeout(30):
        await heart.during(clock.over.wait())
    assert told == []


async def test_a_look_that_fails_harms_no_stage(caplog: pytest.LogCaptureFixture):
    clock = Clock()

    async def broken() -> str:
        clock.over.set()
        raise ZeroDivisionError

    wait = Wait(set(), 0.0, 1.0)
    heart = Heartbeat(Reporter(lambda _: None, lambda: 0.0), lambda: wait, broken, clock.pause)
    async with asyncio.timeout(30):
        assert await heart.during(clock.over.wait())
    assert "saying that a stage still waits failed" in caplog.text


def test_what_is_repeated_has_no_end_and_many_names_are_cut_short():
    assert Wait({"n1"}, 5.0, 60.0, repeated=True).told(10.0) == (
        "for n1, 5 s so far, up to 60 s and then it is tried again"
    )
    assert Wait(set(), 0.0, 60.0).told(10.0) == "10 s so far, up to 60 s and no longer"
    assert "and 5 more, 10 s" in Wait({f"n{number:02}" for number in range(25)}, 0.0, 60.0).told(10.0)


def test_every_step_has_its_call():
    assert set(policy.OF_STEP.values()) == {
        call for call, row in policy.TABLE.items() if row.late not in (policy.Late.READ, policy.Late.TOLD)
    } - {policy.Call.ENCRYPT, policy.Call.SET_ENABLE_SSL}


class Slow(FakeCluster):
    """One command of one node takes until it was said so often that the stage waits."""

    def __init__(self, command: str, node: str) -> None:
        super().__init__()
        self._slow, self._left, self._over = (command, node), 0, asyncio.Event()
        self.pause = self._pause

    async def _pause(self, seconds: float) -> None:
        while not self._left:
            await asyncio.sleep(0)
            if self._over.is_set():
                await asyncio.Event().wait()
        for _ in range(10 * TICKS):  # of looks beside the command
            await asyncio.sleep(0)
        self._left -= 1
        if not self._left:
            self._over.set()
        self.now_s += seconds

    async def deliver(self, agent: FakeAgent, rpc: str, carry_out: Callable[[Fault | None], None]) -> None:
        if (rpc, agent.name) == self._slow:
            self._left = BEATS
            await self._over.wait()
        await super().deliver(agent, rpc, carry_out)


async def replaced(cluster: FakeCluster) -> tuple[Result, list[Progress]]:
    told = list[Progress]()
    async with asyncio.timeout(30), cluster.coordinator() as coordinator:
        plan = await coordinator.plan(NEW, ReplaceOptions())
        result = await coordinator.replace(plan, NEW, watch=told.append)
    return result, [each for each in told if each.mark is Mark.WAITING]


async def test_a_stop_that_takes_long_names_who_is_waited_for_and_where_cm_still_runs():
    cluster = Slow("stop", "node-a")
    result, waits = await replaced(cluster)
    assert result.verdict is Verdict.COMMITTED
    assert {each.stage for each in waits} == {Stage.STOP}
    limit = cluster.timeouts.stop_s + cluster.timeouts.call_s
    assert f"for node-a, 20 s so far, up to {limit:.0f} s and no longer; CM still runs on" in waits[0].detail
    for number, name in enumerate(cluster.names, start=1):
        assert f"{name}: cm_server (pid {number}00), cm_agent (pid {number}01)" in waits[0].detail


async def test_a_start_that_takes_long_names_the_cm_servers_that_do_not_answer_yet():
    cluster = Slow("start", "node-a")
    result, waits = await replaced(cluster)
    assert result.verdict is Verdict.COMMITTED
    assert {each.stage for each in waits} == {Stage.START}
    limit = cluster.timeouts.start_s + cluster.timeouts.call_s
    assert f" s so far, up to {limit:.0f} s and no longer" in waits[0].detail
    assert waits[-1].detail.endswith("; no answer yet from cm_server 1 (node-a), 2 (node-b), 3 (node-c)")


async def test_in_a_rollback_it_is_said_that_the_command_is_repeated():
    cluster = Slow("rollback_stop", "node-a")
    cluster.nodes["node-b"].stale = cluster.nodes["node-b"].live
    result, waits = await replaced(cluster)
    assert result.verdict is Verdict.ROLLED_BACK
    assert {each.stage for each in waits} == {Stage.ROLLBACK_STOP}
    assert "and then it is tried again" in waits[0].detail


async def test_a_proof_that_takes_long_says_what_is_still_wrong():
    cluster = FakeCluster()
    cluster.nodes["node-b"].broken_chain = True
    told, limit, named = list[Progress](), cluster.timeouts.verify_s, asyncio.Event()

    def watch(progress: Progress) -> None:
        told.append(progress)
        if progress.stage is Stage.VERIFY and progress.mark is Mark.NOTE:
            named.set()

    async def pause(seconds: float) -> None:
        await named.wait()
        if any(each.mark is Mark.WAITING for each in told):
            await asyncio.Event().wait()

    cluster.pause = pause
    async with asyncio.timeout(30), cluster.coordinator() as coordinator:
        plan = await coordinator.plan(NEW, ReplaceOptions())
        await coordinator.replace(plan, NEW, watch=watch)
    (wait,) = [each for each in told if each.mark is Mark.WAITING]
    assert wait.stage is Stage.VERIFY
    assert f"up to {limit:.0f} s and no longer; node-a: cm_server 2 at " in wait.detail
    assert "its chain does not verify" in wait.detail
