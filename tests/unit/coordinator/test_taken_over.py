"""Several coordinators at once: one acts, the others say who does; and one that is fenced out in mid-flight
says what became of its transaction.

The fake cluster asserts the invariants of design section 5 after every command and effect."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from gausscert_common.errors import Reason
from gausscert_common.model import TransactionReport
from gausscert_common.protocol.coordinator import Verdict
from gausscert_common.protocol.recovery import Choice
from gausscert_common.protocol.state import Tombstone
from gausscert_common.protocol.words import Fence, Outcome, RestartScope, Step
from gausscert_coordinator import takeover
from gausscert_coordinator.exit_codes import ExitCode, exit_code
from gausscert_coordinator.report import Mark, Progress, ReplaceOptions, Result
from support.fake_cluster import FakeCluster, until_death
from support.fake_node import bundle

NEW, OLD = bundle("new"), bundle("old")
OTHERS = tuple(bundle(f"new {number}") for number in range(3))
FORWARD_COMMANDS = 7 * 3
FIRST, SECOND = "alice@ops-1:1", "bob@ops-2:2"


@pytest.mark.parametrize("take_over", [False, True])
async def test_of_coordinators_that_begin_at_once_exactly_one_acts(take_over):
    cluster = FakeCluster()
    options = ReplaceOptions(take_over=take_over)

    planned = asyncio.Barrier(3)

    async def replace(number: int) -> Result:
        async with cluster.coordinator(f"op{number}@host:1") as coordinator:
            plan = await coordinator.plan(OTHERS[number], options)
            assert plan.feasible
            await planned.wait()
            return await coordinator.replace(plan, OTHERS[number])

    results = await asyncio.gather(*(replace(number) for number in range(3)))

    (winner,) = [number for number, result in enumerate(results) if result.verdict is Verdict.COMMITTED]
    assert {node.live.bundle_digest for node in cluster.nodes.values()} == {OTHERS[winner].digest}
    for result in results[:winner] + results[winner + 1 :]:
        assert result.verdict is Verdict.NOTHING_DONE
        assert exit_code(result) is ExitCode.UNREACHABLE
        assert {failure.reason for failure in result.failures} <= {Reason.LOCKED, Reason.FENCED}
        assert all(f"op{winner}@host:1" in failure.message for failure in result.failures)


@pytest.mark.parametrize(("held", "code"), [(True, ExitCode.UNREACHABLE), (False, ExitCode.IN_DOUBT)])
async def test_what_another_has_begun_since_the_plan_is_told_as_the_plan_would_tell_it(held, code):
    """At work, it is waited for; dead, it is in doubt."""
    cluster = FakeCluster()
    async with cluster.coordinator(FIRST) as first, cluster.coordinator(SECOND) as second:
        plan = await second.plan(OTHERS[0])
        begun = await first.plan(NEW)
        cluster.die_after(2 * 3)
        await until_death(cluster, first.replace(begun, NEW))
        cluster.bring_back()
        if not held:
            for agent in cluster.agents.values():
                agent.lease_until_s = 0.0
        calls = len(cluster.calls)

        result = await second.replace(plan, OTHERS[0])

    assert (result.verdict, exit_code(result)) == (Verdict.NOTHING_DONE, code)
    reasons = {failure.reason for failure in result.failures}
    assert reasons == {Reason.LOCKED if held else Reason.IN_DOUBT}
    assert all(FIRST in failure.message for failure in result.failures)
    assert len(cluster.calls) == calls


async def together(
    commands: int, prefer: Choice, scope: RestartScope
) -> tuple[FakeCluster, Result, Result, list[Progress]]:
    """A replacement, and a recovery that takes over when so many commands were sent."""
    cluster = FakeCluster()
    reached = asyncio.Event()
    seen: list[Progress] = []

    def count(rpc: str, node: str) -> None:
        if len(cluster.calls) >= commands:
            reached.set()

    cluster.on_command = count

    async def replace() -> Result:
        async with cluster.coordinator(FIRST) as coordinator:
            plan = await coordinator.plan(NEW, ReplaceOptions(restart=scope))
            return await coordinator.replace(plan, NEW, watch=seen.append)

    async def recover() -> Result:
        async with cluster.coordinator(SECOND) as coordinator:
            await reached.wait()
            return await coordinator.recover(prefer, take_over=True)

    first, second = await asyncio.gather(replace(), recover())
    return cluster, first, second, seen


@pytest.mark.parametrize("scope", [RestartScope.CLUSTER, RestartScope.NODE])
@pytest.mark.parametrize("prefer", list(Choice))
@pytest.mark.parametrize("commands", range(1, FORWARD_COMMANDS))
async def test_whoever_is_fenced_out_says_what_the_other_made_of_it(commands, prefer, scope):
    cluster, first, second, _ = await together(commands, prefer, scope)

    live = {node.live.bundle_digest for node in cluster.nodes.values()}
    if first.verdict is Verdict.COMMITTED:
        assert live == {NEW.digest}
    elif first.verdict is Verdict.ROLLED_BACK:
        assert live == {OLD.digest}
    else:
        assert first.verdict in (Verdict.IN_DOUBT, Verdict.NOTHING_DONE)
    assert second.verdict is not Verdict.IN_DOUBT
    assert len(live) == 1
    if first.taken_over:
        told = [*first.failures, *first.findings]
        assert any(SECOND in each.message for each in first.failures) or any(
            SECOND in finding.cause for finding in first.findings
        ), told
        assert not any("bring back" in failure.remedy for failure in first.failures)


async def test_one_that_is_fenced_out_sends_nothing_more():
    _, first, second, seen = await together(8, Choice.ROLL_BACK, RestartScope.NODE)

    assert first.taken_over
    assert second.verdict is Verdict.ROLLED_BACK
    failed = [each.stage for each in seen if each.mark is Mark.FAILED and each.node]
    assert len(set(failed)) == 1


async def test_a_proof_ends_when_another_takes_over():
    """The cluster serves what the other made live; waiting for anything else would be in vain."""
    cluster = FakeCluster()
    silent = cluster.nodes["node-b"]
    sleep = cluster.sleep
    slept: list[float] = []

    def deafen(rpc: str, node: str) -> None:
        silent.deaf = rpc == "start" or silent.deaf

    async def rolled_back_meanwhile(seconds: float) -> None:
        if [rpc for rpc, _ in cluster.calls[-3:]] == ["start"] * 3:  # all have started: it is the proof's
            slept.append(seconds)
        if len(slept) == 1 and cluster.on_command is not None:
            cluster.on_command, silent.deaf = None, False
            async with cluster.coordinator(SECOND) as other:
                assert (await other.recover(take_over=True)).verdict is Verdict.ROLLED_BACK
        await sleep(seconds)

    cluster.on_command, cluster.sleep = deafen, rolled_back_meanwhile
    async with cluster.coordinator(FIRST) as coordinator:
        result = await coordinator.replace(await coordinator.plan(NEW), NEW)

    assert (result.verdict, result.taken_over) == (Verdict.ROLLED_BACK, True)
    assert exit_code(result) is ExitCode.ROLLED_BACK
    (failure,) = result.failures
    assert failure.message == f"taken over by {SECOND}, which has rolled it back"
    assert len(slept) <= 2


@pytest.mark.parametrize("restarted", [True, False])
@pytest.mark.parametrize("told_to_stop", [True, False])
def test_what_another_has_ended_is_over_when_cm_runs_everywhere(restarted, told_to_stop):
    """Who has it now may still be starting CM, or may have died before."""
    cluster = FakeCluster()
    reports = {
        name: replace(
            agent.report(),
            manually_stopped=told_to_stop and name == "node-b",
            transaction=TransactionReport(
                fence=Fence(3, Step.ABORT),
                holder=SECOND,
                tombstones=(Tombstone("tx-00000001", Outcome.ABORTED),),
            ),
        )
        for name, agent in cluster.agents.items()
    }
    found = takeover.standing("tx-00000001", reports, reports, 2, restarted=restarted)
    if restarted and told_to_stop:
        assert found.verdict is Verdict.IN_DOUBT
        assert "CM does not run yet on node-b" in found.error.message
    else:
        assert found.verdict is Verdict.ROLLED_BACK
    assert SECOND in found.error.message
