"""Why a node does not answer, in plain words and soon."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from dataclasses import replace

import pytest
from gausscert_common.errors import (
    InvalidInput,
    Reason,
    Unreachable,
)
from gausscert_common.identity import Role
from gausscert_common.protocol.commands import Command
from gausscert_common.protocol.words import Step
from gausscert_coordinator import agents, diagnosis, inventory_check, pki
from gausscert_coordinator.diagnosis import Dialled, Reached
from gausscert_coordinator.inventory import Timeouts
from gausscert_coordinator.policy import FIRST_CONTACT_S
from support.edge_calls import TX, connected, edge, error_of, operator
from support.edges import (
    CLUSTER,
    NODE,
    copy_private,
    credentials_of,
    expired,
    make_ca,
    no_threads_are_left,
)

__all__ = ["edge", "no_threads_are_left", "operator"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def first_error(inventory):
    """What the first call ends with, and how long that takes."""
    began = time.monotonic()
    async with connected(inventory) as agent:
        error = await error_of(agent.get_node())
    assert error.node == inventory.nodes[0].name
    assert error.remedy
    return error, time.monotonic() - began


async def test_a_node_that_refuses_connections_is_told_within_three_seconds(edge, operator):
    error, took_s = await first_error(edge.inventory(operator, address=f"127.0.0.1:{free_port()}"))

    assert isinstance(error, Unreachable)
    assert "nothing listens" in error.message
    assert took_s < FIRST_CONTACT_S + 1.5


async def test_a_node_that_accepts_and_says_nothing_costs_one_connect_deadline(edge, operator):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        error, took_s = await first_error(edge.inventory(operator, Timeouts(connect_s=1.0), address=address))

    assert isinstance(error, Unreachable)
    assert took_s < 6


async def test_a_name_that_cannot_be_resolved_is_told(edge, operator):
    error, _ = await first_error(edge.inventory(operator, address="no-such-host.invalid:7443"))

    assert isinstance(error, Unreachable)
    assert "no-such-host.invalid" in error.message


async def test_an_agent_that_does_not_trust_us_is_told_after_the_first_contact(edge, tmp_path):
    other = make_ca(tmp_path / "other")
    stranger = pki.issue(other, Role.OPERATOR, "mallory", out=tmp_path / "mallory")
    both = tmp_path / "both.crt"
    both.write_bytes(edge.issued.ca.read_bytes() + stranger.ca.read_bytes())

    error, took_s = await first_error(edge.inventory(replace(credentials_of(stranger), ca=both)))

    # gRPC's server only closes: whether it refused us or the line broke, a repetition tells.
    assert isinstance(error, Unreachable)
    assert "does not accept our credential" in error.message
    assert "the node's ca.crt" in error.remedy
    assert took_s < FIRST_CONTACT_S + 3
    assert edge.node.seen == []


async def test_an_agent_that_we_do_not_trust_is_named_so(edge, tmp_path):
    other = make_ca(tmp_path / "other")
    credentials = credentials_of(pki.issue(other, Role.OPERATOR, "alice", out=tmp_path / "alice"))

    error, took_s = await first_error(edge.inventory(credentials))

    assert error.reason is Reason.CREDENTIAL_INVALID
    assert "not trusted here" in error.message
    assert took_s < 2


async def test_an_expired_node_credential_is_named_so(edge, operator, tmp_path):
    with past_server(edge, tmp_path) as port:
        error, took_s = await first_error(edge.inventory(operator, address=f"127.0.0.1:{port}"))

    assert error.reason is Reason.CREDENTIAL_INVALID
    assert "has expired" in error.message
    assert "pki issue" in error.remedy
    assert took_s < 2


@contextlib.contextmanager
def past_server(edge, tmp_path):
    """TLS with an expired certificate of the node; an agent would not even start with it."""
    old = expired(edge.ca, Role.NODE, NODE, tmp_path / "old")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(old.cert, old.key)
    context.set_alpn_protocols(["h2"])
    with serving(lambda raw: context.wrap_socket(raw, server_side=True)) as port:
        yield port


@contextlib.contextmanager
def serving(answer):
    """Accepts connections and hands each to `answer`, whose result is closed."""
    listening = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            raw, _ = listening.accept()
            with raw, contextlib.suppress(OSError):
                answer(raw).close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        over.set()
        with contextlib.suppress(OSError):
            socket.create_connection(listening.getsockname(), 1).close()
        thread.join()
        listening.close()


async def test_our_own_expired_credential_is_told_before_anything_is_sent(edge, tmp_path):
    late = expired(edge.ca, Role.OPERATOR, "late", tmp_path / "late")

    with pytest.raises(InvalidInput, match="it expired on"):
        agents.connect(edge.inventory(late))


async def test_a_key_that_others_can_read_is_told_before_anything_is_sent(edge, operator, tmp_path):
    key = copy_private(operator.key, tmp_path / "open.key")
    key.chmod(0o644)

    with pytest.raises(InvalidInput, match="others can read"):
        agents.connect(edge.inventory(replace(operator, key=key)))


async def test_another_node_at_the_address_is_named(edge, operator):
    error, took_s = await first_error(edge.inventory(operator, name="n2"))

    assert error.reason is Reason.CREDENTIAL_INVALID
    assert f"gausscert://{CLUSTER}/node/{NODE}" in error.message
    assert took_s < 2
    assert edge.node.seen == []


async def test_an_agent_of_another_opinion_about_its_name_is_refused(edge, operator):
    edge.node.name = "n2"

    error, _ = await first_error(edge.inventory(operator))

    assert error.reason is Reason.CONFIG_INVALID
    assert "calls itself node n2" in error.message


async def test_an_agent_of_another_opinion_about_its_cluster_is_refused(edge, operator):
    edge.node.cluster = "test"
    async with connected(edge.inventory(operator)) as agent:
        acquire = agent.acquire(Command(TX, 1, Step.ACQUIRE), holder="alice", lease_s=1, take_over=False)
        error = await error_of(acquire)

    assert "cluster test" in error.message


async def test_what_is_no_agent_is_named_so(edge, operator):
    def http(raw: socket.socket) -> socket.socket:
        raw.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        return raw

    with serving(http) as port:
        error, took_s = await first_error(edge.inventory(operator, address=f"127.0.0.1:{port}"))

    assert error.reason is Reason.CONFIG_INVALID
    assert "no gausscert agent" in error.message
    assert took_s < 2


# ---- how far a look comes


def looked(edge, credentials, **changes):
    dialled = Dialled(
        **{"cluster": CLUSTER, "node": NODE, "address": edge.address, "credentials": credentials} | changes
    )
    found = diagnosis.inspect(dialled, 1.0)
    assert (found.error is None) == (found.reached is Reached.AGENT)
    return found.reached


def test_a_look_tells_how_far_it_has_come(edge, operator, tmp_path):
    other = make_ca(tmp_path / "other")
    stranger = pki.issue(other, Role.OPERATOR, "mallory", out=tmp_path / "mallory")
    both = tmp_path / "both.crt"
    both.write_bytes(edge.issued.ca.read_bytes() + stranger.ca.read_bytes())

    assert looked(edge, operator) is Reached.AGENT
    assert looked(edge, operator, address=f"127.0.0.1:{free_port()}") is Reached.NOTHING
    assert looked(edge, credentials_of(stranger)) is Reached.ADDRESS
    assert looked(edge, operator, node="another") is Reached.TLS
    assert looked(edge, operator, cluster="another") is Reached.TLS
    assert looked(edge, replace(credentials_of(stranger), ca=both)) is Reached.PEER
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        assert looked(edge, operator, address=address) is Reached.ADDRESS


async def test_an_observer_may_check_an_inventory_over_the_wire(edge):
    observer = edge.person(Role.OBSERVER, "nagios")
    fit = await inventory_check.check(edge.inventory(observer))
    other = await inventory_check.check(edge.inventory(observer, name="another"))

    (node,) = fit.nodes
    marks = {check.subject.value: check.mark.value for check in node.checks}
    # The agent is real, the node behind it a fake of January without CM.
    assert marks == {
        "address": "ok",
        "TLS": "ok",
        "identity": "ok",
        "agent": "ok",
        "clock": "failed",
        "cm_ctl": "failed",
    }
    (node,) = other.nodes
    (trouble,) = node.troubles
    assert trouble.subject.value == "identity"
    assert f"gausscert://{CLUSTER}/node/{NODE}" in trouble.cause
