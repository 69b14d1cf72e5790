"""Whoever is revoked is refused, by every agent, on open connections, and without a restart."""

from __future__ import annotations

import asyncio
import logging
import os

import grpc
import pytest
from cryptography import x509
from gausscert.v1 import agent_service_pb2 as pb
from gausscert.v1 import agent_service_pb2_grpc
from gausscert_agent import peer
from gausscert_common.errors import InvalidInput, Reason
from gausscert_common.identity import ALLOWED, Role
from gausscert_coordinator import pki, pki_register
from gausscert_coordinator.control_plane import ControlPlane
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.edge_calls import GOOD, edge, operator, outcome, refusal, stub
from support.edges import EVENT, NODE, credentials_of, no_threads_are_left

__all__ = ["edge", "no_threads_are_left", "operator", "stub"]


def denied_line(edge, credentials, kind="serial") -> bytes:
    cert = x509.load_pem_x509_certificate(credentials.cert.read_bytes())
    number = f"{cert.serial_number:x}"
    if kind == "sha256":
        number = cert.fingerprint(cert.signature_hash_algorithm).hex()
    return f"{kind} {number} somebody\n".encode()


def extend(stub, line: bytes) -> pb.ExtendDenyListResponse:
    return stub.ExtendDenyList(pb.ExtendDenyListRequest(list=line), timeout=5)


@pytest.fixture
def bob(edge):
    return edge.person(Role.OPERATOR, "bob")


@pytest.fixture
def deny_list(edge):
    return edge.config.state_dir / "deny.list"


def install(path, body, mode=0o600) -> None:
    new = path.with_suffix(".tmp")
    new.touch(mode)
    new.write_bytes(body)
    new.chmod(mode)
    new.replace(path)


@pytest.mark.parametrize("kind", ["serial", "sha256"])
def test_a_revoked_operator_is_refused_on_the_connection_that_he_has(edge, stub, bob, kind):
    his = agent_service_pb2_grpc.AgentServiceStub(edge.channel(bob))
    his.GetNode(pb.GetNodeRequest(), timeout=5)

    extend(stub, denied_line(edge, bob, kind))

    error = refusal(his.GetNode, pb.GetNodeRequest())
    assert error.reason is Reason.REVOKED
    assert refusal(his.Commit, GOOD["Commit"]).reason is Reason.REVOKED
    assert [name for name, _ in edge.node.seen] == ["report"]
    stub.GetNode(pb.GetNodeRequest(), timeout=5)


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.OBSERVER, Role.RECOVERER])
def test_whoever_is_revoked_may_make_no_call_at_all(edge, stub, role):
    his = edge.person(role, "bob")
    extend(stub, denied_line(edge, his))
    channel = edge.channel(his)

    assert {rpc: outcome(channel, rpc) for rpc in ALLOWED} == dict.fromkeys(
        ALLOWED, grpc.StatusCode.PERMISSION_DENIED
    )
    assert edge.node.seen == []


def test_another_credential_of_the_same_person_is_another_matter(edge, stub, bob):
    extend(stub, denied_line(edge, bob))
    fresh = credentials_of(pki.issue(edge.ca, Role.OPERATOR, "bob", out=edge.root / "fresh"))

    agent_service_pb2_grpc.AgentServiceStub(edge.channel(fresh)).GetNode(pb.GetNodeRequest(), timeout=5)


def test_a_watch_that_runs_tells_the_revoked_nothing_more(edge, stub, bob):
    his = agent_service_pb2_grpc.AgentServiceStub(edge.channel(bob))
    events = his.WatchTransaction(pb.WatchTransactionRequest(), timeout=20)
    assert next(events).activity == "waiting"
    extend(stub, denied_line(edge, bob))

    edge.node.hub.publish(EVENT)

    with pytest.raises(grpc.RpcError) as ended:
        next(events)
    assert ended.value.code() is grpc.StatusCode.PERMISSION_DENIED


def test_an_agent_only_ever_adds_to_its_list(stub, deny_list):
    first = extend(stub, b"serial aa alice\nserial bb bob\n")
    again = extend(stub, b"serial BB again\n")
    more = extend(stub, b"# only a comment\nserial cc\n")
    none = extend(stub, b"")

    assert [(each.added, each.total) for each in (first, again, more, none)] == [
        (2, 2),
        (0, 2),
        (1, 3),
        (0, 3),
    ]
    assert deny_list.stat().st_mode & 0o777 == 0o600
    assert [line for line in deny_list.read_text().splitlines() if not line.startswith("#")] == [
        "serial aa alice",
        "serial bb bob",
        "serial cc",
    ]


def test_what_people_wrote_into_the_file_stays(stub, deny_list):
    install(deny_list, b"# by hand, without a last newline\nserial aa")

    extend(stub, b"serial bb\n")

    assert deny_list.read_text() == "# by hand, without a last newline\nserial aa\nserial bb\n"


def test_nobody_can_lock_himself_out(edge, operator, stub, deny_list):
    for kind in ("serial", "sha256"):
        error = refusal(
            stub.ExtendDenyList,
            pb.ExtendDenyListRequest(list=b"serial aa\n" + denied_line(edge, operator, kind)),
        )
        assert error.reason is Reason.ARGUMENT_INVALID
    assert not deny_list.exists()


@pytest.mark.parametrize("body", [b"serial zz", b"\xff", b"#" * (600 * 1024)])
def test_a_list_that_is_not_understood_is_refused_whole(stub, deny_list, body):
    error = refusal(stub.ExtendDenyList, pb.ExtendDenyListRequest(list=b"serial aa\n" + body))

    assert error.reason is Reason.DENY_LIST_INVALID
    assert not deny_list.exists()


def test_a_list_that_is_copied_there_counts_without_a_restart(edge, stub, bob, deny_list):
    his = agent_service_pb2_grpc.AgentServiceStub(edge.channel(bob))
    his.GetNode(pb.GetNodeRequest(), timeout=5)

    install(deny_list, denied_line(edge, bob))
    assert refusal(his.GetNode, pb.GetNodeRequest()).reason is Reason.REVOKED

    install(deny_list, b"# nobody\n")
    his.GetNode(pb.GetNodeRequest(), timeout=5)


def directory_in_its_place(path) -> None:
    path.mkdir()


def link_in_its_place(path) -> None:
    path.symlink_to("/dev/null")


def somebody_elses(path) -> None:
    install(path, b"")
    os.chown(path, 12345, 12345)


def others_may_write(path) -> None:
    install(path, b"", 0o622)


def not_understood(path) -> None:
    install(path, b"alice\n")


def of_another_kind(path) -> None:
    install(path, b"\xff\x00")


@pytest.mark.parametrize(
    "spoil",
    [
        not_understood,
        of_another_kind,
        others_may_write,
        directory_in_its_place,
        link_in_its_place,
        pytest.param(
            somebody_elses, marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
        ),
    ],
)
def test_a_list_that_cannot_be_used_keeps_everybody_out(edge, operator, stub, deny_list, caplog, spoil):
    stub.GetNode(pb.GetNodeRequest(), timeout=5)
    edge.node.seen.clear()
    with caplog.at_level(logging.ERROR):
        spoil(deny_list)
        errors = [refusal(stub.GetNode, pb.GetNodeRequest()) for _ in range(3)]

    assert {error.reason for error in errors} == {Reason.DENY_LIST_UNUSABLE}
    assert errors[0].file == str(deny_list)
    assert errors[0].remedy
    assert refusal(stub.ExtendDenyList, pb.ExtendDenyListRequest()).reason is Reason.DENY_LIST_UNUSABLE
    assert edge.node.seen == []
    told = [record for record in caplog.records if "deny list cannot be used" in record.getMessage()]
    assert [record.file for record in told] == [str(deny_list)]
    # Health is still told, so that somebody comes to look; what it says, test_fitness has.
    health = health_pb2_grpc.HealthStub(edge.channel(operator))
    health.Check(health_pb2.HealthCheckRequest(), timeout=5)
    (finding,) = edge.server.control.denied.findings()
    assert (finding.code, finding.file) == ("NODE_DENY_LIST_UNUSABLE", str(deny_list))

    if deny_list.is_dir() and not deny_list.is_symlink():
        deny_list.rmdir()
    install(deny_list, b"")
    stub.GetNode(pb.GetNodeRequest(), timeout=5)
    assert edge.server.control.denied.findings() == ()


def test_the_coordinator_sends_what_the_directory_of_the_ca_has(edge, operator, bob):
    entries = [each for each in pki_register.entries(edge.ca) if each.identity.name == "bob"]
    listed = pki_register.revoke(edge.ca, entries, "left")
    lines = "".join(f"{one.line}\n" for one in listed.entries).encode()

    async def send():
        async with ControlPlane(edge.inventory(operator)) as control:
            with pytest.raises(InvalidInput, match="the CA is that of cluster other"):
                await control.deny(lines, "other")
            cluster = edge.inventory(operator).cluster
            return await control.deny(lines, cluster), await control.deny(lines, cluster)

    (first,), (again,) = asyncio.run(send())

    assert (first.node, first.added, first.total, first.error) == (NODE, 1, 1, None)
    assert (again.added, again.total) == (0, 1)
    error = refusal(agent_service_pb2_grpc.AgentServiceStub(edge.channel(bob)).GetNode, pb.GetNodeRequest())
    assert error.reason is Reason.REVOKED


def test_serial_numbers_are_read_as_cryptography_reads_them(edge):
    for path in (*edge.ca.glob("*.crt"), edge.issued.cert):
        cert = x509.load_pem_x509_certificate(path.read_bytes())
        found = peer._numbers(path.read_bytes())
        assert found.serial == f"{cert.serial_number:x}"
        assert found.fingerprint == cert.fingerprint(cert.signature_hash_algorithm).hex()


@pytest.mark.parametrize("der", [b"", b"\x30", b"\x30\x02\x30\x05", b"\x31\x00", b"\x30\x84\xff\xff\xff\xff"])
def test_what_is_no_certificate_has_no_serial_number(der):
    with pytest.raises((ValueError, IndexError)):
        peer.serial_of(der)
