"""The register's files: kept in an order of their own, whatever clocks say."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from gausscert_common.errors import InvalidInput, Reason
from gausscert_common.identity import Role
from gausscert_coordinator import pki, pki_kept, pki_register, private_files

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)


@pytest.fixture
def ca(tmp_path):
    pki.init(tmp_path / "pki", "prod", None, now=NOW - timedelta(days=100))
    return tmp_path / "pki"


def issue(ca, name="alice", now=NOW, **more):
    out = ca.parent / f"out-{len(list(ca.iterdir()))}"
    return pki.issue(ca, Role.OPERATOR, name, out=out, now=now, **more)


def fingerprints(ca):
    return [each.fingerprint for each in pki_register.entries(ca)]


def without_number(path):
    """As an older gausscert has kept it."""
    return path.rename(path.with_name(f"issued-{path.stem.rpartition('-')[2]}.crt"))


def test_of_two_in_one_second_the_later_one_is_the_newer(ca):
    issued = [issue(ca).fingerprint for _ in range(5)]

    assert fingerprints(ca) == issued[::-1]
    assert pki_register.newest(pki_register.entries(ca), NOW).fingerprint == issued[-1]
    assert [each.number for each in pki_register.entries(ca)] == [5, 4, 3, 2, 1]


def test_a_clock_that_was_set_back_changes_no_order(ca):
    issue(ca)
    last = issue(ca, now=NOW - timedelta(days=30))

    assert pki_register.newest(pki_register.entries(ca), NOW).fingerprint == last.fingerprint


def test_what_is_expired_or_revoked_replaces_nothing(ca):
    good = issue(ca)
    gone = issue(ca)
    issue(ca, now=NOW - timedelta(days=30), days=1)
    entries = [each for each in pki_register.entries(ca) if each.fingerprint == gone.fingerprint]
    pki_register.revoke(ca, entries, "lost")

    assert pki_register.newest(pki_register.entries(ca), NOW).fingerprint == good.fingerprint
    assert pki_register.newest(pki_register.entries(ca), NOW + timedelta(days=1000)) is None


def test_beside_numbered_ones_those_of_an_older_release_are_older(ca):
    issue(ca)
    (first,) = ca.glob("issued-*.crt")
    without_number(first)
    last = issue(ca, now=NOW + timedelta(seconds=1))

    assert pki_register.newest(pki_register.entries(ca), NOW).fingerprint == last.fingerprint


@pytest.mark.parametrize("later", [timedelta(), timedelta(days=1)])
def test_an_older_release_that_issued_since_makes_it_unknown(ca, later):
    issue(ca)
    second = issue(ca, now=NOW + later)
    (path,) = (each for each in ca.glob("issued-*.crt") if each.name.startswith("issued-000002"))
    without_number(path)

    with pytest.raises(InvalidInput) as caught:
        pki_register.newest(pki_register.entries(ca), NOW)

    assert caught.value.reason is Reason.ARGUMENT_INVALID
    (entry,) = [each for each in pki_register.entries(ca) if each.fingerprint == second.fingerprint]
    assert entry.serial in caught.value.message
    assert "--keep SERIAL" in caught.value.remedy


def test_of_two_without_a_number_no_date_tells_which_is_the_newer(ca):
    issue(ca)
    issue(ca, now=NOW + timedelta(days=1))
    for path in list(ca.glob("issued-*.crt")):
        without_number(path)

    with pytest.raises(InvalidInput, match="older gausscert"):
        pki_register.newest(pki_register.entries(ca), NOW)


def test_what_lies_beside_the_ca_as_a_file_too_is_there_once_and_has_its_number(ca):
    pki.issue(ca, Role.NODE, "n1", now=NOW)

    (entry,) = pki_register.entries(ca)
    assert (entry.number, entry.pending) == (1, False)


def test_many_at_once_get_a_number_each(ca):
    threads = [
        threading.Thread(target=pki.issue, args=(ca, Role.NODE, f"n{number}"), kwargs={"now": NOW})
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(each.number for each in pki_register.entries(ca)) == list(range(1, 9))


def test_what_was_signed_for_nodes_is_pending_until_they_have_it(ca):
    signed = [pki.sign(ca, Role.NODE, name, now=NOW) for name in ("n1", "n2")]
    pki.register(ca, signed)
    one, other = pki_register.entries(ca)
    assert (one.pending, other.pending) == (True, True)

    pki_kept.confirm(ca, {one.serial})
    pki_kept.confirm(ca, {one.serial, "ff"})

    assert [(each.pending, each.number) for each in pki_register.entries(ca)] == [
        (False, one.number),
        (True, other.number),
    ]
    assert [path.stat().st_mode & 0o777 for path in ca.glob("issued-*")] == [0o400]


class Stop(BaseException):
    """The machine stops."""


@pytest.mark.parametrize("after", [1, 2, 3, 4], ids=["its certificate", "its key", "all of it", "the CA"])
def test_what_was_cut_off_before_its_files_were_there_is_not_the_newest(ca, monkeypatch, after):
    """The former one was revoked in its place, and nobody had the newer one."""
    first = issue(ca)
    really, made = private_files._create, []

    def create(path, *more):
        really(path, *more)
        made.append(path)
        if len(made) == after:
            raise Stop

    monkeypatch.setattr(private_files, "_create", create)
    with pytest.raises(Stop):
        issue(ca)
    monkeypatch.setattr(private_files, "_create", really)
    entries = pki_register.entries(ca)

    with pytest.raises(InvalidInput, match="whether anybody has it is not known") as caught:
        pki_register.newest(entries, NOW)

    assert entries[0].serial in caught.value.message
    assert [each.fingerprint for each in entries if not each.pending] == [first.fingerprint]
    again = issue(ca)
    assert pki_register.newest(pki_register.entries(ca), NOW).fingerprint == again.fingerprint


def test_where_only_one_was_ever_begun_it_is_not_known_either(ca):
    pki.register(ca, [pki.sign(ca, Role.OPERATOR, "alice", now=NOW)])

    with pytest.raises(InvalidInput, match="whether anybody has it is not known"):
        pki_register.newest(pki_register.entries(ca), NOW)


def test_a_name_is_changed_while_nobody_looks_for_the_next_number(ca, monkeypatch):
    pki.register(ca, [pki.sign(ca, Role.NODE, "n1", now=NOW)])
    seen = []

    @contextmanager
    def alone(directory):
        seen.append("alone")
        yield
        seen.append("not alone")

    monkeypatch.setattr(private_files, "alone_in", alone)
    monkeypatch.setattr(private_files, "rename", lambda path, new: seen.append(new.name[:6]))
    pki_kept.confirm(ca, {each.serial for each in pki_register.entries(ca)})

    assert seen == ["alone", "issued", "not alone"]


def test_nothing_is_pending_where_there_is_no_directory(tmp_path):
    pki_kept.confirm(tmp_path / "nowhere", {"ff"})


def test_what_cannot_be_written_beside_it_is_not_kept_either(ca, tmp_path):
    (tmp_path / "there").mkdir(mode=0o700)
    (tmp_path / "there" / "operator-alice.crt").write_text("another")

    with pytest.raises(InvalidInput, match="nothing is ever written over"):
        pki.issue(ca, Role.OPERATOR, "alice", out=tmp_path / "there", now=NOW)

    assert pki_register.entries(ca) == ()
