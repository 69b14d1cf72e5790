"""Connections that break for a while: nothing is taken for lasting that a moment later is well again."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import time

import pytest
from gausscert_common.errors import Denied, Reason, Unreachable
from gausscert_common.protocol.commands import CommitCommand
from gausscert_common.protocol.words import Step
from gausscert_coordinator import diagnosis
from gausscert_coordinator.diagnosis import Dialled
from gausscert_coordinator.inventory import Timeouts
from gausscert_coordinator.policy import FIRST_CONTACT_S
from support.edge_calls import TX, connected, edge, error_of, operator
from support.edges import CLUSTER, NODE, make_ca, no_threads_are_left
from support.tcp_peers import Proxy, serving

__all__ = ["edge", "no_threads_are_left", "operator"]

COMMIT = CommitCommand(TX, 1, Step.COMMIT)
HTTP = b"HTTP/1.1 400 Bad Request\r\n\r\n"


def reset(raw: socket.socket) -> None:
    """Close with a TCP reset."""
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raw.close()


def reset_amid(raw: socket.socket) -> None:
    """Take the beginning of the handshake, then reset."""
    raw.settimeout(2)
    raw.recv(1)
    reset(raw)


def before_the_handshake_reset(raw, tls):
    reset_amid(raw)


def before_the_handshake_closed(raw, tls):
    raw.recv(65536)
    raw.close()


def after_the_handshake_reset(raw, tls):
    reset(tls(raw))


def after_the_handshake_cut(raw, tls):
    tls(raw).close()


def after_the_handshake_closed_in_order(raw, tls):
    with contextlib.suppress(OSError), tls(raw) as secured:
        secured.unwrap()


ENDS = (
    before_the_handshake_reset,
    before_the_handshake_closed,
    after_the_handshake_reset,
    after_the_handshake_cut,
    after_the_handshake_closed_in_order,
)


@pytest.mark.parametrize("end", ENDS)
def test_a_connection_that_ends_without_a_word_may_pass(edge, operator, end):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(edge.issued.cert, edge.issued.key)
    context.set_alpn_protocols(["h2"])
    with serving(lambda raw: end(raw, lambda one: context.wrap_socket(one, server_side=True))) as port:
        error = diagnosis.look(Dialled(CLUSTER, NODE, f"127.0.0.1:{port}", operator))

    assert isinstance(error, Unreachable), error
    assert error.reason is Reason.UNREACHABLE
    assert "closed the connection" in error.message
    assert error.node == NODE


@pytest.mark.parametrize(
    "breaks", [reset_amid, lambda raw: raw.sendall(HTTP)], ids=["reset", "another service"]
)
async def test_a_commit_outlives_a_second_of_broken_connections(edge, operator, breaks):
    began = time.monotonic()
    with Proxy(edge.port) as proxy:
        async with connected(edge.inventory(operator, address=proxy.address)) as agent:
            await agent.get_node()
            proxy.break_all(breaks)
            mended = asyncio.get_running_loop().call_later(1.0, proxy.mend)
            await agent.commit(COMMIT)
            mended.cancel()

    assert proxy.broken > 0
    assert 1.0 <= time.monotonic() - began < 20
    assert edge.node.seen[-1] == ("end", COMMIT)


async def test_a_node_never_met_is_given_up_when_the_connections_stay_broken(edge, operator):
    began = time.monotonic()
    with Proxy(edge.port) as proxy:
        proxy.break_all(reset_amid)
        async with connected(edge.inventory(operator, address=proxy.address)) as agent:
            error = await error_of(agent.commit(COMMIT))

    assert isinstance(error, Unreachable)
    assert time.monotonic() - began < FIRST_CONTACT_S + 3
    assert edge.node.seen == []


def test_a_tls_alert_after_the_handshake_is_a_refusal(edge, operator, tmp_path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(edge.issued.cert, edge.issued.key)
    context.load_verify_locations(make_ca(tmp_path / "other") / "ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])
    with serving(lambda raw: context.wrap_socket(raw, server_side=True)) as port:
        error = diagnosis.look(Dialled(CLUSTER, NODE, f"127.0.0.1:{port}", operator))

    assert isinstance(error, Denied), error
    assert "unknown ca" in error.message


async def test_the_budget_ends_repetition_at_a_node_that_was_met(edge, operator):
    timeouts = Timeouts(retry_s=2.0)
    with Proxy(edge.port) as proxy:
        async with connected(edge.inventory(operator, timeouts, address=proxy.address)) as agent:
            await agent.get_node()
            proxy.break_all(lambda raw: raw.sendall(HTTP))
            await asyncio.sleep(0.2)  # else the command may still pass on the old connection
            began = time.monotonic()
            error = await error_of(agent.commit(COMMIT))

    assert error.reason is Reason.CONFIG_INVALID
    assert 0.2 < time.monotonic() - began < 6
    assert [name for name, _ in edge.node.seen] == ["report"]
