"""What is wrong with the cm_servers is named while `cm_ctl start` still waits for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from gausscert_common.errors import GausscertError, NodeFailure, Reason, Unreachable
from gausscert_common.model import (
    CmNode,
    CmProcess,
    CmTopology,
    NodeReport,
    ProbeReport,
    Served,
    ServedState,
)
from gausscert_common.protocol.commands import Command
from gausscert_common.protocol.coordinator import Stage, Verdict
from gausscert_common.protocol.words import RestartScope, Step
from gausscert_coordinator import proof, sightings
from gausscert_coordinator.answers import SSL_OFF, Wanted
from gausscert_coordinator.expectation import Expectation
from gausscert_coordinator.ports import RestartOrders
from gausscert_coordinator.report import Mark, Progress, ReplaceOptions, Result
from support.fake_cluster import FakeCluster
from support.fake_node import FakeNode, bundle, sha

NEW, OLD = bundle("new"), bundle("old")
NEW_LEAF, OLD_LEAF = (sha(each.pem["server.crt"]) for each in (NEW, OLD))
NOW = datetime(2025, 1, 1, 12, 0, 0, tzinfo=UTC)
BOTH = Expectation({1: Wanted(frozenset({"new"})), 2: Wanted(frozenset({"new"}))}, forward=True)


def served(number: int, leaf: str = "new") -> Served:
    return Served(number, f"10.0.0.{number}:5000", ServedState.SSL_ON, leaf, chain_verified=True)


def off(number: int) -> Served:
    return Served(number, f"10.0.0.{number}:5000", ServedState.SSL_OFF)


def silent(number: int) -> Served:
    return Served(number, f"10.0.0.{number}:5000", ServedState.UNREACHABLE, cause="connection refused")


def node(number: int, since_s: float | None = None) -> NodeReport:
    born = NOW - timedelta(seconds=since_s or 0)
    runs = () if since_s is None else (CmProcess("cm_server", 100 + number, born),)
    nodes = tuple(CmNode(each, f"host-{each}", f"10.0.0.{each}", 5000) for each in (1, 2))
    return NodeReport("c", f"n{number}", "1", NOW, processes=runs, topology=CmTopology(number, nodes))


def two(first: NodeReport, second: NodeReport) -> dict[str, NodeReport]:
    return {"n1": first, "n2": second}


def alike(*seen: Served) -> dict[str, ProbeReport]:
    return {"n1": ProbeReport(seen), "n2": ProbeReport(seen)}


@pytest.mark.parametrize(
    ("wanted", "seen", "wrongly"),
    [
        ({"new"}, served(2, "old"), True),
        ({"new"}, served(2), False),
        ({"new"}, replace(served(2), chain_verified=False), False),
        ({"new"}, off(2), True),
        ({SSL_OFF}, served(2), True),
        ({SSL_OFF}, off(2), False),
        ({"new"}, silent(2), False),
        (set(), served(2), False),
    ],
)
def test_what_is_answered_wrongly_does_not_get_better_by_waiting(wanted, seen, wrongly):
    expectation = Expectation({2: Wanted(frozenset(wanted))})
    assert bool(sightings.definite(expectation, {"n1": ProbeReport((seen,))})) is wrongly


def test_a_wrong_leaf_is_told_once_of_the_node_that_serves_it():
    reports = two(node(1, 9), node(2, 9))
    (found,) = sightings.while_starting(BOTH, None, reports, alike(served(1), served(2, "old")))
    assert (found.node, found.message) == ("n2", "cm_server 2 at 10.0.0.2:5000 serves old, must serve new")


def test_what_only_some_see_is_told_with_their_names():
    probes = {"n1": ProbeReport((served(1), served(2, "old"))), "n2": ProbeReport((served(1), served(2)))}
    (found,) = sightings.while_starting(BOTH, None, two(node(1, 9), node(2, 9)), probes)
    assert (found.node, found.message.endswith("(seen from n1)")) == ("n2", True)


@pytest.mark.parametrize(("since_s", "named"), [(None, False), (1, False), (3, True), (60, True)])
def test_a_cm_server_that_should_listen_by_now_and_does_not_is_named(since_s, named):
    reports = two(node(1, 9), node(2, since_s))
    found = sightings.while_starting(BOTH, None, reports, alike(served(1), silent(2)))
    assert [each.node for each in found] == (["n2"] if named else [])
    assert all("is unreachable: connection refused; it runs since" in each.message for each in found)


def test_a_process_of_before_is_named_though_it_serves_the_right_certificate():
    reports = two(node(1, 9), node(2, 9))
    before = {"n2": reports["n2"].processes}
    (found,) = sightings.while_starting(BOTH, before, reports, alike(served(1), served(2)))
    assert found.node == "n2"
    assert "was not restarted: cm_server (pid 102)" in found.message


def test_after_a_failed_start_all_that_is_wrong_is_named_and_each_once():
    reports = two(node(1), node(2, 9))
    found = sightings.after_failed_start(BOTH, None, reports, alike(silent(1), served(2, "old")))
    assert [(each.node, each.reason) for each in found] == [
        ("n1", Reason.CM_NOT_STARTED),
        ("n2", Reason.NOT_PROVEN),
    ]
    assert [sightings.is_silence(each) for each in found] == [True, False]


def test_one_that_need_not_serve_must_not_serve_another_set():
    expectation = Expectation({1: Wanted(frozenset({"new"}))}, spared={2: Wanted(frozenset({"new"}))})
    for seen, wrong in ((silent(2), 0), (served(2), 0), (served(2, "old"), 1)):
        assert len(proof.objections(expectation, {"n1": ProbeReport((served(1), seen))})) == wrong


def restarted_again_and_again(agent_s: float, server_s: float | None) -> NodeReport:
    report = node(2, server_s)
    born = NOW - timedelta(seconds=agent_s)
    return replace(report, processes=(*report.processes, CmProcess("cm_agent", 90, born)))


@pytest.mark.parametrize("server_s", [None, 0, 2])
@pytest.mark.parametrize(("agent_s", "named"), [(3, False), (4, True), (60, True)])
def test_a_cm_server_that_exits_and_is_started_anew_is_named_by_the_age_of_its_cm_agent(
    agent_s, server_s, named
):
    reports = two(node(1, 9), restarted_again_and_again(agent_s, server_s))
    seen = alike(served(1), silent(2))
    found = sightings.not_up_yet(BOTH, reports, seen, {1})
    assert [each.node for each in found] == (["n2"] if named else [])
    assert all("has not been seen to serve" in each.message for each in found)
    assert sightings.while_starting(BOTH, None, reports, seen) == [], "it is not definite"


def test_one_that_has_served_or_is_old_enough_or_need_not_serve_is_not_named_so():
    reports, seen = two(node(1, 9), restarted_again_and_again(60, 1)), alike(served(1), silent(2))
    assert sightings.not_up_yet(BOTH, reports, seen, {1, 2}) == []
    assert sightings.not_up_yet(BOTH, reports, {"n1": seen["n1"]}, {1}) == []
    assert sightings.not_up_yet(Expectation({1: BOTH.servers[1]}), reports, seen, {1}) == []
    old = two(node(1, 9), restarted_again_and_again(60, 5))
    assert sightings.not_up_yet(BOTH, old, seen, {1}) == []


def test_what_is_seen_to_speak_is_remembered_and_what_differs_in_its_start_is_the_same():
    assert sightings.speaking(alike(served(1), silent(2), off(3))) == {1, 3}
    found = [
        sightings.while_starting(BOTH, None, two(node(1, 9), node(2, age)), alike(served(1), silent(2)))[0]
        for age in (4, 5)
    ]
    assert found[0].message != found[1].message
    assert sightings.gist(found[0]) == sightings.gist(found[1])


# A start that waits in vain


async def run(
    cluster: FakeCluster,
    told: list[Progress],
    ends: GausscertError,
    spoil: Callable[[FakeNode], None],
    scope: RestartScope = RestartScope.CLUSTER,
) -> Result:
    """node-b is spoilt as CM starts; cm_ctl waits 300 s for it, and then says no more than `ends`."""
    cluster.now_s = 3600.0
    cluster.nodes["node-b"].never_restarted = spoil is never_restarted
    spoilt: list[str] = []
    agent = cluster.agents["node-a"]
    started = agent.start

    async def start(command: Command, orders: RestartOrders) -> None:
        await started(command, orders)
        if command.step is not Step.START:
            return
        for seconds in (*(1,) * 20, *(10,) * 28):
            await cluster.sleep(seconds)
        raise ends

    def on_command(rpc: str, name: str) -> None:
        if rpc == "start" and not spoilt:
            spoil(cluster.nodes["node-b"])
            spoilt.append(rpc)
        if rpc == "rollback_start":
            mended = cluster.nodes["node-b"]
            mended.stale, mended.deaf, mended.never_restarted = None, False, False

    agent.start = start
    cluster.on_command = on_command
    async with cluster.coordinator() as coordinator:
        plan = await coordinator.plan(NEW, ReplaceOptions(restart=scope))
        return await coordinator.replace(plan, NEW, watch=told.append)


def stale(each: FakeNode) -> None:
    each.stale = each.stage if each.stage is not None else each.live


def deaf(each: FakeNode) -> None:
    each.deaf = True


def never_restarted(each: FakeNode) -> None:
    each.never_restarted = True


FAILED = NodeFailure(Reason.CM_NOT_STARTED, "start cluster failed in (300)s!", node="node-a")
LATE = Unreachable(Reason.DEADLINE, "no answer within 310 s", node="node-a")
WRONG = f"cm_server 2 at 10.0.0.2:5000 serves {OLD_LEAF[:16]}, must serve {NEW_LEAF[:16]}"
CASES = [
    (stale, WRONG),
    (deaf, "cm_server 2 at 10.0.0.2:5000 is unreachable: connection refused; it runs since"),
    (never_restarted, "was not restarted: cm_server (pid 200)"),
]


@pytest.mark.parametrize("scope", [RestartScope.CLUSTER, RestartScope.NODE])
@pytest.mark.parametrize("ends", [FAILED, LATE])
@pytest.mark.parametrize(("spoil", "said"), CASES)
async def test_what_cm_ctl_waits_for_in_vain_is_named_within_seconds_and_in_the_result(
    spoil, said, ends, scope
):
    cluster, told = FakeCluster(), []

    result = await run(cluster, told, ends, spoil, scope)

    starting = [each for each in told if each.stage is Stage.START]
    named = [each for each in starting if each.mark is Mark.NOTE and said in each.detail]
    assert [each.node for each in named] == ["node-b"], "once, and of the node that it is about"
    assert named[0].at_s - starting[0].at_s < 5
    assert (result.verdict, result.last_stage) == (Verdict.ROLLED_BACK, Stage.START)
    assert "node-b" in {each.node for each in result.failures if said in each.message}


async def test_a_start_without_an_answer_does_not_blame_what_was_never_started():
    cluster, told = FakeCluster(), []
    cluster.script("node-b", "start", Unreachable(Reason.DEADLINE, "no answer", node="node-b"))

    async with cluster.coordinator() as coordinator:
        plan = await coordinator.plan(NEW, ReplaceOptions())
        result = await coordinator.replace(plan, NEW, watch=told.append)

    assert [each.node for each in result.failures] == ["node-b"]


async def test_a_start_that_succeeds_on_a_wrong_leaf_is_turned_back_after_two_looks():
    """It cannot get better; what waiting brings is a longer outage."""
    cluster = FakeCluster()

    def on_command(rpc: str, _: str) -> None:
        if rpc == "start":
            stale(cluster.nodes["node-b"])
        if rpc == "rollback_start":
            cluster.nodes["node-b"].stale = None

    cluster.on_command = on_command
    async with cluster.coordinator() as coordinator:
        plan = await coordinator.plan(NEW, ReplaceOptions())
        result = await coordinator.replace(plan, NEW)

    assert (result.verdict, result.last_stage) == (Verdict.ROLLED_BACK, Stage.VERIFY)
    assert all(WRONG in each.message for each in result.failures)
    assert result.duration_s < 5 < cluster.timeouts.verify_s


async def test_one_look_at_a_wrong_leaf_is_not_enough_to_turn_back():
    cluster = FakeCluster()
    normal = cluster.sleep

    def on_command(rpc: str, _: str) -> None:
        if rpc == "start":
            stale(cluster.nodes["node-b"])

    async def sleep(seconds: float) -> None:
        await normal(seconds)
        cluster.nodes["node-b"].stale = None

    cluster.on_command, cluster.sleep = on_command, sleep
    async with cluster.coordinator() as coordinator:
        plan = await coordinator.plan(NEW, ReplaceOptions())
        result = await coordinator.replace(plan, NEW)

    assert result.verdict is Verdict.COMMITTED
