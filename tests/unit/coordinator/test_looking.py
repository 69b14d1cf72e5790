"""One look: reports and probes at once, so that one that hangs does not keep others from being named."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from gausscert_common.errors import NodeFailure, Reason, Unreachable
from gausscert_common.model import CmNode, CmProcess, CmTopology, NodeReport, ProbeReport, Served, ServedState
from gausscert_common.protocol.words import RestartScope
from gausscert_coordinator.answers import Wanted
from gausscert_coordinator.expectation import Expectation
from gausscert_coordinator.hands import GLANCE_S, PROBE_TIMEOUT_S, QUICK_PROBE_S, Hands
from gausscert_coordinator.inventory import Timeouts
from gausscert_coordinator.job import Job
from gausscert_coordinator.ports import RetryNotice
from gausscert_coordinator.report import Mark, Progress
from gausscert_coordinator.reporter import Reporter
from gausscert_coordinator.start_watch import EVERY_S, StartWatch
from support.fake_cluster import FakeCluster


class Client:
    """An agent of which each question is answered only once the other was asked, too."""

    name = "n1"

    def __init__(self) -> None:
        self.asked = {"report": asyncio.Event(), "probe": asyncio.Event()}
        self.timeouts: list[float] = []

    async def get_node(self) -> str:
        self.asked["report"].set()
        await self.asked["probe"].wait()
        return "report"

    async def probe(self, *, query: bool, timeout_s: float) -> str:
        self.timeouts.append(timeout_s)
        self.asked["probe"].set()
        await self.asked["report"].wait()
        return "probe"


def hands(client: object) -> Hands:
    job = Job("t", "me", ("n1",), RestartScope.CLUSTER, Timeouts())
    return Hands(job, {"n1": client}, Reporter(lambda _: None, lambda: 0.0))


async def test_reports_and_probes_are_asked_side_by_side():
    client = Client()
    async with asyncio.timeout(5):
        read, probes = await hands(client).look()
    assert (read.good, probes.good) == ({"n1": "report"}, {"n1": "probe"})


async def test_a_look_that_is_to_name_others_does_not_wait_long_for_one_that_hangs():
    client = Client()
    await hands(client).look()
    await hands(client).probe(query=True)
    assert client.timeouts == [QUICK_PROBE_S, PROBE_TIMEOUT_S]
    assert QUICK_PROBE_S + EVERY_S < 5
    await hands(client).glance()
    assert client.timeouts[-1] < GLANCE_S, "the agent must be able to answer in time though a cm_server hangs"
    assert GLANCE_S + EVERY_S < 5


async def test_the_watch_ends_with_the_start_and_passes_its_answer_on():
    cluster, told = FakeCluster(), []
    watch = StartWatch(hands(Client()), Reporter(told.append, lambda: 0.0), cluster.sleep)
    answer = [NodeFailure(Reason.CM_NOT_STARTED, "no", node="n1")]

    async def start() -> list[NodeFailure]:
        return answer

    assert await watch.during(start(), lambda _: Expectation({}), None) == answer
    assert told == []
    assert len(asyncio.all_tasks()) == 1


async def test_a_watch_that_breaks_does_not_harm_the_start(caplog: pytest.LogCaptureFixture):
    cluster, told = FakeCluster(), list[Progress]()
    watch = StartWatch(hands(Client()), Reporter(told.append, lambda: 0.0), cluster.sleep)

    async def start() -> str:
        for _ in range(5):
            await cluster.sleep(1)
        return "started"

    def broken(_: object) -> Expectation:
        raise ZeroDivisionError

    assert await watch.during(start(), broken, None) == "started"
    assert not [each for each in told if each.mark is Mark.FAILED]
    assert "looking beside the start failed" in caplog.text


class Hanging(Client):
    """An agent that takes calls and does not answer."""

    def __init__(self, name: str, *, report: bool, probe: bool) -> None:
        super().__init__()
        self.name, self._hangs, self.given_up = name, {"report": report, "probe": probe}, 0

    async def _answer(self, what: str) -> str:
        if not self._hangs[what]:
            return what
        try:
            await asyncio.Event().wait()
        finally:
            self.given_up += 1
        raise AssertionError

    async def get_node(self) -> str:
        return await self._answer("report")

    async def probe(self, *, query: bool, timeout_s: float) -> str:
        return await self._answer("probe")


@pytest.mark.parametrize(("report", "probe"), [(True, False), (False, True), (True, True)])
async def test_a_node_that_is_late_is_left_out_of_the_glance_and_no_call_is_left_over(report, probe):
    clients = {"n1": Client(), "n2": Hanging("n2", report=report, probe=probe)}
    job = Job("t", "me", ("n1", "n2"), RestartScope.CLUSTER, Timeouts())
    async with asyncio.timeout(30):
        both = await Hands(job, clients, Reporter(lambda _: None, lambda: 0.0)).glance(0.01)
    for answers, late in zip(both, (report, probe), strict=True):
        assert set(answers.good) == ({"n1"} if late else {"n1", "n2"})
        assert {node: error.reason for node, error in answers.bad.items()} == (
            {"n2": Reason.DEADLINE} if late else {}
        )
    assert clients["n2"].given_up == report + probe
    assert len(asyncio.all_tasks()) == 1


async def test_others_are_named_though_one_agent_hangs_which_is_not_blamed():
    cluster, told, named = FakeCluster(), list[Progress](), asyncio.Event()

    def tell(progress: Progress) -> None:
        told.append(progress)
        named.set()

    cluster.nodes["node-b"].stale = cluster.nodes["node-b"].live
    clients = {**cluster.agents, "node-c": Hanging("node-c", report=True, probe=True)}
    job = Job("t", "me", tuple(clients), RestartScope.CLUSTER, Timeouts())
    reporter = Reporter(tell, lambda: 0.0)
    watch = StartWatch(Hands(job, clients, reporter), reporter, cluster.sleep, patience_s=0.01)
    wrong = Wanted(frozenset({"another"}))

    async with asyncio.timeout(30):
        await watch.during(named.wait(), lambda _: Expectation({2: wrong}), None)

    assert {each.node for each in told} == {"node-b"}


async def test_repetitions_of_a_look_beside_the_start_are_not_those_of_the_start():
    told = list[Progress]()
    reporter = Reporter(told.append, lambda: 0.0)
    looked = asyncio.Event()

    class Repeating(Client):
        async def get_node(self) -> str:
            reporter.retrying(RetryNotice("n1", "GetNode", 1, "connection refused", 0.1))
            looked.set()
            raise Unreachable(Reason.DEADLINE, "gone", node="n1")

    async def start() -> None:
        await looked.wait()
        reporter.retrying(RetryNotice("n1", "Start", 1, "connection refused", 0.1))

    job = Job("t", "me", ("n1",), RestartScope.CLUSTER, Timeouts())
    watch = StartWatch(Hands(job, {"n1": Repeating()}, reporter), reporter, FakeCluster().sleep)
    async with asyncio.timeout(30):
        await watch.during(start(), lambda _: Expectation({}), None)

    (repeated,) = [each for each in told if each.mark is Mark.RETRYING]
    assert repeated.detail.startswith("Start:")


class Crashing(Client):
    """A node whose cm_server exits at once, and is started anew every ten seconds."""

    def __init__(self, cluster: FakeCluster) -> None:
        super().__init__()
        self._cluster, self.looks, self.enough = cluster, 0, asyncio.Event()

    async def get_node(self) -> NodeReport:
        now, begun = self._cluster.now(), self._cluster.now() - timedelta(seconds=self.looks)
        self.looks += 1
        if self.looks == 40:
            self.enough.set()
        processes = [CmProcess("cm_agent", 7, begun)]
        if self.looks % 10 < 4:
            processes.append(
                CmProcess("cm_server", 100 + self.looks // 10, now - timedelta(seconds=self.looks % 10))
            )
        nodes = (CmNode(1, "host-1", "10.0.0.1", 5000),)
        return NodeReport("c", "n1", "1", now, processes=tuple(processes), topology=CmTopology(1, nodes))

    async def probe(self, *, query: bool, timeout_s: float) -> ProbeReport:
        return ProbeReport((Served(1, "10.0.0.1:5000", ServedState.UNREACHABLE, cause="connection refused"),))


async def test_a_cm_server_that_exits_again_and_again_is_named_once():
    cluster, told = FakeCluster(), list[Progress]()
    client = Crashing(cluster)
    reporter = Reporter(told.append, lambda: 0.0)
    job = Job("t", "me", ("n1",), RestartScope.CLUSTER, Timeouts())
    watch = StartWatch(Hands(job, {"n1": client}, reporter), reporter, cluster.sleep)
    async with asyncio.timeout(30):
        await watch.during(client.enough.wait(), lambda _: Expectation({1: Wanted(frozenset({"new"}))}), None)
    notes = [each.detail for each in told if each.mark is Mark.NOTE]
    assert len([each for each in notes if "has not been seen to serve" in each]) == 1
    assert len([each for each in notes if "it runs since" in each]) == 1
    assert len(notes) == 2
