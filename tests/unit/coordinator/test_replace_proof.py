"""What is served decides, not what lies on disk: verify failures and the proof of a rollback."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from gausscert_common.errors import Reason
from gausscert_common.findings import Finding, Severity
from gausscert_common.model import (
    CertificateSet,
    ClusterState,
    CmTopology,
    ProbeReport,
    Served,
    ServedState,
)
from gausscert_common.protocol.coordinator import Stage, Verdict
from gausscert_common.protocol.words import RestartScope, SslWish
from gausscert_coordinator import baseline, expectation, objections, proof
from gausscert_coordinator.exit_codes import ExitCode, exit_code
from gausscert_coordinator.job import Replacement
from gausscert_coordinator.report import Mark, Progress, ReplaceOptions, Result
from support.fake_agents import Fault
from support.fake_cluster import ALWAYS, FakeCluster
from support.fake_node import FakeNode, bundle, sha

NEW, OLD = bundle("new"), bundle("old")
NEW_LEAF, OLD_LEAF = (sha(each.pem["server.crt"]) for each in (NEW, OLD))


async def run(cluster: FakeCluster, told: list[Progress] | None = None) -> Result:
    watch = [] if told is None else told
    async with cluster.coordinator() as coordinator:
        plan = await coordinator.plan(NEW, ReplaceOptions(restart=RestartScope.NODE))
        assert plan.feasible
        return await coordinator.replace(plan, NEW, watch=watch.append)


def at_first_start(cluster: FakeCluster, spoil: Callable[[FakeNode], None], node: str = "node-b") -> None:
    """Spoil the machine when it is started with the new set; the rollback mends it again."""

    def on_command(rpc: str, name: str) -> None:
        if (rpc, name) == ("start", node):
            spoil(cluster.nodes[node])
        if (rpc, name) == ("rollback_start", node):
            each = cluster.nodes[node]
            each.stale, each.deaf, each.broken_chain = None, False, False

    cluster.on_command = on_command


def stale(node: FakeNode) -> None:
    node.stale = node.stage


def deaf(node: FakeNode) -> None:
    node.deaf = True


def broken_chain(node: FakeNode) -> None:
    node.broken_chain = True


async def test_a_query_that_takes_its_time_is_waited_for():
    cluster = FakeCluster()
    for node in cluster.nodes.values():
        node.query_takes_s = 10.0

    result = await run(cluster)

    assert result.verdict is Verdict.COMMITTED


async def test_a_query_that_hangs_turns_the_transaction_back():
    cluster = FakeCluster()

    def on_command(rpc: str, name: str) -> None:
        hung = {"start": 91.0, "rollback_start": 0.0}.get(rpc)
        if hung is not None:
            cluster.nodes[name].query_takes_s = hung

    cluster.on_command = on_command

    result = await run(cluster)

    assert result.verdict is Verdict.ROLLED_BACK
    assert "did not end within" in str(result.failures)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (stale, f"cm_server 2 at 10.0.0.2:5000 serves {OLD_LEAF[:16]}, must serve {NEW_LEAF[:16]}"),
        (deaf, "cm_server 2 at 10.0.0.2:5000 is unreachable: connection refused"),
        (broken_chain, "its chain does not verify: unable to get local issuer certificate"),
    ],
)
async def test_one_cm_server_that_is_wrong_turns_all_back_and_is_named_by_every_viewer(spoil, said):
    cluster = FakeCluster()
    before = cluster.snapshot()
    at_first_start(cluster, spoil)

    result = await run(cluster)

    assert result.verdict is Verdict.ROLLED_BACK
    assert result.last_stage is Stage.VERIFY
    assert {error.reason for error in result.failures} == {Reason.NOT_PROVEN}
    assert {error.node for error in result.failures} == set(cluster.names)
    assert all(said in error.message for error in result.failures)
    assert cluster.snapshot() == before
    assert {proof.served.fingerprint for proof in result.proof} == {OLD_LEAF}


async def test_a_cluster_that_needs_time_is_given_it():
    cluster, told = FakeCluster(), []
    at_first_start(cluster, deaf)
    cluster.script("node-b", "probe", Fault.SLOW)

    async def sleep(seconds: float) -> None:
        cluster.now_s += seconds
        if cluster.now_s > 30:
            cluster.nodes["node-b"].deaf = False

    cluster.sleep = sleep
    result = await run(cluster, told)

    assert result.verdict is Verdict.COMMITTED
    assert 30 < result.duration_s < 40
    waiting = [each.detail for each in told if each.stage is Stage.VERIFY and each.mark is Mark.NOTE]
    assert len(waiting) == 1
    assert "connection refused" in waiting[0]


async def test_the_deadline_of_the_proof_is_kept():
    cluster = FakeCluster()
    at_first_start(cluster, deaf)

    result = await run(cluster)

    assert cluster.timeouts.verify_s <= result.duration_s <= cluster.timeouts.verify_s + 2


async def test_ssl_that_went_off_by_itself_is_no_proof():
    cluster = FakeCluster()
    before = cluster.snapshot()

    def loses_ssl(rpc: str, node: str) -> None:
        if node == "node-c" and rpc in ("start", "rollback_start"):
            cluster.nodes["node-c"].ssl_server = rpc == "rollback_start"

    cluster.on_command = loses_ssl
    result = await run(cluster)

    assert result.verdict is Verdict.ROLLED_BACK
    assert result.last_stage is Stage.VERIFY
    assert all("cm_server 3 at 10.0.0.3:5000 has SSL off" in error.message for error in result.failures)
    assert not any(rpc == "commit" for rpc, _ in cluster.calls)
    assert cluster.snapshot() == before


async def test_a_cluster_that_is_not_normal_afterwards_is_turned_back():
    cluster = FakeCluster()
    before = cluster.snapshot()
    real = cluster.state_seen_by

    def seen_by(node: FakeNode):
        return ClusterState("Degraded") if node.live.bundle_digest == NEW.digest else real(node)

    cluster.state_seen_by = seen_by
    result = await run(cluster)

    assert result.verdict is Verdict.ROLLED_BACK
    assert result.last_stage is Stage.VERIFY
    assert all("says Degraded, not Normal" in error.message for error in result.failures)
    assert cluster.snapshot() == before


async def test_an_agent_that_cannot_look_afterwards_turns_back():
    cluster = FakeCluster()
    before = cluster.snapshot()

    def on_command(rpc: str, node: str) -> None:
        if (rpc, node) == ("start", "node-c"):
            cluster.script("node-c", "probe", Fault.LOST_REQUEST, times=ALWAYS)
        if (rpc, node) == ("rollback_start", "node-c"):
            cluster.bring_back()

    cluster.on_command = on_command
    result = await run(cluster)

    assert result.verdict is Verdict.ROLLED_BACK
    assert result.last_stage is Stage.VERIFY
    assert {error.node for error in result.failures} == {"node-c"}
    assert cluster.snapshot() == before


async def test_no_outage_begins_when_the_cluster_cannot_be_looked_at():
    cluster = FakeCluster()
    before = cluster.snapshot()

    def on_command(rpc: str, node: str) -> None:
        if (rpc, node) == ("prepare", "node-c"):
            cluster.script("node-c", "probe", Fault.LOST_REQUEST, times=ALWAYS)

    cluster.on_command = on_command
    result = await run(cluster)

    assert result.verdict is Verdict.NOTHING_DONE
    assert cluster.snapshot() == before
    assert not any(rpc == "stop" for rpc, _ in cluster.calls)


async def test_a_rollback_that_is_not_served_is_in_doubt():
    cluster = FakeCluster()
    cluster.script("node-b", "start", Fault.FAILED)

    def on_command(rpc: str, node: str) -> None:
        if (rpc, node) == ("rollback_start", "node-c"):
            cluster.nodes["node-c"].deaf = True

    cluster.on_command = on_command
    result = await run(cluster)

    assert result.verdict is Verdict.IN_DOUBT
    assert result.last_stage is Stage.ROLLBACK_VERIFY
    assert any("cm_server 3" in error.message for error in result.failures)


@pytest.mark.parametrize("flaw", ["deaf", "broken_chain"])
async def test_what_was_broken_before_does_not_hold_a_rollback_up(flaw):
    cluster = FakeCluster()
    setattr(cluster.nodes["node-c"], flaw, True)
    cluster.script("node-b", "start", Fault.FAILED)

    result = await run(cluster)

    assert result.verdict is Verdict.ROLLED_BACK


async def test_a_server_that_ran_with_another_certificate_than_its_disk_may_serve_its_disk_after_a_rollback():
    cluster = FakeCluster()
    drifted = cluster.nodes["node-c"]
    drifted.stale = drifted.build_stage(bundle("older"))
    drifted.stage = None
    at_first_start(cluster, lambda node: setattr(node, "stale", None), "node-c")
    cluster.script("node-b", "start", Fault.FAILED)

    result = await run(cluster)

    assert result.verdict is Verdict.ROLLED_BACK


async def test_a_node_that_cannot_say_what_it_should_serve_is_no_proof():
    cluster = FakeCluster()
    before = cluster.snapshot()

    def on_command(rpc: str, node: str) -> None:
        if (rpc, node) == ("start", "node-c"):
            cluster.script("node-c", "get_node", Fault.LOST_REQUEST)

    cluster.on_command = on_command
    result = await run(cluster)

    assert result.verdict is Verdict.ROLLED_BACK
    assert result.last_stage is Stage.VERIFY
    assert [error.node for error in result.failures] == ["node-c"]
    assert cluster.snapshot() == before


async def test_cm_is_asked_for_its_state_only_once_every_handshake_is_right():
    """cm_ctl may hang for 91 s on a connection that is refused (facts section 17)."""
    cluster = FakeCluster()
    at_first_start(cluster, deaf)
    asked_while_deaf = []
    real = cluster.state_seen_by

    def seen_by(node: FakeNode) -> ClusterState:
        asked_while_deaf.append(cluster.nodes["node-b"].deaf)
        return real(node)

    cluster.state_seen_by = seen_by
    await run(cluster)

    assert asked_while_deaf
    assert not any(asked_while_deaf)


async def test_a_node_that_staged_another_certificate_is_found_before_cm_is_stopped():
    cluster = FakeCluster()
    before = cluster.snapshot()
    node = cluster.nodes["node-b"]
    real = node.build_stage
    node.build_stage = lambda _: real(bundle("mistaken"))

    result = await run(cluster)

    assert result.verdict is Verdict.NOTHING_DONE
    assert [(error.node, error.reason) for error in result.failures] == [("node-b", Reason.STORE_FAILED)]
    assert cluster.snapshot() == before
    assert not any(rpc == "stop" for rpc, _ in cluster.calls)


async def plan_then(cluster: FakeCluster, happens: Callable[[], None]) -> Result:
    """Something happens while the operator looks at the plan."""
    async with cluster.coordinator() as coordinator:
        plan = await coordinator.plan(NEW, ReplaceOptions(restart=RestartScope.CLUSTER))
        assert plan.feasible
        happens()
        return await coordinator.replace(plan, NEW)


async def test_a_cluster_that_is_no_longer_normal_is_not_stopped(monkeypatch):
    cluster = FakeCluster()
    before = cluster.snapshot()

    def degrade() -> None:
        monkeypatch.setattr(cluster, "state_seen_by", lambda prober: ClusterState("Degraded"))

    result = await plan_then(cluster, degrade)

    assert result.verdict is Verdict.NOTHING_DONE
    assert {error.reason for error in result.failures} == {Reason.NODE_UNFIT}
    assert exit_code(result) is ExitCode.REFUSED
    assert cluster.snapshot() == before


async def test_a_node_that_somebody_has_stopped_since_the_plan_is_not_started_again():
    cluster = FakeCluster()

    result = await plan_then(cluster, cluster.nodes["node-b"].stop)

    assert result.verdict is Verdict.NOTHING_DONE
    assert [(error.node, error.reason) for error in result.failures] == [("node-b", Reason.NODE_UNFIT)]
    assert not cluster.nodes["node-b"].running


STEERED = [("paused", "has paused CM"), ("upgrading", "an upgrade has begun"), ("manual_stop", "stopped CM")]


@pytest.mark.parametrize(("how", "said"), STEERED)
@pytest.mark.parametrize("at", ["acquire", "prepare"])
async def test_a_cluster_that_somebody_steers_since_the_plan_is_not_stopped(how, said, at):
    """Also one of which somebody has paused or upgraded CM while the set was staged."""
    cluster = FakeCluster()

    def on_command(rpc: str, node: str) -> None:
        if (rpc, node) == (at, "node-b"):
            setattr(cluster.nodes["node-b"], how, True)

    cluster.on_command = on_command
    result = await plan_then(cluster, lambda: None)

    assert result.verdict is Verdict.NOTHING_DONE
    assert [(error.node, error.reason) for error in result.failures] == [("node-b", Reason.NODE_UNFIT)]
    assert said in result.failures[0].message
    assert exit_code(result) is ExitCode.REFUSED
    assert not any(rpc == "stop" for rpc, _ in cluster.calls)


@pytest.mark.parametrize(("how", "code"), [("paused", "NODE_PAUSED"), ("upgrading", "NODE_UPGRADING")])
async def test_what_was_accepted_of_a_node_is_no_news_there_and_news_elsewhere(how, code):
    cluster = FakeCluster()
    for each in cluster.nodes.values():
        setattr(each, how, True)
    async with cluster.coordinator() as coordinator:
        status = await coordinator.status()
    reports = {each.node: each.report for each in status.nodes}
    accepted = (Finding(code, Severity.WARNING, "accepted (--accept-state): so it is", node="node-a"),)
    replacement = Replacement(NEW, NEW.digest, SslWish.KEEP, False, {}, NEW_LEAF, accepted=accepted)

    found = objections.interfered(reports, replacement, stopped_is_fine=False)

    assert [each.node for each in found] == ["node-b", "node-c"]


async def test_a_rollback_after_which_nothing_serves_is_in_doubt_whatever_query_said_before():
    """The baseline counts by what was served, not by one word of cm_ctl."""
    before = baseline.Baseline({1: Served(1, "10.0.0.1:5000", ServedState.SSL_ON, fingerprint=OLD_LEAF)})

    assert before.sound
    assert not baseline.Baseline({}, normal=frozenset({"node-a"})).sound


async def test_with_ssl_wished_on_a_cm_server_of_unknown_leaf_is_not_proven_by_ssl_off():
    cluster = FakeCluster()
    async with cluster.coordinator() as coordinator:
        status = await coordinator.status()
    reports = {each.node: each.report for each in status.nodes}
    nameless = replace(reports["node-b"], topology=CmTopology(), live=CertificateSet())
    expected = expectation.new_set({**reports, "node-b": nameless}, "", None, SslWish.ON)
    off = tuple(Served(number, f"10.0.0.{number}:5000", ServedState.SSL_OFF) for number in (1, 2, 3))

    found = proof.objections(expected, {name: ProbeReport(off) for name in reports})

    assert len(found) == 9
    assert all("has SSL off" in failure.message for failure in found)


async def test_seeing_no_cm_server_at_all_proves_nothing():
    reports = {}
    expected = expectation.new_set(reports, "", None)

    assert [failure.node for failure in proof.objections(expected, {"node-a": ProbeReport()})] == ["node-a"]


async def test_what_query_said_of_the_new_set_is_not_told_of_a_rollback_in_which_it_was_not_asked():
    cluster = FakeCluster()
    cluster.state_seen_by = lambda prober: ClusterState(
        "Unavailable" if prober.live.bundle_digest == NEW.digest else "Normal"
    )

    def on_command(rpc: str, name: str) -> None:
        if (rpc, name) == ("rollback_start", "node-b"):
            deaf(cluster.nodes["node-b"])

    cluster.on_command = on_command

    result = await run(cluster)

    assert (result.verdict, result.last_stage) == (Verdict.IN_DOUBT, Stage.ROLLBACK_VERIFY)
    assert result.cluster_state is None
