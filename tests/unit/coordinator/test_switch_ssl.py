"""SSL on and off as a transaction in which no set changes: planned, proven by the SSL answer, turned back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gausscert_common.errors import InvalidInput, NodeFailure, Reason
from gausscert_common.findings import Finding, Severity
from gausscert_common.model import ServedState
from gausscert_common.protocol.coordinator import Stage, Verdict
from gausscert_common.protocol.recovery import Choice
from gausscert_common.protocol.words import RestartScope, SslWish
from gausscert_coordinator.report import Plan, ReplaceOptions, Result
from support.fake_cluster import FakeCluster, until_death
from support.fake_node import FakeSet, bundle

ON, OFF = SslWish.ON, SslWish.OFF
OPTIONS = ReplaceOptions(restart=RestartScope.NODE)
EXPIRED = Finding("CERTIFICATE_EXPIRED", Severity.ERROR, "it has expired", "issue another")


def cluster_with(*, on: bool) -> FakeCluster:
    cluster = FakeCluster(running=False)
    for node in cluster.nodes.values():
        node.ssl_server = node.ssl_agent = on
        node.start()
    return cluster


async def planned(cluster: FakeCluster, wish: SslWish, options: ReplaceOptions = OPTIONS) -> Plan:
    async with cluster.coordinator() as coordinator:
        return await coordinator.plan_ssl(wish, options)


async def switched(cluster: FakeCluster, wish: SslWish) -> Result:
    async with cluster.coordinator() as coordinator:
        plan = await coordinator.plan_ssl(wish, OPTIONS)
        assert plan.feasible, plan.errors
        return await coordinator.switch_ssl(plan)


def codes(plan: Plan) -> set[str]:
    return {found.code for found in plan.findings}


@pytest.mark.parametrize("wish", [ON, OFF])
async def test_it_is_switched_everywhere_proven_by_every_cm_server_and_no_set_changes(wish):
    cluster = cluster_with(on=wish is OFF)
    sets = {name: (node.live, node.retired) for name, node in cluster.nodes.items()}

    result = await switched(cluster, wish)

    assert result.verdict is Verdict.COMMITTED
    state = ServedState.SSL_ON if wish is ON else ServedState.SSL_OFF
    assert [each.served.state for each in result.proof] == [state] * 9
    for name, node in cluster.nodes.items():
        assert (node.ssl_server, node.ssl_agent, node.ssl_loaded) == (wish is ON,) * 3
        assert (node.live, node.retired) == sets[name]
        assert node.stage is None


@pytest.mark.parametrize("wish", [ON, OFF])
async def test_what_is_so_already_is_refused_as_nothing_to_do(wish):
    plan = await planned(cluster_with(on=wish is ON), wish)
    assert {"SSL_UNCHANGED"} == {each.code for each in plan.errors}


async def test_files_that_say_so_while_cm_was_not_restarted_still_need_it():
    cluster = cluster_with(on=True)
    for node in cluster.nodes.values():
        node.ssl_server = node.ssl_agent = False

    result = await switched(cluster, OFF)

    assert result.verdict is Verdict.COMMITTED
    assert not any(node.ssl_loaded for node in cluster.nodes.values())


async def test_what_differs_between_nodes_is_made_alike():
    cluster = cluster_with(on=True)
    cluster.nodes["node-b"].ssl_agent = False
    result = await switched(cluster, OFF)
    assert result.verdict is Verdict.COMMITTED


async def test_to_switch_it_on_the_live_sets_are_judged_first():
    cluster = cluster_with(on=False)
    cluster.nodes["node-b"].objections = (EXPIRED,)

    plan = await planned(cluster, ON)

    assert [(each.code, each.node) for each in plan.errors] == [("CERTIFICATE_EXPIRED", "node-b")]
    assert not cluster.calls


async def test_to_switch_it_off_nothing_is_asked_of_the_sets():
    cluster = cluster_with(on=True)
    cluster.nodes["node-b"].objections = (EXPIRED,)
    plan = await planned(cluster, OFF)
    assert plan.feasible
    assert codes(plan) == {"SSL_GOES_OFF"}


async def test_sets_of_different_bundles_cannot_be_switched_on_and_can_be_switched_off():
    for wish, feasible in ((ON, False), (OFF, True)):
        cluster = cluster_with(on=wish is OFF)
        other = cluster.nodes["node-c"]
        other.live = FakeSet.of(bundle("another"), "node-c 0")
        plan = await planned(cluster, wish, replace(OPTIONS, accept_state=True))
        assert "SETS_DIFFER" in codes(plan)
        assert plan.feasible is feasible


@pytest.mark.parametrize("wish", [ON, OFF])
@pytest.mark.parametrize("at", ["prepare", "stop", "swap", "start"])
async def test_a_failure_on_the_way_leaves_both_files_and_what_runs_as_they_were(wish, at):
    cluster = cluster_with(on=wish is OFF)
    before = cluster.snapshot()
    cluster.script("node-b", at, NodeFailure(Reason.CONF_FAILED, "no"))

    result = await switched(cluster, wish)

    assert result.verdict is (Verdict.NOTHING_DONE if at == "prepare" else Verdict.ROLLED_BACK)
    assert cluster.snapshot() == before
    assert {node.ssl_loaded for node in cluster.nodes.values()} == {wish is OFF}


@pytest.mark.parametrize("wish", [ON, OFF])
async def test_a_cm_server_that_goes_on_as_before_is_not_believed(wish):
    cluster = cluster_with(on=wish is OFF)

    def on_command(rpc: str, node: str) -> None:
        if rpc in ("start", "rollback_start") and node == "node-c":
            cluster.nodes["node-c"].ssl_server = wish is OFF

    cluster.on_command = on_command
    result = await switched(cluster, wish)

    assert (result.verdict, result.last_stage) == (Verdict.ROLLED_BACK, Stage.VERIFY)
    assert {node.ssl_loaded for node in cluster.nodes.values()} == {wish is OFF}


@pytest.mark.parametrize("prefer", list(Choice))
@pytest.mark.parametrize("commands", range(4, 22))
async def test_a_coordinator_that_dies_anywhere_leaves_what_recover_ends(commands, prefer):
    """Both sets are one: nothing on the disks but the switch tells what CM may have been started with."""
    cluster = cluster_with(on=True)
    cluster.die_after(commands)
    async with cluster.coordinator() as coordinator:
        plan = await coordinator.plan_ssl(OFF, OPTIONS)
        ended = await until_death(cluster, coordinator.switch_ssl(plan))
    assert ended is None or ended.verdict is Verdict.COMMITTED
    cluster.bring_back()
    cluster.expire_leases()

    async with cluster.coordinator() as coordinator:
        result = await coordinator.recover(prefer, take_over=True)

    assert result.verdict is not Verdict.IN_DOUBT
    files = {(node.ssl_server, node.ssl_agent) for node in cluster.nodes.values()}
    loaded = {node.ssl_loaded for node in cluster.nodes.values()}
    assert len(files) == len(loaded) == 1
    assert files == {(*loaded, *loaded)}, "what runs is what the files say"
    assert all(node.running for node in cluster.nodes.values())


@pytest.mark.parametrize("prefer", list(Choice))
@pytest.mark.parametrize("commands", range(7, 17))
async def test_a_foreign_set_is_touched_by_no_recovery_although_the_node_has_voted(commands, prefer):
    """A vote for the new switch was taken for "the new set is live" whatever was live (simulation)."""
    cluster = cluster_with(on=True)
    cluster.die_after(commands)
    async with cluster.coordinator() as coordinator:
        plan = await coordinator.plan_ssl(OFF, OPTIONS)
        await until_death(cluster, coordinator.switch_ssl(plan))
    cluster.bring_back()
    cluster.expire_leases()
    cluster.nodes["node-b"].live = FakeSet.of(bundle("foreign"), "x")
    before, nodes = cluster.snapshot(), {name: vars(node).copy() for name, node in cluster.nodes.items()}

    async with cluster.coordinator() as coordinator:
        result = await coordinator.recover(prefer, take_over=True)

    assert result.verdict is Verdict.IN_DOUBT
    assert "the live set of node-b is neither the old nor the new one" in result.why
    assert cluster.snapshot() == before
    assert {name: vars(node) for name, node in cluster.nodes.items()} == nodes


async def test_plans_of_one_kind_are_not_carried_out_as_another():
    cluster = cluster_with(on=True)
    async with cluster.coordinator() as coordinator:
        of_ssl = await coordinator.plan_ssl(OFF, OPTIONS)
        of_bundle = await coordinator.plan(bundle("new"), OPTIONS)
        for call in (
            coordinator.switch_ssl(of_bundle),
            coordinator.replace(replace(of_ssl, bundle_digest=bundle("new").digest), bundle("new")),
            coordinator.rollback(of_ssl),
        ):
            with pytest.raises(InvalidInput):
                await call
        with pytest.raises(InvalidInput):
            await coordinator.plan_ssl(SslWish.KEEP)
    assert not cluster.calls
