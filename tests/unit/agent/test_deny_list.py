"""The agent's deny list on a system that fails: nobody is let in, and everybody again once it is over."""

from __future__ import annotations

import errno
import os

import pytest
from gausscert_agent import files
from gausscert_agent.deny_list import FILE, DenyListFile
from gausscert_agent.files import Disk
from gausscert_agent.peer import Numbers
from gausscert_common import denylist
from gausscert_common.errors import Denied, InvalidInput, NodeFailure, Reason

ALICE, BOB = Numbers("aa", "1" * 64), Numbers("bb", "2" * 64)


@pytest.fixture
def listed(tmp_path):
    path = tmp_path / FILE
    path.touch(0o600)
    path.write_text("serial aa alice\n")
    return DenyListFile(tmp_path)


def reason(denied, who):
    with pytest.raises(Denied) as raised:
        denied.check(who)
    return raised.value.reason


def test_a_system_without_descriptors_locks_out_only_as_long_as_it_lasts(listed, monkeypatch):
    def none_left(*_):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as full:
        full.setattr(files, "opened", none_left)
        assert reason(listed, BOB) is Reason.DENY_LIST_UNUSABLE
        (finding,) = listed.findings()
        assert finding.code == "NODE_DENY_LIST_UNUSABLE"

    listed.check(BOB)
    assert reason(listed, ALICE) is Reason.REVOKED
    assert listed.findings() == ()


def test_a_state_directory_that_is_gone_is_no_empty_list(listed, tmp_path):
    listed.check(BOB)
    away = tmp_path.with_name(f"{tmp_path.name}-away")
    tmp_path.rename(away)

    for who in (ALICE, BOB):
        assert reason(listed, who) is Reason.DENY_LIST_UNUSABLE

    away.rename(tmp_path)
    listed.check(BOB)
    assert reason(listed, ALICE) is Reason.REVOKED


def test_a_list_that_was_removed_denies_nobody(listed, tmp_path):
    assert reason(listed, ALICE) is Reason.REVOKED
    (tmp_path / FILE).unlink()

    listed.check(ALICE)


@pytest.mark.parametrize(
    ("number", "advice"),
    [(errno.ENOSPC, "make room"), (errno.EROFS, "writable"), (errno.EIO, "kernel's log")],
)
def test_a_list_that_cannot_be_kept_is_told_with_file_cause_and_what_mends_it(
    listed, tmp_path, monkeypatch, number, advice
):
    """Nothing of a transaction is in doubt: recover would mend nothing."""

    def fails(*_):
        raise OSError(number, os.strerror(number))

    before = (tmp_path / FILE).read_bytes()
    monkeypatch.setattr(Disk, "sync", fails)
    with pytest.raises(NodeFailure) as caught:
        listed.add([denylist.entry(0xBB, "bob")])

    error = caught.value
    assert (error.reason, error.file) == (Reason.STORE_FAILED, str(tmp_path / f"{FILE}.new"))
    assert os.strerror(number) in error.message
    assert advice in error.remedy
    assert "gausscert pki revoke" in error.remedy
    assert "recover" not in error.remedy
    assert (tmp_path / FILE).read_bytes() == before


def test_a_list_that_would_become_too_long_is_refused_with_its_file_and_what_to_take_out(
    listed, tmp_path, monkeypatch
):
    monkeypatch.setattr(denylist, "MAX_BYTES", 20)

    with pytest.raises(InvalidInput) as caught:
        listed.add([denylist.entry(0xBB, "bob")])

    assert (caught.value.reason, caught.value.file) == (Reason.DENY_LIST_INVALID, str(tmp_path / FILE))
    assert "expired" in caught.value.remedy
    assert (tmp_path / FILE).read_text() == "serial aa alice\n"
