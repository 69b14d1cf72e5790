"""Which credential on a node will do, and which is issued anew."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from gausscert_common.identity import Role
from gausscert_coordinator import pki
from gausscert_coordinator.rollout import credential
from gausscert_coordinator.rollout.facts import Held

NOW = datetime(2026, 11, 2, tzinfo=UTC)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pki") / "ca"
    pki.init(made, "prod", None, now=NOW)
    return made


def good(home: Path, signed: pki.Signed, *, key_fits: bool = True, ca: str = "", now: datetime = NOW) -> bool:
    held = Held(signed.cert_pem.decode(), ca or signed.ca_pem.decode(), key_fits)
    own = x509.load_pem_x509_certificate((home / "ca.crt").read_bytes())
    return credential.is_good(held, own, "prod", "n1", now)


def test_one_that_lasts_is_kept(home: Path):
    signed = pki.sign(home, Role.NODE, "n1", now=NOW)

    assert good(home, signed)
    assert not good(home, signed, now=signed.not_after - credential.LEFT)


@pytest.mark.parametrize(("role", "name"), [(Role.NODE, "n2"), (Role.OPERATOR, "n1")])
def test_somebody_elses_is_not(home: Path, role: Role, name: str):
    assert not good(home, pki.sign(home, role, name, now=NOW))


def test_one_without_its_key_or_with_another_ca_beside_it_is_not(home: Path, tmp_path: Path):
    signed = pki.sign(home, Role.NODE, "n1", now=NOW)
    pki.init(tmp_path / "other", "prod", None, now=NOW)
    other = pki.sign(tmp_path / "other", Role.NODE, "n1", now=NOW)

    assert not good(home, signed, key_fits=False)
    assert not good(home, signed, ca=other.ca_pem.decode())
    assert not good(home, other)


def test_none_at_all_is_none(home: Path):
    own = x509.load_pem_x509_certificate((home / "ca.crt").read_bytes())

    assert not credential.is_good(Held("", "", False), own, "prod", "n1", NOW)
    assert not credential.is_good(Held("rubbish", "rubbish", True), own, "prod", "n1", NOW)


def test_what_is_signed_is_what_would_be_written(home: Path, tmp_path: Path):
    signed = pki.sign(home, Role.NODE, "n9", now=NOW)
    issued = pki.issue(home, Role.NODE, "n9", out=tmp_path / "out", now=NOW)

    assert signed.identity == issued.identity
    assert signed.not_after == issued.not_after == NOW + timedelta(days=pki.NODE_DAYS)
    assert signed.key_pem.decode() not in repr(signed)
