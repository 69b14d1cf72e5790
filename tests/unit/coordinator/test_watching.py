"""What a node does while it carries out a command is relayed, and nothing hangs on it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from gausscert_common.errors import Reason, Unreachable
from gausscert_common.model import WatchEvent
from gausscert_common.protocol.coordinator import Stage
from gausscert_common.protocol.words import Fence, Phase, Step
from gausscert_coordinator.report import Mark
from gausscert_coordinator.reporter import Reporter
from gausscert_coordinator.watching import MOST_RELAYED, PATIENCE_S, Watching

FENCE = Fence(7, Step.START)


def event(text: str, fence: Fence = FENCE) -> WatchEvent:
    return WatchEvent("tx-1", Phase.SWAPPED, fence, text, datetime(2026, 1, 1, tzinfo=UTC))


class Client:
    """One node: tells these events, then ends as it is told, or goes on until somebody hangs up."""

    def __init__(self, name: str, *events: WatchEvent, end: BaseException | None = None) -> None:
        self.name = name
        self._events = events
        self._end = end
        self.told = asyncio.Event()
        self.hung_up = False

    async def watch(self):
        try:
            for one in self._events:
                yield one
            self.told.set()
            if self._end is not None:
                raise self._end
            await asyncio.Event().wait()
        finally:
            self.hung_up = True


class Bench:
    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        self.paused: list[float] = []
        self.reporter = Reporter(self.watch, lambda: 0.0)
        self.reporter.stage = Stage.START

    def watch(self, progress) -> None:
        assert (progress.stage, progress.mark) == (Stage.START, Mark.NOTE)
        self.seen.append((progress.node, progress.detail))

    async def pause(self, seconds: float) -> None:
        self.paused.append(seconds)

    def over(self, client: Client) -> Watching:
        return Watching(client, self.reporter, FENCE, pause=self.pause)


async def told(client: Client) -> None:
    async with asyncio.timeout(10):
        await client.told.wait()


def test_activities_of_this_command_are_relayed_each_once():
    async def run():
        bench = Bench()
        one = Client(
            "n1",
            event("stopping CM", Fence(7, Step.STOP)),
            event("starting CM", Fence(6, Step.START)),
            event(""),
            event("waiting for somebody else's cm_ctl"),
            event("starting CM"),
            event("starting CM"),
        )
        async with bench.over(one):
            await told(one)
            assert not one.hung_up
        assert bench.paused == [PATIENCE_S]
        assert bench.seen == [("n1", "waiting for somebody else's cm_ctl"), ("n1", "starting CM")]
        assert one.hung_up

    asyncio.run(run())


def test_a_node_that_talks_without_end_is_cut_short():
    async def run():
        bench = Bench()
        one = Client("n1", *(event(f"{number} {'x' * 10_000}") for number in range(3 * MOST_RELAYED)))
        async with bench.over(one):
            await told(one)
        assert len(bench.seen) == MOST_RELAYED
        assert max(len(text) for _, text in bench.seen) <= 200

    asyncio.run(run())


@pytest.mark.parametrize(
    ("end", "logged"),
    [
        (None, []),
        (Unreachable(Reason.UNREACHABLE, "gone"), []),
        (RuntimeError("a bug"), ["watching a node failed"]),
    ],
)
def test_a_watch_that_fails_is_no_failure(end, logged, caplog):
    async def run():
        bench = Bench()
        client = Client("n1", event("starting CM"), end=end)
        async with bench.over(client) as watching:
            await told(client)
            if end is not None:
                await asyncio.wait([watching._task])
        assert bench.seen == [("n1", "starting CM")]

    asyncio.run(run())
    assert [record.message for record in caplog.records] == logged


def test_a_command_that_fails_closes_the_watch_and_its_own_error_is_the_one_that_is_told():
    async def run():
        bench = Bench()
        client = Client("n1", event("starting CM"))
        late = Unreachable(Reason.DEADLINE, "too long", node="n1")

        async def command():
            async with bench.over(client):
                await told(client)
                raise late

        with pytest.raises(Unreachable) as caught:
            await command()
        assert caught.value is late
        assert client.hung_up

    asyncio.run(run())


def test_a_command_that_is_over_soon_is_not_watched():
    async def run():
        bench = Bench()
        client = Client("n1", event("starting CM"))
        async with Watching(client, bench.reporter, FENCE):
            await asyncio.sleep(0)
        assert not client.told.is_set()
        assert bench.seen == []

    asyncio.run(run())
