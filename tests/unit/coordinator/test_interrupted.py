"""The operator interrupts: during every command, once, twice and three times."""

from __future__ import annotations

import itertools

import pytest
from gausscert_common.protocol.coordinator import Stage, Verdict
from gausscert_common.protocol.words import Phase, RestartScope
from gausscert_coordinator.exit_codes import ExitCode, exit_code
from gausscert_coordinator.interrupt import Interrupt
from gausscert_coordinator.report import Mark, Progress, ReplaceOptions, Result
from support.fake_agents import Fault
from support.fake_cluster import FakeCluster
from support.fake_node import bundle

NEW = bundle("new")
NODES = ("node-a", "node-b", "node-c")


async def run(
    cluster: FakeCluster,
    interrupt: Interrupt,
    told: list[Progress] | None = None,
    restart: RestartScope = RestartScope.CLUSTER,
) -> Result:
    watch = [] if told is None else told
    async with cluster.coordinator() as coordinator:
        plan = await coordinator.plan(NEW, ReplaceOptions(restart=restart))
        return await coordinator.replace(plan, NEW, watch=watch.append, interrupt=interrupt)


def request_at(cluster: FakeCluster, interrupt: Interrupt, rpc: str, node: str, times: int = 1) -> None:
    def on_command(called: str, at: str) -> None:
        if (called, at) == (rpc, node):
            for _ in range(times):
                interrupt.request()

    cluster.on_command = on_command


async def test_before_it_begins_nothing_is_asked_of_anyone():
    cluster, interrupt = FakeCluster(), Interrupt()
    interrupt.request()

    result = await run(cluster, interrupt)

    assert result.verdict is Verdict.NOTHING_DONE
    assert result.interrupted
    assert cluster.calls == []


@pytest.mark.parametrize(("rpc", "node"), list(itertools.product(("acquire", "prepare"), NODES)))
async def test_before_cm_is_touched_nothing_is_done(rpc, node):
    cluster, interrupt = FakeCluster(), Interrupt()
    before = cluster.snapshot()
    request_at(cluster, interrupt, rpc, node)

    result = await run(cluster, interrupt)

    assert result.verdict is Verdict.NOTHING_DONE
    assert result.interrupted
    assert result.failures == ()
    assert result.last_stage is Stage(rpc)
    assert exit_code(result) is ExitCode.ROLLED_BACK
    assert cluster.snapshot() == before
    assert [node for called, node in cluster.calls if called == rpc] == list(NODES), "what ran must end"
    assert not any("stop" in called for called, _ in cluster.calls)


@pytest.mark.parametrize(
    ("rpc", "node", "restart"),
    list(itertools.product(("stop", "swap", "start"), NODES, [RestartScope.CLUSTER, RestartScope.NODE])),
)
async def test_until_the_decision_everything_is_turned_back(rpc, node, restart):
    cluster, interrupt = FakeCluster(), Interrupt()
    before = cluster.snapshot()
    request_at(cluster, interrupt, rpc, node)

    result = await run(cluster, interrupt, restart=restart)

    assert result.verdict is Verdict.ROLLED_BACK
    assert result.interrupted
    assert result.last_stage is Stage(rpc)
    assert sorted(node for called, node in cluster.calls if called == rpc) == list(NODES)
    assert cluster.snapshot() == before


async def test_waiting_for_the_proof_ends_at_once():
    cluster, interrupt = FakeCluster(), Interrupt()
    before = cluster.snapshot()
    cluster.nodes["node-b"].broken_chain = True
    looks = []
    normal_sleep = cluster.sleep

    async def sleep(seconds: float) -> None:
        if [rpc for rpc, _ in cluster.calls[-3:]] == ["start"] * 3:  # all have started: it is the proof's
            looks.append(seconds)
            if len(looks) == 3:
                interrupt.request()
        await normal_sleep(seconds)

    cluster.sleep = sleep

    result = await run(cluster, interrupt)

    assert result.verdict is Verdict.ROLLED_BACK
    assert result.last_stage is Stage.VERIFY
    assert result.interrupted
    assert result.failures == ()
    assert len(looks) == 3
    assert cluster.snapshot() == before


@pytest.mark.parametrize(("rpc", "node"), list(itertools.product(("commit", "purge"), NODES)))
async def test_after_the_decision_it_is_put_off_and_said(rpc, node):
    cluster, interrupt, told = FakeCluster(), Interrupt(), []
    request_at(cluster, interrupt, rpc, node)

    result = await run(cluster, interrupt, told)

    assert result.verdict is Verdict.COMMITTED
    assert not result.interrupted
    notes = [each.detail for each in told if each.mark is Mark.NOTE]
    assert any("put off" in note for note in notes)


@pytest.mark.parametrize("rpc", ["rollback_stop", "abort", "rollback_start", "clean"])
async def test_a_second_time_during_a_rollback_is_put_off(rpc):
    cluster, interrupt, told = FakeCluster(), Interrupt(), []
    before = cluster.snapshot()
    interrupts = {"swap": 1, rpc: 1}

    def on_command(called: str, at: str) -> None:
        if at == "node-b":
            for _ in range(interrupts.pop(called, 0)):
                interrupt.request()

    cluster.on_command = on_command

    result = await run(cluster, interrupt, told)

    assert result.verdict is Verdict.ROLLED_BACK
    assert cluster.snapshot() == before
    assert any("put off" in each.detail for each in told if each.mark is Mark.NOTE)


@pytest.mark.parametrize("rpc", ["rollback_stop", "abort", "rollback_start", "clean"])
async def test_a_third_time_abandons_in_doubt_and_recovery_ends_it(rpc):
    cluster, interrupt = FakeCluster(), Interrupt()
    before = cluster.snapshot()
    cluster.script("node-b", "start", Fault.FAILED)
    request_at(cluster, interrupt, rpc, "node-b", times=3)

    result = await run(cluster, interrupt)

    assert result.verdict is Verdict.IN_DOUBT
    assert result.interrupted
    assert "gausscert recover" in result.failures[-1].remedy
    cluster.on_command = None
    cluster.bring_back()
    async with cluster.coordinator() as fresh:
        recovered = await fresh.recover(take_over=True)
    assert recovered.verdict in (Verdict.ROLLED_BACK, Verdict.NOTHING_DONE)
    assert cluster.snapshot() == before


@pytest.mark.parametrize(
    ("rpc", "verdict"),
    [
        ("acquire", Verdict.NOTHING_DONE),
        ("prepare", Verdict.IN_DOUBT),
        ("swap", Verdict.IN_DOUBT),
        ("commit", Verdict.IN_DOUBT),
        ("purge", Verdict.IN_DOUBT),
    ],
)
async def test_three_times_at_once_abandons_wherever_it_is(rpc, verdict):
    cluster, interrupt = FakeCluster(), Interrupt()
    request_at(cluster, interrupt, rpc, "node-a", times=3)

    result = await run(cluster, interrupt)

    assert result.verdict is verdict
    assert result.interrupted
    assert cluster.calls[-1][0] == rpc, "nothing more may be sent"


def answers(told: list[Progress]) -> list[str]:
    return [each.detail for each in told if each.urgent]


@pytest.mark.parametrize("rpc", ["stop", "commit"])
async def test_every_press_is_answered_and_says_what_the_next_one_does(rpc):
    cluster, interrupt, told = FakeCluster(), Interrupt(), []
    request_at(cluster, interrupt, rpc, "node-a", times=3)

    result = await run(cluster, interrupt, told)

    assert result.verdict is Verdict.IN_DOUBT
    first, second, third = answers(told)
    abandons = "a third time abandons it as it is, in doubt and perhaps with CM down"
    assert ("turned back" if rpc == "stop" else "no way back") in first
    assert "a second time changes nothing" in first
    assert abandons in first
    assert "changes nothing" in second
    assert abandons in second
    assert third == "interrupted for the third time: abandoned as it is"


async def test_a_press_before_the_transaction_begins_is_answered_when_it_does():
    cluster, interrupt, told = FakeCluster(), Interrupt(), []
    assert not interrupt.request(), "nobody listens yet"

    await run(cluster, interrupt, told)

    (answered,) = answers(told)
    assert "turned back" in answered


async def test_a_failure_beside_an_interruption_is_told():
    cluster, interrupt = FakeCluster(), Interrupt()
    request_at(cluster, interrupt, "swap", "node-a")
    cluster.script("node-c", "swap", Fault.FAILED)

    result = await run(cluster, interrupt)

    assert result.verdict is Verdict.ROLLED_BACK
    assert [error.node for error in result.failures] == ["node-c"]
    assert all(agent.state.phase is Phase.NONE for agent in cluster.agents.values())
