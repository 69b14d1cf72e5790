"""A bundle that gausscert issues is one that it, openssl and CM have nothing against."""

from __future__ import annotations

import ipaddress
import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID
from gausscert_common import certset, validate
from gausscert_common.errors import InvalidInput, Reason
from gausscert_coordinator.issue import IssueOptions, KeyType, issue_bundle

NOW = datetime(2026, 5, 1, 8, 30, 15, 999, tzinfo=UTC)
EC = IssueOptions(key_type=KeyType.EC_P256, now=NOW)
PASSWORDS = ("Server@123", "Client@456")


def issue(options=EC, **more):
    return issue_bundle(options, *PASSWORDS, **more)


def certificate(issued, name):
    return x509.load_pem_x509_certificate(issued.bundle.pem[name])


def value(cert, kind):
    return cert.extensions.get_extension_for_class(kind).value


@pytest.fixture(scope="module")
def by_default():
    return issue_bundle(IssueOptions(now=NOW), *PASSWORDS, ca_passphrase="of the CA")


@pytest.mark.parametrize("kind", [KeyType.EC_P256, KeyType.EC_P384, KeyType.RSA_3072])
def test_nothing_speaks_against_what_is_issued(kind):
    issued = issue(replace(EC, key_type=kind))

    assert validate.bundle(issued.bundle, now=NOW) == ()


def test_nothing_speaks_against_the_default(by_default):
    assert validate.bundle(by_default.bundle, now=NOW) == ()
    assert set(by_default.bundle.pem) == set(certset.PEM_NAMES)


def test_by_default_keys_are_rsa_of_the_documented_sizes(by_default):
    sizes = {
        name: certificate(by_default, name).public_key().key_size for name in ("cacert.pem", "server.crt")
    }

    assert sizes == {"cacert.pem": 3072, "server.crt": 2048}
    assert by_default.bundle.pem["server.key"].startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")


def test_the_ca_key_comes_encrypted_and_is_the_cas(by_default):
    key = load_pem_private_key(by_default.ca_key_pem, b"of the CA", unsafe_skip_rsa_key_validation=True)

    assert key.public_key() == certificate(by_default, "cacert.pem").public_key()
    with pytest.raises(TypeError, match="encrypted"):
        load_pem_private_key(by_default.ca_key_pem, None)


def test_without_a_passphrase_the_ca_key_is_gone():
    assert issue().ca_key_pem is None


@pytest.mark.parametrize("role", ["server", "client"])
def test_a_leaf_has_the_extensions_of_a_leaf(by_default, role):
    leaf, ca = certificate(by_default, f"{role}.crt"), certificate(by_default, "cacert.pem")
    usage = value(leaf, x509.KeyUsage)

    assert value(leaf, x509.BasicConstraints).ca is False
    assert (usage.digital_signature, usage.key_encipherment, usage.key_cert_sign) == (True, True, False)
    assert set(value(leaf, x509.ExtendedKeyUsage)) == {
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.CLIENT_AUTH,
    }
    assert (
        value(leaf, x509.AuthorityKeyIdentifier).key_identifier == value(ca, x509.SubjectKeyIdentifier).digest
    )
    assert value(leaf, x509.SubjectKeyIdentifier)
    assert leaf.subject.rfc4514_string() == f"CN={role},O=gausscert"
    with pytest.raises(x509.ExtensionNotFound):
        value(leaf, x509.SubjectAlternativeName)


def test_an_ec_leaf_enciphers_no_keys():
    assert value(certificate(issue(), "server.crt"), x509.KeyUsage).key_encipherment is False


def test_a_ca_has_the_extensions_of_a_ca(by_default):
    ca = certificate(by_default, "cacert.pem")
    usage = value(ca, x509.KeyUsage)

    assert (value(ca, x509.BasicConstraints).ca, value(ca, x509.BasicConstraints).path_length) == (True, 0)
    assert (usage.key_cert_sign, usage.crl_sign, usage.digital_signature) == (True, True, False)
    assert ca.extensions.get_extension_for_class(x509.BasicConstraints).critical
    assert ca.subject == ca.issuer


def test_dates_begin_an_hour_early_and_last_as_long_as_asked():
    issued = issue(replace(EC, ca_days=100, leaf_days=50))
    begin = NOW.replace(microsecond=0)

    for name, days in (("cacert.pem", 100), ("server.crt", 50), ("client.crt", 50)):
        cert = certificate(issued, name)
        assert cert.not_valid_before_utc == begin - timedelta(hours=1)
        assert cert.not_valid_after_utc == begin + timedelta(days=days)


def test_alternative_names_are_on_both_leaves():
    issued = issue(replace(EC, dns_names=("cm.example", "*.cm.example"), ip_addresses=("10.0.0.1", "::1")))

    for role in ("server", "client"):
        names = value(certificate(issued, f"{role}.crt"), x509.SubjectAlternativeName)
        assert names.get_values_for_type(x509.DNSName) == ["cm.example", "*.cm.example"]
        assert names.get_values_for_type(x509.IPAddress) == [
            ipaddress.ip_address("10.0.0.1"),
            ipaddress.ip_address("::1"),
        ]


def test_two_runs_never_give_the_ca_one_name_or_one_serial():
    first, second = (certificate(issue(), "cacert.pem") for _ in range(2))

    assert first.subject != second.subject
    assert first.serial_number != second.serial_number
    assert "2026-05-01" in first.subject.rfc4514_string()


def test_a_name_to_avoid_is_avoided():
    drawn = itertools.chain(["aaa"], itertools.repeat("bbb"))
    options = replace(EC, suffix=lambda: next(drawn), avoid_subjects=("cn=cm ca 2026-05-01 AAA,o=GAUSSCERT",))

    assert "bbb" in certificate(issue(options), "cacert.pem").subject.rfc4514_string()


def test_a_chosen_name_that_is_to_be_avoided_is_refused():
    options = replace(EC, common_name="CA", organization="", avoid_subjects=("CN=CA",))

    with pytest.raises(InvalidInput, match="name"):
        issue(options)


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"leaf_days": 0}, "days"),
        ({"leaf_days": 4000}, "--days 4000"),
        ({"ca_days": 40_000}, "days"),
        ({"organization": "x" * 65}, "organization"),
        ({"common_name": "a\nb"}, "common-name"),
        ({"dns_names": ("b\u00fccher.example",)}, "DNS"),
        ({"dns_names": ("",)}, "DNS"),
        ({"dns_names": ("a\tb",)}, "DNS"),
        ({"ip_addresses": ("10.0.0.256",)}, "IP"),
        ({"dns_names": ("a.example",) * 101}, "--san"),
        ({"dns_names": ("10.0.0",)}, "--san '10.0.0'"),
    ],
)
def test_unusable_options_are_refused(changes, hint):
    with pytest.raises(InvalidInput, match=hint) as caught:
        issue(replace(EC, **changes))

    assert caught.value.reason is Reason.ARGUMENT_INVALID
    assert caught.value.remedy


@pytest.mark.parametrize(
    "passwords", [("short", "Client@456"), ("Server@123", "onlyletters"), ("Server@1234567890", "Client@456")]
)
def test_passwords_that_cm_refuses_are_refused_and_not_told(passwords):
    with pytest.raises(InvalidInput) as caught:
        issue_bundle(EC, *passwords)

    assert caught.value.reason is Reason.ARGUMENT_INVALID
    assert not any(password in str(caught.value) for password in passwords)
    assert "8 to 15 bytes" in caught.value.remedy


def test_all_that_is_wrong_is_told_at_once():
    options = replace(EC, leaf_days=0, organization="\n", dns_names=("a b", "1.2.3"))
    with pytest.raises(InvalidInput) as caught:
        issue_bundle(options, "short", "shorter", ca_passphrase="")

    assert [part.split(" does not")[0] for part in str(caught.value.message).split("; the pass")[:2]] == [
        "the password of server.key",
        "word of client.key",
    ]
    for part in ("passphrase of the CA's key is empty", "--days 0", "--organization", "'a b'", "'1.2.3'"):
        assert part in caught.value.message


def test_an_empty_passphrase_is_no_passphrase():
    with pytest.raises(InvalidInput, match="empty"):
        issue(ca_passphrase="")


def test_key_kinds_are_as_asked():
    kinds = {
        KeyType.EC_P384: (ec.EllipticCurvePublicKey, 384),
        KeyType.RSA_3072: (rsa.RSAPublicKey, 3072),
    }
    for kind, (python_type, bits) in kinds.items():
        key = certificate(issue(replace(EC, key_type=kind)), "client.crt").public_key()
        assert isinstance(key, python_type)
        assert key.key_size == bits


def test_a_repr_shows_no_key(by_default):
    assert "PRIVATE" not in repr(by_default)
    assert "Server@123" not in repr(by_default)
