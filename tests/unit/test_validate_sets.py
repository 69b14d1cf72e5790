"""Sets as they lie on disk, bundles beside a live set, the clock, and what the findings say."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from gausscert_common import certset, factors, validate
from gausscert_common.findings import Severity, errors
from gausscert_common.model import FactorBuild
from support import openssl_bundles, pki
from support.broken_bundles import factor_files
from support.good_bundles import as_set

DAY = timedelta(days=1)


def codes(findings):
    return {finding.code for finding in findings}


@pytest.fixture(scope="module")
def good_set():
    return as_set(pki.bundle())


def judge_set(files, modes=None, **more):
    return validate.certificate_set(files, modes, now=pki.NOW, **more)


def test_a_good_set_has_no_findings(good_set):
    modes = dict.fromkeys(good_set, 0o100400)

    assert judge_set(good_set, modes, build=FactorBuild.RELEASED) == ()


@pytest.mark.parametrize("name", certset.NAMES)
@pytest.mark.parametrize("mode", [0o600, 0o440, 0o404, 0o500, 0o000])
def test_any_other_mode_than_0400_is_an_error(good_set, name, mode):
    found = judge_set(good_set, {**dict.fromkeys(good_set, 0o400), name: mode})

    assert [(finding.code, finding.file) for finding in found] == [("FILE_MODE", name)]
    assert f"{mode:04o}" in found[0].cause


@pytest.mark.parametrize("name", certset.FACTOR_NAMES)
def test_a_missing_or_empty_factor_file_is_an_error(good_set, name):
    without = {one: body for one, body in good_set.items() if one != name}

    assert ("FILE_MISSING", name) in {(found.code, found.file) for found in errors(judge_set(without))}
    assert codes(errors(judge_set({**good_set, name: b""}))) == {"FILE_EMPTY"}


def test_factor_files_must_open_the_keys(good_set):
    other = factor_files(server="Other#789").as_files()

    found = errors(judge_set({**good_set, **other}))

    assert [(finding.code, finding.file) for finding in found] == [
        ("FACTOR_PASSWORD_WRONG", "server.key.cipher")
    ]


def test_the_build_of_the_node_decides(good_set):
    found = judge_set(good_set, build=FactorBuild.LIBPQ_OFF)

    assert codes(found) == {"FACTOR_BUILD_WRONG"}
    assert {finding.file for finding in found} == set(certset.FACTOR_NAMES)


def test_an_empty_directory_lacks_all_nine():
    found = errors(judge_set({}))

    assert [finding.code for finding in found] == ["FILE_MISSING"] * 9
    assert {finding.file for finding in found} == set(certset.NAMES)


def test_unknown_files_of_a_live_directory_do_not_matter(good_set):
    assert judge_set({**good_set, "gsql_cert_backup.tar.gz": b"x", "cacert.srl": b""}) == ()


def test_everything_wrong_is_said_at_once():
    server = pki.leaf(pki.ca("other CA"), "server", end=pki.NOW - DAY, purposes=("serverAuth",))
    bundle = replace(pki.bundle(server=server), server_password="short", client_password=None)

    found = codes(errors(validate.bundle(bundle, now=pki.NOW)))

    assert found >= {
        "LEAF_NOT_SIGNED_BY_CA",
        "CERTIFICATE_EXPIRED",
        "LEAF_PURPOSE",
        "PASSWORD_TOO_SHORT",
        "KEY_PASSWORD_WRONG",
        "PASSWORD_MISSING",
    }


def test_errors_come_before_warnings():
    bundle = pki.of_ca(pki.good_ca(), purposes=("serverAuth",), end=pki.NOW + 30 * DAY)

    severities = [finding.severity for finding in validate.bundle(bundle, now=pki.NOW)]

    assert severities == sorted(severities, key=lambda severity: severity is Severity.WARNING)
    assert set(severities) == set(Severity)


@pytest.mark.parametrize(
    ("offset", "expected"),
    [
        (timedelta(seconds=-1), "CERTIFICATE_NOT_YET_VALID"),
        (timedelta(0), None),
        (timedelta(days=20), None),
        (timedelta(days=30, seconds=1), "CERTIFICATE_EXPIRING"),
        (timedelta(days=100, seconds=-1), "CERTIFICATE_EXPIRING"),
        (timedelta(days=100), "CERTIFICATE_EXPIRED"),
    ],
)
def test_the_dates_count_to_the_second(offset, expected):
    begin = pki.NOW
    bundle = pki.of_ca(pki.ca("CA"), begin=begin, end=begin + 100 * DAY)

    found = validate.bundle(bundle, now=begin + offset, threshold_days=70)

    assert codes(found) == ({expected} if expected else set())


def test_a_bundle_equal_to_the_live_set_is_refused_whatever_the_factor_files():
    bundle = pki.bundle()

    found = validate.bundle(bundle, now=pki.NOW, live=as_set(bundle))

    assert codes(found) == {"SET_UNCHANGED"}


def test_the_same_bundle_repairs_live_factor_files_that_do_not_open_the_keys():
    bundle = pki.bundle()
    live = {**bundle.pem, **factor_files(client="Other#789").as_files()}

    assert validate.bundle(bundle, now=pki.NOW, live=live) == ()


def test_crls_that_are_carried_over_are_part_of_the_comparison():
    bundle = pki.bundle()
    crls = {"server.crl": pki.crl(pki.good_ca())}
    live = {**as_set(bundle), **crls}

    assert codes(validate.bundle(bundle, now=pki.NOW, live=live, carried_crls=crls)) == {"SET_UNCHANGED"}
    assert validate.bundle(bundle, now=pki.NOW, live=live) == ()


def test_a_crl_of_the_bundle_replaces_the_carried_one():
    bundle = pki.bundle(files={"server.crl": pki.crl(pki.good_ca())})
    carried = {"server.crl": pki.crl(pki.ca("old CA"))}

    assert validate.bundle(bundle, now=pki.NOW, carried_crls=carried) == ()


def test_a_serial_number_of_the_live_set_must_not_come_again():
    authority = pki.good_ca()
    old = pki.bundle(server=pki.leaf(authority, "server", serial=99))
    new = pki.bundle(server=pki.leaf(authority, "server", serial=99, key=pki.key("p384")))

    found = validate.bundle(new, now=pki.NOW, live=as_set(old))

    assert [(finding.code, finding.file) for finding in found] == [("SERIAL_REUSED", "server.crt")]
    assert found[0].severity is Severity.WARNING


def same_name(old: tuple[pki.Issued, ...], new: tuple[pki.Issued, ...]) -> list[str]:
    live = as_set(pki.bundle(old, *(pki.leaf(old[0], role) for role in ("server", "client"))))
    made = pki.bundle(new, *(pki.leaf(new[0], role) for role in ("server", "client")))
    found = validate.bundle(made, now=pki.NOW, live=live)
    return [each.cause for each in found if each.code == "CA_SAME_NAME"]


def test_a_new_ca_with_the_name_of_a_live_one_and_another_key_is_a_trap():
    one, other = (pki.ca("one CA", key=pki.key("ec", each)) for each in ("first", "second"))
    assert same_name((one,), (other,)) == ["both are CN=one CA"]


def test_a_renewed_ca_another_name_or_both_of_them_are_no_such_trap():
    """The same key is the same CA, whatever else was renewed; two in one file are judged by their leaves."""
    one, other = (pki.ca("one CA", key=pki.key("ec", each)) for each in ("first", "second"))
    renewed = pki.ca("one CA", key=pki.key("ec", "first"), end=pki.NOW + timedelta(days=3000))
    assert same_name((one,), (renewed,)) == []
    assert same_name((one,), (pki.ca("another CA"),)) == []
    assert same_name((one,), (other, one)) == []


def test_an_unreadable_live_set_does_not_disturb():
    live = dict.fromkeys(certset.NAMES, b"\x30\x82garbage")

    assert validate.bundle(pki.bundle(), now=pki.NOW, live=live) == ()


def test_no_finding_holds_a_password_or_key():
    secret = "Zz9#canary"
    bundle = replace(pki.bundle(), server_password=secret, client_password=secret * 3)
    made = factor_files(client="Yy8#canary")

    found = validate.bundle(replace(bundle, factor_files=made), now=pki.NOW)

    assert errors(found)
    assert "canary" not in repr(found)
    assert "PRIVATE KEY" not in repr(found)


def test_a_serial_number_of_zero_is_worth_a_warning(tmp_path):
    workshop = openssl_bundles.Workshop(tmp_path, {})
    workshop.run("ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", "key")
    words = ("-key", "key", "-subj", "/CN=zero", "-set_serial", "0", "-days", "900", "-out", "ca")
    workshop.run("req", "-x509", *words)

    found = validate.bundle(_of_openssl_ca(tmp_path), now=pki.NOW)

    assert "CERTIFICATE_SERIAL_NOT_POSITIVE" in codes(found)
    assert "CERTIFICATE_UNREADABLE" not in codes(found)


def _of_openssl_ca(tmp_path):
    return pki.bundle(
        files={"cacert.pem": (tmp_path / "ca").read_bytes(), "server.crt": (tmp_path / "ca").read_bytes()}
    )


def test_a_ca_of_a_kind_that_cannot_be_checked_is_refused(tmp_path):
    workshop = openssl_bundles.Workshop(tmp_path, {})
    workshop.run("genpkey", "-algorithm", "SM2", "-out", "ca.key")
    workshop.run(
        "req", "-x509", "-sm3", "-key", "ca.key", "-subj", "/CN=SM2 CA", "-days", "900", "-out", "ca"
    )
    workshop.run("ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", "leaf.key")
    workshop.run("req", "-new", "-key", "leaf.key", "-subj", "/CN=server", "-out", "leaf.csr")
    words = ("-CA", "ca", "-CAkey", "ca.key", "-CAcreateserial", "-sm3", "-days", "800", "-out", "leaf.crt")
    workshop.run("x509", "-req", "-in", "leaf.csr", *words)
    files = {
        "cacert.pem": (tmp_path / "ca").read_bytes() + pki.good_ca().pem,
        "server.crt": (tmp_path / "leaf.crt").read_bytes(),
        "server.key": (tmp_path / "leaf.key").read_bytes(),
    }

    found = errors(validate.bundle(pki.bundle(files=files), now=datetime.now(UTC)))

    assert codes(found) == {"SIGNATURE_ALGORITHM_UNKNOWN"}


def test_factor_files_of_one_password_that_are_damaged_do_not_count_as_swapped():
    keys = {f"{role}.key": pki.good_leaf(role).key_pem("Gauss@123") for role in ("server", "client")}
    made = factor_files("Gauss@123", "Gauss@123")
    damaged = replace(made, server_cipher=factors.write("Gauss@123")[0])
    bundle = pki.bundle(files=keys, server_password=None, client_password=None)

    found = errors(validate.bundle(replace(bundle, factor_files=damaged), now=pki.NOW))

    assert codes(found) == {"FACTOR_FILES_UNREADABLE"}


def test_a_negative_serial_number_beside_a_crl_is_judged(tmp_path):
    workshop = openssl_bundles.Workshop(tmp_path, {})
    workshop.run("ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", "key")
    words = ("-key", "key", "-subj", "/CN=good CA", "-set_serial", "-5", "-days", "900", "-out", "ca")
    workshop.run("req", "-x509", *words)
    crl = {"server.crl": pki.crl(pki.good_ca(), revoked=(5,))}

    found = validate.bundle(_of_openssl_ca(tmp_path), now=pki.NOW, carried_crls=crl)

    assert "CERTIFICATE_SERIAL_NOT_POSITIVE" in codes(found)
    assert "LEAF_REVOKED" not in codes(found)
