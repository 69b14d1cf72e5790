"""Which credential on a node will do, and which is issued anew."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from gausscert_agent import renewed
from gausscert_agent.config import AgentConfig, CmSettings, TlsFiles
from gausscert_common.errors import InvalidInput, Reason
from gausscert_common.identity import Role
from gausscert_coordinator import pki, pki_trust
from gausscert_coordinator.rollout import credential
from gausscert_coordinator.rollout.facts import Held
from gausscert_coordinator.rollout.on_node import configuration, look
from gausscert_coordinator.rollout.on_node.layout import layout, me

NOW = datetime(2026, 11, 2, tzinfo=UTC)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pki") / "ca"
    pki.init(made, "prod", None, now=NOW)
    return made


def good(home: Path, signed: pki.Signed, *, key_fits: bool = True, ca: str = "", now: datetime = NOW) -> bool:
    held = Held(signed.cert_pem.decode(), ca or signed.ca_pem.decode(), key_fits)
    return credential.is_good(held, own(home), "prod", "n1", now)


def own(home: Path, *trusted: Path) -> credential.Own:
    """Of an operator whose certificate is of one CA, and who trusts that and others."""
    cert = x509.load_pem_x509_certificate(pki.sign(home, Role.OPERATOR, "alice", now=NOW).cert_pem)
    cas = (x509.load_pem_x509_certificate((each / "ca.crt").read_bytes()) for each in (home, *trusted))
    return credential.Own(cert, tuple(cas))


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
    assert not credential.is_good(Held("", "", False), own(home), "prod", "n1", NOW)
    assert not credential.is_good(Held("rubbish", "rubbish", True), own(home), "prod", "n1", NOW)


def test_while_the_control_plane_changes_its_ca_no_node_gets_one_back_that_was_taken_away(
    home: Path, tmp_path: Path
):
    """Its ca.crt holds the new one alone already, the operator trusts both: runbook, Rotation, step 5."""
    pki.init(tmp_path / "new", "prod", None, now=NOW)
    former = pki.sign(home, Role.NODE, "n1", now=NOW)
    new_ca = (tmp_path / "new" / "ca.crt").read_text()
    both = former.ca_pem.decode() + new_ca
    operator = own(tmp_path / "new", home)

    for trusted in (both, new_ca):
        held = Held(former.cert_pem.decode(), trusted, key_fits=True)
        assert credential.is_good(held, operator, "prod", "n1", NOW)
    left_behind = Held(former.cert_pem.decode(), former.ca_pem.decode(), key_fits=True)
    assert not credential.is_good(left_behind, operator, "prod", "n1", NOW)


def test_what_is_signed_is_what_would_be_written(home: Path, tmp_path: Path):
    signed = pki.sign(home, Role.NODE, "n9", now=NOW)
    issued = pki.issue(home, Role.NODE, "n9", out=tmp_path / "out", now=NOW)

    assert signed.identity == issued.identity
    assert signed.not_after == issued.not_after == NOW + timedelta(days=pki.NODE_DAYS)
    assert signed.key_pem.decode() not in repr(signed)


class Renewed:
    """A node whose agent got a new credential over the wire, when its files had two months left."""

    def __init__(self, root: Path, home: Path) -> None:
        self.then = NOW + timedelta(days=pki.NODE_DAYS - 60)
        self.places = layout(str(root))
        configuration.make_places(self.places, me())
        first = pki.issue(home, Role.NODE, "n1", out=self.places.pki, now=NOW)
        tls = TlsFiles(first.ca, first.cert, first.key)
        self.config = AgentConfig(
            "n1", "prod", "127.0.0.1:1", self.places.state, tls, CmSettings(Path("/opt/cm"))
        )
        self.signed = pki.sign(home, Role.NODE, "n1", now=self.then)
        renewed.install(self.config, self.signed.key_pem, self.signed.cert_pem, self.then)
        self.file = renewed.path_of(self.config)

    def look(self) -> Held:
        told = look._credential(self.places, "n1")
        assert "PRIVATE" not in str(told)
        return Held(**told)


@pytest.fixture
def node(tmp_path: Path, home: Path) -> Renewed:
    return Renewed(tmp_path, home)


def test_one_that_was_renewed_over_the_wire_counts_and_needs_no_key_of_the_ca(node: Renewed, home: Path):
    """An upgrade asked for the CA's passphrase, and took away what had two years left."""
    held = node.look()

    assert held.cert.strip() == node.signed.cert_pem.decode().strip()
    assert credential.is_good(held, own(home), "prod", "n1", node.then)


def test_it_does_not_where_other_files_were_put_there_since(node: Renewed, home: Path):
    anew = pki.sign(home, Role.NODE, "n1", now=node.then)
    node.config.tls.cert.chmod(0o600)
    node.config.tls.cert.write_bytes(anew.cert_pem)

    assert node.look().cert == anew.cert_pem.decode()
    node.config.tls.cert.unlink()
    assert node.look().cert == ""


@pytest.mark.parametrize("spoilt", ["mode", "key", "pipe"])
def test_nor_where_it_is_spoilt_for_then_the_agent_serves_with_its_files(
    node: Renewed, home: Path, spoilt: str
):
    body = node.file.read_bytes()
    if spoilt == "mode":
        node.file.chmod(0o644)
    elif spoilt == "key":
        other = pki.sign(home, Role.NODE, "n1", now=node.then).key_pem
        node.file.chmod(0o600)
        node.file.write_bytes(body.replace(node.signed.key_pem, other))
    else:
        node.file.unlink()
        os.mkfifo(node.file, 0o600)

    held = node.look()

    assert held.cert == node.config.tls.cert.read_text()
    assert not credential.is_good(held, own(home), "prod", "n1", node.then)


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pki-new") / "ca"
    pki.init(made, "prod", None, now=NOW + timedelta(days=1))
    return made


def ca(home: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate((home / "ca.crt").read_bytes())


def given(issuer: Path, there: str, operator: credential.Own) -> tuple[x509.Certificate, ...]:
    """The ca.crt that goes to a node with a new credential."""
    signed = pki.sign(issuer, Role.NODE, "n1", now=NOW + timedelta(days=2))
    trusted = credential.trust(signed, Held("", there, False), operator, "n1")
    assert (trusted.cert_pem, trusted.key_pem) == (signed.cert_pem, signed.key_pem)
    return pki_trust.read(trusted.ca_pem)


def test_with_a_new_credential_a_node_gets_every_ca_that_the_operator_trusts(home: Path, newer: Path):
    """Half-way through a change of the CA; it was a bug: it got the one alone that had issued it."""
    both = {ca(home), ca(newer)}
    for operator in (own(home, newer), own(newer, home)):
        for issuer in (home, newer):
            for there in ("", "rubbish", (home / "ca.crt").read_text()):
                cas = given(issuer, there, operator)
                assert cas[0] == ca(issuer)
                assert set(cas) == both
                assert len(cas) == 2


def test_outside_of_a_change_a_node_gets_the_one_ca(home: Path, newer: Path):
    assert given(home, "", own(home)) == (ca(home),)
    assert given(newer, (home / "ca.crt").read_text(), own(newer)) == (ca(newer),)


def test_with_a_new_credential_a_node_does_not_get_back_the_older_ca_that_was_taken_away_there(
    home: Path, newer: Path
):
    """Runbook, Rotation, step 5: on the nodes first, then at the persons."""
    there = (newer / "ca.crt").read_text()

    assert given(newer, there, own(newer, home)) == (ca(newer),)
    with pytest.raises(InvalidInput, match="trusts no longer") as issuer:
        given(home, there, own(newer, home))
    with pytest.raises(InvalidInput, match="your own credential") as himself:
        given(newer, there, own(home, newer))
    assert {issuer.value.reason, himself.value.reason} == {Reason.CREDENTIAL_INVALID}
    assert {issuer.value.node, himself.value.node} == {"n1"}


def test_a_ca_that_the_operator_does_not_trust_issues_nothing_for_a_node(home: Path, newer: Path):
    with pytest.raises(InvalidInput, match="not among those") as refused:
        given(newer, "", own(home))

    assert "--pki" in refused.value.remedy
