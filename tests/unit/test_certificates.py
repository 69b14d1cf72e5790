"""What `describe` tells of a set's certificates."""

from __future__ import annotations

import base64
import hashlib
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from gausscert_common import certificates, certset
from gausscert_common.certificates import describe
from gausscert_common.model import CertificateKind
from support import openssl_bundles, pki

KIND = CertificateKind


def test_leaves_come_first_then_cas_crls_and_extras():
    files = {
        "client.crl": pki.crl(pki.good_ca()),
        **pki.bundle((pki.good_ca(), pki.ca("other"))).pem,
        "server.crt": pki.good_leaf("server").pem + pki.good_ca().pem,
    }

    places = [(one.kind, one.file, one.index) for one in describe(files)]

    assert places == [
        (KIND.SERVER, "server.crt", 0),
        (KIND.CLIENT, "client.crt", 0),
        (KIND.CA, "cacert.pem", 0),
        (KIND.CA, "cacert.pem", 1),
        (KIND.CRL, "client.crl", 0),
        (KIND.EXTRA, "server.crt", 1),
    ]


def test_a_certificate_is_told_in_full():
    leaf = pki.leaf(pki.good_ca(), "server", serial=0x0ABC)

    told = describe({"server.crt": leaf.pem})[0]

    assert told.subject == "CN=server"
    assert told.issuer == "CN=good CA"
    assert told.serial == "abc"
    assert told.fingerprint == hashlib.sha256(leaf.der).hexdigest()
    assert told.not_before == pki.NOW - timedelta(days=10)
    assert told.not_after == pki.NOW + timedelta(days=1000)


def test_a_crl_is_told_by_its_issuer_number_and_next_update():
    told = describe({"server.crl": pki.crl(pki.good_ca())})[0]

    assert (told.kind, told.subject, told.issuer, told.serial) == (KIND.CRL, "CN=good CA", "CN=good CA", "7")
    assert told.not_after == pki.NOW + timedelta(days=30)


def test_a_crl_without_number_has_no_serial():
    builder = x509.CertificateRevocationListBuilder().issuer_name(pki.name("good CA"))
    dated = builder.last_update(pki.NOW).next_update(pki.NOW + timedelta(days=1))
    body = dated.sign(pki.good_ca().key, hashes.SHA256()).public_bytes(Encoding.PEM)

    assert describe({"server.crl": body})[0].serial == ""


def test_a_crl_without_next_update_never_ends():
    # RFC 5280 section 5.1.2.5 forbids it and the library builds none, yet old CAs make them.
    full = x509.load_pem_x509_crl(pki.crl(pki.good_ca()))
    ends = b"\x17\x0d" + full.next_update_utc.strftime("%y%m%d%H%M%SZ").encode()
    body = content(full.public_bytes(Encoding.DER))
    inner = content(full.tbs_certlist_bytes)
    rest = body[len(full.tbs_certlist_bytes) :]
    der = sequence(sequence(inner.replace(ends, b"", 1)) + rest)
    text = base64.encodebytes(der).decode()

    told = describe({"server.crl": f"-----BEGIN X509 CRL-----\n{text}-----END X509 CRL-----\n".encode()})

    assert told[0].not_after == certificates.NO_END


def content(der: bytes) -> bytes:
    """What a DER element holds."""
    return der[2 + (der[1] & 0x7F if der[1] & 0x80 else 0) :]


def sequence(body: bytes) -> bytes:
    """A DER sequence, its length in the shortest form."""
    if len(body) < 0x80:
        return b"\x30" + bytes([len(body)]) + body
    width = (len(body).bit_length() + 7) // 8
    return b"\x30" + bytes([0x80 | width]) + len(body).to_bytes(width, "big") + body


def test_what_cannot_be_read_is_left_out():
    damaged = pki.good_ca().pem.replace(b"\nMII", b"\nMIJ", 1)
    files = {
        "cacert.pem": damaged + pki.good_ca().pem,
        "server.crt": b"garbage",
        "client.crt": b"",
        "server.crl": b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
    }

    assert [(one.file, one.index) for one in describe(files)] == [("cacert.pem", 1)]


def test_files_of_other_names_are_no_matter():
    assert describe({"other.crt": pki.good_leaf("server").pem, "server.key": b"x"}) == ()


def test_bundles_of_the_installer_are_told(tmp_path):
    bundle = openssl_bundles.make_bundle(tmp_path, style="om")

    kinds = {one.file: one.subject for one in describe(bundle.pem)}

    assert kinds["cacert.pem"] == "CN=CA,OU=NULL,O=NULL,L=NULL,ST=NULL,C=CN"
    assert set(kinds) == {"server.crt", "client.crt", "cacert.pem"}
    assert set(bundle.pem) == set(certset.PEM_NAMES)
