from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from gausscert_common.errors import InvalidInput, Reason
from gausscert_common.identity import Identity, Role, node_dns_name
from gausscert_coordinator import pki, pki_register, private_files

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


@pytest.fixture
def ca(tmp_path):
    directory = tmp_path / "pki"
    pki.init(directory, "prod", None, now=NOW)
    return directory


def read(path):
    return x509.load_pem_x509_certificate(path.read_bytes())


def extension(cert, kind):
    return cert.extensions.get_extension_for_class(kind)


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_the_ca_signs_leaves_and_nothing_else(ca):
    cert = read(ca / "ca.crt")

    assert extension(cert, x509.BasicConstraints).critical
    assert extension(cert, x509.BasicConstraints).value == x509.BasicConstraints(ca=True, path_length=0)
    usage = extension(cert, x509.KeyUsage)
    assert usage.critical
    assert usage.value.key_cert_sign
    assert not usage.value.digital_signature
    assert isinstance(cert.public_key().curve, ec.SECP256R1)
    assert isinstance(cert.signature_hash_algorithm, hashes.SHA256)
    assert cert.not_valid_before_utc == NOW - pki_backdated()
    assert cert.not_valid_after_utc == NOW + timedelta(days=pki.CA_DAYS)


def pki_backdated():
    from gausscert_coordinator.pki_certificates import BACKDATED

    return BACKDATED


def test_two_cas_of_one_cluster_have_different_names(ca, tmp_path):
    pki.init(tmp_path / "other", "prod", None, now=NOW)

    assert read(ca / "ca.crt").subject != read(tmp_path / "other" / "ca.crt").subject


def test_a_node_may_serve_and_dial(ca):
    issued = pki.issue(ca, Role.NODE, "N_1", ["db1.example.org", "10.0.0.1", "::1", "10.0.0.1"], now=NOW)

    cert = read(issued.cert)
    usages = set(extension(cert, x509.ExtendedKeyUsage).value)
    assert usages == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    names = extension(cert, x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["gausscert://prod/node/N_1"]
    assert names.get_values_for_type(x509.DNSName) == [node_dns_name("prod", "N_1"), "db1.example.org"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.1", "::1"]
    assert issued.identity == Identity("prod", Role.NODE, "N_1")
    assert issued.not_after == NOW + timedelta(days=pki.NODE_DAYS)
    assert issued.fingerprint == cert.fingerprint(hashes.SHA256()).hex()


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.OBSERVER, Role.RECOVERER])
def test_a_person_may_only_dial(ca, role):
    cert = read(pki.issue(ca, role, "alice", now=NOW).cert)

    assert list(extension(cert, x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    names = extension(cert, x509.SubjectAlternativeName).value
    assert [name.value for name in names] == [f"gausscert://prod/{role}/alice"]
    assert not extension(cert, x509.BasicConstraints).value.ca


def test_openssl_accepts_what_was_issued_under_its_strict_rules(ca):
    issued = pki.issue(ca, Role.NODE, "n1", now=datetime.now(UTC))

    for purpose in ("sslserver", "sslclient"):
        subprocess.run(
            ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile", issued.ca, issued.cert],
            check=True,
            capture_output=True,
        )


def test_files_are_ours_alone(ca, tmp_path):
    umask = os.umask(0)
    try:
        issued = pki.issue(ca, Role.OPERATOR, "alice", out=tmp_path / "alice", now=NOW)
        pki.init(tmp_path / "open", "prod", None, now=NOW)
    finally:
        os.umask(umask)

    for directory in (ca, tmp_path / "alice", tmp_path / "open"):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        for path in directory.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o400
    assert issued.key.parent == tmp_path / "alice"
    assert (tmp_path / "alice" / "ca.crt").read_bytes() == (ca / "ca.crt").read_bytes()
    assert not (tmp_path / "alice" / "ca.key").exists()


def refused(call, *arguments, **keywords):
    with pytest.raises(InvalidInput) as caught:
        call(*arguments, **keywords)
    assert caught.value.reason in (Reason.ARGUMENT_INVALID, Reason.CREDENTIAL_INVALID)
    return caught.value


def test_nothing_is_ever_written_over(ca):
    pki.issue(ca, Role.NODE, "n1", now=NOW)
    before = contents(ca)

    refused(pki.init, ca, "prod", None, now=NOW)
    refused(pki.issue, ca, Role.NODE, "n1", now=NOW)

    assert contents(ca) == before


@pytest.mark.parametrize("planted", ["node-n1.key", "node-n1.crt"])
def test_a_planted_link_is_not_followed_and_nothing_is_left(ca, tmp_path, planted):
    (ca / planted).symlink_to(tmp_path / "elsewhere")

    refused(pki.issue, ca, Role.NODE, "n1", now=NOW)

    assert not (tmp_path / "elsewhere").exists()
    assert sorted(path.name for path in ca.iterdir()) == sorted(["ca.crt", "ca.key", planted])


def test_a_directory_with_another_ca_is_refused(ca, tmp_path):
    other = tmp_path / "other"
    pki.init(other, "prod", None, now=NOW)

    refused(pki.issue, ca, Role.NODE, "n1", out=other, now=NOW)

    assert sorted(path.name for path in other.iterdir()) == ["ca.crt", "ca.key"]


def test_a_directory_that_others_may_write_to_is_refused(tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)

    refused(pki.init, tmp_path / "open", "prod", None, now=NOW)

    assert list((tmp_path / "open").iterdir()) == []


def test_a_passphrase_encrypts_the_cas_key_and_is_needed_from_then_on(tmp_path):
    directory = tmp_path / "pki"
    pki.init(directory, "prod", b"correct horse", now=NOW)

    body = (directory / "ca.key").read_bytes()
    assert b"ENCRYPTED" in body
    assert serialization.load_pem_private_key(body, b"correct horse")
    assert "passphrase" in refused(pki.issue, directory, Role.NODE, "n1", now=NOW).message
    wrong = refused(pki.issue, directory, Role.NODE, "n1", passphrase=b"battery staple", now=NOW)
    assert "battery" not in str(wrong)
    assert sorted(path.name for path in directory.iterdir()) == ["ca.crt", "ca.key"]
    assert pki.issue(directory, Role.NODE, "n1", passphrase=b"correct horse", now=NOW).cert.exists()


def test_a_passphrase_for_a_key_without_one_is_refused(ca):
    assert "passphrase" in refused(pki.issue, ca, Role.NODE, "n1", passphrase=b"x", now=NOW).message


def test_an_empty_passphrase_is_refused(tmp_path):
    refused(pki.init, tmp_path / "pki", "prod", b"", now=NOW)

    assert not (tmp_path / "pki").exists()


@pytest.mark.parametrize("name", ["", "a/b", "a b", "ä", "x" * 65])
def test_a_name_that_cannot_be_used_is_refused(ca, tmp_path, name):
    before = contents(ca)

    refused(pki.issue, ca, Role.NODE, name, now=NOW)
    refused(pki.init, tmp_path / "new", name, None, now=NOW)

    assert contents(ca) == before
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "san", ["", "*.example.org", "host:7443", "https://host", "-host", "a..b", "ä.de", "a" * 64]
)
def test_a_further_name_that_is_none_is_refused(ca, san):
    before = contents(ca)

    refused(pki.issue, ca, Role.NODE, "n1", [san], now=NOW)

    assert contents(ca) == before


def test_further_names_are_for_nodes(ca):
    refused(pki.issue, ca, Role.OPERATOR, "alice", ["host"], now=NOW)


@pytest.mark.parametrize("days", [0, -1, 36501])
def test_days_out_of_range_are_refused(ca, tmp_path, days):
    refused(pki.issue, ca, Role.NODE, "n1", days=days, now=NOW)
    refused(pki.init, tmp_path / "new", "prod", None, days=days, now=NOW)


def test_no_identity_outlives_its_ca(tmp_path):
    directory = tmp_path / "pki"
    pki.init(directory, "prod", None, days=100, now=NOW)

    assert "100" in refused(pki.issue, directory, Role.NODE, "n1", days=101, now=NOW).remedy
    assert pki.issue(directory, Role.NODE, "n1", now=NOW).not_after == NOW + timedelta(days=100)
    late = NOW + timedelta(days=100)
    assert "expired" in refused(pki.issue, directory, Role.NODE, "n2", now=late).message


def test_a_key_of_another_ca_is_refused(ca, tmp_path):
    other = tmp_path / "other"
    pki.init(other, "prod", None, now=NOW)
    (ca / "ca.key").unlink()
    (ca / "ca.key").write_bytes((other / "ca.key").read_bytes())
    (ca / "ca.key").chmod(0o400)  # with another mode it would be refused for that

    assert "does not belong" in refused(pki.issue, ca, Role.NODE, "n1", now=NOW).message


@pytest.mark.parametrize(("name", "mode"), [("ca.key", 0o440), ("ca.key", 0o602), (".", 0o720), (".", 0o702)])
def test_a_ca_that_others_can_use_or_exchange_signs_nothing(ca, tmp_path, name, mode):
    (ca / name).chmod(mode)

    error = refused(pki.issue, ca, Role.NODE, "n1", out=tmp_path / "out")

    assert f"{mode:04o}" in error.message or "others may write to this directory" in error.message
    assert "0400" in error.remedy or "chmod 0700" in error.remedy
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give it to somebody else")
def test_a_cas_key_that_somebody_else_has_put_there_signs_nothing(ca, tmp_path):
    os.chown(ca / "ca.key", 1500, 1500)

    assert "another user" in refused(pki.issue, ca, Role.NODE, "n1", out=tmp_path / "out").message


@pytest.mark.parametrize("name", ["ca.key", "ca.crt", "deny.list", "planted.crt"])
def test_a_named_pipe_in_the_cas_directory_is_waited_for_by_nobody(ca, tmp_path, name):
    """It was a bug: every verb of the control plane waited for a writer until Ctrl-C."""
    before = pki.issue(ca, Role.NODE, "n1")
    (ca / name).unlink(missing_ok=True)
    os.mkfifo(ca / name, 0o600)

    if name in ("ca.key", "ca.crt"):
        assert "no regular file" in refused(pki.issue, ca, Role.NODE, "n2", out=tmp_path / "out").message
    if name == "ca.crt":
        assert "no CA" in refused(pki_register.entries, ca).message
    if name == "deny.list":
        for call, more in ((pki_register.entries, ()), (pki.renew, (before.cert, tmp_path / "out"))):
            with pytest.raises(InvalidInput, match="no regular file") as caught:
                call(ca, *more)
            assert caught.value.reason is Reason.DENY_LIST_INVALID
    if name in ("ca.key", "planted.crt"):
        assert [each.identity.name for each in pki_register.entries(ca)] == ["n1"]


def test_a_link_that_leads_nowhere_is_no_place_for_a_credential(ca, tmp_path):
    """It was reported as a bug of gausscert's."""
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")

    assert "cannot be looked at" in refused(pki.issue, ca, Role.NODE, "n1", out=tmp_path / "link").message


@pytest.mark.parametrize("extensions", [[], [x509.BasicConstraints(ca=True, path_length=0)]])
@pytest.mark.parametrize("subject", ["prod", ""])
def test_what_others_call_a_ca_signs_nothing(tmp_path, extensions, subject):
    """It was reported as a bug of gausscert's where a cluster's name, or a key identifier, is missing."""
    key = ec.generate_private_key(ec.SECP256R1())
    attributes = [x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, subject)] if subject else []
    name = x509.Name([*attributes, x509.NameAttribute(x509.NameOID.COMMON_NAME, "some CA")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW, NOW + timedelta(days=9))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    (tmp_path / "pki").mkdir(mode=0o700)
    (tmp_path / "pki" / "ca.crt").write_bytes(pki._pem(builder.sign(key, hashes.SHA256())))
    (tmp_path / "pki" / "ca.key").touch(0o600)
    (tmp_path / "pki" / "ca.key").write_bytes(pki._key_pem(key, serialization.NoEncryption()))

    error = refused(pki.issue, tmp_path / "pki", Role.NODE, "n1", out=tmp_path / "out")

    assert "it is no CA of a control plane" in error.message


def test_no_ca_no_identity(tmp_path):
    assert "init" in refused(pki.issue, tmp_path, Role.NODE, "n1", now=NOW).remedy


def test_a_renewed_identity_is_the_same_with_a_fresh_key(ca, tmp_path):
    old = pki.issue(ca, Role.NODE, "n1", ["db1", "10.0.0.1"], days=30, now=NOW)

    new = pki.renew(ca, old.cert, tmp_path / "new", days=60, now=NOW + timedelta(days=31))

    before, after = read(old.cert), read(new.cert)
    san = x509.SubjectAlternativeName
    assert extension(after, san).value == extension(before, san).value
    assert after.public_key() != before.public_key()
    assert new.not_after == NOW + timedelta(days=91)
    assert new.identity == old.identity


def test_what_is_revoked_is_not_renewed(ca, tmp_path):
    alice = pki.issue(ca, Role.OPERATOR, "alice", out=tmp_path / "alice", now=NOW)
    pki_register.revoke(ca, pki_register.entries(ca), "revoked")

    with pytest.raises(InvalidInput, match="revoked") as raised:
        pki.renew(ca, alice.cert, tmp_path / "renewed", now=NOW)

    assert "pki issue" in raised.value.remedy
    assert not (tmp_path / "renewed").exists()


def test_two_revocations_at_once_keep_each_other(ca, tmp_path, monkeypatch):
    for name in ("alice", "bob"):
        pki.issue(ca, Role.OPERATOR, name, out=tmp_path / name, now=NOW)
    alice, bob = pki_register.entries(ca)
    replace, other = (
        private_files.replace_private,
        threading.Thread(target=pki_register.revoke, args=(ca, [bob], "")),
    )

    def slow(path, body):
        if not other.ident:  # the other one begins while this one has read, and not yet written
            other.start()
            other.join(0.3)
        replace(path, body)

    monkeypatch.setattr(private_files, "replace_private", slow)
    pki_register.revoke(ca, [alice], "")
    other.join()

    assert {each.number for each in pki_register.deny_list(ca).entries} == {alice.serial, bob.serial}


def test_notes_are_utf_8_whatever_the_locale_is(ca, tmp_path):
    pki.issue(ca, Role.OPERATOR, "alice", out=tmp_path / "alice", now=NOW)
    (ca / "deny.list").touch(0o600)
    (ca / "deny.list").write_bytes("# 离职\nserial aa 张三\n".encode())
    code = f"""
from pathlib import Path
from gausscert_coordinator import pki_register
pki_register.revoke(Path({str(ca)!r}), pki_register.entries(Path({str(ca)!r})), "")
"""

    subprocess.run(
        [sys.executable, "-X", "utf8=0", "-c", code],
        check=True,
        env=os.environ | {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"},
    )

    assert (ca / "deny.list").read_bytes().decode().startswith("# 离职\nserial aa 张三\nserial ")


def test_a_directory_whose_ca_crt_holds_both_cas_signs_and_lists_as_before(ca, tmp_path):
    """Runbook, Rotation of the control plane: where the inventory's ca.crt is the CA's own, it holds both for
    a while. It was a bug that nothing could be issued there, or not at all with the newer one first."""
    before = pki.issue(ca, Role.NODE, "n1")
    pki.init(tmp_path / "new", "prod", None)
    old, new = ((home / "ca.crt").read_bytes() for home in (ca, tmp_path / "new"))

    for number, both in enumerate((old + new, new + old), start=2):
        (ca / "ca.crt").unlink()
        (ca / "ca.crt").write_bytes(both)
        issued = pki.issue(ca, Role.NODE, f"n{number}")
        read(issued.cert).verify_directly_issued_by(x509.load_pem_x509_certificate(old))
        out = pki.issue(ca, Role.OPERATOR, f"alice-{number}", out=tmp_path / f"out-{number}")
        assert out.ca.read_bytes() == old + new
        renewed = pki.renew(ca, before.cert, tmp_path / f"renewed-{number}")
        assert renewed.ca.read_bytes() == old + new

    names = {each.identity.name for each in pki_register.entries(ca)}
    assert names == {"n1", "n2", "n3", "alice-2", "alice-3"}
    assert refused(pki.renew, ca, ca / "ca.crt", tmp_path / "x").reason is Reason.CREDENTIAL_INVALID


def test_only_what_this_ca_issued_is_renewed(ca, tmp_path):
    other = tmp_path / "other"
    pki.init(other, "prod", None, now=NOW)
    foreign = pki.issue(other, Role.OPERATOR, "mallory", now=NOW)

    refused(pki.renew, ca, foreign.cert, tmp_path / "new", now=NOW)
    refused(pki.renew, ca, ca / "ca.crt", tmp_path / "new", now=NOW)

    assert not (tmp_path / "new").exists()


def test_a_ca_is_no_credential_that_could_be_renewed(tmp_path):
    """It is signed by itself, and names nobody."""
    pki.init(tmp_path / "pki", "prod", None)

    with pytest.raises(InvalidInput, match="has not issued it") as caught:
        pki.renew(tmp_path / "pki", tmp_path / "pki" / "ca.crt", tmp_path / "out")

    assert "was issued" in caught.value.remedy
    assert not (tmp_path / "out").exists()


def test_what_is_no_certificate_is_no_ca(tmp_path):
    pki.init(tmp_path / "pki", "prod", None)
    (tmp_path / "pki" / "ca.crt").chmod(0o600)
    (tmp_path / "pki" / "ca.crt").write_text("no certificate")

    with pytest.raises(InvalidInput, match="no certificate in PEM form"):
        pki.sign(tmp_path / "pki", Role.NODE, "n1")


def test_what_another_ca_has_issued_is_not_listed(tmp_path):
    for name in ("pki", "other"):
        pki.init(tmp_path / name, "prod", None)
    pki.issue(tmp_path / "pki", Role.NODE, "n1")
    made = pki.issue(tmp_path / "other", Role.NODE, "n2")
    (tmp_path / "pki" / made.cert.name).write_bytes(made.cert.read_bytes())

    assert [each.identity.name for each in pki_register.entries(tmp_path / "pki")] == ["n1"]
