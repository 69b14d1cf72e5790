"""The store: one whole set is live at every instant, and nothing but a set is ever put there."""

from __future__ import annotations

import errno
import os
import stat

import pytest
from gausscert_agent import files, set_names, store, syscalls
from gausscert_agent.config import CmSettings
from gausscert_agent.files import Disk
from gausscert_agent.stage import Contents
from gausscert_agent.store import Store
from gausscert_common import certset
from gausscert_common.errors import InvalidInput, NodeFailure, NodeRefusal, Reason
from support.agent_core import NEW, OLD, TX, live_files, snapshot, write_set

OLD_DIGEST, NEW_DIGEST = certset.digest(OLD), certset.digest(NEW)
ABSENT = certset.ABSENT


@pytest.fixture
def sslcert(tmp_path):
    path = tmp_path / "home" / "share" / "sslcert"
    path.mkdir(parents=True)
    path.chmod(0o755)
    return path


@pytest.fixture
def live(sslcert):
    write_set(sslcert / "cm", OLD)
    return sslcert / "cm"


@pytest.fixture
def made(tmp_path):
    return Store(CmSettings(home=tmp_path / "home"))


def contents(files=None, modes=None) -> Contents:
    files = NEW if files is None else files
    return Contents(files, modes or dict.fromkeys(files, 0o400))


def refusal(reason: Reason, call, *arguments, **options):
    with pytest.raises((NodeRefusal, NodeFailure)) as caught:
        call(*arguments, **options)
    assert caught.value.reason is reason
    assert caught.value.remedy
    return caught.value


# Reading


def test_the_live_set_is_read_with_contents_and_modes(made, live):
    found = made.read_live()
    assert found.files == OLD
    assert set(found.modes.values()) == {0o400}
    assert found.strays == ()
    assert made.live_digest() == OLD_DIGEST


def test_without_a_live_directory_there_is_no_set(made, sslcert):
    assert made.read_live() is None
    assert made.live_digest() == ABSENT


def test_without_sslcert_there_is_no_set_either(tmp_path):
    nowhere = Store(CmSettings(home=tmp_path / "nowhere"))
    assert nowhere.read_live() is None
    assert nowhere.retired() == []
    nowhere.remove_stage(TX)
    nowhere.sync()
    refusal(Reason.NODE_UNFIT, nowhere.require_fit)


def test_an_empty_directory_is_not_an_absent_one(made, sslcert):
    (sslcert / "cm").mkdir()
    assert made.live_digest() not in (ABSENT, OLD_DIGEST)


def test_links_directories_and_huge_files_are_strays(made, live, tmp_path):
    (tmp_path / "outside").write_text("secret of somebody else")
    (live / "link.pem").symlink_to(tmp_path / "outside")
    (live / "sub").mkdir()
    os.mkfifo(live / "fifo")
    (live / "huge").write_bytes(b"x" * (certset.MAX_FILE_BYTES + 1))
    found = made.read_live()
    assert found.files == OLD
    assert found.strays == ("fifo", "huge", "link.pem", "sub")
    before = snapshot(live)
    assert "fifo" in refusal(Reason.NODE_UNFIT, made.require_fit).message
    assert snapshot(live) == before


def test_a_name_that_is_no_utf_8_is_a_stray_that_can_be_told(made, live):
    (live / os.fsdecode(b"b\xff.bak")).write_bytes(b"")
    found = made.read_live()
    assert (found.files, found.strays) == (OLD, ("b\\udcff.bak",))
    assert found.digest == OLD_DIGEST
    assert "b\\udcff.bak" in refusal(Reason.NODE_UNFIT, made.require_fit).message


def unreadable(monkeypatch, *names: str) -> None:
    """Files of another user, which only root can make for real and could read all the same."""
    real = files.open_file

    def opened(directory, name):
        if name in names:
            raise PermissionError(errno.EACCES, "Permission denied", name)
        return real(directory, name)

    monkeypatch.setattr(files, "open_file", opened)


def test_what_somebody_else_put_beside_the_set_and_we_may_not_read_is_a_stray(made, live, monkeypatch):
    (live / "root-backup.tar").write_bytes(b"x")
    unreadable(monkeypatch, "root-backup.tar")
    found = made.read_live()
    assert (found.files, found.strays) == (OLD, ("root-backup.tar",))


@pytest.mark.parametrize("name", [*certset.NAMES, *certset.CRL_NAMES])
def test_what_cm_reads_and_we_may_not_is_a_failure(made, live, monkeypatch, name):
    (live / name).touch()
    unreadable(monkeypatch, name)
    assert refusal(Reason.STORE_FAILED, made.read_live).file == str(live / name)


@pytest.mark.parametrize("kind", ["link", "file"])
def test_something_else_in_place_of_the_live_directory_is_refused(made, sslcert, tmp_path, kind):
    if kind == "link":
        write_set(tmp_path / "elsewhere", OLD)
        (sslcert / "cm").symlink_to(tmp_path / "elsewhere")
    else:
        (sslcert / "cm").write_text("")
    before = snapshot(tmp_path)
    refusal(Reason.NODE_UNFIT, made.read_live)
    refusal(Reason.NODE_UNFIT, made.ensure_live, TX, NEW_DIGEST, OLD_DIGEST)
    assert snapshot(tmp_path) == before


class Hooked:
    """Stands before `files.open_file`; does something once, when a name is opened."""

    def __init__(self, monkeypatch, at: str, act, *, times: int = 1) -> None:
        self.at, self.act, self.left = at, act, times
        self.real = files.open_file
        monkeypatch.setattr(files, "open_file", self)

    def __call__(self, directory: int, name: str) -> int:
        if name == self.at and self.left:
            self.left -= 1
            self.act()
        return self.real(directory, name)


def test_a_file_that_vanishes_under_the_reader_is_no_missing_set(made, live, tmp_path, monkeypatch):
    Hooked(monkeypatch, "client.crt", lambda: (live / "client.crt").rename(tmp_path / "away"))
    found = made.read_live()
    assert found is not None
    assert found.files == {name: body for name, body in OLD.items() if name != "client.crt"}


@pytest.mark.parametrize("at", certset.NAMES)
def test_a_set_exchanged_and_removed_under_the_reader_is_read_whole(made, live, sslcert, monkeypatch, at):
    def replace() -> None:
        made.ensure_live(TX, NEW_DIGEST, OLD_DIGEST)
        made.remove_stage(TX)

    made.write_stage(TX, contents())
    Hooked(monkeypatch, at, replace)
    assert made.read_live().files == NEW


def test_a_set_half_removed_before_it_is_listed_is_not_taken_for_a_set(made, live, sslcert, monkeypatch):
    made.write_stage(TX, contents())
    real, left = files.entries, [1]

    def late(directory):
        if left:
            left.pop()
            made.ensure_live(TX, NEW_DIGEST, OLD_DIGEST)
            (sslcert / f".cm.{TX}" / "server.crt").unlink()
        return real(directory)

    monkeypatch.setattr(files, "entries", late)
    assert made.read_live().files == NEW


def test_a_set_that_never_stays_the_same_is_a_failure_and_no_missing_set(made, live, tmp_path, monkeypatch):
    def again() -> None:
        live.rename(tmp_path / str(len(list(tmp_path.iterdir()))))
        write_set(live, OLD)

    Hooked(monkeypatch, "server.crt", again, times=99)
    assert "changes while it is read" in refusal(Reason.STORE_FAILED, made.read_live).message


def test_reprs_show_no_key(made, live):
    assert "old server.key" not in repr(made.read_live())
    assert "new server.key" not in repr(contents())


# Staging


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o027, 0o077])
def test_the_stage_has_the_modes_asked_for_under_any_umask(made, live, sslcert, umask):
    modes = dict.fromkeys(NEW, 0o400) | {"extra": 0o600}
    before = os.umask(umask)
    try:
        made.write_stage(TX, contents(NEW | {"extra": b"x"}, modes))
    finally:
        os.umask(before)
    found = made.read_stage(TX)
    assert found.files == NEW | {"extra": b"x"}
    assert found.modes == modes
    assert stat.S_IMODE((sslcert / f".cm.{TX}").stat().st_mode) == 0o700
    assert live_files(sslcert) == OLD


def test_a_umask_that_takes_away_what_is_needed_fails_loudly(made, live, sslcert):
    before = os.umask(0o477)
    try:
        refusal(Reason.STORE_FAILED, made.write_stage, TX, contents())
    finally:
        os.umask(before)
    assert live_files(sslcert) == OLD


@pytest.mark.parametrize("mode", [0o700, 0o750, 0o500])
def test_the_stage_takes_the_mode_of_the_live_directory(made, live, sslcert, mode):
    live.chmod(mode)
    made.write_stage(TX, contents())
    assert stat.S_IMODE((sslcert / f".cm.{TX}").stat().st_mode) == mode
    made.remove_stage(TX)
    assert [path.name for path in sslcert.iterdir()] == ["cm"]


def test_no_file_is_ever_chmodded_and_all_are_created_exclusively(made, live, monkeypatch):
    seen = []
    real_open, real_fchmod = os.open, os.fchmod
    monkeypatch.setattr(os, "open", lambda *a, **k: (seen.append(a[1]), real_open(*a, **k))[1])
    monkeypatch.setattr(os, "fchmod", lambda fd, mode: (seen.append("fchmod"), real_fchmod(fd, mode))[1])
    monkeypatch.setattr(os, "chmod", lambda *a, **k: seen.append("chmod"))
    made.write_stage(TX, contents())
    assert "fchmod" not in seen
    assert "chmod" not in seen
    creating = [flags for flags in seen if flags & os.O_CREAT]
    assert len(creating) == len(NEW)
    assert all(flags & os.O_EXCL and flags & os.O_NOFOLLOW and flags & os.O_CLOEXEC for flags in creating)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_the_stage_belongs_to_whom_the_live_set_belongs(made, live, sslcert):
    os.chown(live, 1234, 1235)
    os.chown(live / "server.key", 1236, 1237)
    made.write_stage(TX, contents(NEW | {"extra": b""}))
    new = sslcert / f".cm.{TX}"
    owners = [(path.stat().st_uid, path.stat().st_gid) for path in (new, new / "server.key", new / "extra")]
    assert owners == [(1234, 1235), (1236, 1237), (1234, 1235)]


def acl(*entries: tuple[int, int, int]) -> bytes:
    """A POSIX ACL as the kernel takes it: version 2, then tag, permissions, id."""
    return b"\x02\0\0\0" + b"".join(
        tag.to_bytes(2, "little") + bits.to_bytes(2, "little") + who.to_bytes(4, "little")
        for tag, bits, who in entries
    )


NOBODY = 0xFFFFFFFF
FOR_USER_1001 = acl((1, 7, NOBODY), (2, 5, 1001), (4, 0, NOBODY), (16, 5, NOBODY), (32, 0, NOBODY))


def with_acl(path, name="system.posix_acl_access"):
    try:
        os.setxattr(path, name, FOR_USER_1001)
    except OSError as error:
        if error.errno not in (errno.ENOTSUP, errno.EPERM):
            raise
        pytest.skip("this file system has no ACLs")


def test_the_acl_of_the_live_directory_is_copied(made, live, sslcert):
    with_acl(live)
    made.write_stage(TX, contents())
    new = sslcert / f".cm.{TX}"
    assert os.getxattr(new, "system.posix_acl_access") == os.getxattr(live, "system.posix_acl_access")
    assert new.stat().st_mode == live.stat().st_mode
    made.ensure_live(TX, NEW_DIGEST, OLD_DIGEST)
    made.require_alike(TX)


def test_an_acl_inherited_from_the_parent_opens_nothing(made, live, sslcert):
    with_acl(sslcert, "system.posix_acl_default")
    made.write_stage(TX, contents())
    found = made.read_stage(TX)
    assert set(found.modes.values()) == {0o400}
    assert stat.S_IMODE((sslcert / f".cm.{TX}").stat().st_mode) == 0o700


def test_what_may_not_be_copied_is_refused(live, sslcert, tmp_path):
    class Forbidding(Disk):
        def set_attribute(self, descriptor, name, value):
            raise OSError(errno.EPERM, "Operation not permitted")

    with_acl(live)
    made = Store(CmSettings(home=tmp_path / "home"), disk=Forbidding())
    assert "posix_acl_access" in refusal(Reason.NODE_UNFIT, made.write_stage, TX, contents()).message
    assert live_files(sslcert) == OLD


def test_an_existing_stage_is_never_reused(made, live, sslcert):
    (sslcert / f".cm.{TX}").mkdir()
    refusal(Reason.STORE_FAILED, made.write_stage, TX, contents())
    assert live_files(sslcert) == OLD


def test_planted_links_are_not_followed(made, live, sslcert, tmp_path):
    victim = tmp_path / "victim"
    write_set(victim, {"precious": b"precious"}, 0o600)
    (sslcert / f".cm.{TX}").symlink_to(victim)
    before = snapshot(tmp_path)
    refusal(Reason.STORE_FAILED, made.write_stage, TX, contents())
    refusal(Reason.NODE_UNFIT, made.read_stage, TX)
    refusal(Reason.STORE_FAILED, made.remove_stage, TX)
    refusal(Reason.NODE_UNFIT, made.ensure_live, TX, NEW_DIGEST, OLD_DIGEST)
    refusal(Reason.NODE_UNFIT, made.retire, TX, expected=OLD_DIGEST)
    assert snapshot(tmp_path) == before


def test_a_link_inside_a_stage_is_removed_and_not_followed(made, live, sslcert, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    made.write_stage(TX, contents())
    (sslcert / f".cm.{TX}" / "link").symlink_to(victim)
    made.remove_stage(TX)
    assert victim.read_text() == "precious"
    assert [path.name for path in sslcert.iterdir()] == ["cm"]


def test_a_link_in_place_of_a_set_file_is_not_written_through(made, live, sslcert, tmp_path):
    """The files are created inside a directory that is new, opened without following links."""
    victim = tmp_path / "victim"
    victim.write_text("precious")

    class Planting(Disk):
        def make_directory(self, directory, name):
            super().make_directory(directory, name)
            os.symlink(victim, sslcert / name / "server.key")

    made = Store(CmSettings(home=tmp_path / "home"), disk=Planting())
    refusal(Reason.STORE_FAILED, made.write_stage, TX, contents())
    assert victim.read_text() == "precious"


@pytest.mark.parametrize(
    "identifier",
    ["", "short", "../../../etc", "a" * 65, "UPPERCASE", "with.dot1", "a/b/c/d/e", "tx-0000001\n"],
)
def test_ids_that_are_no_ids_never_reach_the_disk(made, live, sslcert, identifier):
    before = snapshot(sslcert)
    for call in (made.read_stage, made.remove_stage, made.stage_path):
        with pytest.raises(InvalidInput):
            call(identifier)
    with pytest.raises(InvalidInput):
        made.write_stage(identifier, contents())
    with pytest.raises(InvalidInput):
        made.ensure_live(identifier, NEW_DIGEST, OLD_DIGEST)
    with pytest.raises(InvalidInput):
        made.retire(identifier, expected=OLD_DIGEST)
    assert snapshot(sslcert) == before


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o777, 0o1777])
def test_a_parent_that_others_may_write_to_is_unfit(made, live, sslcert, mode):
    sslcert.chmod(mode)
    assert "others may write" in refusal(Reason.NODE_UNFIT, made.require_fit).message


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give directories away")
def test_a_parent_that_is_not_ours_is_unfit(made, live, sslcert):
    os.chown(sslcert, 1234, -1)
    assert "belongs to user 1234" in refusal(Reason.NODE_UNFIT, made.require_fit).message


def test_a_private_parent_of_our_own_is_fit(made, live):
    made.require_fit()


# Making live


def test_a_staged_set_becomes_live_and_the_old_one_stays_beside(made, live, sslcert):
    inode = live.stat().st_ino
    made.write_stage(TX, contents())
    made.ensure_live(TX, NEW_DIGEST, OLD_DIGEST)
    assert live_files(sslcert) == NEW
    assert made.read_stage(TX).files == OLD
    assert (sslcert / f".cm.{TX}").stat().st_ino == inode
    made.require_alike(TX)


def test_the_exchange_is_one_system_call(made, live, sslcert, monkeypatch):
    """Two renames would leave a moment without a set, in which a power cut leaves none."""
    calls = []
    real = syscalls.renameat2
    monkeypatch.setattr(syscalls, "renameat2", lambda *a: (calls.append((a[1], a[3], a[4])), real(*a)))
    monkeypatch.setattr(os, "rename", lambda *a, **k: calls.append(a))
    made.write_stage(TX, contents())
    made.ensure_live(TX, NEW_DIGEST, OLD_DIGEST)
    assert calls == [("cm", f".cm.{TX}", syscalls.RENAME_EXCHANGE)]


def test_it_is_ensured_and_not_toggled(made, live, sslcert):
    made.write_stage(TX, contents())
    for _ in range(3):
        made.ensure_live(TX, NEW_DIGEST, OLD_DIGEST)
        assert live_files(sslcert) == NEW
    for _ in range(3):
        made.ensure_live(TX, OLD_DIGEST, NEW_DIGEST)
        assert live_files(sslcert) == OLD


def test_there_and_back_leaves_the_directory_as_it_was(made, live, sslcert):
    live.chmod(0o750)
    (live / "server.key").chmod(0o600)
    before = snapshot(live)
    made.write_stage(TX, contents())
    made.ensure_live(TX, NEW_DIGEST, OLD_DIGEST)
    made.ensure_live(TX, OLD_DIGEST, NEW_DIGEST)
    made.remove_stage(TX)
    assert snapshot(live) == before
    assert [path.name for path in sslcert.iterdir()] == ["cm"]


def test_where_nothing_was_live_the_stage_is_moved_there_and_back(made, sslcert):
    made.write_stage(TX, contents())
    made.ensure_live(TX, NEW_DIGEST, ABSENT)
    made.ensure_live(TX, NEW_DIGEST, ABSENT)
    assert live_files(sslcert) == NEW
    assert [path.name for path in sslcert.iterdir()] == ["cm"]
    made.require_alike(TX)
    made.ensure_live(TX, ABSENT, NEW_DIGEST)
    made.ensure_live(TX, ABSENT, NEW_DIGEST)
    assert made.read_live() is None
    assert made.read_stage(TX).files == NEW


@pytest.mark.parametrize("to", ["new", "old"])
def test_a_foreign_set_is_never_touched(made, live, sslcert, to):
    made.write_stage(TX, contents())
    if to == "old":
        made.ensure_live(TX, NEW_DIGEST, OLD_DIGEST)
    (sslcert / "cm" / "planted").write_text("by somebody")
    before = snapshot(sslcert)
    pair = (NEW_DIGEST, OLD_DIGEST) if to == "new" else (OLD_DIGEST, NEW_DIGEST)
    refusal(Reason.FOREIGN_SET, made.ensure_live, TX, *pair)
    assert snapshot(sslcert) == before


def test_a_live_set_that_vanished_is_foreign(made, live, sslcert):
    made.write_stage(TX, contents())
    live.rename(sslcert / "away")
    before = snapshot(sslcert)
    refusal(Reason.FOREIGN_SET, made.ensure_live, TX, NEW_DIGEST, OLD_DIGEST)
    assert snapshot(sslcert) == before


@pytest.mark.parametrize("damage", ["changed", "added", "removed", "gone"])
def test_a_stage_that_does_not_hold_the_wanted_set_is_not_used(made, live, sslcert, damage):
    made.write_stage(TX, contents())
    staged = sslcert / f".cm.{TX}"
    if damage == "changed":
        (staged / "server.crt").unlink()
        (staged / "server.crt").write_text("another")
    elif damage == "added":
        (staged / "more").write_text("")
    elif damage == "removed":
        (staged / "server.crt").unlink()
    else:
        staged.rename(sslcert / "away")
    before = snapshot(sslcert)
    refusal(Reason.STORE_FAILED, made.ensure_live, TX, NEW_DIGEST, OLD_DIGEST)
    assert snapshot(sslcert) == before


def test_the_parent_is_synced_even_when_nothing_has_to_be_done(live, sslcert, tmp_path):
    """The predecessor may have died between exchange and fsync."""
    synced = []

    class Recording(Disk):
        def sync(self, descriptor):
            synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
            super().sync(descriptor)

    Store(CmSettings(home=tmp_path / "home"), disk=Recording()).ensure_live(TX, OLD_DIGEST, NEW_DIGEST)
    assert synced == [str(sslcert)]


def test_everything_is_synced_before_a_stage_counts(live, sslcert, tmp_path):
    done = []

    class Recording(Disk):
        def write(self, descriptor, body):
            super().write(descriptor, body)
            done.append(("write", os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))))

        def sync(self, descriptor):
            super().sync(descriptor)
            done.append(("sync", os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))))

    Store(CmSettings(home=tmp_path / "home"), disk=Recording()).write_stage(TX, contents())
    for name in NEW:
        assert done.index(("sync", name)) > done.index(("write", name))
    assert done[-2:] == [("sync", f".cm.{TX}"), ("sync", "sslcert")]


def test_a_disk_that_fails_is_said_with_place_and_remedy(live, sslcert, tmp_path):
    class Full(Disk):
        def write(self, descriptor, body):
            raise OSError(errno.ENOSPC, "No space left on device")

    made = Store(CmSettings(home=tmp_path / "home"), disk=Full())
    failure = refusal(Reason.STORE_FAILED, made.write_stage, TX, contents())
    assert "No space left" in failure.message
    assert str(sslcert) in failure.file


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ("create", f".cm.{TX}/cacert.pem"),
        ("write", f".cm.{TX}/cacert.pem"),
        ("unlink", f".cm.{TX}/cacert.pem"),
        ("make_directory", f".cm.{TX}"),
        ("remove_directory", f".cm.{TX}"),
    ],
)
def test_a_failure_names_the_file_it_is_about(live, sslcert, tmp_path, change, where):
    def failing(self, *arguments):
        name = next((each for each in reversed(arguments) if isinstance(each, str)), None)
        raise OSError(errno.EIO, "Input/output error", *(() if name is None else (name,)))

    disk = type("Failing", (Disk,), {change: failing})()
    made = Store(CmSettings(home=tmp_path / "home"), disk=disk)
    if change in ("unlink", "remove_directory"):
        Store(CmSettings(home=tmp_path / "home")).write_stage(TX, contents())
        failure = refusal(Reason.STORE_FAILED, made.remove_stage, TX)
    else:
        failure = refusal(Reason.STORE_FAILED, made.write_stage, TX, contents())
    assert failure.file == str(sslcert / where)


def test_a_file_that_cannot_be_read_is_named_where_it_is(made, live, monkeypatch):
    def failing(directory, name):
        raise OSError(errno.EIO, "Input/output error", name)

    monkeypatch.setattr(files, "open_file", failing)
    assert refusal(Reason.STORE_FAILED, made.read_live).file == str(live / "cacert.pem")


def test_a_parent_that_cannot_be_opened_is_named_once(made, live, sslcert, monkeypatch):
    real = os.open

    def failing(path, *arguments, **options):
        if path == sslcert:
            raise OSError(errno.EIO, "Input/output error", os.fspath(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", failing)
    assert refusal(Reason.STORE_FAILED, made.read_live).file == str(sslcert)


def test_a_new_set_that_is_not_like_the_old_one_is_noticed_after_the_exchange(made, live, sslcert):
    made.write_stage(TX, contents())
    live.chmod(0o750)
    made.ensure_live(TX, NEW_DIGEST, OLD_DIGEST)
    assert "mode 0700 instead of 0750" in refusal(Reason.STORE_FAILED, made.require_alike, TX).message
    made.ensure_live(TX, OLD_DIGEST, NEW_DIGEST)
    assert live_files(sslcert) == OLD


# Retiring


def swapped(made, transaction_id: str, files: dict[str, bytes]) -> str:
    """Replace the live set; answers the digest of the former one."""
    former = made.live_digest()
    made.write_stage(transaction_id, contents(files))
    made.ensure_live(transaction_id, certset.digest(files), former)
    return former


def retire(made, transaction_id: str, keep: int, *, expected: str) -> None:
    """What Purge does."""
    made.retire(transaction_id, expected=expected)
    made.prune(keep)


def generation(number: int) -> dict[str, bytes]:
    return {name: f"{number} {name}".encode() for name in certset.NAMES}


def test_a_former_set_is_kept_under_the_transaction_that_retired_it(made, live, sslcert, tmp_path):
    former = swapped(made, TX, NEW)
    made = Store(CmSettings(home=tmp_path / "home"), clock=lambda: 12_345.0)
    retire(made, TX, 2, expected=former)
    (kept,) = made.retired()
    assert (kept.generation, kept.retired_at, kept.contents.files) == (TX, 12_345.0, OLD)
    assert set(kept.contents.modes.values()) == {0o400}
    assert sorted(path.name for path in sslcert.iterdir()) == [f".cm.retired.{TX}", "cm"]


def test_retiring_twice_is_success(made, live):
    former = swapped(made, TX, NEW)
    retire(made, TX, 2, expected=former)
    retire(made, TX, 2, expected=former)
    assert [kept.generation for kept in made.retired()] == [TX]


@pytest.mark.parametrize("keep", [0, 1, 2, 3])
def test_only_the_newest_are_kept_in_their_order(live, tmp_path, sslcert, keep):
    ticks = iter(range(1000, 2000))
    made = Store(CmSettings(home=tmp_path / "home"), clock=lambda: float(next(ticks)))
    # Ids whose order by name is not that of their time.
    ids = ["tx-ddddddd", "tx-aaaaaaa", "tx-ccccccc", "tx-bbbbbbb"]
    for number, transaction_id in enumerate(ids):
        former = swapped(made, transaction_id, generation(number))
        retire(made, transaction_id, keep, expected=former)
    assert [kept.generation for kept in made.retired()] == ids[::-1][:keep]
    assert len(list(sslcert.iterdir())) == 1 + keep
    assert live_files(sslcert) == generation(3)


@pytest.mark.parametrize("keep", [1, 2])
def test_the_set_just_retired_is_the_newest_even_when_the_clock_was_set_back(live, tmp_path, keep):
    for number, (transaction_id, now) in enumerate((("tx-aaaaaaa", 5000.0), (TX, 10.0), ("tx-bbbbbbb", 9.0))):
        made = Store(CmSettings(home=tmp_path / "home"), clock=lambda now=now: now)
        former = swapped(made, transaction_id, generation(number))
        retire(made, transaction_id, keep, expected=former)
    assert [kept.generation for kept in made.retired()] == ["tx-bbbbbbb", TX][:keep]


def obstructed(made, sslcert) -> str:
    """Two generations, the older with a directory in it; then a third set that is live."""
    retire(made, TX, 9, expected=swapped(made, TX, NEW))
    (sslcert / f".cm.retired.{TX}" / "precious").mkdir()
    retire(made, "tx-aaaaaaa", 9, expected=swapped(made, "tx-aaaaaaa", generation(2)))
    return swapped(made, "tx-bbbbbbb", generation(3))


@pytest.mark.parametrize("keep", [0, 1])
def test_an_old_generation_that_cannot_be_removed_is_told_and_keeps_nothing_back(
    made, live, sslcert, caplog, keep
):
    former = obstructed(made, sslcert)
    for _ in range(2):
        retire(made, "tx-bbbbbbb", keep, expected=former)
        assert [kept.generation for kept in made.retired()] == ["tx-bbbbbbb"][:keep]
    assert (sslcert / f".cm.{TX}.gone" / "precious").is_dir()
    assert {record.levelname for record in caplog.records} == {"WARNING"}
    assert f".cm.{TX}.gone/precious" in caplog.records[0].file
    assert not (sslcert / ".cm.tx-aaaaaaa.gone").exists()


def test_a_generation_that_cannot_be_renamed_stops_neither_its_likes_nor_the_purge(live, sslcert, tmp_path):
    class Immutable(Disk):
        def move(self, directory, old, new):
            if old == f".cm.retired.{TX}":
                raise OSError(errno.EPERM, "Operation not permitted", old)
            super().move(directory, old, new)

    made = Store(CmSettings(home=tmp_path / "home"), disk=Immutable())
    retire(made, TX, 9, expected=swapped(made, TX, NEW))
    retire(made, "tx-aaaaaaa", 9, expected=swapped(made, "tx-aaaaaaa", generation(2)))
    retire(made, "tx-bbbbbbb", 1, expected=swapped(made, "tx-bbbbbbb", generation(3)))
    assert [kept.generation for kept in made.retired()] == ["tx-bbbbbbb", TX]


def test_without_a_former_set_there_is_nothing_to_retire(made, sslcert):
    swapped(made, TX, NEW)
    retire(made, TX, 2, expected=ABSENT)
    assert made.retired() == []
    assert live_files(sslcert) == NEW


def test_what_is_not_the_former_set_is_not_given_up(made, live, sslcert):
    former = swapped(made, TX, NEW)
    (sslcert / f".cm.{TX}" / "planted").write_text("by somebody")
    before = snapshot(sslcert)
    refusal(Reason.FOREIGN_SET, made.retire, TX, expected=former)
    assert snapshot(sslcert) == before


def test_a_removal_cut_short_is_finished_and_never_taken_for_a_set(live, tmp_path, sslcert):
    class Dying(Disk):
        left = 4

        def unlink(self, directory, name):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
            super().unlink(directory, name)

    made = Store(CmSettings(home=tmp_path / "home"))
    former = swapped(made, TX, NEW)
    retire(made, TX, 2, expected=former)
    made.write_stage("tx-00000002", contents(generation(2)))
    made.ensure_live("tx-00000002", certset.digest(generation(2)), NEW_DIGEST)
    with pytest.raises(KeyboardInterrupt):
        retire(Store(CmSettings(home=tmp_path / "home"), disk=Dying()), "tx-00000002", 1, expected=NEW_DIGEST)
    assert [kept.generation for kept in made.retired()] == ["tx-00000002"]
    retire(made, "tx-00000002", 1, expected=NEW_DIGEST)
    assert sorted(path.name for path in sslcert.iterdir()) == [".cm.retired.tx-00000002", "cm"]


def test_a_directory_that_somebody_put_into_a_stage_is_not_removed(made, live, sslcert):
    made.write_stage(TX, contents())
    (sslcert / f".cm.{TX}" / "precious").mkdir()
    refusal(Reason.STORE_FAILED, made.remove_stage, TX)
    assert (sslcert / f".cm.{TX}" / "precious").is_dir()


# Scratch and probe


def test_the_scratch_directory_is_private_and_goes_with_all_in_it(made, live, sslcert):
    with made.scratch(TX) as path:
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        (path / "server.key.cipher").write_bytes(b"c")
        assert made.read_scratch(TX) == {"server.key.cipher": b"c"}
    assert [path.name for path in sslcert.iterdir()] == ["cm"]


def test_leftovers_in_the_scratch_directory_are_removed_first(made, live, sslcert):
    write_set(sslcert / f".cm.{TX}.encrypt", {"server.key.cipher": b"stale"})
    with made.scratch(TX) as path:
        assert not list(path.iterdir())


def test_a_stage_is_removed_with_its_scratch_directory(made, live, sslcert):
    made.write_stage(TX, contents())
    write_set(sslcert / f".cm.{TX}.encrypt", {"server.key.cipher": b"stale"})
    made.remove_stage(TX)
    made.remove_stage(TX)
    assert [path.name for path in sslcert.iterdir()] == ["cm"]


def test_names_of_siblings_never_meet():
    made = (set_names.stage_name, set_names.scratch_name, set_names.retired_name, set_names.gone_name)
    names = {name(TX) for name in made} | set(set_names.PROBE)
    assert len(names) == 6
    assert set_names.generation_of(set_names.retired_name(TX)) == TX
    for name in names - {set_names.retired_name(TX)}:
        assert set_names.generation_of(name) is None
    assert [name for name in names if set_names.is_gone(name)] == [set_names.gone_name(TX)]


def test_the_public_names_of_the_store_are_these():
    assert store.__all__ == ["Contents", "Retired", "SetOnDisk", "Store"]
