"""Whatever the bytes: validation and description answer, and never raise."""

from __future__ import annotations

import base64
import os
import random

import pytest
from gausscert_common import certificates, certset, pem, validate
from gausscert_common.bundle import Bundle, FactorFiles
from gausscert_common.findings import Finding, errors
from support import pki
from support.good_bundles import as_set

ROUNDS = int(os.environ.get("FUZZ_ROUNDS", "12"))


@pytest.fixture(scope="module")
def whole():
    crls = {name: pki.crl(pki.good_ca(), revoked=(5,)) for name in certset.CRL_NAMES}
    root = pki.ca("root", key=pki.key("rsa"))
    made = pki.bundle((root, pki.good_ca()), files=crls)
    plain = {"client.key": pki.good_leaf("client").key_pem(None)}
    return {**as_set(made), **plain}


def judge(files):
    listed = [files.get(name, b"") for name in certset.FACTOR_NAMES]
    bundle = Bundle(
        {name: body for name, body in files.items() if name not in certset.FACTOR_NAMES},
        pki.SERVER_PASSWORD,
        pki.CLIENT_PASSWORD,
        FactorFiles(*listed),
    )
    findings = validate.bundle(bundle, now=pki.NOW, live=files, carried_crls=files)
    findings += validate.certificate_set(files, None, now=pki.NOW)
    certificates.describe(files)
    assert all(isinstance(finding, Finding) for finding in findings)
    return findings


def random_bytes(source, body):
    return source.randbytes(source.randrange(2000))


def cut(source, body):
    return body[: source.randrange(len(body))]


def flipped(source, body):
    changed = bytearray(body)
    for _ in range(source.randrange(1, 8)):
        changed[source.randrange(len(changed))] ^= 1 << source.randrange(8)
    return bytes(changed)


def flipped_inside(source, body):
    """Damage behind intact base64: what reaches the parsers of ASN.1."""
    blocks = pem.split(body).blocks
    if not blocks:
        return flipped(source, body)
    block = source.choice(blocks)
    der = flipped(source, block.der)
    text = base64.encodebytes(der).decode()
    return f"-----BEGIN {block.label}-----\n{text}-----END {block.label}-----\n".encode()


def relabelled(source, body):
    labels = [b"CERTIFICATE", b"X509 CRL", b"PRIVATE KEY", b"ENCRYPTED PRIVATE KEY", b"RSA PRIVATE KEY"]
    return body.replace(source.choice(labels), source.choice(labels))


@pytest.mark.parametrize("mutate", [random_bytes, cut, flipped, flipped_inside, relabelled])
@pytest.mark.parametrize("name", [*certset.NAMES, *certset.CRL_NAMES])
def test_no_damage_raises(whole, name, mutate):
    source = random.Random(f"{name} {mutate.__name__}")  # noqa: S311 - replayable, not secret
    for _ in range(ROUNDS if mutate is flipped_inside else ROUNDS // 4):
        judge({**whole, name: mutate(source, whole[name])})


def test_the_undamaged_files_are_good(whole):
    assert errors(validate.certificate_set(whole, None, now=pki.NOW)) == ()


@pytest.mark.parametrize("name", certset.PEM_NAMES)
def test_random_bytes_are_refused(whole, name):
    source = random.Random(name)  # noqa: S311 - replayable, not secret
    for _ in range(20):
        assert errors(validate.certificate_set({**whole, name: source.randbytes(400)}, None, now=pki.NOW))
