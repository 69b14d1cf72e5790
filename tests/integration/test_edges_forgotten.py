"""A call that has ended is held by nobody: to gRPC it would be open still, and once a connection had more of
them than it may, gRPC refused the next ones there with RST_STREAM, whatever there was room for."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator

import grpc
import pytest
from gausscert.v1 import agent_service_pb2_grpc
from gausscert_agent import front
from gausscert_common.errors import NodeRefusal, Reason
from gausscert_common.identity import Role
from gausscert_common.protocol.commands import CommitCommand
from gausscert_common.protocol.words import Step
from gausscert_coordinator import diagnosis
from gausscert_coordinator.inventory import Timeouts
from gausscert_coordinator.ports import RetryNotice
from support.edge_calls import GOOD, TX, connected, edge, operator, refusal, stub
from support.edges import Edge, no_threads_are_left

__all__ = ["edge", "no_threads_are_left", "operator", "stub"]

MANY = 40
"""A connection takes 16 calls at once."""


@pytest.fixture
def uncollected(edge, stub) -> Iterator[None]:
    """Everything is loaded, and the collector does not come by: nobody knows when it does."""
    stub.GetNode(GOOD["GetNode"], timeout=5)
    gc.disable()
    yield
    gc.enable()


def met(call: Callable[..., object], name: str) -> set[tuple[grpc.StatusCode, str]]:
    """What came of many calls, one after the other."""
    found = set()
    for _ in range(MANY):
        with pytest.raises(grpc.RpcError) as caught:
            call(GOOD[name], timeout=5)
        found.add((caught.value.code(), caught.value.details()))
    return found


@pytest.mark.usefixtures("uncollected")
def test_however_often_somebody_is_denied_he_is_told_why(edge):
    eve = agent_service_pb2_grpc.AgentServiceStub(edge.channel(edge.person(Role.OBSERVER, "eve")))

    ((code, text),) = met(eve.Abort, "Abort")

    assert code is grpc.StatusCode.PERMISSION_DENIED
    assert "may not call Abort" in text


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("name", ["GetNode", "Commit"])
def test_however_often_a_node_refuses_it_is_told_why(edge, stub, name):
    """A look is shared by all who ask, and so is its error."""
    edge.node.raises = [NodeRefusal(Reason.BUSY, "not now") for _ in range(MANY)]

    assert met(getattr(stub, name), name) == {(grpc.StatusCode.UNAVAILABLE, "not now")}


@pytest.mark.usefixtures("uncollected")
def test_whoever_finds_no_slot_is_told_so_however_slow_the_audit_log_is(edge, stub, monkeypatch):
    """What waited to be written held the calls."""
    audit = edge.server.control.audit
    monkeypatch.setattr(edge.server._pools.work, "_slots", 0)
    monkeypatch.setattr(edge.server._pools._door, "_pause_s", 0.0)
    with audit._lock:
        found = met(stub.Commit, "Commit")

    assert found == {(grpc.StatusCode.UNAVAILABLE, "too many calls of this kind are open")}


@pytest.mark.usefixtures("uncollected")
async def test_a_node_that_has_no_room_for_a_call_is_alive_and_asked_again(edge, operator, monkeypatch):
    """gRPC's own refusal says nothing of ours, and was taken for a node that is gone."""
    held: list[object] = []
    notices: list[RetryNotice] = []
    monkeypatch.setattr(edge.server._outermost._turned_away, "note", held.append)
    monkeypatch.setattr(edge.server._pools.work, "_slots", 0)
    monkeypatch.setattr(edge.server._pools._door, "_pause_s", 0.0)
    monkeypatch.setattr(diagnosis, "look", lambda _: pytest.fail("looked for a node that has answered"))

    async def sleep(_: float) -> None:
        if "RST_STREAM" in notices[-1].cause:
            held.clear()
            edge.server._pools.work._slots = 10

    inventory = edge.inventory(operator, Timeouts(retry_s=3600.0))
    async with connected(inventory, on_retry=notices.append, sleep=sleep) as agent:
        await agent.commit(CommitCommand(TX, 1, Step.COMMIT))

    assert [name for name, _ in edge.node.seen if name != "report"] == ["end"]
    assert "RST_STREAM with error code 7" in notices[-1].cause


async def test_a_call_that_grpc_turns_away_is_made_again(edge, operator):
    state = edge.server._server._state
    state.maximum_concurrent_rpcs = 0

    async def sleep(_: float) -> None:
        state.maximum_concurrent_rpcs = None

    async with connected(edge.inventory(operator), sleep=sleep) as agent:
        await agent.commit(CommitCommand(TX, 1, Step.COMMIT))

    assert [name for name, _ in edge.node.seen] == ["end"]


def _sends_nothing(over: threading.Event) -> Iterator[bytes]:
    over.wait(20)
    yield from ()


def test_an_agent_that_cannot_answer_says_so_though_others_never_send_their_requests(tmp_path, monkeypatch):
    """The thread of the door waited for the first of them, and nobody behind him was ever told anything."""
    monkeypatch.setattr(front, "_installed", iter([(1,), (2,)]).__next__)
    with Edge(tmp_path) as edge:
        monkeypatch.setattr(edge.server._pools.work, "_slots", 0)
        eve = edge.channel(edge.person(Role.OBSERVER, "eve"))
        silent = [eve.stream_unary("/gausscert.v1.AgentService/Abort") for _ in range(3)]
        over = threading.Event()
        asked = [each.future(_sends_nothing(over), timeout=20) for each in silent]

        alice = agent_service_pb2_grpc.AgentServiceStub(edge.channel(edge.person(Role.OPERATOR, "alice")))

        assert refusal(alice.Abort, GOOD["Abort"]).reason is Reason.UNREACHABLE
        assert {each.exception(timeout=5).code() for each in asked} == {grpc.StatusCode.UNAVAILABLE}
        over.set()
