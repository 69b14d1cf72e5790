"""The coordinator's gRPC edge against a real agent server, and against what is none."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from gausscert_common.bundle import Bundle
from gausscert_common.errors import (
    Denied,
    NodeRefusal,
    Reason,
    Unreachable,
)
from gausscert_common.identity import Role
from gausscert_common.model import JudgedSet
from gausscert_common.protocol.commands import AcquireCommand, Command, CommitCommand
from gausscert_common.protocol.words import RestartScope, SslWish, Step
from gausscert_common.source import Generation, LiveSet
from gausscert_coordinator.inventory import Timeouts
from gausscert_coordinator.ports import Preparation, RestartOrders
from support.edge_calls import TX, connected, edge, error_of, operator
from support.edges import (
    EVENT,
    NODE,
    OVERLAP,
    WARNING,
    Edge,
    no_threads_are_left,
)

__all__ = ["edge", "no_threads_are_left", "operator"]

BUNDLE = Bundle({"cacert.pem": b"ca", "server.crt": b"s"}, server_password="Abc@1234", client_password="x")

PREPARATION = Preparation((NODE, "n2"), "a" * 64, BUNDLE, SslWish.ON, RestartScope.NODE, drop_crls=True)


def command(step: Step) -> Command:
    return CommitCommand(TX, 1, step) if step is Step.COMMIT else Command(TX, 1, step)


@pytest.mark.parametrize("source", [Generation("tx-00000000"), BUNDLE, LiveSet()])
async def test_what_would_be_staged_is_judged(edge, operator, source):
    async with connected(edge.inventory(operator)) as agent:
        judged = await agent.judge(source, drop_crls=True)

    assert judged == JudgedSet(edge.node.live, (WARNING,), OVERLAP)
    assert edge.node.seen == [("judge", (source, True))]


async def test_a_generation_can_be_prepared(edge, operator):
    generation = Generation("tx-00000000")
    preparation = Preparation((NODE,), "a" * 64, generation, SslWish.KEEP, RestartScope.NODE)
    async with connected(edge.inventory(operator)) as agent:
        await agent.prepare(command(Step.PREPARE), preparation)

    ((_, (_, source, drop_crls)),) = edge.node.seen
    assert (source, drop_crls) == (generation, False)


class Sleeps:
    def __init__(self) -> None:
        self.count = 0

    async def __call__(self, length_s: float) -> None:
        self.count += 1


async def test_every_call_arrives_with_its_values_and_answers_come_back(edge, operator):
    orders = RestartOrders(RestartScope.CLUSTER, executor=True, timeout_s=300.0)
    async with connected(edge.inventory(operator)) as agent:
        assert agent.name == NODE
        assert (await agent.get_node(preflight=True)).live == edge.node.live
        assert (await agent.get_expiry()).node == NODE
        assert (await agent.probe(query=True, timeout_s=2.5)).served == ()
        report = await agent.acquire(command(Step.ACQUIRE), holder="alice", lease_s=30, take_over=True)
        prepared = await agent.prepare(command(Step.PREPARE), PREPARATION)
        await agent.stop(command(Step.STOP), orders)
        assert await agent.swap(command(Step.SWAP)) == edge.node.live
        await agent.start(command(Step.START), orders)
        await agent.commit(command(Step.COMMIT))
        await agent.purge(command(Step.PURGE))
        assert await agent.abort(command(Step.ABORT)) == edge.node.live
        await agent.clean(command(Step.CLEAN))
        await agent.encrypt("req-0001", server_password="a", client_password="b")
        await agent.set_enable_ssl("req-0002", SslWish.OFF)

    assert report.name == NODE
    assert (prepared.stage.digest, prepared.findings) == ("e" * 64, (WARNING,))
    assert prepared.overlap == OVERLAP
    seen = edge.node.seen
    assert [name for name, _ in seen] == [
        *("report", "expiry", "probe", "acquire", "prepare", "restart", "move", "restart"),
        *("end", "end", "move", "end", "encrypt_live", "set_enable_ssl"),
    ]
    assert seen[0][1] is True
    assert seen[2][1] == (True, 2.5)
    acquire = AcquireCommand(TX, 1, Step.ACQUIRE, holder="alice", take_over=True)
    assert seen[3][1] == (acquire, 30.0)
    prepare, bundle, drop_crls = seen[4][1]
    assert (prepare.participants, prepare.expected_live_digest) == ((NODE, "n2"), "a" * 64)
    assert (prepare.ssl_wish, prepare.restart) == (SslWish.ON, RestartScope.NODE)
    assert (bundle, drop_crls) == (BUNDLE, True)
    stop, sent = seen[5][1]
    assert (stop, sent.scope, sent.executor, sent.timeout_s) == (
        command(Step.STOP),
        RestartScope.CLUSTER,
        True,
        300.0,
    )
    assert seen[12][1] == ("req-0001", "a", "b")
    assert seen[13][1] == ("req-0002", SslWish.OFF)


async def test_one_channel_serves_all_calls(edge, operator):
    async with connected(edge.inventory(operator)) as agent:
        for _ in range(20):
            await agent.get_node()
        peers = _connections(edge.port)

    assert len(peers) == 1


def _connections(port: int) -> list[str]:
    """Established connections to a loopback port."""
    tables = [Path("/proc/net/tcp").read_text(), Path("/proc/net/tcp6").read_text()]
    rows = [line.split() for table in tables for line in table.splitlines()[1:]]
    return [row[1] for row in rows if row[2].endswith(f":{port:04X}") and row[3] == "01"]


@pytest.mark.parametrize("name", ["N_1", "db.prod-3", "node.with.dots", "UPPER", "x" * 64])
async def test_node_names_need_not_be_dns_names(tmp_path, name):
    with Edge(tmp_path, node=name) as edge:
        async with connected(edge.inventory(edge.person(Role.OBSERVER, "bob"))) as agent:
            assert (await agent.get_node()).name == name


async def test_a_refusal_arrives_as_the_error_it_was(edge, operator):
    edge.node.raises = [NodeRefusal(Reason.FENCED, "late", remedy="look", findings=(WARNING,) * 50)]
    async with connected(edge.inventory(operator)) as agent:
        error = await error_of(agent.commit(command(Step.COMMIT)))

    assert isinstance(error, NodeRefusal)
    assert (error.reason, error.node, error.remedy, len(error.findings)) == (Reason.FENCED, NODE, "look", 50)


async def test_what_a_role_may_not_do_is_denied(edge):
    async with connected(edge.inventory(edge.person(Role.OBSERVER, "bob"))) as agent:
        await agent.get_node()
        error = await error_of(agent.commit(command(Step.COMMIT)))

    assert isinstance(error, Denied)
    assert "may not call Commit" in error.message


# ---- retries


async def test_unavailable_is_repeated_with_the_same_command_and_announced(edge, operator):
    notices, sleeps = [], Sleeps()
    async with connected(edge.inventory(operator), on_retry=notices.append, sleep=sleeps) as agent:
        await agent.get_node()
        edge.node.raises = [NodeRefusal(Reason.BUSY, "later"), NodeRefusal(Reason.DRAINING, "later")]
        edge.node.seen.clear()
        await agent.commit(command(Step.COMMIT))

    assert [value for _, value in edge.node.seen] == [command(Step.COMMIT)] * 3
    assert [(n.node, n.rpc, n.attempt) for n in notices] == [(NODE, "Commit", 1), (NODE, "Commit", 2)]
    assert "later" in notices[0].cause
    assert sleeps.count == 2


async def test_a_repetition_is_byte_for_byte_the_same(edge, operator):
    sent = []
    async with connected(edge.inventory(operator), sleep=Sleeps()) as agent:
        unary = agent._line._channel.unary_unary

        def recording(*arguments, **keywords):
            method = unary(*arguments, **keywords)

            def call(body, **options):
                sent.append(body)
                return method(body, **options)

            return call

        agent._line._channel.unary_unary = recording
        edge.node.raises = [NodeRefusal(Reason.BUSY, "later")] * 3
        await agent.purge(command(Step.PURGE))

    assert len(sent) == 4
    assert len(set(sent)) == 1


@pytest.mark.parametrize(
    "reason", [r for r in Reason if r not in (Reason.BUSY, Reason.DRAINING, Reason.UNREACHABLE)]
)
async def test_nothing_but_unavailable_is_repeated(edge, operator, reason):
    sleeps = Sleeps()
    edge.node.raises = [NodeRefusal(reason, "no")]
    async with connected(edge.inventory(operator), sleep=sleeps) as agent:
        error = await error_of(agent.commit(command(Step.COMMIT)))

    assert error.reason is reason
    assert (len(edge.node.seen), sleeps.count) == (1, 0)


async def test_a_late_command_with_a_way_back_is_told_and_not_repeated(edge, operator):
    edge.node.gate.clear()
    sleeps = Sleeps()
    async with connected(edge.inventory(operator, Timeouts(prepare_s=0.5)), sleep=sleeps) as agent:
        error = await error_of(agent.swap(command(Step.SWAP)))

    assert isinstance(error, Unreachable)
    assert error.reason is Reason.DEADLINE
    assert error.message == "Swap has taken longer than 0 s; the node answers"
    assert "may still be at work" in error.remedy
    assert ([name for name, _ in edge.node.seen], sleeps.count) == (["move", "report"], 0)


async def test_a_late_command_at_a_node_that_has_gone_is_told_so(edge, operator):
    edge.node.gate.clear()
    edge.node.report = lambda *, preflight: edge.node.gate.wait(30)
    timeouts = Timeouts(prepare_s=1.0, call_s=0.5)
    async with connected(edge.inventory(operator, timeouts)) as agent:
        error = await error_of(agent.prepare(command(Step.PREPARE), PREPARATION))

    assert error.reason is Reason.DEADLINE
    assert error.message == "Prepare has taken longer than 1 s, and the node does not answer"
    assert "network" in error.remedy


async def test_a_late_commit_is_repeated_until_the_slow_node_has_done_it(edge, operator):
    edge.node.gate.clear()
    notices = []
    timeouts = Timeouts(call_s=0.3)
    async with connected(edge.inventory(operator, timeouts), on_retry=notices.append) as agent:
        opened = asyncio.get_running_loop().call_later(1.5, edge.node.gate.set)
        await agent.commit(command(Step.COMMIT))
        opened.cancel()

    commands = [value for name, value in edge.node.seen if name == "end"]
    assert len(commands) > 1
    assert set(commands) == {command(Step.COMMIT)}
    assert all("the node answers" in notice.cause for notice in notices)
    assert len(notices) == len(commands) - 1


async def test_an_agent_that_restarts_is_found_again_on_the_same_channel(edge, operator, tmp_path):
    notices = []
    async with connected(edge.inventory(operator), on_retry=notices.append) as agent:
        await agent.get_node()
        await asyncio.to_thread(edge.drain)
        call = asyncio.create_task(agent.commit(command(Step.COMMIT)))
        await asyncio.sleep(0.7)
        second = _same_again(edge)
        try:
            await asyncio.wait_for(call, 10)
        finally:
            await asyncio.to_thread(second.drain)

    assert notices
    assert "nothing listens" in notices[-1].cause
    assert edge.node.finished == ["end"]


def _same_again(edge):
    from gausscert_agent.credential_source import CredentialSource
    from gausscert_agent.server import AgentServer

    config = replace(edge.config, listen=edge.address)
    server = AgentServer(config, CredentialSource(config))
    server.answer(edge.node)
    server.start()
    return server


# ---- watching


async def test_events_are_watched_until_the_agent_stops(edge, operator):
    async with connected(edge.inventory(operator)) as agent:
        events = agent.watch()
        assert await anext(events) == EVENT
        edge.node.hub.publish(replace(EVENT, activity="next"))
        assert (await anext(events)).activity == "next"
        edge.node.hub.close()
        error = await error_of(anext(events))

    assert error.reason is Reason.DRAINING


async def test_a_watch_can_be_given_up(edge, operator):
    async with connected(edge.inventory(operator)) as agent:
        events = agent.watch()
        await anext(events)
        await events.aclose()
        await agent.get_node()
    await asyncio.to_thread(edge.drain)

    assert edge.node.hub._subscriptions == []
