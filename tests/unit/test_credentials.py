from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from gausscert_common import credentials
from gausscert_common.errors import InvalidInput, Reason
from gausscert_common.identity import Identity, Role
from gausscert_coordinator import pki

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Files:
    ca: Path
    cert: Path
    key: Path


def files_of(issued: pki.Issued) -> Files:
    return Files(issued.ca, issued.cert, issued.key)


@pytest.fixture
def ca(tmp_path):
    pki.init(tmp_path / "pki", "prod", None, now=NOW)
    return tmp_path / "pki"


@pytest.fixture
def node(ca):
    return files_of(pki.issue(ca, Role.NODE, "n_1", now=NOW))


@pytest.fixture
def operator(ca):
    return files_of(pki.issue(ca, Role.OPERATOR, "alice", now=NOW))


def load_node(files, **changes):
    said = {"cluster": "prod", "name": "n_1", "now": NOW} | changes
    return credentials.load_node(files, **said)


def load_person(files, **changes):
    return credentials.load_person(files, **({"cluster": "prod", "now": NOW} | changes))


def problem(load, files, **changes) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        load(files, **changes)
    assert caught.value.reason is Reason.CREDENTIAL_INVALID
    assert caught.value.remedy
    assert caught.value.file
    return caught.value


def test_a_nodes_credential_is_loaded(node):
    loaded = load_node(node)

    assert loaded.identity == Identity("prod", Role.NODE, "n_1")
    assert loaded.not_after == NOW + timedelta(days=pki.NODE_DAYS)
    assert (loaded.ca_pem, loaded.cert_pem, loaded.key_pem) == tuple(
        path.read_bytes() for path in (node.ca, node.cert, node.key)
    )


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.OBSERVER, Role.RECOVERER])
def test_a_persons_credential_is_loaded(ca, role):
    loaded = load_person(files_of(pki.issue(ca, role, "bob", now=NOW)))

    assert loaded.identity == Identity("prod", role, "bob")


def test_both_readers_say_the_same(node):
    assert credentials.read_by_handshake(node) == credentials.read_by_cryptography(node)


def test_a_repr_shows_no_key(node):
    assert "PRIVATE" not in repr(load_node(node))


def test_loading_a_nodes_credential_needs_no_cryptography(node):
    """An idle agent would be a third larger with it."""
    script = (
        "import sys, types, datetime, pathlib\n"
        "from gausscert_common import credentials\n"
        "ca, cert, key = map(pathlib.Path, sys.argv[1:])\n"
        "files = types.SimpleNamespace(ca=ca, cert=cert, key=key)\n"
        "now = datetime.datetime(2026, 11, 23, 12, tzinfo=datetime.UTC)\n"
        "credentials.load_node(files, cluster='prod', name='n_1', now=now)\n"
        "assert 'cryptography' not in sys.modules\n"
    )
    argv = [sys.executable, "-c", script, str(node.ca), str(node.cert), str(node.key)]

    assert subprocess.run(argv, check=False, capture_output=True, text=True).stderr == ""


@pytest.mark.parametrize("load", ["node", "operator"])
@pytest.mark.parametrize("name", ["ca", "cert", "key"])
def test_a_missing_file_is_named(load, name, request):
    files = request.getfixturevalue(load)
    getattr(files, name).unlink()

    error = problem(load_node if load == "node" else load_person, files)

    assert error.file == str(getattr(files, name))
    assert "does not exist" in error.message


@pytest.mark.parametrize("load", ["node", "operator"])
@pytest.mark.parametrize("name", ["ca", "cert", "key"])
def test_a_named_pipe_is_no_credential_and_nobody_waits_for_it(load, name, request):
    """It was a bug: a connection, or the command, waited for a writer without an end."""
    files = request.getfixturevalue(load)
    path = getattr(files, name)
    path.unlink()
    os.mkfifo(path, 0o600)

    error = problem(load_node if load == "node" else load_person, files)

    assert error.file == str(path)
    assert "no regular file" in error.message


@pytest.mark.parametrize("mode", [0o440, 0o404, 0o640, 0o644])
def test_a_key_that_others_can_read_is_refused(node, mode):
    node.key.chmod(mode)

    error = problem(load_node, node)

    assert error.file == str(node.key)
    assert "chmod" in error.remedy


@pytest.mark.parametrize("load", ["node", "operator"])
def test_a_key_of_another_certificate_is_refused(load, ca, request):
    files = request.getfixturevalue(load)
    other = pki.issue(ca, Role.NODE, "other", now=NOW)

    error = problem(load_node if load == "node" else load_person, replace(files, key=other.key))

    assert "does not belong" in error.message
    assert error.file == str(other.key)


@pytest.mark.parametrize("load", ["node", "operator"])
def test_a_ca_that_did_not_issue_it_is_refused(load, tmp_path, request):
    files = request.getfixturevalue(load)
    other = pki.init(tmp_path / "other", "prod", None, now=NOW)

    error = problem(load_node if load == "node" else load_person, replace(files, ca=other))

    assert str(other) in error.message


@pytest.mark.parametrize("load", ["node", "operator"])
def test_dates_are_judged_by_the_given_clock_and_named(load, request):
    files = request.getfixturevalue(load)
    read = load_node if load == "node" else load_person

    expired = problem(read, files, now=NOW + timedelta(days=900))
    early = problem(read, files, now=NOW - timedelta(days=1))

    assert "expired on 20" in expired.message
    assert "pki issue" in expired.remedy
    assert "not valid before 2026-11-23 11:00" in early.message
    assert "clock" in early.remedy


@pytest.mark.parametrize("load", ["node", "operator"])
def test_another_clusters_credential_is_refused(load, request):
    read = load_node if load == "node" else load_person

    error = problem(read, request.getfixturevalue(load), cluster="test")

    assert "belongs to cluster prod, not to test" in error.message


def test_another_nodes_credential_is_refused(node):
    assert "not of node n_2" in problem(load_node, node, name="n_2").message


def test_a_persons_credential_is_none_for_an_agent(operator):
    """It cannot serve, so the handshake with itself fails before the role is looked at."""
    assert "not trusted" in problem(load_node, operator).message


def test_a_nodes_credential_is_none_for_a_person(node):
    assert "may not command" in problem(load_person, node).message


@pytest.mark.parametrize(
    "body", [b"", b"rubbish", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
@pytest.mark.parametrize("name", ["ca", "cert"])
@pytest.mark.parametrize("load", ["node", "operator"])
def test_a_certificate_file_that_is_none_is_refused(load, name, body, tmp_path, request):
    files = request.getfixturevalue(load)
    (tmp_path / "bad").write_bytes(body)

    error = problem(load_node if load == "node" else load_person, replace(files, **{name: tmp_path / "bad"}))

    assert error.file == str(tmp_path / "bad")


@pytest.mark.timeout(10)
def test_an_encrypted_key_is_refused_without_asking_for_a_password(node, tmp_path):
    key = serialization.load_pem_private_key(node.key.read_bytes(), None)
    encryption = serialization.BestAvailableEncryption(b"secret")
    forms = serialization.PrivateFormat
    for name, form in {"new": forms.PKCS8, "old": forms.TraditionalOpenSSL}.items():
        path = tmp_path / name
        path.touch(0o600)
        path.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, encryption))

        assert "encrypted" in problem(load_node, replace(node, key=path)).message


def test_a_directory_in_the_place_of_a_file_is_refused(node, tmp_path):
    problem(load_node, replace(node, cert=tmp_path))


def make_node_certificate(ca, uris, dns_names=()):
    """A certificate of our CA that `pki` would never make."""
    authority = pki.open_authority(ca, None)
    key = ec.generate_private_key(ec.SECP256R1())
    names = [*(x509.UniformResourceIdentifier(u) for u in uris), *(x509.DNSName(d) for d in dns_names)]
    identity = Identity("prod", Role.NODE, "n_1")
    cert = pki.pki_certificates.leaf(
        authority,
        identity,
        key.public_key(),
        x509.SubjectAlternativeName(names),
        NOW,
        NOW + timedelta(days=1),
    )
    (ca / "odd.crt").write_bytes(pki._pem(cert))
    (ca / "odd.key").touch(0o600)
    (ca / "odd.key").write_bytes(pki._key_pem(key, serialization.NoEncryption()))
    assert cert.fingerprint(hashes.SHA256())
    return Files(ca / "ca.crt", ca / "odd.crt", ca / "odd.key")


def test_a_certificate_without_identity_is_refused(ca):
    files = make_node_certificate(ca, ["https://example.org/"])

    assert "no gausscert identity" in problem(load_node, files).message


def test_a_certificate_with_two_identities_is_refused(ca):
    files = make_node_certificate(ca, ["gausscert://prod/node/n_1", "gausscert://prod/operator/n_1"])

    assert "more than one" in problem(load_node, files).message


def test_a_node_certificate_without_its_dns_name_is_refused(ca):
    files = make_node_certificate(ca, ["gausscert://prod/node/n_1"], ["n1.example.org"])

    assert "DNS name" in problem(load_node, files).message


def test_all_files_that_are_missing_are_named_at_once(node):
    for path in (node.ca, node.cert, node.key):
        path.unlink()

    with pytest.raises(InvalidInput) as caught:
        load_node(node)

    assert caught.value.reason is Reason.CREDENTIAL_INVALID
    assert [each.file for each in caught.value.findings] == [str(node.ca), str(node.cert), str(node.key)]
    for path in (node.ca, node.cert, node.key):
        assert str(path) in caught.value.message
