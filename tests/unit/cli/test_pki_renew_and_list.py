"""`pki renew` and `pki list`: what is asked, what is shown, how it ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from gausscert_common.errors import Denied, Reason
from gausscert_common.identity import Role
from gausscert_common.model import Certificate, CertificateKind
from gausscert_coordinator import pki, pki_register
from gausscert_coordinator.control_plane import Held, Renewed
from support.cli_fakes import Given, cli, unreachable

NOW = datetime.now(UTC)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A directory with a CA of cluster prod, which the fake inventory trusts."""
    monkeypatch.chdir(tmp_path)
    pki.init(Path("pki"), "prod", None)
    Path("ca").write_bytes(Path("pki/ca.crt").read_bytes())
    return tmp_path


def credential(days=825, fingerprint="ab" * 32):
    return Certificate(
        "/var/lib/gausscert/credential.pem",
        0,
        CertificateKind.CREDENTIAL,
        "CN=n1,O=prod",
        "CN=gausscert control plane",
        "1f",
        fingerprint,
        NOW - timedelta(hours=1),
        NOW + timedelta(days=days),
    )


def renew(*args, **keywords):
    return cli("pki", "renew", "--dir", "pki", *args, **keywords)


# ---- over the wire


def test_all_nodes_of_the_inventory_are_renewed(here):
    given = Given(renewed=tuple(Renewed(name, credential(), None) for name in ("n1", "n2", "n3")))

    run = renew("--all-nodes", given=given)

    assert run.code == 0
    assert given.asked == [("renew", ("n1", "n2", "n3"), "prod"), ("close",)]
    assert run.out.count("seen to serve it") == 3


def test_one_node_that_does_not_answer_keeps_no_other_from_it(here):
    given = Given(renewed=(Renewed("n1", credential(), None), Renewed("n2", None, unreachable("n2"))))

    run = renew("--node", "n1", "--node", "n2", "--output", "json", given=given)

    assert run.code == 4
    one, other = run.document["nodes"]
    assert (one["node"], one["credential"]["serial"], one["error"]) == ("n1", "1f", None)
    assert (other["node"], other["credential"], other["error"]["reason"]) == ("n2", None, "UNREACHABLE")


def test_a_node_that_refuses_ends_with_2(here):
    denied = Denied(Reason.PERMISSION_DENIED, "observer eve may not call BeginRenewal", node="n1")

    run = renew("--node", "n1", given=Given(renewed=(Renewed("n1", None, denied),)))

    assert run.code == 2
    assert "PERMISSION_DENIED" in run.out + run.err


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("--all-nodes", "--node", "n1"),
        ("--all-nodes", "pki/ca.crt"),
        ("pki/ca.crt",),
        ("--all-nodes", "--out", "x"),
    ],
)
def test_what_is_to_be_renewed_must_be_clear(here, args):
    given = Given()

    run = renew(*args, given=given)

    assert run.code == 2
    assert given.asked == []


# ---- files


def test_a_persons_files_are_issued_anew(here):
    pki.issue(Path("pki"), Role.OPERATOR, "alice", out=Path("alice"))
    before = Path("alice/operator-alice.key").read_bytes()

    run = renew("alice/operator-alice.crt", "--out", "new", "--output", "json")

    assert run.code == 0
    assert run.document["identity"] == "gausscert://prod/operator/alice"
    assert Path("alice/operator-alice.key").read_bytes() == before
    assert Path("new/operator-alice.key").read_bytes() != before
    assert Path("new/operator-alice.key").stat().st_mode & 0o777 == 0o400


def test_renewing_files_writes_nothing_over(here):
    pki.issue(Path("pki"), Role.OPERATOR, "alice", out=Path("alice"))
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}

    run = renew("alice/operator-alice.crt", "--out", "alice")

    assert run.code == 2
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


# ---- list


def test_every_identity_is_listed_with_its_state(here):
    ca = Path("pki")
    past = NOW - timedelta(days=10)
    pki.issue(ca, Role.OPERATOR, "alice", out=Path("a"), now=past, days=5)
    pki.issue(ca, Role.OPERATOR, "bob", out=Path("b"), now=past)
    pki.issue(ca, Role.OPERATOR, "bob", out=Path("b2"))
    pki.issue(ca, Role.OBSERVER, "nagios", out=Path("c"), days=20)
    carol = pki.issue(ca, Role.RECOVERER, "carol", out=Path("d"))
    entries = [each for each in pki_register.entries(ca) if each.fingerprint == carol.fingerprint]
    pki_register.revoke(ca, entries, "left")

    document = cli("pki", "list", "--dir", "pki", "--output", "json").document

    shown = [(each["role"], each["name"], each["state"]) for each in document["identities"]]
    assert shown == [
        ("operator", "alice", "expired"),
        ("operator", "bob", "ok"),
        ("operator", "bob", "superseded"),
        ("observer", "nagios", "expiring"),
        ("recoverer", "carol", "revoked"),
    ]
    assert document["identities"][4]["revoked"] is True
    assert document["identities"][3]["days_left"] in (19, 20)
    assert document["agents"] == []


def test_what_an_older_gausscert_left_beside_the_ca_is_listed_once(here):
    issued = pki.issue(Path("pki"), Role.NODE, "n1")
    for path in Path("pki").glob("issued-*"):
        path.unlink()
    assert cli("pki", "list", "--dir", "pki", "--output", "json").document["identities"][0]["name"] == "n1"
    pki.issue(Path("pki"), Role.NODE, "n2")

    document = cli("pki", "list", "--dir", "pki", "--output", "json").document

    assert [each["name"] for each in document["identities"]] == ["n1", "n2"]
    assert document["identities"][0]["fingerprint"] == issued.fingerprint


def test_agents_are_asked_only_when_wanted_and_told_whether_they_are_known(here):
    issued = pki.issue(Path("pki"), Role.NODE, "n1", out=Path("n1"))
    held = (
        Held("n1", (credential(fingerprint=issued.fingerprint),), None),
        Held("n2", (credential(days=3),), None),
        Held("n3", (), unreachable("n3")),
    )
    given = Given(held=held)

    assert cli("pki", "list", "--dir", "pki", given=given).code == 0
    assert given.asked == []
    run = cli("pki", "list", "--dir", "pki", "--nodes", "--output", "json", given=given)

    assert run.code == 4
    known = {each["node"]: [one["known"] for one in each["certificates"]] for each in run.document["agents"]}
    assert known == {"n1": [True], "n2": [False], "n3": []}
    assert run.document["agents"][1]["certificates"][0]["days_left"] in (2, 3)
    table = cli("pki", "list", "--dir", "pki", "--nodes", given=given)
    assert "n2" in table.out
    assert "UNREACHABLE" in table.out + table.err


def test_a_directory_without_a_ca_is_refused(here):
    run = cli("pki", "list", "--dir", "nowhere")

    assert run.code == 2
    assert "pki init" in run.err


def test_nothing_issued_is_said_so(here):
    assert "nothing was issued yet" in cli("pki", "list", "--dir", "pki").out


def test_a_certificate_without_an_end_is_none(here):
    """It would take all memory there is. A device is not even read from; a file is, up to an end."""
    with Path("endless").open("wb") as endless:
        endless.truncate(1 << 40)

    for name, said in (("/dev/zero", "it is no regular file"), ("endless", "it has more than")):
        run = cli("pki", "renew", name, "--dir", "pki", "--out", "renewed")
        assert run.code == 2
        assert f"{name}: it cannot be used: {said}" in run.err


def test_what_was_signed_for_a_person_and_cut_off_says_how_to_put_it_right(here):
    pki.register(Path("pki"), [pki.sign(Path("pki"), Role.OPERATOR, "alice")])

    run = cli("pki", "list", "--dir", "pki")

    assert run.code == 0
    assert "unconfirmed" in run.out
    assert "gausscert pki issue operator alice puts it right" in " ".join(run.out.split())
    pki.issue(Path("pki"), Role.OPERATOR, "alice")
    again = cli("pki", "list", "--dir", "pki")
    assert ("superseded" in again.out, "unconfirmed" in again.out) == (True, False)
