"""What a node's audit log has of the calls that were made to it."""

from __future__ import annotations

import grpc
import pytest
from gausscert.v1 import agent_service_pb2 as pb
from gausscert.v1 import agent_service_pb2_grpc
from gausscert_common import auditing
from gausscert_common.errors import NodeRefusal, Reason
from gausscert_common.identity import Role
from support.audit_lines import event_of
from support.edge_calls import GOOD, TX, edge, operator, outcome, refusal, stub
from support.edges import no_threads_are_left, odd_identity

__all__ = ["edge", "no_threads_are_left", "operator", "stub"]

READS = {"GetNode", "Judge", "GetExpiry", "Probe", "WatchTransaction", "ReadAudit", "Check", "Watch"}
ALICE = "gausscert://prod/operator/alice"


def log_of(stub) -> list[auditing.Event]:
    answer = stub.ReadAudit(pb.ReadAuditRequest(), timeout=5)
    assert auditing.verify(answer.lines).fault is None
    return [event_of(line) for line in answer.lines]


def test_every_call_that_may_change_something_has_one_line(edge, operator, stub):
    good = GOOD | {
        "FinishRenewal": pb.FinishRenewalRequest(
            request_id="req-0001", certificate=edge.issued.cert.read_bytes()
        )
    }
    channel = edge.channel(operator)
    for method in good:
        service = "grpc.health.v1.Health" if method in ("Check", "Watch") else "gausscert.v1.AgentService"
        assert outcome(channel, f"{service}/{method}", good) is grpc.StatusCode.OK

    written = log_of(stub)

    assert [each.rpc for each in written] == [method for method in good if method not in READS]
    assert {(each.who, each.outcome) for each in written} == {(ALICE, "OK")}
    steps = {each.rpc: (each.transaction, each.epoch, each.step) for each in written}
    assert steps["Swap"] == (TX, 1, "SWAP")
    assert steps["Encrypt"] == ("req-0001", 0, "")
    assert all(each.serial and each.peer for each in written)


def test_the_answer_carries_the_line_about_it(stub):
    answer, call = stub.Commit.with_call(GOOD["Commit"], timeout=5)
    del answer
    head = auditing.as_head(dict(call.trailing_metadata())[auditing.HEAD_KEY])

    lines = stub.ReadAudit(pb.ReadAuditRequest(), timeout=5).lines

    assert auditing.head_of(lines[-1]) == head
    _, call = stub.GetNode.with_call(GOOD["GetNode"], timeout=5)
    assert auditing.HEAD_KEY not in dict(call.trailing_metadata())


@pytest.mark.parametrize("method", ["Stop", "Swap", "Start", "Abort"])
def test_in_the_outage_no_line_is_told_of_before_it_is_durable(stub, method):
    _, call = getattr(stub, method).with_call(GOOD[method], timeout=5)
    assert auditing.HEAD_KEY not in dict(call.trailing_metadata())

    _, call = stub.Commit.with_call(GOOD["Commit"], timeout=5)
    assert auditing.as_head(dict(call.trailing_metadata())[auditing.HEAD_KEY]).number == 2


def test_what_a_node_refuses_and_what_nobody_foresaw_is_written_down_too(edge, stub):
    edge.node.raises = [NodeRefusal(Reason.FENCED, "late")]
    refusal(stub.Commit, GOOD["Commit"])
    edge.node.raises = [ValueError("canary-Secr3t")]
    refusal(stub.Abort, GOOD["Abort"])
    refusal(stub.Swap, pb.SwapRequest())

    assert [(each.rpc, each.outcome) for each in log_of(stub)] == [
        ("Commit", "FENCED"),
        ("Abort", "INTERNAL"),
        ("Swap", "ARGUMENT_INVALID"),
    ]


def test_whoever_may_not_call_is_written_down_whatever_he_asks_for(edge, stub, tmp_path):
    eve = edge.channel(edge.person(Role.OBSERVER, "eve"))
    odd = edge.channel(odd_identity(edge.ca, ["gausscert://test/operator/alice"], tmp_path))
    assert outcome(eve, "gausscert.v1.AgentService/Swap") is grpc.StatusCode.PERMISSION_DENIED
    assert outcome(odd, "gausscert.v1.AgentService/GetNode") is grpc.StatusCode.PERMISSION_DENIED
    assert outcome(odd, "grpc.health.v1.Health/Check") is grpc.StatusCode.PERMISSION_DENIED

    assert [(each.who, each.rpc, each.outcome) for each in log_of(stub)] == [
        ("gausscert://prod/observer/eve", "Swap", "PERMISSION_DENIED"),
        ("gausscert://test/operator/alice", "GetNode", "PERMISSION_DENIED"),
        ("gausscert://test/operator/alice", "Check", "PERMISSION_DENIED"),
    ]


def test_a_flood_of_refusals_does_not_fill_the_disk(edge, stub):
    eve = agent_service_pb2_grpc.AgentServiceStub(edge.channel(edge.person(Role.OBSERVER, "eve")))
    for _ in range(120):
        assert refusal(eve.Abort, GOOD["Abort"]).reason is Reason.PERMISSION_DENIED

    stub.Commit(GOOD["Commit"], timeout=5)

    written = log_of(stub)
    assert written[-1].rpc == "Commit"
    assert len(written) < 60
    assert len(written) - 1 + sum(each.skipped for each in written) == 120


def test_no_secret_gets_into_the_log(edge, stub):
    request = pb.EncryptRequest(
        request_id="req-0001", server_password="canary-Secr3t", client_password="canary-0ther"
    )
    stub.Encrypt(request, timeout=5)
    stub.ExtendDenyList(pb.ExtendDenyListRequest(list=b"serial aa canary-note\n"), timeout=5)
    asked = stub.BeginRenewal(pb.BeginRenewalRequest(request_id="req-0001"), timeout=5)

    bodies = b"".join(path.read_bytes() for path in (edge.config.state_dir / "audit").iterdir())
    assert bodies.count(b"\n") == 3
    assert b"canary" not in bodies
    assert b"BEGIN" not in bodies
    assert asked.request


@pytest.mark.parametrize("long", ["x" * 5000, "\n" * 50, "ä" * 3000])
def test_what_a_caller_sends_cannot_stretch_or_break_a_line(stub, long):
    ref = pb.TransactionRef(transaction_id=long, epoch=2**64 - 1, step=3)
    refusal(stub.Swap, pb.SwapRequest(ref=ref))
    stub.Commit(GOOD["Commit"], timeout=5)

    lines = stub.ReadAudit(pb.ReadAuditRequest(), timeout=5).lines
    assert auditing.verify(lines).head.number == len(lines) == 2
    assert all(len(line) < auditing.MAX_LINE_BYTES for line in lines)
