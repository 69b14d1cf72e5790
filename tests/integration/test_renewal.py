"""Renewal of an agent's credential over the wire, while it serves."""

from __future__ import annotations

import asyncio
import errno
import itertools
import stat
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from gausscert.v1 import agent_service_pb2 as pb
from gausscert.v1 import agent_service_pb2_grpc
from gausscert_agent import renewed
from gausscert_agent.credential_source import CredentialSource
from gausscert_agent.files import Disk
from gausscert_common.errors import InvalidInput, Reason
from gausscert_common.identity import Role
from gausscert_coordinator import pki, pki_certificates, pki_register
from gausscert_coordinator.control_plane import ControlPlane
from gausscert_coordinator.diagnosis import Dialled, served_fingerprint
from gausscert_coordinator.inventory import Credentials
from gausscert_coordinator.pki_requests import Signer
from support.edge_calls import edge, operator, outcome, refusal, stub
from support.edges import CLUSTER, NODE, copy_private, make_ca, no_threads_are_left

__all__ = ["edge", "no_threads_are_left", "operator", "stub"]

BEGIN = pb.BeginRenewalRequest(request_id="renewal-1")


def served(edge, credentials) -> str:
    return served_fingerprint(Dialled(CLUSTER, NODE, edge.address, credentials))


def signer(edge, ca=None, trusted=None) -> Signer:
    return Signer(ca or edge.ca, None, (trusted or edge.issued.ca).read_bytes())


def kept_by(edge) -> list[str]:
    """What lies in the agent's state directory, but for its audit log."""
    return sorted(path.name for path in edge.config.state_dir.iterdir() if path.name != "audit")


def renew(edge, credentials, by=None):
    async def once():
        async with ControlPlane(edge.inventory(credentials)) as control:
            return await control.renew((NODE,), by or signer(edge))

    (found,) = asyncio.run(once())
    return found


class Callers:
    """Call without end, each time over the same connection or over a new one."""

    def __init__(self, edge, credentials) -> None:
        self._edge, self._credentials = edge, credentials
        self._over = threading.Event()
        self.lost: list[str] = []
        self.answered = {"kept": 0, "new": 0}
        self._threads = [threading.Thread(target=self._call, args=(how,)) for how in self.answered]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        self.wait_for_answers()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def wait_for_answers(self) -> None:
        """Until each kind was answered some more times."""
        wanted = {how: count + 3 for how, count in self.answered.items()}
        while any(self.answered[how] < count for how, count in wanted.items()) and not self.lost:
            self._over.wait(0.01)

    def _call(self, how: str) -> None:
        kept = self._edge.channel(self._credentials)
        while not self._over.is_set():
            options = {"grpc.use_local_subchannel_pool": 1}
            channel = kept if how == "kept" else self._edge.channel(self._credentials, **options)
            try:
                agent_service_pb2_grpc.AgentServiceStub(channel).GetNode(pb.GetNodeRequest(), timeout=10)
                self.answered[how] += 1
            except grpc.RpcError as failed:
                self.lost.append(f"{how}: {failed.code()} {failed.details()}")
            if how == "new":
                channel.close()


def test_no_call_is_lost_while_credentials_are_renewed(edge, operator):
    before = {path: path.read_bytes() for path in (edge.config.tls.cert, edge.config.tls.key)}
    seen = [served(edge, operator)]

    with Callers(edge, operator) as callers:
        for _ in range(5):
            renewed = renew(edge, operator)
            assert renewed.error is None
            assert renewed.credential.fingerprint == served(edge, operator)
            seen.append(renewed.credential.fingerprint)
            callers.wait_for_answers()

    assert callers.lost == []
    assert len(set(seen)) == 6
    assert all(path.read_bytes() == body for path, body in before.items())


def test_the_key_is_made_on_the_node_and_stays_there(edge, operator, stub):
    asked = stub.BeginRenewal(BEGIN, timeout=5)
    kept = edge.config.state_dir / "credential.pem"

    assert b"PRIVATE" not in asked.SerializeToString()
    assert not kept.exists()
    signed = signer(edge).sign(NODE, asked.request, asked.certificate)
    stub.FinishRenewal(pb.FinishRenewalRequest(request_id="renewal-1", certificate=signed.pem), timeout=5)

    assert stat.S_IMODE(kept.stat().st_mode) == 0o400
    key = serialization.load_pem_private_key(kept.read_bytes(), None)
    assert key.public_key() == x509.load_pem_x509_csr(asked.request).public_key()
    assert key.public_key() != x509.load_pem_x509_certificate(asked.certificate).public_key()
    assert kept_by(edge) == ["credential.pem"]
    assert served(edge, operator) == signed.fingerprint


def test_the_certificate_that_is_shown_is_no_private_key(edge, operator, stub):
    """Both lie in one file; what is passed on of it to others must be the certificate alone."""
    renew(edge, operator)

    asked = stub.BeginRenewal(BEGIN, timeout=5)

    assert asked.certificate.startswith(b"-----BEGIN CERTIFICATE-----")
    assert b"PRIVATE" not in asked.SerializeToString()


def test_both_halves_may_be_repeated(edge, operator, stub):
    asked = stub.BeginRenewal(BEGIN, timeout=5)
    assert stub.BeginRenewal(BEGIN, timeout=5) == asked
    signed = signer(edge).sign(NODE, asked.request, asked.certificate)
    finish = pb.FinishRenewalRequest(request_id="renewal-1", certificate=signed.pem)

    first = stub.FinishRenewal(finish, timeout=5)

    assert stub.FinishRenewal(finish, timeout=5) == first
    assert first.credential.fingerprint == signed.fingerprint == served(edge, operator)


def test_a_renewal_that_another_one_has_followed_is_not_finished(edge, operator, stub):
    former = stub.BeginRenewal(BEGIN, timeout=5)
    other = stub.BeginRenewal(pb.BeginRenewalRequest(request_id="renewal-2"), timeout=5)
    assert other.request != former.request
    before = served(edge, operator)

    late = signer(edge).sign(NODE, former.request, former.certificate)
    unknown = refusal(stub.FinishRenewal, finish_with(late.pem))
    mixed = refusal(stub.FinishRenewal, pb.FinishRenewalRequest(request_id="renewal-2", certificate=late.pem))

    assert (unknown.reason, mixed.reason) == (Reason.RENEWAL_UNKNOWN, Reason.CREDENTIAL_INVALID)
    assert served(edge, operator) == before


def finish_with(pem: bytes) -> pb.FinishRenewalRequest:
    return pb.FinishRenewalRequest(request_id="renewal-1", certificate=pem)


def made_for(edge, request: bytes, role=Role.NODE, name=NODE, cluster=CLUSTER, ca=None, days=30) -> bytes:
    """A certificate for the agent's own key that says something else than it must."""
    authority = pki.open_authority(ca or edge.ca, None)
    granted = pki.Identity(cluster, role, name)
    key = x509.load_pem_x509_csr(request).public_key()
    now = datetime.now(UTC)
    names = pki_certificates.names(granted, ())
    end = now + timedelta(days=days)
    return pki_certificates.leaf(
        authority, granted, key, names, min(now, end - timedelta(days=1)), end
    ).public_bytes(serialization.Encoding.PEM)


WRONG = {
    "another node": {"name": "n2"},
    "another role": {"role": Role.OPERATOR},
    "another cluster": {"cluster": "test"},
    "expired": {"days": -1},
}


@pytest.mark.parametrize("wrong", list(WRONG))
def test_a_certificate_that_is_not_the_agents_own_is_refused(edge, operator, stub, wrong):
    before = served(edge, operator)
    asked = stub.BeginRenewal(BEGIN, timeout=5)

    error = refusal(stub.FinishRenewal, finish_with(made_for(edge, asked.request, **WRONG[wrong])))

    assert (error.reason, error.node) == (Reason.CREDENTIAL_INVALID, NODE)
    assert served(edge, operator) == before
    assert kept_by(edge) == []
    # The renewal is still under way: the right certificate ends it.
    stub.FinishRenewal(finish_with(made_for(edge, asked.request)), timeout=5)


def test_a_certificate_of_another_ca_is_refused(edge, operator, stub, tmp_path):
    before = served(edge, operator)
    asked = stub.BeginRenewal(BEGIN, timeout=5)

    error = refusal(
        stub.FinishRenewal, finish_with(made_for(edge, asked.request, ca=make_ca(tmp_path / "other")))
    )

    assert error.reason is Reason.CREDENTIAL_INVALID
    assert "not trusted" in error.message
    assert served(edge, operator) == before


@pytest.mark.parametrize("body", [b"", b"-----BEGIN CERTIFICATE-----\n", b"x" * 20_000])
def test_what_is_no_certificate_is_refused(stub, body):
    stub.BeginRenewal(BEGIN, timeout=5)

    assert refusal(stub.FinishRenewal, finish_with(body)).reason is Reason.CREDENTIAL_INVALID


def test_a_credential_that_cannot_be_kept_is_told_with_what_mends_it(edge, operator, monkeypatch):
    before = served(edge, operator)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(Disk, "write", full)
        error = renew(edge, operator).error

    assert (error.reason, error.node) == (Reason.STORE_FAILED, NODE)
    assert error.file == str(edge.config.state_dir / "credential.pem.new")
    assert "make room" in error.remedy
    assert f"gausscert pki renew --node {NODE}" in error.remedy
    assert served(edge, operator) == before
    assert renew(edge, operator).error is None


def test_a_certificate_for_another_key_is_refused(edge, operator, stub, tmp_path):
    before = served(edge, operator)
    stub.BeginRenewal(BEGIN, timeout=5)
    other = pki.issue(edge.ca, Role.NODE, NODE, out=tmp_path / "other")

    error = refusal(stub.FinishRenewal, finish_with(other.cert.read_bytes()))

    assert error.reason is Reason.CREDENTIAL_INVALID
    assert "key" in error.message
    assert served(edge, operator) == before


def test_an_agent_that_starts_anew_serves_the_renewed_credential(edge, operator):
    renewed = renew(edge, operator).credential

    source = CredentialSource(edge.config)
    source.first()

    own, ca = source.certificates()
    assert (own.serial, own.fingerprint, own.not_after) == (
        renewed.serial,
        renewed.fingerprint,
        renewed.not_after,
    )
    assert own.file == str(edge.config.state_dir / "credential.pem")
    assert (ca.kind, ca.file) == ("credential ca", str(edge.config.tls.ca))


def test_files_that_are_installed_by_hand_afterwards_count_at_once(edge, operator, tmp_path):
    renew(edge, operator)
    issued = pki.issue(edge.ca, Role.NODE, NODE, out=tmp_path / "by-hand")
    for source, target in ((issued.key, edge.config.tls.key), (issued.cert, edge.config.tls.cert)):
        copy_private(source, target.with_suffix(".new")).replace(target)

    assert served(edge, operator) == issued.fingerprint


def test_a_renewed_credential_that_is_spoilt_leaves_the_configured_one(edge, operator, caplog):
    renew(edge, operator)
    kept = edge.config.state_dir / "credential.pem"
    kept.chmod(0o600)
    kept.write_bytes(kept.read_bytes()[:200])

    assert served(edge, operator) == edge.issued.fingerprint
    assert any("renewed credential cannot be used" in record.getMessage() for record in caplog.records)


def test_an_agent_without_any_good_credential_says_what_is_wrong_with_the_renewed_one(edge, operator):
    renew(edge, operator)
    kept = edge.config.state_dir / "credential.pem"
    kept.chmod(0o644)
    edge.config.tls.key.unlink()

    with pytest.raises(InvalidInput) as caught:
        CredentialSource(edge.config).first()

    assert (caught.value.reason, caught.value.file) == (Reason.CREDENTIAL_INVALID, str(kept))


def test_further_names_of_a_node_are_kept(edge, operator, tmp_path):
    named = pki.issue(edge.ca, Role.NODE, NODE, ["db1.example", "10.0.0.1"], out=tmp_path / "named")
    for source, target in ((named.key, edge.config.tls.key), (named.cert, edge.config.tls.cert)):
        copy_private(source, target.with_suffix(".new")).replace(target)

    fingerprint = renew(edge, operator).credential.fingerprint

    (cert,) = (
        cert
        for path in edge.ca.glob("issued-*.crt")
        if (cert := x509.load_pem_x509_certificate(path.read_bytes()))
        .fingerprint(cert.signature_hash_algorithm)
        .hex()
        == fingerprint
    )
    assert pki.named_in(cert)[1] == ["db1.example", "10.0.0.1"]


def test_a_cluster_of_another_name_and_an_unknown_node_are_refused_before_anything(edge, operator, tmp_path):
    other = make_ca(tmp_path / "other", "test")

    async def with_other() -> None:
        async with ControlPlane(edge.inventory(operator)) as control:
            await control.renew((NODE,), signer(edge, other))

    async def of_unknown() -> None:
        async with ControlPlane(edge.inventory(operator)) as control:
            await control.renew((NODE, "n9"), signer(edge))

    for wrong in (with_other, of_unknown):
        with pytest.raises(InvalidInput):
            asyncio.run(wrong())
    assert served(edge, operator) == edge.issued.fingerprint


def test_the_register_has_what_was_signed(edge, operator):
    renewed = renew(edge, operator).credential

    entries = [each for each in pki_register.entries(edge.ca) if each.role is Role.NODE]

    assert {each.fingerprint for each in entries} == {edge.issued.fingerprint, renewed.fingerprint}


def test_the_ca_of_the_control_plane_can_be_changed_without_losing_a_call(edge, operator, tmp_path):
    """Trust both, renew everybody with the new one, trust the new one alone."""
    old, new = edge.ca / "ca.crt", make_ca(tmp_path / "new") / "ca.crt"
    both = tmp_path / "both.crt"
    both.write_bytes(old.read_bytes() + new.read_bytes())
    alice = replace(operator, ca=both)
    bob_issued = pki.issue(tmp_path / "new", Role.OPERATOR, "bob", out=tmp_path / "bob")
    bob = Credentials(both, bob_issued.cert, bob_issued.key)

    with Callers(edge, alice) as callers:
        trust(edge, both)
        callers.wait_for_answers()
        assert renew(edge, alice, signer(edge, tmp_path / "new", both)).error is None
        callers.wait_for_answers()
        assert served(edge, bob) == served(edge, alice)
    assert callers.lost == []

    trust(edge, new)
    served(edge, replace(bob, ca=new))
    channel = edge.channel(alice, **{"grpc.use_local_subchannel_pool": 1})
    assert outcome(channel, "gausscert.v1.AgentService/GetNode") is grpc.StatusCode.UNAVAILABLE


def trust(edge, ca) -> None:
    target = edge.config.tls.ca
    copy_private(ca, target.with_suffix(".new")).replace(target)


def test_an_agent_that_was_restarted_between_the_halves_is_asked_once_more(edge, operator):
    class Forgetful(Signer):
        """While it signs, the agent forgets, as one that is restarted does."""

        signed = 0

        def sign(self, *args, **keywords):
            self.signed += 1
            if self.signed == 1:
                edge.server.control._renewing()._pending = None
            return super().sign(*args, **keywords)

    by = Forgetful(edge.ca, None, edge.issued.ca.read_bytes())

    found = renew(edge, operator, by)

    assert (found.error, by.signed) == (None, 2)
    assert found.credential.fingerprint == served(edge, operator)


def test_ids_of_requests_differ():
    made = ControlPlane(inventory=None)._make_id

    assert len(set(itertools.islice(iter(made, None), 10))) == 10


def test_a_key_that_an_agent_left_when_it_died_is_removed(edge):
    leftover = edge.config.state_dir / "credential.pem.new"
    leftover.touch(0o400)

    renewed.discard_leftover(edge.config)
    renewed.discard_leftover(edge.config)

    assert kept_by(edge) == []
