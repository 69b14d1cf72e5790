"""What a node that is in the wrong hands can have signed: a certificate of its own, and nothing else."""

from __future__ import annotations

import base64

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from gausscert_agent.renewal import _parse
from gausscert_common.errors import InvalidInput, Reason
from gausscert_common.identity import Role, node_dns_name
from gausscert_coordinator import pki, pki_register
from gausscert_coordinator.pki_requests import Signer

P256, EC_KEY = bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("06072a8648ce3d0201")


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    directory = tmp_path_factory.mktemp("ca") / "pki"
    pki.init(directory, "prod", None)
    return directory


@pytest.fixture(scope="module")
def issued(ca, tmp_path_factory):
    out = tmp_path_factory.mktemp("issued")
    return {name: pki.issue(ca, Role.NODE, name, out=out).cert.read_bytes() for name in ("n1", "n2")}


@pytest.fixture(scope="module")
def signer(ca):
    return Signer(ca, None, (ca / "ca.crt").read_bytes())


def der(key=None, names=()) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    signed = builder.sign(key or ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.DER)


def pem(body: bytes, what="CERTIFICATE REQUEST") -> bytes:
    text = base64.encodebytes(body).decode()
    return f"-----BEGIN {what}-----\n{text}-----END {what}-----\n".encode()


REQUESTS = {
    "nothing": lambda: b"",
    "a certificate's worth of noise": lambda: pem(b"\x30" * 300),
    "a key of a kind that nobody knows": lambda: pem(der().replace(EC_KEY, EC_KEY[:-1] + b"\x77", 1)),
    "a curve that nobody knows": lambda: pem(der().replace(P256, P256[:-1] + b"\x77", 1)),
    "a key of another kind": lambda: pem(der(rsa.generate_private_key(65537, 2048))),
    "another curve": lambda: pem(der(ec.generate_private_key(ec.SECP384R1()))),
    "somebody else's key": lambda: pem(der()[:-6] + b"\0\0\0\0\0\1"),
}


@pytest.mark.parametrize("what", REQUESTS)
def test_a_request_that_is_none_is_refused_by_a_reason_and_nothing_is_signed(ca, issued, signer, what):
    before = pki_register.entries(ca)

    with pytest.raises(InvalidInput) as raised:
        signer.sign("n1", REQUESTS[what](), issued["n1"])

    assert (raised.value.reason, raised.value.node) == (Reason.CREDENTIAL_INVALID, "n1")
    assert pki_register.entries(ca) == before


def test_what_a_request_says_of_itself_counts_for_nothing(issued, signer):
    claimed = [
        x509.UniformResourceIdentifier("gausscert://prod/operator/mallory"),
        x509.DNSName(node_dns_name("prod", "n2")),
    ]

    signed = x509.load_pem_x509_certificate(signer.sign("n1", pem(der(names=claimed)), issued["n1"]).pem)

    names = signed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [
        x509.UniformResourceIdentifier("gausscert://prod/node/n1"),
        x509.DNSName(node_dns_name("prod", "n1")),
    ]


def test_names_of_another_nodes_certificate_are_not_taken_over(issued, signer):
    with pytest.raises(InvalidInput, match="that of node n2"):
        signer.sign("n1", pem(der()), issued["n2"])


def test_an_agent_refuses_a_certificate_with_a_key_that_nobody_knows(issued):
    body = x509.load_pem_x509_certificate(issued["n1"]).public_bytes(serialization.Encoding.DER)

    with pytest.raises(InvalidInput, match="not one certificate"):
        _parse(pem(body.replace(P256, P256[:-1] + b"\x77", 1), "CERTIFICATE"))
