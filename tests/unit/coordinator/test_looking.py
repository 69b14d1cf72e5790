"""One look: reports and probes at once, so that one that hangs does not keep others from being named."""

from __future__ import annotations

import asyncio

import pytest
from gausscert_common.errors import NodeFailure, Reason
from gausscert_common.protocol.words import RestartScope
from gausscert_coordinator.hands import PROBE_TIMEOUT_S, QUICK_PROBE_S, Hands
from gausscert_coordinator.inventory import Timeouts
from gausscert_coordinator.job import Job
from gausscert_coordinator.proof import Expectation
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
