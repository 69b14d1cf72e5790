"""The agent server from its start to its drain."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import time
from dataclasses import replace

import grpc
import pytest
from gausscert.v1 import agent_service_pb2 as pb
from gausscert.v1 import agent_service_pb2_grpc
from gausscert_agent.credential_source import CredentialSource
from gausscert_agent.server import AgentServer
from gausscert_common import identity
from gausscert_common.errors import InvalidInput, NodeRefusal, Reason
from gausscert_common.identity import Role
from gausscert_coordinator import pki
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.edge_calls import GOOD, edge, operator, refusal, stub
from support.edges import (
    CLUSTER,
    NODE,
    Edge,
    copy_private,
    no_threads_are_left,
)

__all__ = ["edge", "no_threads_are_left", "operator", "stub"]


def test_a_port_in_use_is_told_by_its_number(edge, tmp_path):
    taken = replace(edge.config, listen=edge.address)
    second = AgentServer(taken, CredentialSource(taken))
    second.answer(edge.node)

    with pytest.raises(InvalidInput) as caught:
        second.start()
    second.close()

    assert caught.value.reason is Reason.CONFIG_INVALID
    assert str(edge.port) in caught.value.message
    assert "in use" in caught.value.message


def install(edge, issued) -> None:
    """Put another credential in the place of the node's, as `pki renew` and a copy would."""
    for source, target in ((issued.key, edge.config.tls.key), (issued.cert, edge.config.tls.cert)):
        copy_private(source, target.with_suffix(".new")).replace(target)


def served_serial(edge, operator) -> str:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(operator.ca)
    context.load_cert_chain(operator.cert, operator.key)
    with (
        socket.create_connection(("127.0.0.1", edge.port), 5) as raw,
        context.wrap_socket(raw, server_hostname=identity.node_dns_name(CLUSTER, NODE)) as connection,
    ):
        said = connection.getpeercert()
        return str(said["serialNumber"])


def test_a_renewed_credential_counts_without_a_restart(edge, operator, stub, tmp_path):
    stub.GetNode(pb.GetNodeRequest(), timeout=5)
    before = served_serial(edge, operator)

    install(edge, pki.renew(edge.ca, edge.issued.cert, tmp_path / "renewed"))

    after = served_serial(edge, operator)
    assert after != before
    assert served_serial(edge, operator) == after
    stub.GetNode(pb.GetNodeRequest(), timeout=5)


def test_a_credential_that_cannot_be_used_leaves_the_former_one(edge, operator, tmp_path, caplog):
    before = served_serial(edge, operator)

    with caplog.at_level(logging.INFO):
        edge.config.tls.key.chmod(0o644)
        assert served_serial(edge, operator) == before
        assert served_serial(edge, operator) == before
        edge.config.tls.key.unlink()
        assert served_serial(edge, operator) == before

    told = [record for record in caplog.records if "cannot be used" in record.getMessage()]
    assert len(told) == 2
    assert "others can read" in told[0].cause


def test_an_agent_with_another_nodes_credential_does_not_start(edge, tmp_path):
    install(edge, pki.issue(edge.ca, Role.NODE, "n2", out=tmp_path / "n2"))

    with pytest.raises(InvalidInput) as caught:
        AgentServer(edge.config, CredentialSource(edge.config))

    assert caught.value.reason is Reason.CREDENTIAL_INVALID


def test_health_is_told_for_the_whole_and_for_the_service(edge, operator):
    health = health_pb2_grpc.HealthStub(edge.channel(operator))

    for service in ("", "gausscert.v1.AgentService"):
        answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    error = refusal(health.Check, health_pb2.HealthCheckRequest(service="other"))
    assert error.reason is Reason.ARGUMENT_INVALID


def test_drain_tells_watchers_ends_what_runs_and_takes_nothing_more(edge, operator, stub):
    health = health_pb2_grpc.HealthStub(edge.channel(operator))
    watch = health.Watch(health_pb2.HealthCheckRequest(), timeout=30)
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
    events = stub.WatchTransaction(pb.WatchTransactionRequest(), timeout=30)
    assert next(events).activity == "waiting"
    edge.node.gate.clear()
    running = stub.Commit.future(GOOD["Commit"], timeout=30)
    assert all(edge.node.inside.acquire(timeout=5) for _ in range(2))

    drain = threading.Thread(target=edge.drain)
    drain.start()
    assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
    with pytest.raises(StopIteration):
        next(watch)
    with pytest.raises(grpc.RpcError) as ended:
        next(events)
    assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
    with pytest.raises(grpc.RpcError) as late:
        stub.Purge(GOOD["Purge"], timeout=5)
    assert late.value.code() is grpc.StatusCode.UNAVAILABLE
    assert drain.is_alive()

    edge.node.gate.set()
    assert running.result(timeout=5) == pb.CommitResponse()
    drain.join(10)
    assert not drain.is_alive()
    assert edge.node.finished == ["end"]


def test_a_call_longer_than_the_grace_is_still_waited_for(tmp_path):
    with Edge(tmp_path, drain_s=0.3) as edge:
        stub = agent_service_pb2_grpc.AgentServiceStub(edge.channel(edge.person(Role.OPERATOR, "alice")))
        edge.node.gate.clear()
        running = stub.Stop.future(GOOD["Stop"], timeout=30)
        assert edge.node.inside.acquire(timeout=5)

        drain = threading.Thread(target=edge.drain)
        drain.start()
        assert running.code() is grpc.StatusCode.UNAVAILABLE
        time.sleep(0.3)
        assert drain.is_alive()
        assert edge.node.finished == []
        edge.node.gate.set()
        drain.join(10)

        assert edge.node.finished == ["restart"]


def test_watchers_are_bounded(edge, operator, stub):
    streams = [
        health_pb2_grpc.HealthStub(edge.channel(operator)).Watch(health_pb2.HealthCheckRequest(), timeout=30)
        for _ in range(8)
    ]
    for stream in streams:
        next(stream)
    one_more = health_pb2_grpc.HealthStub(edge.channel(operator)).Watch(
        health_pb2.HealthCheckRequest(), timeout=5
    )

    with pytest.raises(grpc.RpcError) as caught:
        next(one_more)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    stub.GetNode(pb.GetNodeRequest(), timeout=5)
    for stream in streams:
        stream.cancel()


def test_busy_and_draining_are_the_refusals_a_caller_may_repeat(edge, stub):
    for reason in (Reason.BUSY, Reason.DRAINING, Reason.FENCED):
        edge.node.raises = [NodeRefusal(reason, "not now")]
        with pytest.raises(grpc.RpcError) as caught:
            stub.Commit(GOOD["Commit"], timeout=5)
        repeatable = caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert repeatable is (reason is not Reason.FENCED)
