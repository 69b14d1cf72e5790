"""The agent's gRPC edge as a hostile or clumsy caller meets it."""

from __future__ import annotations

import logging
import socket
import ssl
import time

import grpc
import pytest
from gausscert.v1 import agent_service_pb2 as pb
from gausscert.v1 import agent_service_pb2_grpc, resources_pb2
from gausscert_agent.server import MAX_CONCURRENT_RPCS, MAX_REQUEST_BYTES, OPTIONS
from gausscert_common import certset
from gausscert_common.errors import NodeFailure, NodeRefusal, Reason
from gausscert_common.identity import Role
from gausscert_common.protocol.commands import Command
from gausscert_common.protocol.words import RestartScope, Step
from gausscert_common.wire import errors, requests
from gausscert_coordinator import pki
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.edge_calls import GOOD, TX, edge, operator, outcome, ref, refusal, restart_of, stub
from support.edges import (
    NODE,
    credentials_of,
    expired,
    make_ca,
    no_threads_are_left,
    odd_identity,
)

__all__ = ["edge", "no_threads_are_left", "operator", "stub"]


# ---- who may call what


def test_a_call_that_is_not_in_the_table_is_refused(edge, operator):
    channel = edge.channel(operator)

    with pytest.raises(grpc.RpcError) as listing:
        channel.unary_unary("/grpc.health.v1.Health/List")(b"", timeout=5)
    with pytest.raises(grpc.RpcError) as unknown:
        channel.unary_unary("/gausscert.v1.AgentService/Nuke")(b"", timeout=5)

    assert listing.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert unknown.value.code() is grpc.StatusCode.UNIMPLEMENTED


def refused_by_tls(edge, credentials) -> None:
    assert (
        outcome(edge.channel(credentials), "gausscert.v1.AgentService/GetNode") is grpc.StatusCode.UNAVAILABLE
    )
    assert outcome(edge.channel(credentials), "grpc.health.v1.Health/Check") is grpc.StatusCode.UNAVAILABLE
    assert edge.node.seen == []


def test_without_certificate_nobody_gets_in(edge):
    refused_by_tls(edge, None)


def test_a_certificate_of_another_ca_is_refused(edge, tmp_path):
    other = make_ca(tmp_path / "other")
    stranger = pki.issue(other, Role.OPERATOR, "mallory", out=tmp_path / "mallory")
    credentials = credentials_of(stranger)
    trusting = type(credentials)(edge.issued.ca, credentials.cert, credentials.key)

    refused_by_tls(edge, trusting)


def test_an_expired_certificate_is_refused(edge, tmp_path):
    refused_by_tls(edge, expired(edge.ca, Role.OPERATOR, "late", tmp_path / "late"))


def test_another_clusters_identity_is_refused_though_the_ca_is_ours(edge, tmp_path):
    channel = edge.channel(odd_identity(edge.ca, ["gausscert://test/operator/alice"], tmp_path))

    error = refusal(agent_service_pb2_grpc.AgentServiceStub(channel).GetNode, pb.GetNodeRequest())

    assert error.reason is Reason.PERMISSION_DENIED
    assert "cluster prod" in error.message
    assert edge.node.seen == []


@pytest.mark.parametrize(
    "uris",
    [
        [],
        ["https://example.org/"],
        ["gausscert://prod/root/alice"],
        ["gausscert://prod/operator/alice", "gausscert://prod/node/N_1"],
        ["gausscert://prod/operator/%61lice"],
    ],
)
def test_a_certificate_of_ours_without_exactly_one_identity_is_nobody(edge, tmp_path, uris):
    channel = edge.channel(odd_identity(edge.ca, uris, tmp_path))

    error = refusal(agent_service_pb2_grpc.AgentServiceStub(channel).GetNode, pb.GetNodeRequest())
    health = refusal(health_pb2_grpc.HealthStub(channel).Check, health_pb2.HealthCheckRequest())

    assert error.reason is health.reason is Reason.UNAUTHENTICATED
    assert edge.node.seen == []


RESTARTS = [
    ("Stop", Step.STOP),
    ("Stop", Step.ROLLBACK_STOP),
    ("Start", Step.START),
    ("Start", Step.ROLLBACK_START),
]


@pytest.mark.parametrize("in_transaction", [True, False])
@pytest.mark.parametrize(("rpc", "step"), RESTARTS)
@pytest.mark.parametrize("role", [Role.OPERATOR, Role.RECOVERER])
def test_a_recoverer_goes_forward_only_where_there_is_something_to_finish(
    edge, role, rpc, step, in_transaction
):
    stub = agent_service_pb2_grpc.AgentServiceStub(edge.channel(edge.person(role, "rob")))
    edge.node.in_transaction = in_transaction
    request = restart_of(requests.stop_request if rpc == "Stop" else requests.start_request, step)

    if in_transaction or role is Role.OPERATOR or step in (Step.ROLLBACK_STOP, Step.ROLLBACK_START):
        getattr(stub, rpc)(request, timeout=5)
        assert [name for name, _ in edge.node.seen] == ["restart"]
    else:
        error = refusal(getattr(stub, rpc), request)
        assert error.reason is Reason.PERMISSION_DENIED
        assert "no transaction" in error.message
        assert edge.node.seen == []


# ---- what goes in and out


def test_values_arrive_as_they_were_sent(edge, stub):
    stub.Stop(GOOD["Stop"], timeout=5)
    stub.Swap(GOOD["Swap"], timeout=5)
    stub.Probe(pb.ProbeRequest(query=True), timeout=5)
    answer = stub.Prepare(GOOD["Prepare"], timeout=5)

    seen = dict(edge.node.seen)
    command, orders = seen["restart"]
    assert (command, orders.scope, orders.executor, orders.timeout_s) == (
        Command(TX, 1, Step.STOP),
        RestartScope.NODE,
        True,
        5.0,
    )
    assert seen["move"] == Command(TX, 1, Step.SWAP)
    assert seen["probe"] == (True, 5.0)
    assert answer.stage.digest == "e" * 64
    assert [finding.code for finding in answer.findings] == ["EXPIRES_SOON"]


def test_a_request_that_is_not_understood_never_reaches_the_node(edge, stub):
    for call, request in (
        (stub.Swap, pb.SwapRequest()),
        (stub.Swap, pb.SwapRequest(ref=ref(Step.COMMIT))),
        (stub.Acquire, pb.AcquireRequest(ref=ref(Step.ACQUIRE))),
        (stub.Judge, pb.JudgeRequest()),
        (stub.Judge, pb.JudgeRequest(generation="../../etc")),
        (stub.Judge, pb.JudgeRequest(generation="tx-00000000", crl_policy=55)),
        (stub.Prepare, pb.PrepareRequest(ref=ref(Step.PREPARE), participants=[NODE], restart=1)),
        (
            stub.Prepare,
            pb.PrepareRequest(
                ref=ref(Step.PREPARE), participants=["other"], restart=1, generation="tx-00000000"
            ),
        ),
        (stub.Encrypt, pb.EncryptRequest(request_id="req-0001", server_password="x")),
        (stub.SetEnableSsl, pb.SetEnableSslRequest(request_id="req-0001")),
    ):
        error = refusal(call, request)
        assert (error.reason, error.node) == (Reason.ARGUMENT_INVALID, NODE)
    assert edge.node.seen == []


def test_an_error_of_the_node_arrives_whole(edge, stub):
    edge.node.raises = [NodeFailure(Reason.STORE_FAILED, "no space", file="server.key", remedy="make room")]

    error = refusal(stub.Commit, GOOD["Commit"])

    assert isinstance(error, NodeFailure)
    assert (error.reason, error.node, error.file, error.remedy) == (
        Reason.STORE_FAILED,
        NODE,
        "server.key",
        "make room",
    )


@pytest.mark.parametrize("method", ["GetNode", "Commit", "WatchTransaction"])
def test_the_text_of_an_unforeseen_exception_goes_nowhere(edge, stub, caplog, method):
    edge.node.raises = [ValueError("canary-Secr3t in a text")]
    call = getattr(stub, method)

    with caplog.at_level(logging.DEBUG), pytest.raises(grpc.RpcError) as caught:
        list(call(GOOD[method], timeout=5))

    failed = caught.value
    details = dict(failed.trailing_metadata())[errors.DETAILS_KEY]
    assert failed.code() is grpc.StatusCode.INTERNAL
    assert b"canary" not in failed.details().encode() + details
    error = errors.from_rpc(failed.code(), failed.details(), details, node=NODE)
    incident = error.message.split()[-1]
    record = next(r for r in caplog.records if getattr(r, "incident", "") == incident)
    assert record.exception == "ValueError"
    assert "edges.py" in record.where
    assert "canary" not in caplog.text + str([vars(r) for r in caplog.records])


def test_every_command_is_logged_with_its_caller_and_its_end(edge, stub, caplog):
    edge.node.raises = [NodeRefusal(Reason.FENCED, "late")]
    with caplog.at_level(logging.INFO):
        refusal(stub.Commit, GOOD["Commit"])
        stub.Commit(GOOD["Commit"], timeout=5)

    ended = [record for record in caplog.records if record.getMessage().startswith("call ")]
    assert [(r.rpc, r.caller, r.result, r.transaction, r.epoch, r.step) for r in ended] == [
        ("Commit", "gausscert://prod/operator/alice", "FENCED", TX, 1, Step.COMMIT),
        ("Commit", "gausscert://prod/operator/alice", "ok", TX, 1, Step.COMMIT),
    ]


def test_an_oversized_message_is_refused_and_the_agent_goes_on(edge, stub):
    """One that would be carried out if it were not for its size: any other is refused for another reason."""
    huge, large = pb.PrepareRequest(), pb.PrepareRequest()
    names = ("cacert_pem", "server_crt", "server_key", "client_crt", "client_key")
    for request, size in ((huge, certset.MAX_FILE_BYTES), (large, certset.MAX_FILE_BYTES // 2)):
        request.CopyFrom(GOOD["Prepare"])
        request.bundle.CopyFrom(resources_pb2.Bundle(**dict.fromkeys(names, b"x" * size)))
    assert huge.ByteSize() > MAX_REQUEST_BYTES > large.ByteSize()

    with pytest.raises(grpc.RpcError) as caught:
        stub.Prepare(huge, timeout=10)

    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert refusal(lambda *_, **__: stub.Prepare(huge, timeout=10), huge).reason is Reason.ARGUMENT_INVALID
    assert edge.node.seen == []
    stub.Prepare(large, timeout=10)
    assert [name for name, _ in edge.node.seen] == ["prepare"]
    stub.GetNode(pb.GetNodeRequest(), timeout=5)


def test_metadata_that_is_too_long_is_refused_and_the_agent_goes_on(edge, stub):
    with pytest.raises(grpc.RpcError) as caught:
        stub.GetNode(pb.GetNodeRequest(), timeout=5, metadata=[("x-long", "x" * 20_000)])

    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert edge.node.seen == []
    stub.GetNode(pb.GetNodeRequest(), timeout=5)


def test_limits_that_take_minutes_to_see_are_those_of_the_design():
    """Section 8: message 1 MiB, handshake 5 s, idle and age limits, bounded concurrency, no shared port."""
    limits = dict(OPTIONS)

    assert limits["grpc.max_receive_message_length"] == MAX_REQUEST_BYTES == 2**20
    assert limits["grpc.server_handshake_timeout_ms"] == 5_000
    assert 0 < limits["grpc.max_connection_idle_ms"] <= 60_000
    assert 0 < limits["grpc.max_connection_age_ms"] <= 300_000
    assert limits["grpc.max_connection_age_grace_ms"] > 0
    assert 0 < limits["grpc.max_concurrent_streams"] <= 16
    assert 0 < limits["grpc.http2.min_recv_ping_interval_without_data_ms"] <= 20_000
    assert 0 < MAX_CONCURRENT_RPCS <= 2048
    assert limits["grpc.so_reuseport"] == 0


def test_rubbish_is_refused_and_the_agent_goes_on(edge, operator, stub):
    channel = edge.channel(operator)

    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/gausscert.v1.AgentService/Commit")(b"\xff\xff\xff", timeout=5)

    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert edge.node.seen == []
    stub.GetNode(pb.GetNodeRequest(), timeout=5)


def test_looking_is_never_held_up_by_commands(edge, operator, stub):
    edge.node.gate.clear()
    waiting = [stub.Commit.future(GOOD["Commit"], timeout=30) for _ in range(8)]
    assert edge.node.inside.acquire(timeout=5)

    began = time.monotonic()
    stub.GetNode(pb.GetNodeRequest(), timeout=5)
    health = health_pb2_grpc.HealthStub(edge.channel(operator))
    health.Check(health_pb2.HealthCheckRequest(), timeout=5)
    assert time.monotonic() - began < 2

    edge.node.gate.set()
    assert [call.result() is not None for call in waiting] == [True] * 8


def test_silent_connections_are_closed(edge):
    with socket.create_connection(("127.0.0.1", edge.port), 5) as silent:
        silent.settimeout(10)
        began = time.monotonic()
        assert silent.recv(1) == b""
        assert 3 < time.monotonic() - began < 8


def test_only_tls_is_spoken_and_only_with_h2(edge, operator):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(edge.issued.ca)
    context.load_cert_chain(operator.cert, operator.key)
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(("127.0.0.1", edge.port), 5) as raw,
        context.wrap_socket(raw) as connection,
    ):
        assert connection.version() == "TLSv1.3"
        assert connection.selected_alpn_protocol() == "h2"
    plain = grpc.insecure_channel(edge.address)
    with plain, pytest.raises(grpc.RpcError) as caught:
        agent_service_pb2_grpc.AgentServiceStub(plain).GetNode(pb.GetNodeRequest(), timeout=5)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
