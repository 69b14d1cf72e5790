"""Whoever calls is told before his own credential ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from gausscert_common.findings import Severity
from gausscert_common.identity import Role
from gausscert_coordinator import own_credential, pki
from gausscert_coordinator.inventory import Credentials, Inventory, InventoryNode
from support.cli_fakes import Given, cli, cluster_status, expiry_report

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def inventory(tmp_path):
    pki.init(tmp_path / "pki", "prod", None, days=1000)
    issued = pki.issue(tmp_path / "pki", Role.OBSERVER, "nagios", out=tmp_path / "out", days=365)
    credentials = Credentials(issued.ca, issued.cert, issued.key)
    return Inventory("prod", (InventoryNode("n1", "n1:7443"),), credentials)


@pytest.mark.parametrize(
    ("days", "codes"),
    [
        (0, []),
        (334, []),
        (336, ["OWN_CREDENTIAL_EXPIRING"]),
        (364, ["OWN_CREDENTIAL_EXPIRING"]),
        (366, []),  # it cannot be used any more, which connecting tells
    ],
)
def test_the_last_month_is_told(inventory, days, codes):
    found = own_credential.findings(inventory, NOW + timedelta(days=days))

    assert [one.code for one in found] == codes
    assert all(
        (one.severity, one.file) == (Severity.WARNING, str(inventory.credentials.cert)) for one in found
    )
    assert all("observer nagios" in one.cause and "pki renew" in one.remedy for one in found)


def test_the_last_three_months_of_the_ca_are_told(tmp_path):
    pki.init(tmp_path / "pki", "prod", None, days=80)
    issued = pki.issue(tmp_path / "pki", Role.OPERATOR, "alice", out=tmp_path / "out")
    short = Inventory("prod", (), Credentials(issued.ca, issued.cert, issued.key))

    (found,) = own_credential.findings(short)

    assert (found.code, found.file) == ("OWN_CREDENTIAL_CA_EXPIRING", str(issued.ca))


def test_a_credential_that_cannot_be_used_is_left_to_whoever_connects(inventory):
    inventory.credentials.key.unlink()

    assert own_credential.findings(inventory) == ()


@pytest.fixture
def ending(tmp_path, monkeypatch):
    """The fake inventory's credential, which lies in the present directory, ends in ten days."""
    pki.init(tmp_path / "pki", "prod", None)
    issued = pki.issue(tmp_path / "pki", Role.OPERATOR, "alice", out=tmp_path / "out", days=10)
    for name, path in (("ca", issued.ca), ("cert", issued.cert), ("key", issued.key)):
        (tmp_path / name).touch(0o600)
        (tmp_path / name).write_bytes(path.read_bytes())
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("ending")
def test_the_command_line_warns_beside_the_result():
    given = Given(status=cluster_status())

    told = cli("status", given=given)
    document = cli("status", "--output", "json", given=given)

    assert told.code == document.code == 0
    assert "OWN_CREDENTIAL_EXPIRING" in told.err
    assert "OWN_CREDENTIAL_EXPIRING" not in told.out
    assert document.document["schema"]
    assert cli("status", "--quiet", given=given).err == ""


@pytest.mark.usefixtures("ending")
def test_check_makes_a_warning_of_it():
    names = ("n1", "n2", "n3")
    given = Given(status=cluster_status(), expiry=tuple(expiry_report(name) for name in names))

    run = cli("check", given=given)

    assert run.code == 1
    assert run.out.startswith("GAUSSCERT WARNING") or "WARNING" in run.out.splitlines()[0]
    assert "your own credential" in run.out


@pytest.mark.usefixtures("ending")
@pytest.mark.parametrize(
    "args",
    [
        ("pki", "list", "--dir", "pki", "--nodes"),
        ("pki", "renew", "--dir", "pki", "--all-nodes"),
        ("history", "--verify"),
    ],
)
def test_whoever_asks_agents_about_themselves_is_warned_too(args, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    run = cli(*args)

    assert run.code == 0
    assert "OWN_CREDENTIAL_EXPIRING" in run.err
