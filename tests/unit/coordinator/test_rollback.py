"""Back to a former set: which one, what speaks against it, and that it is the same transaction."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from gausscert_common.errors import InvalidInput, NodeRefusal, Reason
from gausscert_common.findings import Finding, Severity
from gausscert_common.model import RetiredSet
from gausscert_common.protocol.coordinator import Stage, Verdict
from gausscert_common.protocol.recovery import Choice
from gausscert_common.protocol.words import Outcome, SslWish
from gausscert_coordinator import generations, history_reader
from gausscert_coordinator.exit_codes import ExitCode, exit_code
from gausscert_coordinator.history import History
from gausscert_coordinator.report import Plan, ReplaceOptions, Result
from support.fake_agents import Fault
from support.fake_cluster import FakeCluster, until_death
from support.fake_node import FakeSet, bundle, sha


async def replaced(cluster: FakeCluster, label: str) -> str:
    """The id of the transaction, and so the name of the generation that it retired."""
    async with cluster.coordinator() as coordinator:
        plan = await coordinator.plan(bundle(label))
        result = await coordinator.replace(plan, bundle(label))
    assert result.verdict is Verdict.COMMITTED
    return result.transaction_id


async def planned(
    cluster: FakeCluster, generation: str | None = None, options: ReplaceOptions | None = None
) -> Plan:
    async with cluster.coordinator() as coordinator:
        return await coordinator.plan_rollback(generation, options)


async def rolled_back(
    cluster: FakeCluster, generation: str | None = None, options: ReplaceOptions | None = None
) -> Result:
    async with cluster.coordinator() as coordinator:
        return await coordinator.rollback(await coordinator.plan_rollback(generation, options))


def live(cluster: FakeCluster) -> set[str]:
    return {node.live.bundle_digest for node in cluster.nodes.values()}


def codes(plan: Plan) -> list[tuple[str, str, str]]:
    return [(each.code, each.severity.value, each.node) for each in plan.findings]


async def test_the_newest_generation_is_live_again_and_served_on_every_node():
    cluster = FakeCluster()
    old = {name: node.live for name, node in cluster.nodes.items()}
    first = await replaced(cluster, "new")
    new = {name: node.live for name, node in cluster.nodes.items()}
    cluster.calls.clear()

    result = await rolled_back(cluster)

    assert result.verdict is Verdict.COMMITTED
    assert exit_code(result) is ExitCode.DONE
    stages = [rpc for rpc, _ in cluster.calls]
    assert list(dict.fromkeys(stages)) == ["acquire", "prepare", "stop", "swap", "start", "commit", "purge"]
    assert len(result.proof) == 9
    assert {proof.served.fingerprint for proof in result.proof} == {sha(bundle("old").pem["server.crt"])}
    for name, node in cluster.nodes.items():
        assert node.live == node.loaded == old[name]  # not only of the same bundle: the node's own former set
        assert node.generations == {result.transaction_id: new[name], first: old[name]}
        assert cluster.agents[name].state.outcome_of(result.transaction_id) is Outcome.COMMITTED


async def test_a_rollback_is_rolled_back_by_another_one():
    cluster = FakeCluster()
    await replaced(cluster, "new")
    await rolled_back(cluster)

    again = await rolled_back(cluster)

    assert again.verdict is Verdict.COMMITTED
    assert live(cluster) == {bundle("new").digest}


async def test_to_goes_back_further():
    cluster = FakeCluster()
    first = await replaced(cluster, "new")
    await replaced(cluster, "newer")

    result = await rolled_back(cluster, first)

    assert result.verdict is Verdict.COMMITTED
    assert live(cluster) == {bundle("old").digest}


async def test_the_plan_tells_old_and_new_of_each_node_and_changes_nothing():
    cluster = FakeCluster()
    first = await replaced(cluster, "new")
    before, calls = cluster.snapshot(), list(cluster.calls)

    plan = await planned(cluster)

    assert plan.feasible
    assert plan.generation == first
    assert plan.bundle_digest == bundle("old").digest
    assert [node.new_server.fingerprint for node in plan.nodes] == [sha(bundle("old").pem["server.crt"])] * 3
    for node in plan.nodes:
        assert node.new_digest == cluster.nodes[node.node].generations[first].digest
    assert cluster.snapshot() == before
    assert cluster.calls == calls


async def refused(cluster: FakeCluster, plan: Plan) -> Result:
    """Carrying it out changes nothing and ends with exit code 2."""
    before, calls = cluster.snapshot(), list(cluster.calls)
    assert not plan.feasible
    assert exit_code(plan) is ExitCode.REFUSED
    async with cluster.coordinator() as coordinator:
        result = await coordinator.rollback(plan)
    assert result.verdict is Verdict.NOTHING_DONE
    assert exit_code(result) is ExitCode.REFUSED
    assert cluster.snapshot() == before
    assert cluster.calls == calls
    return result


async def test_without_any_generation_it_is_refused():
    cluster = FakeCluster()

    plan = await planned(cluster)

    assert codes(plan) == [("GENERATION_NONE", "error", "")]
    assert "node-a, node-b, node-c: none" in plan.findings[0].cause
    await refused(cluster, plan)


async def test_without_a_common_generation_it_is_refused_and_each_nodes_are_listed():
    cluster = FakeCluster()
    first = await replaced(cluster, "new")
    second = await replaced(cluster, "newer")
    del cluster.nodes["node-b"].generations[first]
    del cluster.nodes["node-c"].generations[second]

    plan = await planned(cluster)

    assert codes(plan) == [("GENERATION_NONE", "error", "")]
    cause = plan.findings[0].cause
    assert cause == f"node-a: {second}, {first}; node-b: {second}; node-c: {first}"
    await refused(cluster, plan)


async def test_an_unknown_generation_is_refused_with_those_that_there_are():
    cluster = FakeCluster()
    first = await replaced(cluster, "new")

    plan = await planned(cluster, "20200101t000000z-000000")

    assert codes(plan) == [("GENERATION_UNKNOWN", "error", "")]
    told = f"20200101t000000z-000000 is on no node; there are: node-a, node-b, node-c: {first}"
    assert plan.findings[0].cause == told
    await refused(cluster, plan)


async def test_a_generation_that_one_node_lacks_is_refused_by_name_and_passed_over_without_one():
    cluster = FakeCluster()
    first = await replaced(cluster, "new")
    second = await replaced(cluster, "newer")
    del cluster.nodes["node-b"].generations[second]

    named, by_default = await planned(cluster, second), await planned(cluster)

    assert codes(named) == [("GENERATION_UNKNOWN", "error", "")]
    assert f"{second} is not on node-b; " in named.findings[0].cause
    await refused(cluster, named)
    assert by_default.generation == first
    assert codes(by_default) == [("GENERATION_NOT_NEWEST", "warning", "")]
    assert by_default.feasible
    assert codes(await planned(cluster, first)) == []


@pytest.mark.parametrize("name", ["", "..", "../../etc/passwd", "20200101T000000Z", "x"])
async def test_what_is_no_name_of_a_generation_reaches_no_node(name):
    cluster = FakeCluster()

    with pytest.raises(InvalidInput, match="no name of a generation"):
        await planned(cluster, name)

    assert cluster.reads == []


async def test_what_the_nodes_find_wrong_with_it_refuses_with_their_names():
    cluster = FakeCluster()
    await replaced(cluster, "new")
    expired = Finding("CERTIFICATE_EXPIRED", Severity.ERROR, "it expired", file="server.crt")
    cluster.nodes["node-b"].objections = (expired,)

    plan = await planned(cluster)

    assert codes(plan) == [("CERTIFICATE_EXPIRED", "error", "node-b")]
    result = await refused(cluster, plan)
    assert expired.at_node("node-b") in result.failures[0].findings


async def test_a_generation_that_is_live_already_is_nothing_to_do():
    cluster = FakeCluster()
    first = await replaced(cluster, "new")
    await rolled_back(cluster)

    plan = await planned(cluster, first)

    assert codes(plan)[0] == ("SET_UNCHANGED", "error", "")
    await refused(cluster, plan)
    switched = await planned(cluster, first, ReplaceOptions(ssl_wish=SslWish.OFF))
    assert switched.feasible


async def test_sets_of_different_bundles_under_one_generation_are_refused():
    cluster = FakeCluster()
    first = await replaced(cluster, "new")
    cluster.nodes["node-c"].generations[first] = FakeSet.of(bundle("other"), "node-c")

    plan = await planned(cluster)

    assert codes(plan) == [("GENERATION_UNEQUAL", "error", "")]
    assert "node-a and node-b; node-c" in plan.findings[0].cause
    await refused(cluster, plan)


async def test_a_retired_set_that_changes_after_the_plan_is_found_before_anything_is_stopped():
    cluster = FakeCluster()
    first = await replaced(cluster, "new")
    async with cluster.coordinator() as coordinator:
        plan = await coordinator.plan_rollback()
        changed = cluster.nodes["node-b"].generations[first]
        cluster.nodes["node-b"].generations[first] = replace(changed, digest=sha(b"changed"))
        before = cluster.snapshot()
        result = await coordinator.rollback(plan)

    assert result.verdict is Verdict.NOTHING_DONE
    assert [(each.reason, each.node) for each in result.failures] == [(Reason.STORE_FAILED, "node-b")]
    assert cluster.snapshot() == before


@pytest.mark.parametrize("stage", ["prepare", "stop", "swap", "start"])
async def test_a_failure_on_the_way_leaves_what_was_live(stage):
    cluster = FakeCluster()
    await replaced(cluster, "new")
    before = cluster.snapshot()
    cluster.script("node-b", stage, Fault.FAILED)

    result = await rolled_back(cluster)

    assert result.verdict is (Verdict.NOTHING_DONE if stage == "prepare" else Verdict.ROLLED_BACK)
    assert cluster.snapshot() == before


async def test_a_cm_server_that_goes_on_with_what_it_had_is_not_believed():
    cluster = FakeCluster()
    await replaced(cluster, "new")
    cluster.nodes["node-c"].stale = cluster.nodes["node-c"].live

    result = await rolled_back(cluster)

    assert (result.verdict, result.last_stage) == (Verdict.ROLLED_BACK, Stage.VERIFY)
    assert live(cluster) == {bundle("new").digest}


async def test_enable_ssl_is_switched_with_it():
    cluster = FakeCluster()
    await replaced(cluster, "new")

    result = await rolled_back(cluster, options=ReplaceOptions(ssl_wish=SslWish.OFF))

    assert result.verdict is Verdict.COMMITTED
    assert not any(node.ssl_server or node.ssl_agent for node in cluster.nodes.values())


async def test_an_unreachable_node_refuses_before_anything_changes():
    cluster = FakeCluster()
    await replaced(cluster, "new")
    before = cluster.snapshot()
    cluster.vanish("node-b", at="judge")

    plan = await planned(cluster)

    assert [error.node for error in plan.unreachable] == ["node-b"]
    assert exit_code(plan) is ExitCode.UNREACHABLE
    assert cluster.snapshot() == before


async def test_a_plan_is_only_good_for_what_it_was_made_for():
    cluster = FakeCluster()
    async with cluster.coordinator() as coordinator:
        forward = await coordinator.plan(bundle("new"))
        with pytest.raises(InvalidInput, match="not made for a rollback"):
            await coordinator.rollback(forward)
        await coordinator.replace(forward, bundle("new"))
        back = await coordinator.plan_rollback()
        with pytest.raises(InvalidInput, match="another bundle"):
            await coordinator.replace(back, bundle("old"))


async def test_a_coordinator_that_dies_leaves_what_recover_can_finish_without_knowing_of_generations():
    cluster = FakeCluster()
    await replaced(cluster, "new")
    cluster.die_after(3 * 4)  # acquire, prepare, stop, swap on three nodes
    await until_death(cluster, rolled_back(cluster))
    cluster.bring_back()

    async with cluster.coordinator() as coordinator:
        result = await coordinator.recover(Choice.FINISH, take_over=True)

    assert result.verdict is Verdict.COMMITTED
    assert live(cluster) == {bundle("old").digest}


async def test_the_history_tells_that_it_was_a_rollback_and_to_what(tmp_path):
    path = tmp_path / "state" / "prod.db"
    cluster = FakeCluster()
    first = await replaced(cluster, "new")
    async with cluster.coordinator(recorder=History(lambda: path)) as coordinator:
        result = await coordinator.rollback(await coordinator.plan_rollback())

    (account,) = history_reader.transaction(path, "prod", result.transaction_id)

    assert (account.run.kind, account.run.verdict) == ("rollback", "committed")
    assert account.run.generation == first
    assert account.run.bundle_digest == bundle("old").digest
    assert account.run.new_server == sha(bundle("old").pem["server.crt"])


def test_nodes_with_the_same_generations_are_named_together_with_the_date():
    cluster = FakeCluster()
    then = datetime(2026, 11, 1, 8, 30, tzinfo=UTC)
    reports = {name: agent.report() for name, agent in cluster.agents.items()}
    kept = (RetiredSet("tx-00000002", "", "", then), RetiredSet("tx-00000001", "", ""))
    reports |= {name: replace(reports[name], retired=kept) for name in ("node-a", "node-b")}

    said = generations.listed(reports)

    assert said == "node-a, node-b: tx-00000002 (2026-11-01 08:30 UTC), tx-00000001; node-c: none"
    assert generations.newest_common({}) == ""


async def test_an_agent_that_knows_nothing_of_generations_is_named():
    cluster = FakeCluster()
    await replaced(cluster, "new")
    old_agent = NodeRefusal(Reason.NODE_UNFIT, "knows nothing of generations", node="node-b")
    cluster.script("node-b", "judge", old_agent)

    plan = await planned(cluster)

    assert plan.unreachable == (old_agent,)
    assert not plan.feasible
