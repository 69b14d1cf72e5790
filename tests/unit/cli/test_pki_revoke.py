"""`pki revoke`: what is written, what is sent, how it ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from gausscert_common import denylist
from gausscert_common.identity import Role
from gausscert_coordinator import pki, pki_register
from gausscert_coordinator.control_plane import Denial
from support.cli_fakes import Given, cli, unreachable

CA = Path("pki")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A CA of cluster prod; the fake inventory's credential, which lies here, is that of operator olga."""
    monkeypatch.chdir(tmp_path)
    pki.init(CA, "prod", None)
    olga = pki.issue(CA, Role.OPERATOR, "olga", out=Path("olga"))
    for name, path in (("ca", olga.ca), ("cert", olga.cert), ("key", olga.key)):
        Path(name).touch(0o600)
        Path(name).write_bytes(path.read_bytes())
    return tmp_path


def revoke(*args, given=None):
    return cli("pki", "revoke", "--dir", "pki", *args, given=given or Given())


def issue(role, name, out):
    return pki.issue(CA, role, name, out=Path(out))


def denied():
    return [each.number for each in pki_register.deny_list(CA).entries]


def serial(issued):
    (found,) = [each for each in pki_register.entries(CA) if each.fingerprint == issued.fingerprint]
    return found.serial


def test_what_was_issued_to_somebody_is_written_down_and_sent(here):
    one, other = issue(Role.OPERATOR, "alice", "a"), issue(Role.OBSERVER, "alice", "b")
    given = Given(denials=(Denial("n1", 2, 2, None),))

    run = revoke("alice", "--output", "json", given=given)

    assert run.code == 0
    assert sorted(denied()) == sorted([serial(one), serial(other)])
    assert [kind for kind, *_ in given.asked] == ["deny", "close"]
    assert denylist.read(given.asked[0][1]) == pki_register.deny_list(CA)
    assert given.asked[0][2] == "prod"
    assert {each["identity"] for each in run.document["revoked"]} == {
        "gausscert://prod/operator/alice",
        "gausscert://prod/observer/alice",
    }
    assert Path("pki/deny.list").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("args", [(), ("--keep-newest",)])  # of which nothing is chosen, but all is sent
def test_the_ca_of_another_cluster_is_never_told_to_this_ones_nodes(here, args):
    pki.init(Path("other"), "other", None)
    pki.issue(Path("other"), Role.OPERATOR, "alice", out=Path("a"))
    given = Given(denials=(Denial("n1", 1, 1, None),))

    run = cli("pki", "revoke", "--dir", "other", "alice", *args, given=given)

    assert run.code == 2
    assert "the CA is that of cluster other, the inventory of prod" in " ".join(run.err.split())
    assert (given.asked, Path("other/deny.list").exists()) == ([], False)
    assert cli("pki", "revoke", "--dir", "other", "alice", "--no-send").code == 0


def test_one_role_alone(here):
    operator = issue(Role.OPERATOR, "alice", "a")
    issue(Role.OBSERVER, "alice", "b")

    assert revoke("alice", "--role", "operator").code == 0

    assert denied() == [serial(operator)]


def test_what_a_newer_one_has_replaced(here):
    former = issue(Role.OPERATOR, "alice", "a")
    issue(Role.OPERATOR, "alice", "b")  # in the same second, mostly: certificates know no less

    assert revoke("alice", "--keep-newest").code == 0

    assert denied() == [serial(former)]


def test_a_newer_one_of_a_clock_that_was_set_back(here):
    former = issue(Role.OPERATOR, "alice", "a")
    pki.issue(CA, Role.OPERATOR, "alice", out=Path("b"), now=datetime.now(UTC) - timedelta(minutes=30))

    assert revoke("alice", "--keep-newest").code == 0

    assert denied() == [serial(former)]


def test_the_newest_of_each_role_is_kept(here):
    former = [issue(Role.OPERATOR, "alice", "a"), issue(Role.OBSERVER, "alice", "b")]
    for role, out in ((Role.OPERATOR, "c"), (Role.OBSERVER, "d")):
        issue(role, "alice", out)

    assert revoke("alice", "--keep-newest").code == 0

    assert sorted(denied()) == sorted(map(serial, former))


def test_where_nobody_knows_which_is_the_newer_nothing_is_revoked_and_one_can_be_named(here):
    one, other = issue(Role.OPERATOR, "alice", "a"), issue(Role.OPERATOR, "alice", "b")
    for path in list(CA.glob("issued-*.crt")):  # as an older gausscert has kept them
        path.rename(path.with_name(f"issued-{path.stem.rpartition('-')[2]}.crt"))
    given = Given()

    refused = revoke("alice", "--keep-newest", given=given)

    assert refused.code == 2
    assert serial(one) in refused.err
    assert serial(other) in refused.err
    assert "--keep SERIAL" in refused.err
    assert (given.asked, Path("pki/deny.list").exists()) == ([], False)
    assert revoke("alice", "--keep", serial(other).upper()).code == 0
    assert denied() == [serial(one)]


@pytest.mark.parametrize("args", [("--keep", "beef"), ("--keep", "beef", "--keep-newest")])
def test_what_is_kept_must_be_there(here, args):
    issue(Role.OPERATOR, "alice", "a")

    assert revoke("alice", *args).code == 2

    assert not Path("pki/deny.list").exists()


def test_running_it_again_writes_nothing_and_sends_everything(here):
    issue(Role.OPERATOR, "alice", "a")
    issue(Role.OPERATOR, "bob", "b")
    revoke("alice")
    revoke("bob")
    before = Path("pki/deny.list").read_bytes()
    given = Given()

    assert revoke("alice", given=given).code == 0

    assert Path("pki/deny.list").read_bytes() == before
    assert len(denylist.read(given.asked[0][1]).entries) == 2


def test_a_node_that_is_away_is_told_and_the_list_is_written(here):
    issue(Role.OPERATOR, "alice", "a")
    given = Given(denials=(Denial("n1", 1, 1, None), Denial("n2", 0, 0, unreachable("n2"))))

    run = revoke("alice", given=given)

    assert run.code == 4
    assert len(denied()) == 1
    assert "UNREACHABLE" in run.out + run.err
    assert "n1: refuses 1" in run.out


def test_whoever_revokes_himself_could_tell_nobody(here):
    given = Given()

    run = revoke("olga", given=given)

    assert run.code == 2
    assert given.asked == []
    assert not Path("pki/deny.list").exists()
    assert revoke("olga", "--no-send").code == 0


def test_without_nodes_only_the_list_is_written(here):
    issue(Role.OPERATOR, "alice", "a")
    given = Given()

    assert revoke("alice", "--no-send", given=given).code == 0

    assert given.asked == []
    assert len(denied()) == 1


@pytest.mark.parametrize(("name", "words"), [("nobody", "nothing was issued"), ("n1", "is a node")])
def test_who_cannot_be_revoked(here, name, words):
    issue(Role.NODE, "n1", "a")

    run = revoke(name)

    assert run.code == 2
    assert words in run.err
    assert not Path("pki/deny.list").exists()


def test_a_list_that_somebody_spoilt_is_not_written_over(here):
    issue(Role.OPERATOR, "alice", "a")
    Path("pki/deny.list").write_text("alice\n")

    run = revoke("alice")

    assert run.code == 2
    assert "line 1" in run.err
    assert Path("pki/deny.list").read_text() == "alice\n"


def test_notes_of_people_stay_in_the_list(here):
    issue(Role.OPERATOR, "alice", "a")
    Path("pki/deny.list").write_text("# by hand\nserial ff somebody")

    assert revoke("alice").code == 0

    lines = Path("pki/deny.list").read_text().splitlines()
    assert lines[:2] == ["# by hand", "serial ff somebody"]
    assert lines[2].endswith("operator alice revoked")
