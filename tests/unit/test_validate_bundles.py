"""Every broken bundle is refused with exactly its own codes, no good one is; and openssl agrees."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtensionOID
from gausscert_common import validate
from gausscert_common.findings import errors
from gausscert_common.validate.catalogue import CATALOGUE
from support import broken_bundles, good_bundles, openssl_bundles, pki


def judge(case):
    return validate.bundle(
        case.bundle, now=pki.NOW, live=case.live, carried_crls=case.carried_crls, build=case.build
    )


def codes(findings):
    return {finding.code for finding in findings}


@pytest.mark.parametrize("name", sorted(broken_bundles.CASES))
def test_a_broken_bundle_is_refused_with_its_own_codes(name):
    case = broken_bundles.CASES[name]()

    found = errors(judge(case))

    assert codes(found) == case.codes, found
    assert all(finding.cause and finding.remedy for finding in found)


def test_there_are_many_kinds_of_broken_bundles():
    kinds = set().union(*(make().codes for make in broken_bundles.CASES.values()))

    assert len(broken_bundles.CASES) >= 90
    assert len(kinds) >= 50


@pytest.mark.parametrize("name", sorted(good_bundles.CASES))
def test_a_good_bundle_is_not_refused(name):
    findings = validate.bundle(good_bundles.CASES[name](), now=pki.NOW)

    assert errors(findings) == ()
    assert codes(findings) == good_bundles.WARNINGS[name]


@pytest.mark.parametrize("name", sorted(good_bundles.CASES))
def test_the_set_made_of_a_good_bundle_is_good(name):
    files = good_bundles.as_set(good_bundles.CASES[name]())

    findings = validate.certificate_set(files, dict.fromkeys(files, 0o100400), now=pki.NOW)

    assert errors(findings) == ()


CHAIN_CODES = {
    code
    for code in CATALOGUE
    if code.startswith(
        ("CHAIN_", "CA_", "LEAF_", "AKID", "ROOT_", "INTERMEDIATE", "CERTIFICATE_", "CRITICAL")
    )
} - {"LEAF_REVOKED", "LEAF_NOT_FIRST"}
"""What `openssl verify` judges too."""


def openssl_accepts(bundle, directory):
    """What `openssl verify` says of both leaves for both purposes, with cacert.pem alone."""
    (directory / "ca").write_bytes(bundle.pem["cacert.pem"])
    for role in ("server", "client"):
        (directory / role).write_bytes(bundle.pem[f"{role}.crt"])
    options = ("-verify_depth", "10", "-no-CApath", "-no-CAstore")
    verdicts = [
        subprocess.run(
            ["openssl", "verify", *options, "-purpose", purpose, "-CAfile", "ca", "server", "client"],
            cwd=directory,
            capture_output=True,
            check=False,
        ).returncode
        for purpose in ("sslserver", "sslclient")
    ]
    return verdicts == [0, 0]


@pytest.mark.parametrize("name", sorted(good_bundles.CASES))
def test_openssl_accepts_what_we_accept(name, tmp_path):
    assert openssl_accepts(good_bundles.CASES[name](), tmp_path)


@pytest.mark.parametrize("name", sorted(broken_bundles.CASES))
def test_openssl_refuses_every_chain_that_we_refuse(name, tmp_path):
    case = broken_bundles.CASES[name]()
    if case.codes & CHAIN_CODES and {"cacert.pem", "server.crt", "client.crt"} <= case.bundle.pem.keys():
        assert not openssl_accepts(case.bundle, tmp_path)


@pytest.mark.parametrize("style", openssl_bundles.STYLES)
def test_bundles_made_by_openssl_are_not_refused(style, tmp_path):
    bundle = openssl_bundles.make_bundle(tmp_path, style=style)

    findings = validate.bundle(bundle, now=datetime.now(UTC))

    assert findings == ()
    assert openssl_accepts(bundle, tmp_path)


def test_a_leaf_of_another_ca_names_its_issuer():
    bundle = pki.bundle(server=pki.leaf(pki.ca("other CA"), "server"))

    (found,) = (each for each in validate.bundle(bundle, now=pki.NOW) if each.code == "LEAF_NOT_SIGNED_BY_CA")

    assert found.cause == "it was issued by CN=other CA, which is not in cacert.pem"


@pytest.mark.parametrize("body", [None, b"", b"no PEM"])
def test_without_a_readable_cacert_nothing_is_said_of_the_leaves(body):
    pem = {name: found for name, found in pki.bundle().pem.items() if name != "cacert.pem"}
    pem |= {} if body is None else {"cacert.pem": body}

    found = validate.bundle(replace(pki.bundle(), pem=pem), now=pki.NOW)

    assert {each.file for each in found} == {"cacert.pem"}
    assert len(found) == 1


def test_a_name_of_a_kind_that_nobody_uses_is_a_finding_and_no_crash():
    x400 = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, bytes.fromhex("3004a3023000"))
    bundle = pki.bundle(server=pki.leaf(pki.good_ca(), "server", extra=((x400, False),)))

    assert codes(errors(validate.bundle(bundle, now=pki.NOW))) == {"CERTIFICATE_UNREADABLE"}
