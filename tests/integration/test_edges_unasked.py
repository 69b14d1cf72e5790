"""Calls of which no request ever comes."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from functools import partial

import grpc
import pytest
from gausscert_agent import interceptors, server
from gausscert_agent.awaited import Awaited
from gausscert_agent.pools import COMMANDS_EACH, LOOKS_EACH
from gausscert_common.errors import Reason
from gausscert_common.protocol.commands import CommitCommand
from gausscert_common.protocol.words import Step
from support.edge_calls import GOOD, TX, connected, edge, operator, refusal, stub
from support.edges import no_threads_are_left

__all__ = ["edge", "no_threads_are_left", "operator", "stub"]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""With SETTINGS that set nothing (RFC 9113 sections 3.4 and 6.5)."""


@pytest.fixture
def over() -> Iterator[threading.Event]:
    """Until then nothing is sent."""
    found = threading.Event()
    yield found
    found.set()


def unasked(edge, who, over, name: str, count: int) -> list[grpc.Future]:
    """Calls without a request and without a deadline, all of them with a slot."""

    def nothing() -> Iterator[bytes]:
        over.wait(60)
        yield from ()

    channel = edge.channel(who, **{"grpc.use_local_subchannel_pool": 1})
    calls = [channel.stream_unary(f"/gausscert.v1.AgentService/{name}") for _ in range(count)]
    begun = [each.future(nothing()) for each in calls]
    deadline = time.monotonic() + 10
    while len(edge.server._outermost.awaited._since) < min(count, 4):  # threads of work
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return begun


@pytest.mark.parametrize(("name", "share"), [("GetNode", LOOKS_EACH), ("Commit", COMMANDS_EACH)])
def test_a_call_without_a_request_gives_its_slot_back(edge, stub, operator, over, monkeypatch, name, share):
    """It held its caller's share, and of commands every thread there is, until its connection ended."""
    monkeypatch.setattr(interceptors, "Awaited", partial(Awaited, 3.0))
    call = getattr(stub, name)
    call(GOOD[name], timeout=5)
    calls = unasked(edge, operator, over, name, share)
    assert refusal(call, GOOD[name]).reason is Reason.BUSY

    deadline = time.monotonic() + 20
    while call.future(GOOD[name], timeout=20).code() is not grpc.StatusCode.OK:
        assert time.monotonic() < deadline, "no slot came back"
        time.sleep(0.05)
    assert calls[0].exception(timeout=5).code() is grpc.StatusCode.CANCELLED


def test_calls_without_a_request_keep_no_agent_from_stopping(edge, stub, operator, over, monkeypatch):
    stub.GetNode(GOOD["GetNode"], timeout=5)
    calls = unasked(edge, operator, over, "GetNode", 2)
    monkeypatch.setattr(server, "UNASKED_S", 0.05)
    stopped = threading.Thread(target=edge.drain)
    stopped.start()

    assert {each.exception(timeout=15).code() for each in calls} <= {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNAVAILABLE,
    }
    stopped.join(15)
    assert not stopped.is_alive()


async def test_a_call_that_was_given_up_is_made_again(edge, operator, stub, monkeypatch):
    """Its request may have been on its way while an agent stopped."""
    stub.GetNode(GOOD["GetNode"], timeout=5)
    check, cancelled = edge.server._outermost._check, []

    def cancels(rpc: str, context: grpc.ServicerContext) -> object:
        if not cancelled:
            cancelled.append(rpc)
            context.cancel()
        return check(rpc, context)

    async def sleep(_: float) -> None:
        assert cancelled

    monkeypatch.setattr(edge.server._outermost, "_check", cancels)
    async with connected(edge.inventory(operator), sleep=sleep) as agent:
        await agent.commit(CommitCommand(TX, 1, Step.COMMIT))

    assert [name for name, _ in edge.node.seen] == ["report", "end"]
    assert cancelled == ["gausscert.v1.AgentService/Commit"]


def test_a_connection_on_which_nobody_answers_keeps_no_agent_from_stopping(edge, operator, stub, monkeypatch):
    """gRPC waits for each of them until `drain_s` is over, though no call is left."""
    stub.GetNode(GOOD["GetNode"], timeout=5)
    monkeypatch.setattr(server, "UNASKED_S", 0.05)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(operator.ca)
    context.load_cert_chain(operator.cert, operator.key)
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(("127.0.0.1", edge.port), 5) as raw,
        context.wrap_socket(raw) as silent,
    ):
        silent.sendall(PREFACE)
        assert silent.recv(1)
        stopped = threading.Thread(target=edge.drain)
        stopped.start()
        stopped.join(15)

        assert not stopped.is_alive()
