"""The agent's gRPC edge as a hostile or clumsy caller meets it."""

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
from gausscert.v1 import agent_service_pb2_grpc, resources_pb2
from gausscert_agent.credential_source import CredentialSource
from gausscert_agent.server import MAX_REQUEST_BYTES, AgentServer
from gausscert_common import identity
from gausscert_common.errors import InvalidInput, NodeFailure, NodeRefusal, Reason
from gausscert_common.identity import ALLOWED, Role, may_call
from gausscert_common.protocol.commands import Command
from gausscert_common.protocol.words import RestartScope, Step
from gausscert_common.wire import errors, requests
from gausscert_coordinator import pki
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.edges import (
    CLUSTER,
    NODE,
    Edge,
    copy_private,
    credentials_of,
    expired,
    make_ca,
    no_threads_are_left,
    odd_identity,
)

__all__ = ["no_threads_are_left"]

TX = "tx-00000001"


@pytest.fixture
def edge(tmp_path):
    with Edge(tmp_path) as running:
        yield running


@pytest.fixture
def operator(edge):
    return edge.person(Role.OPERATOR, "alice")


@pytest.fixture
def stub(edge, operator):
    return agent_service_pb2_grpc.AgentServiceStub(edge.channel(operator))


def ref(step: Step) -> pb.TransactionRef:
    return requests.ref(Command(TX, 1, step))


def restart_of(make, step):
    return make(Command(TX, 1, step), scope=RestartScope.NODE, executor=True, timeout_s=5.0)


GOOD = {
    "GetNode": pb.GetNodeRequest(),
    "GetExpiry": pb.GetExpiryRequest(),
    "Probe": pb.ProbeRequest(),
    "WatchTransaction": pb.WatchTransactionRequest(),
    "Acquire": requests.acquire_request(
        Command(TX, 1, Step.ACQUIRE), holder="alice@h:1", lease_s=30.0, take_over=False
    ),
    "Prepare": pb.PrepareRequest(ref=ref(Step.PREPARE), participants=[NODE], restart="RESTART_SCOPE_NODE"),
    "Stop": restart_of(requests.stop_request, Step.STOP),
    "Swap": pb.SwapRequest(ref=ref(Step.SWAP)),
    "Start": restart_of(requests.start_request, Step.START),
    "Commit": pb.CommitRequest(ref=ref(Step.COMMIT)),
    "Purge": pb.PurgeRequest(ref=ref(Step.PURGE)),
    "Abort": pb.AbortRequest(ref=ref(Step.ABORT)),
    "Clean": pb.CleanRequest(ref=ref(Step.CLEAN)),
    "Encrypt": pb.EncryptRequest(request_id="req-0001", server_password="a", client_password="b"),
    "SetEnableSsl": pb.SetEnableSslRequest(request_id="req-0001", enable_ssl="SSL_WISH_ON"),
    "Check": health_pb2.HealthCheckRequest(),
    "Watch": health_pb2.HealthCheckRequest(),
}
"""A request for every call that every node would carry out."""


def outcome(channel: grpc.Channel, rpc: str) -> grpc.StatusCode:
    """Call `service/method` and say how it ended; a stream is heard to its end or first message."""
    method = rpc.rpartition("/")[2]
    body = GOOD[method].SerializeToString()
    try:
        if method in ("WatchTransaction", "Watch"):
            stream = channel.unary_stream(f"/{rpc}")(body, timeout=5)
            next(stream)
            stream.cancel()
        else:
            channel.unary_unary(f"/{rpc}")(body, timeout=5)
    except grpc.RpcError as failed:
        return failed.code()
    return grpc.StatusCode.OK


def refusal(call, *arguments, **keywords):
    """The error that a call ended with, as the coordinator would raise it."""
    keywords.setdefault("timeout", 5)
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **keywords)
    failed = caught.value
    details = dict(failed.trailing_metadata()).get(errors.DETAILS_KEY)
    return errors.from_rpc(failed.code(), failed.details(), details, node="dialled")


# ---- who may call what


@pytest.mark.parametrize("role", list(Role))
def test_the_role_matrix_over_all_calls(edge, role):
    channel = edge.channel(edge.person(role, "bob"))
    assert set(GOOD) == {rpc.rpartition("/")[2] for rpc in ALLOWED}

    for rpc in ALLOWED:
        edge.node.seen.clear()
        expected = grpc.StatusCode.OK if may_call(role, rpc) else grpc.StatusCode.PERMISSION_DENIED
        assert (rpc, outcome(channel, rpc)) == (rpc, expected)
        reaches_node = may_call(role, rpc) and not rpc.startswith(identity.HEALTH_SERVICE)
        assert len(edge.node.seen) == int(reaches_node), rpc


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
        (stub.Prepare, pb.PrepareRequest(ref=ref(Step.PREPARE), participants=["other"], restart=1)),
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
    huge = pb.PrepareRequest(bundle=resources_pb2.Bundle(cacert_pem=b"x" * MAX_REQUEST_BYTES))

    error = refusal(stub.Prepare, huge)

    assert error.reason is Reason.ARGUMENT_INVALID
    assert edge.node.seen == []
    stub.GetNode(pb.GetNodeRequest(), timeout=5)


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


# ---- the server's life


def test_a_port_in_use_is_told_by_its_number(edge, tmp_path):
    taken = replace(edge.config, listen=edge.address)
    second = AgentServer(taken, edge.node, CredentialSource(taken))

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
    server = AgentServer(edge.config, edge.node, CredentialSource(edge.config))

    with pytest.raises(InvalidInput) as caught:
        server.start()
    server.close()

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
