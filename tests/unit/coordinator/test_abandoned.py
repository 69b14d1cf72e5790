"""Three requests to stop abandon as it is: from then on nobody is commanded, whatever was under way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from gausscert_common.errors import NodeRefusal, Reason
from gausscert_common.protocol.coordinator import Stage, Verdict
from gausscert_common.protocol.recovery import Choice
from gausscert_common.protocol.words import RestartScope, SslWish, Step
from gausscert_coordinator.coordinator import Coordinator
from gausscert_coordinator.exit_codes import ExitCode, exit_code
from gausscert_coordinator.interrupt import Interrupt
from gausscert_coordinator.recorder import NOBODY
from gausscert_coordinator.report import Mark, Progress, ReplaceOptions, Result
from support.fake_cluster import FakeCluster, until_death
from support.fake_node import bundle

NEW = bundle("new")
POINTS = {"some prepared": 5, "all prepared": 6, "some swapped": 10, "all swapped": 12, "committed": 18}
"""Commands of a replacement that were carried out before its coordinator died."""


async def left_in_doubt(point: int) -> FakeCluster:
    cluster = FakeCluster()
    async with cluster.coordinator() as coordinator:
        plan = await coordinator.plan(NEW)
        cluster.die_after(point)
        await until_death(cluster, coordinator.replace(plan, NEW))
    cluster.bring_back()
    cluster.calls.clear()
    return cluster


async def recover(
    cluster: FakeCluster, interrupt: Interrupt | None = None, told: list[Progress] | None = None
):
    watch = [] if told is None else told
    async with cluster.coordinator() as coordinator:
        return await coordinator.recover(take_over=True, watch=watch.append, interrupt=interrupt)


def three_times(interrupt: Interrupt) -> None:
    for _ in range(3):
        interrupt.request()


def at_read(cluster: FakeCluster, number: int, act: Callable[[], None]) -> None:
    """Act within that read, counted from now."""
    read, before = cluster.read, len(cluster.reads)

    async def reading(agent, rpc, look):
        answer = await read(agent, rpc, look)
        if len(cluster.reads) == before + number:
            act()
        return answer

    cluster.read = reading


def at_command(cluster: FakeCluster, rpc: str, node: str, act: Callable[[], None]) -> None:
    cluster.on_command = lambda *called: act() if called == (rpc, node) else None


async def still_in_doubt(cluster: FakeCluster, result: Result) -> None:
    """What it says is so, and whoever comes next can end it."""
    assert result.verdict is Verdict.IN_DOUBT
    assert result.interrupted
    assert exit_code(result) is ExitCode.IN_DOUBT
    assert "gausscert recover" in result.failures[-1].remedy
    assert all(set(each.did) <= {Step.ACQUIRE} for each in result.nodes)
    cluster.on_command = None
    assert (await recover(cluster)).verdict in (Verdict.ROLLED_BACK, Verdict.COMMITTED)


@pytest.mark.parametrize("point", POINTS.values(), ids=POINTS)
async def test_a_recovery_that_is_abandoned_before_it_begins_commands_nobody(point):
    cluster, interrupt = await left_in_doubt(point), Interrupt()
    before = cluster.snapshot()
    three_times(interrupt)

    result = await recover(cluster, interrupt)

    assert cluster.calls == []
    assert cluster.snapshot() == before
    assert "no node was commanded" in str(result.failures[-1])
    await still_in_doubt(cluster, result)


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("point", POINTS.values(), ids=POINTS)
async def test_a_recovery_that_is_abandoned_while_it_reads_commands_nobody(point, number):
    cluster, interrupt = await left_in_doubt(point), Interrupt()
    at_read(cluster, number, lambda: three_times(interrupt))

    result = await recover(cluster, interrupt)

    assert cluster.calls == []
    await still_in_doubt(cluster, result)


@pytest.mark.parametrize("node", ["node-a", "node-b", "node-c"])
@pytest.mark.parametrize("point", POINTS.values(), ids=POINTS)
async def test_a_recovery_that_is_abandoned_while_it_acquires_takes_the_fence_at_most(point, node):
    cluster, interrupt, told = await left_in_doubt(point), Interrupt(), []
    before = cluster.snapshot()
    at_command(cluster, "acquire", node, lambda: three_times(interrupt))

    result = await recover(cluster, interrupt, told)

    assert {rpc for rpc, _ in cluster.calls} == {"acquire"}
    assert ("acquire", node) in cluster.calls
    assert len(cluster.calls) == len(set(cluster.calls)), "no lease is given back: that is a command, too"
    assert cluster.snapshot() == before
    assert result.last_stage is Stage.ACQUIRE
    assert "leases" in str(result.failures[-1])
    assert [each.detail for each in told if each.mark is Mark.FAILED and not each.node] == [
        "abandoned; the nodes' answers are not known"
    ]
    await still_in_doubt(cluster, result)


async def test_a_finishing_that_is_abandoned_between_acquire_and_the_next_command_goes_no_further():
    cluster, interrupt = await left_in_doubt(POINTS["all swapped"]), Interrupt()

    def watch(progress: Progress) -> None:
        if (progress.stage, progress.mark, progress.node) == (Stage.ACQUIRE, Mark.DONE, ""):
            three_times(interrupt)

    async with cluster.coordinator() as coordinator:
        result = await coordinator.recover(Choice.FINISH, True, watch=watch, interrupt=interrupt)

    assert {rpc for rpc, _ in cluster.calls} == {"acquire"}
    assert (result.verdict, result.interrupted) == (Verdict.IN_DOUBT, True)
    assert exit_code(result) is ExitCode.IN_DOUBT


async def replace(coordinator: Coordinator, interrupt: Interrupt) -> Result:
    return await coordinator.replace(await coordinator.plan(NEW), NEW, interrupt=interrupt)


async def rollback(coordinator: Coordinator, interrupt: Interrupt) -> Result:
    return await coordinator.rollback(await coordinator.plan_rollback(), interrupt=interrupt)


async def ssl_off(coordinator: Coordinator, interrupt: Interrupt) -> Result:
    return await coordinator.switch_ssl(await coordinator.plan_ssl(SslWish.OFF), interrupt=interrupt)


Errand = Callable[[Coordinator, Interrupt], Awaitable[Result]]
ERRANDS = [replace, rollback, ssl_off]


async def with_a_generation() -> FakeCluster:
    cluster = FakeCluster()
    async with cluster.coordinator() as coordinator:
        plan = await coordinator.plan(bundle("first"), ReplaceOptions())
        assert (await coordinator.replace(plan, bundle("first"))).verdict is Verdict.COMMITTED
    cluster.calls.clear()
    return cluster


@pytest.mark.parametrize("errand", ERRANDS)
async def test_what_is_abandoned_before_its_first_command_commands_nobody(errand: Errand):
    cluster, interrupt = await with_a_generation(), Interrupt()
    before = cluster.snapshot()
    three_times(interrupt)

    async with cluster.coordinator() as coordinator:
        result = await errand(coordinator, interrupt)

    assert cluster.calls == []
    assert cluster.snapshot() == before
    assert (result.verdict, result.interrupted, result.failures) == (Verdict.NOTHING_DONE, True, ())
    assert exit_code(result) is ExitCode.ROLLED_BACK


@pytest.mark.parametrize("errand", ERRANDS)
async def test_what_is_abandoned_after_a_stage_sends_nothing_of_the_next_nor_gives_back(errand: Errand):
    cluster, interrupt = await with_a_generation(), Interrupt()

    class Recorded(type(NOBODY)):
        def granted(self, reports):  # when the last node has granted it: nothing is under way
            three_times(interrupt)

    async with cluster.coordinator(recorder=Recorded()) as coordinator:
        result = await errand(coordinator, interrupt)

    assert {rpc for rpc, _ in cluster.calls} == {"acquire"}
    assert len(cluster.calls) == len(set(cluster.calls))
    assert (result.verdict, result.interrupted) == (Verdict.NOTHING_DONE, True)


async def test_what_is_abandoned_just_before_commit_sends_none():
    cluster, interrupt, told = FakeCluster(), Interrupt(), []

    class Recorded(type(NOBODY)):
        async def durable(self):
            three_times(interrupt)

    async with cluster.coordinator(recorder=Recorded()) as coordinator:
        plan = await coordinator.plan(NEW)
        result = await coordinator.replace(plan, NEW, watch=told.append, interrupt=interrupt)

    assert not any(rpc == "commit" for rpc, _ in cluster.calls)
    assert (result.verdict, result.last_stage) == (Verdict.IN_DOUBT, Stage.COMMIT)
    assert not any(each.stage is Stage.COMMIT and each.node for each in told)


# Whether anything is left to stop.


class Ending(type(NOBODY)):
    """Looks when a result is written down: no engine listens then."""

    def __init__(self, interrupt: Interrupt, *, presses: bool = True) -> None:
        self.interrupt = interrupt
        self.presses = presses
        self.over: list[bool] = []

    async def ended(self, result):
        self.over.append(self.interrupt.ended)
        assert not (self.presses and self.interrupt.request()), "nobody listens any more"
        return ()


@pytest.mark.parametrize("errand", ERRANDS)
async def test_when_the_last_command_is_answered_nothing_is_left_to_stop(errand: Errand):
    cluster, interrupt = await with_a_generation(), Interrupt()
    ending = Ending(interrupt)

    async with cluster.coordinator(recorder=ending) as coordinator:
        result = await errand(coordinator, interrupt)

    assert ending.over == [True]
    assert (result.verdict, result.interrupted) == (Verdict.COMMITTED, False)


async def test_nor_while_the_nodes_are_asked_what_another_coordinator_has_made_of_it():
    cluster, interrupt, seen = FakeCluster(), Interrupt(), []
    cluster.script("node-b", "swap", NodeRefusal(Reason.FENCED, "a later one has it"))
    read = cluster.read

    async def reading(agent, rpc, look):
        if any(called == "swap" for called, _ in cluster.calls):
            seen.append(interrupt.ended)
        return await read(agent, rpc, look)

    cluster.read = reading
    async with cluster.coordinator() as coordinator:
        plan = await coordinator.plan(NEW)
        result = await coordinator.replace(plan, NEW, interrupt=interrupt)

    assert result.taken_over
    assert seen == [True] * 3


async def test_between_two_pieces_of_a_recovery_there_still_is():
    """Finished by those that began it, then the node is brought over that is back, then all is purged."""
    cluster, interrupt, dead = FakeCluster(), Interrupt(), "node-c"
    cluster.power_off(dead)
    async with cluster.coordinator() as coordinator:
        plan = await coordinator.plan(NEW, ReplaceOptions(restart=RestartScope.NODE, exclude=(dead,)))
        cluster.die_after(11)  # one of two has committed
        await until_death(cluster, coordinator.replace(plan, NEW))
    cluster.bring_back()
    cluster.power_on(dead)
    ending = Ending(interrupt, presses=False)

    async with cluster.coordinator(recorder=ending) as coordinator:
        result = await coordinator.recover(take_over=True, bundle=NEW, interrupt=interrupt)

    assert result.verdict is Verdict.COMMITTED
    assert ending.over == [False, False, True]
