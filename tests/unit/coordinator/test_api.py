"""The library's face: what programs may use, and that it says nothing by itself."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
import sys
from functools import partial

import pytest
from gausscert_common.errors import InternalError, InvalidInput, Reason, Unreachable
from gausscert_common.model import WatchEvent
from gausscert_coordinator import Choice, Coordinator, ReplaceOptions, RestartScope, Verdict, api, node_events
from gausscert_coordinator.api import Cluster
from support import fake_node
from support.fake_cluster import FakeCluster, until_death

INVENTORY = """
[clusters.prod.credentials]
ca = "x"
cert = "x"
key = "x"
[[clusters.prod.node]]
name = "n1"
address = "h1:7443"
[clusters.test.credentials]
ca = "x"
cert = "x"
key = "x"
[[clusters.test.node]]
name = "n2"
address = "h2:7443"
"""


@pytest.fixture
def fake():
    return FakeCluster()


def opened(fake):
    timeless = partial(Coordinator, clock=lambda: fake.now_s, now=fake.now, sleep=fake.sleep)
    return Cluster(fake.inventory(), record=False, connect=fake.connect, coordinator=timeless)


def test_the_public_names_are_these():
    assert sorted(api.__all__) == [
        "Cluster",
        "InventoryCheck",
        "NodeEvent",
        "WatchEvent",
        "connect",
        "read_bundle",
    ]
    assert all(getattr(api, name).__doc__ for name in api.__all__)


async def test_it_looks_plans_replaces_and_recovers(fake, capfd):
    async with opened(fake) as cluster:
        assert cluster.nodes == ("node-a", "node-b", "node-c")
        assert [node.error for node in (await cluster.status()).nodes] == [None] * 3
        assert [node.node for node in await cluster.expiry()] == list(cluster.nodes)
        bundle = fake_node.bundle("new")
        plan = await cluster.plan(bundle)
        seen = []
        result = await cluster.replace(plan, bundle, watch=seen.append)
        again = await cluster.recover(prefer=Choice.FINISH)

    assert plan.feasible
    assert result.verdict is Verdict.COMMITTED
    assert seen
    assert again.verdict is Verdict.NOTHING_DONE
    assert capfd.readouterr() == ("", "")


async def test_it_recovers_without_a_machine_that_died_in_the_middle(fake):
    new = fake_node.bundle("new")
    async with fake.coordinator() as coordinator:
        plan = await coordinator.plan(new, ReplaceOptions(restart=RestartScope.NODE))
        fake.die_after(7)
        assert await until_death(fake, coordinator.replace(plan, new)) is None
    fake.bring_back()
    fake.power_off("node-c")

    async with opened(fake) as cluster:
        with_all = await cluster.recover(take_over=True)
        without = await cluster.recover(take_over=True, exclude=("node-c",))

    assert with_all.verdict is not Verdict.ROLLED_BACK
    assert [each.node for each in with_all.failures] == ["node-c"]
    assert without.verdict is Verdict.ROLLED_BACK


async def test_what_nodes_do_is_told_and_not_raised(fake):
    fake.vanish("node-b", at="get_node")
    fake.script("node-b", "get_node", Unreachable(Reason.UNREACHABLE, "gone", node="node-b"))

    async with opened(fake) as cluster:
        status = await cluster.status()

    assert [node.error is None for node in status.nodes] == [True, False, True]


async def test_events_of_a_cluster_that_is_not_open_are_refused_and_not_awaited_for_ever(fake):
    cluster = opened(fake)
    with pytest.raises(InternalError, match="async with"):
        cluster.events()
    async with cluster:
        await cluster.events().aclose()
    with pytest.raises(InternalError, match="async with"):
        cluster.events()


async def test_a_plan_of_another_bundle_is_the_callers_error(fake):
    async with opened(fake) as cluster:
        plan = await cluster.plan(fake_node.bundle("new"))
        with pytest.raises(InvalidInput, match="another bundle"):
            await cluster.replace(plan, fake_node.bundle("other"))


def test_one_of_several_clusters_is_chosen_as_by_the_command(tmp_path, monkeypatch):
    (tmp_path / "x").touch()
    path = tmp_path / "gausscert.toml"
    path.write_text(INVENTORY)

    assert api.connect(path, cluster="test").name == "test"
    assert api.connect(str(path), cluster="prod").nodes == ("n1",)
    monkeypatch.chdir(tmp_path)
    assert api.connect(cluster="test").name == "test"
    with pytest.raises(InvalidInput, match="which cluster"):
        api.connect(path)


def test_a_bundle_is_read_with_its_passwords_and_shows_none(tmp_path):
    for name in ("cacert.pem", "server.crt", "server.key", "client.crt", "client.key"):
        (tmp_path / name).write_text(name)
        (tmp_path / name).chmod(0o400)

    bundle = api.read_bundle(tmp_path, server_password="Canary#7pw", client_password="Canary#8pw")

    assert bundle.pem["server.crt"] == b"server.crt"
    assert (bundle.server_password, bundle.client_password) == ("Canary#7pw", "Canary#8pw")
    assert "Canary" not in repr(bundle)


def test_a_bundle_that_cannot_be_read_is_refused_with_every_file(tmp_path):
    (tmp_path / "server.crt").mkdir()
    (tmp_path / "client.crt").symlink_to("nowhere")

    with pytest.raises(InvalidInput) as caught:
        api.read_bundle(tmp_path)
    assert caught.value.reason is Reason.BUNDLE_INVALID
    assert {finding.file for finding in caught.value.findings} == {"server.crt", "client.crt"}


def test_what_the_library_logs_goes_nowhere_unless_somebody_wants_it():
    script = (
        "import logging\n"
        "from gausscert_coordinator import api\n"
        "logging.getLogger('gausscert_coordinator.watching').error('nobody asked for this')\n"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert (done.stdout, done.stderr) == ("", "")


def test_a_program_that_wants_it_gets_it(caplog):
    with caplog.at_level(logging.ERROR):
        logging.getLogger("gausscert_coordinator.watching").error("for whom it may concern")

    assert "for whom it may concern" in caplog.text


# ---- events


class Watched:
    """An agent whose streams are given: each is a list of what it tells, and perhaps an error at its end."""

    def __init__(self, name, *streams):
        self.name = name
        self.streams = list(streams)
        self.open = 0

    async def watch(self):
        if not self.streams:
            await asyncio.Event().wait()
        self.open += 1
        try:
            for each in self.streams.pop(0):
                if isinstance(each, Exception):
                    raise each
                yield each
        finally:
            self.open -= 1


def event(text):
    return WatchEvent("tx", None, None, text, None)


async def no_pause():
    await asyncio.sleep(0)


async def told(count, *agents):
    stream = node_events.follow(agents, pause=no_pause)
    async with contextlib.aclosing(stream):
        return [await asyncio.wait_for(anext(stream), 5) for _ in range(count)]


async def test_what_all_nodes_do_comes_in_one_stream():
    seen = await told(3, Watched("a", [event("1"), event("2")]), Watched("b", [event("3")]))

    assert {(each.node, each.event.activity) for each in seen if each.event} >= {("a", "1"), ("a", "2")}


async def test_a_node_that_is_lost_is_told_once_and_watched_again():
    gone = Unreachable(Reason.UNREACHABLE, "gone", node="a")

    seen = await told(4, Watched("a", [event("1"), gone], [gone], [gone], [event("2"), gone]))

    assert [each.event.activity if each.event else each.error.message for each in seen] == [
        "1",
        "gone",
        "2",
        "gone",
    ]


async def test_the_end_of_a_stream_is_no_silence():
    (seen,) = await told(1, Watched("a", []))

    assert seen.error.reason is Reason.UNREACHABLE


async def test_a_bug_in_a_stream_is_no_silence():
    with pytest.raises(ZeroDivisionError):
        await told(2, Watched("a", [event("1"), ZeroDivisionError()]))


async def test_who_leaves_hangs_up_on_every_node():
    class Endless(Watched):
        async def watch(self):
            self.open += 1
            try:
                yield event("1")
                await asyncio.Event().wait()
            finally:
                self.open -= 1

    agents = [Endless("a"), Endless("b")]

    await told(2, *agents)

    assert [agent.open for agent in agents] == [0, 0]


async def test_a_slow_reader_loses_nothing():
    many = [event(str(number)) for number in range(3000)]

    seen = await told(3000, Watched("a", many))

    assert [each.event.activity for each in seen] == [each.activity for each in many]
