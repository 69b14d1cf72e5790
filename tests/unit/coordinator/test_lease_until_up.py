"""A recovery that finishes and then starts CM holds the nodes until it is up: a second one is told LOCKED."""

from __future__ import annotations

import pytest
from gausscert_common.protocol.coordinator import Verdict
from gausscert_common.protocol.words import Phase, RestartScope
from gausscert_coordinator.exit_codes import ExitCode, exit_code
from gausscert_coordinator.report import ReplaceOptions, Result
from support.fake_cluster import FakeCluster, until_death
from support.fake_node import bundle

NEW = bundle("new")
SCOPES = [RestartScope.CLUSTER, RestartScope.NODE]


async def died(commands: int, options: ReplaceOptions, *dead: str) -> FakeCluster:
    cluster = FakeCluster()
    for node in dead:
        cluster.power_off(node)
    async with cluster.coordinator("alice@h1:1") as coordinator:
        plan = await coordinator.plan(NEW, options)
        cluster.die_after(commands)
        assert await until_death(cluster, coordinator.replace(plan, NEW)) is None
    cluster.bring_back()
    cluster.expire_leases()
    for name, node in cluster.nodes.items():  # power went, too
        node.loaded = None
        cluster.agents[name].restart()
    return cluster


async def recovered(cluster: FakeCluster, holder: str, **options: object) -> Result:
    async with cluster.coordinator(holder) as coordinator:
        return await coordinator.recover(**options)


async def two(cluster: FakeCluster) -> tuple[Result, Result]:
    """The second one looks when the first has decided everywhere and is about to start CM."""
    got: list[Result] = []
    deliver = cluster.deliver

    async def delivered(agent, rpc, carry_out):
        if rpc == "rollback_start" and not got:
            got.append(Result("", Verdict.NOTHING_DONE))  # itself may not come here again
            got[0] = await recovered(cluster, "carol@h3:3")
        return await deliver(agent, rpc, carry_out)

    cluster.deliver = delivered
    first = await recovered(cluster, "bob@h2:2")
    return first, got[0]


@pytest.mark.parametrize("scope", SCOPES)
async def test_a_second_recover_is_locked_out_until_cm_is_up_and_the_first_ends_as_it_is(scope):
    cluster = await died(3 * 5 + 1, ReplaceOptions(restart=scope))

    first, second = await two(cluster)

    assert (first.verdict, exit_code(first), first.failures) == (Verdict.COMMITTED, ExitCode.DONE, ())
    assert exit_code(second) is ExitCode.UNREACHABLE
    assert all("bob@h2:2" in error.message for error in second.failures)
    assert all(node.running for node in cluster.nodes.values())
    assert {agent.lease_holder for agent in cluster.agents.values()} == {""}


async def test_so_it_is_where_the_transaction_ends_with_commit():
    cluster = await died(2 * 5 + 1, ReplaceOptions(restart=RestartScope.NODE, exclude=("node-c",)), "node-c")

    first, second = await two(cluster)

    assert first.verdict is Verdict.COMMITTED
    assert exit_code(second) is ExitCode.UNREACHABLE
    assert all("bob@h2:2" in error.message for error in second.failures if error.node != "node-c")
    assert cluster.agents["node-a"].state.phase is Phase.COMMITTED
    assert {agent.lease_holder for agent in cluster.agents.values()} == {""}


async def test_where_nothing_is_started_nothing_is_held():
    cluster = await died(3 * 5 + 1, ReplaceOptions(restart=RestartScope.CLUSTER))

    result = await recovered(cluster, "bob@h2:2", restart=RestartScope.NONE)

    assert result.verdict is Verdict.COMMITTED
    assert {agent.lease_holder for agent in cluster.agents.values()} == {""}
