"""A Ctrl-C once something may have been changed: no verb says any more that nothing was."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from gausscert_common.identity import Role
from gausscert_coordinator import pki, pki_register
from gausscert_coordinator.control_plane import Renewed
from support.cli_fakes import NODES, Given, certificate, cli, plan

CA = Path("pki")
XML = """<ROOT><CLUSTER><PARAM name="clusterName" value="shop"/>
<PARAM name="nodeNames" value="db1"/></CLUSTER>
<DEVICELIST><DEVICE sn="1"><PARAM name="name" value="db1"/><PARAM name="backIp1" value="10.0.0.1"/>
<PARAM name="cmDir" value="/data/cm"/></DEVICE></DEVICELIST></ROOT>"""


class CtrlC(io.StringIO):
    """Standard output, at which the operator has had enough."""

    def write(self, text: str) -> int:
        raise KeyboardInterrupt


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A CA of cluster prod; the fake inventory's credential, which lies here, is that of operator olga."""
    monkeypatch.chdir(tmp_path)
    pki.init(CA, "prod", None)
    olga = pki.issue(CA, Role.OPERATOR, "olga", out=Path("olga"))
    pki.issue(CA, Role.OPERATOR, "alice", out=Path("alice"))
    for name, path in (("ca", olga.ca), ("cert", olga.cert), ("key", olga.key)):
        Path(name).touch(0o600)
        Path(name).write_bytes(path.read_bytes())
    Path("cluster_config.xml").write_text(XML)
    return tmp_path


def said(run):
    return " ".join(run.err.split())


def test_a_revocation_that_nodes_may_know_of_is_to_be_run_again(here):
    given = Given(raises=KeyboardInterrupt())

    run = cli("pki", "revoke", "alice", "--dir", "pki", given=given)

    assert run.code == 4
    assert [kind for kind, *_ in given.asked] == ["deny", "close"]
    assert len(pki_register.deny_list(CA).entries) == 1
    assert "nothing was changed" not in said(run)
    assert "stopped by the operator, perhaps before every node had answered; deny.list beside" in said(run)
    assert "run the same again" in said(run)
    assert cli("pki", "revoke", "alice", "--dir", "pki").code == 0


@pytest.mark.parametrize("when", ["written", "told"])
def test_a_revocation_that_is_to_be_sent_to_nobody_speaks_of_no_node(here, monkeypatch, when):
    if when == "written":
        monkeypatch.setattr(pki_register, "revoke", stopped_at_once)

    run = cli("pki", "revoke", "alice", "--dir", "pki", "--no-send", out=CtrlC())

    assert run.code == 5
    assert (CA / "deny.list").exists() is (when == "told")
    assert "pki/deny.list: stopped by the operator; what was to be written may be there" in said(run)
    assert "run the same again" in said(run)
    assert "move away" not in said(run), "the list is whole, and holds all that was revoked before"
    assert "node" not in said(run)
    assert "nothing was changed" not in said(run)


TELLERS = {
    "pki revoke": ("pki", "revoke", "alice", "--dir", "pki"),
    "pki renew": ("pki", "renew", "--all-nodes", "--dir", "pki"),
}


@pytest.mark.parametrize("args", list(TELLERS.values()), ids=list(TELLERS))
def test_when_all_nodes_have_answered_it_does_not_claim_that_some_have_not(here, args):
    given = Given(renewed=(Renewed("n1", certificate(), None),))

    run = cli(*args, given=given, out=CtrlC())

    assert run.code == 4
    assert "stopped by the operator, perhaps before every node had answered" in said(run)


def test_before_it_is_written_down_nothing_was_changed(here, monkeypatch):
    monkeypatch.setattr(pki_register, "newest", stopped_at_once)

    run = cli("pki", "revoke", "alice", "--dir", "pki", "--keep-newest")

    assert run.code == 2
    assert "nothing was changed" in said(run)
    assert not (CA / "deny.list").exists()


def stopped_at_once(*_):
    raise KeyboardInterrupt


def test_agents_that_may_be_renewed_are_to_be_renewed_again(here):
    given = Given(raises=KeyboardInterrupt())

    run = cli("pki", "renew", "--all-nodes", "--dir", "pki", "--output", "json", given=given)

    assert run.code == 4
    assert given.asked[0] == ("renew", NODES, "prod")
    assert run.document["error"]["reason"] == "UNREACHABLE"
    assert "agents may have been renewed" in run.document["error"]["message"]
    assert "run the same again" in run.document["error"]["remedy"]


WRITERS = {
    "pki init": ("pki", "init", "--dir", "made", "--cluster", "prod", "--no-passphrase"),
    "pki issue": ("pki", "issue", "operator", "bob", "--dir", "pki", "--out", "made"),
    "pki renew": ("pki", "renew", "alice/operator-alice.crt", "--dir", "pki", "--out", "made"),
    "inventory import": ("inventory", "import", "cluster_config.xml", "--out", "made"),
}


@pytest.mark.parametrize("args", list(WRITERS.values()), ids=list(WRITERS))
def test_files_that_are_there_are_not_denied(here, args):
    run = cli(*args, out=CtrlC())

    assert run.code == 5
    assert Path("made").exists()
    assert "nothing was changed" not in said(run)
    assert "made: stopped by the operator; what was to be written may be there" in said(run)


def test_a_bundle_and_a_plan_that_are_there_are_not_denied(here, bundle, passwords):
    made = cli("bundle", "new", "made", *passwords, out=CtrlC())
    given = Given(plan=plan())
    planned = cli("plan", str(bundle), "--out", "plan.json", *passwords, given=given, out=CtrlC())

    assert (made.code, Path("made/server.key").exists()) == (5, True)
    assert (planned.code, Path("plan.json").exists()) == (5, True)
    for run in (made, planned):
        assert "nothing was changed" not in said(run)
        assert "may be there" in said(run)


def test_a_credential_that_was_cut_off_in_its_writing_leaves_nothing(here, monkeypatch):
    before = sorted(CA.iterdir())
    synced, left = os.fsync, [2]

    def fsync(descriptor):
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        synced(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fsync)
        run = cli("pki", "issue", "operator", "bob", "--dir", "pki", "--out", "made")

    assert run.code == 5
    assert sorted(CA.iterdir()) == before
    assert list(Path("made").iterdir()) == []
    assert cli("pki", "issue", "operator", "bob", "--dir", "pki", "--out", "made").code == 0


def test_the_table_of_exit_codes_knows_of_what_was_stopped():
    run = cli("--help")

    told = " ".join(run.out.split())
    assert "nothing changed; by pki perhaps a part" in told
    assert "an error of its own, or stopped while it wrote" in told
