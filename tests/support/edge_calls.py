"""Requests that every node would carry out, and how calls end. The fixtures `edge`, `operator` and `stub` are
to be imported where they are used."""

from __future__ import annotations

import contextlib

import grpc
import pytest
from gausscert.v1 import agent_service_pb2 as pb
from gausscert.v1 import agent_service_pb2_grpc
from gausscert_common.errors import GausscertError
from gausscert_common.identity import Role
from gausscert_common.protocol.commands import Command
from gausscert_common.protocol.words import RestartScope, Step
from gausscert_common.wire import errors, requests
from gausscert_coordinator import agents
from grpc_health.v1 import health_pb2
from support.edges import NODE, Edge

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
    "Judge": pb.JudgeRequest(generation="tx-00000000"),
    "GetExpiry": pb.GetExpiryRequest(),
    "Probe": pb.ProbeRequest(),
    "WatchTransaction": pb.WatchTransactionRequest(),
    "Acquire": requests.acquire_request(
        Command(TX, 1, Step.ACQUIRE), holder="alice@h:1", lease_s=30.0, take_over=False
    ),
    "Prepare": pb.PrepareRequest(
        ref=ref(Step.PREPARE), participants=[NODE], restart="RESTART_SCOPE_NODE", generation="tx-00000000"
    ),
    "Stop": restart_of(requests.stop_request, Step.STOP),
    "Swap": pb.SwapRequest(ref=ref(Step.SWAP)),
    "Start": restart_of(requests.start_request, Step.START),
    "Commit": pb.CommitRequest(ref=ref(Step.COMMIT)),
    "Purge": pb.PurgeRequest(ref=ref(Step.PURGE)),
    "Abort": pb.AbortRequest(ref=ref(Step.ABORT)),
    "Clean": pb.CleanRequest(ref=ref(Step.CLEAN)),
    "Encrypt": pb.EncryptRequest(request_id="req-0001", server_password="a", client_password="b"),
    "SetEnableSsl": pb.SetEnableSslRequest(request_id="req-0001", enable_ssl="SSL_WISH_ON"),
    "BeginRenewal": pb.BeginRenewalRequest(request_id="req-0001"),
    "FinishRenewal": pb.FinishRenewalRequest(request_id="req-0001"),
    "ExtendDenyList": pb.ExtendDenyListRequest(list=b"serial 1f\n"),
    "ReadAudit": pb.ReadAuditRequest(),
    "Check": health_pb2.HealthCheckRequest(),
    "Watch": health_pb2.HealthCheckRequest(),
}
"""A request for every call that every node would carry out; but for FinishRenewal, which depends on it."""


def outcome(channel: grpc.Channel, rpc: str, good=GOOD) -> grpc.StatusCode:
    """Call `service/method` and say how it ended; a stream is heard to its end or first message."""
    method = rpc.rpartition("/")[2]
    body = good[method].SerializeToString() if method in good else b""
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


@contextlib.asynccontextmanager
async def connected(inventory, **options):
    """The only agent of an inventory."""
    found = agents.connect(inventory, **options)
    try:
        (agent,) = found.values()
        yield agent
    finally:
        for each in found.values():
            await each.close()


async def error_of(awaitable):
    with pytest.raises(GausscertError) as caught:
        await awaitable
    return caught.value
