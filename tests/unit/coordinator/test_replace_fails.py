"""One command fails at one node, in every way: the verdict, and that all nodes are as before."""

from __future__ import annotations

import itertools

import pytest
from gausscert_common.errors import InDoubt, NodeFailure, Reason
from gausscert_common.protocol.coordinator import Stage, Verdict
from gausscert_common.protocol.words import Outcome, Phase, RestartScope
from gausscert_coordinator.exit_codes import ExitCode, exit_code
from gausscert_coordinator.report import Progress, ReplaceOptions, Result
from support.fake_agents import Fault
from support.fake_cluster import ALWAYS, FakeCluster
from support.fake_node import bundle

NEW = bundle("new")
NODES = ("node-a", "node-b", "node-c")
BEFORE_CM = ("prepare",)
WITH_CM = ("stop", "swap", "start")
DECIDED = ("commit", "purge")
ONCE = [Fault.REFUSED, Fault.FAILED, Fault.LOST_REQUEST, Fault.LOST_REPLY, Fault.CRASH]
SCOPES = [RestartScope.CLUSTER, RestartScope.NODE]


async def run(cluster: FakeCluster, restart: RestartScope = RestartScope.CLUSTER) -> Result:
    async with cluster.coordinator() as coordinator:
        plan = await coordinator.plan(NEW, ReplaceOptions(restart=restart))
        assert plan.feasible
        return await coordinator.replace(plan, NEW)


@pytest.mark.parametrize(
    ("rpc", "node", "fault", "restart"),
    list(itertools.product(("acquire", *BEFORE_CM), NODES, ONCE, SCOPES)),
)
async def test_before_cm_is_touched_nothing_is_done(rpc, node, fault, restart):
    cluster = FakeCluster()
    before = cluster.snapshot()
    cluster.script(node, rpc, fault)

    result = await run(cluster, restart)

    assert result.verdict is Verdict.NOTHING_DONE
    assert [error.node for error in result.failures] == [node]
    assert cluster.snapshot() == before
    assert not {"stop", "rollback_stop", "rollback_start"} & {rpc for rpc, _ in cluster.calls}
    assert exit_code(result) in (ExitCode.REFUSED, ExitCode.UNREACHABLE)


@pytest.mark.parametrize(
    ("rpc", "node", "fault", "restart"), list(itertools.product(WITH_CM, NODES, ONCE, SCOPES))
)
async def test_with_cm_stopped_everything_is_as_before_and_runs_again(rpc, node, fault, restart):
    cluster = FakeCluster()
    before = cluster.snapshot()
    cluster.script(node, rpc, fault)

    result = await run(cluster, restart)

    assert result.verdict is Verdict.ROLLED_BACK
    assert exit_code(result) is ExitCode.ROLLED_BACK
    assert result.last_stage is Stage(rpc)
    assert {error.node for error in result.failures} == {node}
    assert cluster.snapshot() == before
    assert all(node.loaded == node.live for node in cluster.nodes.values())
    for agent in cluster.agents.values():
        assert agent.state.outcome_of(result.transaction_id) is Outcome.ABORTED
        assert agent.lease_holder == ""
    assert {proof.served.chain_verified for proof in result.proof} == {True}


@pytest.mark.parametrize(("rpc", "node", "fault"), list(itertools.product(DECIDED, NODES, ONCE)))
async def test_after_commit_nothing_is_ever_rolled_back(rpc, node, fault):
    cluster = FakeCluster()
    cluster.script(node, rpc, fault)

    result = await run(cluster)

    assert result.verdict is Verdict.IN_DOUBT
    assert exit_code(result) is ExitCode.IN_DOUBT
    assert result.last_stage is Stage(rpc)
    assert not {"abort", "rollback_stop"} & {rpc for rpc, _ in cluster.calls}
    assert all(each.live.bundle_digest == NEW.digest for each in cluster.nodes.values())
    assert isinstance(result.failures[-1], InDoubt)
    assert node in result.failures[-1].remedy
    assert result.failures[-1].remedy.endswith("gausscert recover")


@pytest.mark.parametrize(
    ("rpc", "node", "fault"),
    list(
        itertools.product(
            ("rollback_stop", "abort", "rollback_start", "clean"),
            NODES,
            [Fault.FAILED, Fault.LOST_REQUEST, Fault.LOST_REPLY, Fault.CRASH],
        )
    ),
)
async def test_a_rollback_that_misses_a_node_is_in_doubt_and_says_what_to_run(rpc, node, fault):
    cluster = FakeCluster()
    cluster.script("node-b", "start", Fault.FAILED)
    cluster.script(node, rpc, fault, times=ALWAYS)

    result = await run(cluster)

    assert result.verdict is Verdict.IN_DOUBT
    assert result.last_stage.replace(" ", "_") == rpc
    assert result.failures[-1].remedy.endswith("gausscert recover --roll-back")
    assert node in result.failures[-1].remedy
    assert "commit" not in {rpc for rpc, _ in cluster.calls}


@pytest.mark.parametrize("node", NODES)
async def test_abort_and_clean_after_a_failed_acquire_are_only_a_courtesy(node):
    cluster = FakeCluster()
    before = cluster.snapshot()
    others = [name for name in NODES if name != node]
    cluster.script(node, "acquire", Fault.REFUSED)
    for rpc in ("abort", "clean"):
        cluster.script(others[0], rpc, Fault.LOST_REQUEST)

    result = await run(cluster)

    assert result.verdict is Verdict.NOTHING_DONE
    assert [error.node for error in result.failures] == [node]
    assert cluster.snapshot() == before


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("scope", SCOPES)
async def test_cm_that_does_not_stop_is_left_running_with_the_old_set(node, scope):
    cluster = FakeCluster()
    before = cluster.snapshot()
    cluster.nodes[node].refuses_to_stop = True

    result = await run(cluster, scope)

    assert result.verdict is Verdict.ROLLED_BACK
    assert result.last_stage is Stage.STOP
    assert cluster.snapshot() == before


async def test_a_lease_that_ran_out_before_the_vote_keeps_nobody_from_going_on():
    """It only keeps others away: nothing aborts by itself, and nobody else has come."""
    cluster = FakeCluster()
    expired = []

    def expire(rpc: str, node: str) -> None:
        if rpc == "swap" and not expired:
            expired.append(True)
            cluster.expire_leases()

    cluster.on_command = expire

    result = await run(cluster)

    assert expired
    assert result.verdict is Verdict.COMMITTED


@pytest.mark.parametrize("rpc", ["prepare", "stop", "swap", "start"])
async def test_all_failures_are_told_not_only_the_first(rpc):
    cluster = FakeCluster()
    for node in ("node-b", "node-c"):
        cluster.script(node, rpc, Fault.REFUSED)

    result = await run(cluster)

    assert {error.node for error in result.failures} == {"node-b", "node-c"}
    assert all(agent.state.phase is Phase.NONE for agent in cluster.agents.values())


@pytest.mark.parametrize("reason", [Reason.CM_NOT_STARTED, Reason.CM_CTL_TIMEOUT])
async def test_what_cm_ctl_says_of_the_start_in_a_rollback_is_left_to_the_proof(reason):
    """cm_ctl's own timeout may be too short for a cluster that comes up all the same."""
    cluster = FakeCluster()
    before = cluster.snapshot()
    cluster.script("node-a", "start", Fault.FAILED)
    cluster.script(
        "node-b", "rollback_start", NodeFailure(reason, "start node failed in (8)s!", node="node-b")
    )

    def start_late(progress: Progress) -> None:
        if progress.stage is Stage.ROLLBACK_VERIFY:
            cluster.nodes["node-b"].start()

    async with cluster.coordinator() as coordinator:
        plan = await coordinator.plan(NEW, ReplaceOptions(restart=RestartScope.NODE))
        result = await coordinator.replace(plan, NEW, watch=start_late)

    assert result.verdict is Verdict.ROLLED_BACK
    assert (reason, "node-b") in {(finding.code, finding.node) for finding in result.findings}
    assert cluster.snapshot() == before


async def test_a_start_in_a_rollback_that_really_failed_is_in_doubt():
    cluster = FakeCluster()
    cluster.script("node-a", "start", Fault.FAILED)
    failure = NodeFailure(Reason.CM_NOT_STARTED, "start node failed in (8)s!", node="node-b")
    cluster.script("node-b", "rollback_start", failure, times=ALWAYS)

    result = await run(cluster, RestartScope.NODE)

    assert (result.verdict, result.last_stage) == (Verdict.IN_DOUBT, Stage.ROLLBACK_VERIFY)
    assert "clean" not in {rpc for rpc, _ in cluster.calls}


async def test_a_cm_server_that_no_stop_has_reached_yet_does_not_prove_that_cm_was_started_again():
    """It serves the old set as wanted, and ends once it obeys the file that the start has left there."""
    cluster = FakeCluster()
    stubborn = cluster.nodes["node-b"]
    stubborn.refuses_to_stop = True

    def on_command(rpc: str, node: str) -> None:
        if (rpc, node) == ("stop", "node-b"):
            stubborn.manual_stop = True

    cluster.on_command = on_command
    failure = NodeFailure(Reason.CM_NOT_STARTED, "start node failed in (8)s!", node="node-b")
    cluster.script("node-b", "rollback_start", failure)

    result = await run(cluster, RestartScope.NODE)

    assert (result.verdict, result.last_stage) == (Verdict.IN_DOUBT, Stage.ROLLBACK_VERIFY)
    assert [
        (each.node, each.reason) for each in result.failures if "cluster_manual_start" in each.message
    ] == [("node-b", Reason.NOT_PROVEN)]
    async with cluster.coordinator() as coordinator:
        recovered = await coordinator.recover(take_over=True)
    assert recovered.verdict is Verdict.ROLLED_BACK
    assert not stubborn.manual_stop


async def test_a_start_of_the_whole_cluster_that_fails_names_the_node_whose_cm_server_does_not_serve():
    cluster = FakeCluster()
    failure = NodeFailure(Reason.CM_NOT_STARTED, "start cluster failed in (8)s!", node="node-a")
    cluster.script("node-a", "start", failure)
    cluster.nodes["node-c"].deaf = True

    result = await run(cluster)

    assert {"node-a", "node-c"} <= {error.node for error in result.failures}
    assert len(result.failures) == len({(error.reason, str(error)) for error in result.failures})
