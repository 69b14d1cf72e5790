"""The history's file: where it lies, who may touch it, its versions, and how it can be broken."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from gausscert_common.errors import InvalidInput, Reason
from gausscert_common.findings import Finding
from gausscert_common.protocol.coordinator import Verdict
from gausscert_coordinator import history_file, history_reader
from gausscert_coordinator import history_schema as schema
from gausscert_coordinator.history import History
from support.fake_cluster import FakeCluster
from support.fake_node import bundle

TESTS = Path(__file__).parents[2]
needs_limits = pytest.mark.skipif(os.geteuid() == 0, reason="root may do everything")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "prod.db"


NAMES = ("node-a", "node-b", "node-c")


def replaced(path: Path, history: History | None = None, names: Sequence[str] = NAMES) -> tuple[Finding, ...]:
    """One replacement, which must commit whatever the file is like."""
    return asyncio.run(committed(FakeCluster(tuple(names)), history or History(lambda: path)))


async def committed(cluster: FakeCluster, history: History) -> tuple[Finding, ...]:
    async with cluster.coordinator(recorder=history) as coordinator:
        plan = await coordinator.plan(bundle("new"))
        result = await coordinator.replace(plan, bundle("new"))
    assert result.verdict is Verdict.COMMITTED
    return result.findings


def refusal(call: Callable[[], object]) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        call()
    assert caught.value.reason is Reason.HISTORY_UNUSABLE
    assert caught.value.file
    assert caught.value.remedy
    return caught.value


def listed(path: Path) -> tuple[history_reader.Run, ...]:
    return history_reader.runs(path, "prod", limit=100)


class TestPlace:
    INVENTORY = FakeCluster().inventory()

    def test_the_inventory_decides(self):
        chosen = replace(self.INVENTORY, history=Path("/var/lib/gc/h.db"))

        assert history_file.place(chosen, {"XDG_STATE_HOME": "/x", "HOME": "/h"}) == Path("/var/lib/gc/h.db")

    @pytest.mark.parametrize(
        ("environment", "expected"),
        [
            ({"XDG_STATE_HOME": "/x", "HOME": "/h"}, "/x/gausscert/prod.db"),
            ({"HOME": "/h"}, "/h/.local/state/gausscert/prod.db"),
            ({"XDG_STATE_HOME": "relative", "HOME": "/h"}, "/h/.local/state/gausscert/prod.db"),
        ],
    )
    def test_else_it_is_state_of_the_user(self, environment: dict[str, str], expected: str):
        assert history_file.place(self.INVENTORY, environment) == Path(expected)

    def test_without_a_home_there_is_none(self):
        error = refusal(lambda: history_file.place(self.INVENTORY, {"HOME": "relative"}))

        assert "[history]" in error.remedy


class TestWhoMayTouchIt:
    def test_directory_and_file_are_for_the_owner_alone_whatever_the_umask(self, path: Path):
        before = os.umask(0)
        try:
            assert replaced(path) == ()
        finally:
            os.umask(before)

        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_the_log_beside_it_is_no_more_readable_than_itself(self, path: Path):
        connection, _ = history_file.open_for_writing(path)
        try:
            modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
        finally:
            connection.close()

        assert modes == {"prod.db": 0o600, "prod.db-wal": 0o600, "prod.db-shm": 0o600}

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o660])
    def test_a_file_that_others_can_read_or_write_is_not_used(self, path: Path, mode: int):
        replaced(path)
        path.chmod(mode)
        before = path.read_bytes()

        (warning,) = replaced(path)

        assert warning.code == "HISTORY_NOT_WRITTEN"
        assert warning.file == str(path)
        assert f"others may read or write it: its mode is {mode:04o}" in warning.cause
        assert warning.remedy == f"chmod 0600 {path}"
        assert path.read_bytes() == before

    @pytest.mark.parametrize("mode", [0o720, 0o702, 0o1777])
    def test_a_directory_in_which_others_can_replace_it_is_not_used(self, path: Path, mode: int):
        path.parent.mkdir()
        path.parent.chmod(mode)

        (warning,) = replaced(path)

        assert (warning.file, warning.remedy) == (str(path.parent), f"chmod go-w {path.parent}")
        assert not path.exists()

    def test_a_link_planted_in_its_place_is_not_followed(self, path: Path, tmp_path: Path):
        target = tmp_path / "precious"
        target.write_bytes(b"")
        target.chmod(0o600)
        path.parent.mkdir(mode=0o700)
        path.symlink_to(target)

        (warning,) = replaced(path)

        assert "no regular file" in warning.cause
        assert target.read_bytes() == b""

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give files away")
    @pytest.mark.parametrize("whose", ["file", "directory"])
    def test_what_belongs_to_another_user_is_not_used(self, path: Path, whose: str):
        replaced(path)
        os.chown(path if whose == "file" else path.parent, 12345, -1)

        (warning,) = replaced(path)

        assert "belongs to user id 12345" in warning.cause


class TestVersions:
    def fresh(self) -> list[tuple[str, str]]:
        with sqlite3.connect(":memory:", isolation_level=None) as made:
            history_file.migrate(Path("x"), made)
            return self.tables(made)

    @staticmethod
    def tables(connection: sqlite3.Connection) -> list[tuple[str, str]]:
        return connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()

    @staticmethod
    def of_version(path: Path, version: int) -> None:
        path.parent.mkdir(mode=0o700)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        if version:
            made = sqlite3.connect(path, isolation_level=None)
            history_file.migrate(path, made, schema.MIGRATIONS[:version])
            made.close()

    @pytest.mark.parametrize("version", range(schema.VERSION + 1))
    def test_every_earlier_version_becomes_the_newest(self, path: Path, version: int):
        self.of_version(path, version)

        assert replaced(path) == ()

        with sqlite3.connect(path) as opened:
            assert self.tables(opened) == self.fresh()
            assert opened.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
        opened.close()
        assert [run.verdict for run in listed(path)] == ["committed"]

    def test_a_migration_keeps_what_was_recorded(self, path: Path):
        replaced(path)
        more = (*schema.MIGRATIONS, ("ALTER TABLE run ADD COLUMN more TEXT NOT NULL DEFAULT 'x'",))
        connection, _ = history_file.open_for_writing(path)

        history_file.migrate(path, connection, more)

        found = connection.execute("SELECT verdict, more FROM run").fetchall()
        version = connection.execute("PRAGMA user_version").fetchone()
        connection.close()
        assert found == [("committed", "x")]
        assert version == (schema.VERSION + 1,)

    def test_a_migration_that_fails_changes_nothing(self, path: Path):
        replaced(path)
        connection, _ = history_file.open_for_writing(path)
        before = self.tables(connection)
        more = (*schema.MIGRATIONS, ("CREATE TABLE further (x)", "CREATE TABLE run (twice)"))

        with pytest.raises(sqlite3.OperationalError):
            history_file.migrate(path, connection, more)

        assert self.tables(connection) == before
        assert not connection.in_transaction
        connection.close()

    def test_a_file_of_a_newer_gausscert_is_told_of_and_not_touched(self, path: Path):
        replaced(path)
        with sqlite3.connect(path) as newer:
            newer.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
        newer.close()
        before = path.read_bytes()

        (warning,) = replaced(path)
        error = refusal(lambda: listed(path))

        for cause in (warning.cause, error.message):
            assert f"a newer gausscert wrote it: its schema has version {schema.VERSION + 1}" in cause
        assert path.read_bytes() == before

    def test_a_file_whose_version_cannot_be_is_told_of_as_damaged(self, path: Path):
        replaced(path)
        with sqlite3.connect(path) as damaged:
            damaged.execute("PRAGMA user_version = -3")
        damaged.close()

        (warning,) = replaced(path)
        error = refusal(lambda: listed(path))

        for cause in (warning.cause, error.message):
            assert "corrupt: its schema has version -3" in cause

    def test_a_reader_shows_an_older_file_without_changing_it(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        replaced(path)
        before = path.read_bytes()
        monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
        further = ("CREATE TABLE later (x)",)
        monkeypatch.setattr(history_file.migrate, "__defaults__", ((*schema.MIGRATIONS, further),))

        assert [run.verdict for run in listed(path)] == ["committed"]

        assert path.read_bytes() == before

    def test_the_database_of_another_program_is_not_touched(self, path: Path):
        path.parent.mkdir(mode=0o700)
        with sqlite3.connect(path) as other:
            other.execute("CREATE TABLE bookmarks (url)")
        other.close()
        path.chmod(0o600)
        before = path.read_bytes()

        (warning,) = replaced(path)

        assert "another program" in warning.cause
        assert "another program" in refusal(lambda: listed(path)).message
        assert path.read_bytes() == before


def overwritten(path: Path, at: int, body: bytes) -> None:
    with path.open("r+b") as opened:
        opened.seek(at)
        opened.write(body)


def garbage(length: int) -> bytes:
    return hashlib.shake_256(b"garbage").digest(length)


def break_page_of_steps(path: Path) -> None:
    """The list of runs reads no step: only a check of the whole file can tell."""
    with sqlite3.connect(path) as opened:
        (page,) = opened.execute("SELECT rootpage FROM sqlite_master WHERE name = 'step'").fetchone()
    opened.close()
    overwritten(path, (page - 1) * 4096, garbage(4096))


BREAKAGES: dict[str, Callable[[Path], object]] = {
    "not a database": lambda path: path.write_bytes(b"no database at all " * 300),
    "a few bytes": lambda path: path.write_bytes(b"SQLi"),
    "a torn header": lambda path: overwritten(path, 0, b"\xff" * 100),
    "half of it": lambda path: os.truncate(path, path.stat().st_size // 2),
    "one page less": lambda path: os.truncate(path, path.stat().st_size - 4096),
    "a page of garbage": lambda path: overwritten(path, 4096, garbage(4096)),
    "a page of zeros": lambda path: overwritten(path, 4096, bytes(4096)),
    "a page that the list does not read": break_page_of_steps,
    "garbage to the end": lambda path: overwritten(path, 4096, garbage(path.stat().st_size - 4096)),
}


@pytest.mark.parametrize("breakage", BREAKAGES.values(), ids=BREAKAGES.keys())
def test_a_corrupt_file_is_told_of_and_stops_nothing(path: Path, breakage: Callable[[Path], object]):
    replaced(path)
    replaced(path)
    breakage(path)

    error = refusal(lambda: listed(path))
    is_database = path.read_bytes().startswith(b"SQLite format 3\0")
    findings = replaced(path)

    assert findings or is_database
    assert "corrupt" in error.message
    assert "only the record of what was done is lost: no transaction depends on it" in error.message
    assert error.remedy.startswith("move it away")
    assert error.file == str(path)
    for warning in findings:  # a writer meets only the pages that it needs
        assert warning.code == "HISTORY_NOT_WRITTEN"
        assert "corrupt" in warning.cause


def test_text_that_nobody_wrote_is_corruption_too(path: Path):
    replaced(path)
    with sqlite3.connect(path) as opened:
        opened.execute("UPDATE run SET begun_at = '2026-13-99T00:00:00.000Z'")
    opened.close()

    assert "corrupt" in refusal(lambda: listed(path)).message


def test_moving_a_corrupt_file_away_is_all_it_takes(path: Path):
    replaced(path)
    overwritten(path, 0, b"\xff" * 100)
    assert len(replaced(path)) == 1

    path.rename(path.with_suffix(".corrupt"))

    assert replaced(path) == ()
    assert len(listed(path)) == 1


@pytest.mark.parametrize("lost", ["file", "directory"])
def test_a_lost_file_is_no_history_and_the_next_transaction_begins_a_new_one(path: Path, lost: str):
    replaced(path)
    path.unlink()
    if lost == "directory":
        path.parent.rmdir()

    assert listed(path) == ()
    assert replaced(path) == ()
    assert len(listed(path)) == 1


def test_a_file_whose_maker_died_before_its_first_word_is_no_history_yet(path: Path):
    history_file.prepare(path)

    assert path.stat().st_size == 0
    assert listed(path) == ()


def test_another_writer_that_does_not_let_go_costs_the_record(path: Path):
    replaced(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    history = History(lambda: path, open_file=lambda place: history_file.open_for_writing(place, busy_s=0.1))

    (warning,) = replaced(path, history)
    other.execute("ROLLBACK")
    other.close()

    assert "another program keeps it locked" in warning.cause
    assert warning.remedy == f"find out which one with: fuser {path}"


def test_another_writer_that_is_quick_is_waited_for(path: Path):
    replaced(path)
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    threading.Timer(0.3, lambda: other.execute("ROLLBACK")).start()

    assert replaced(path) == ()

    other.close()
    assert len(listed(path)) == 2


def test_a_full_disk_ends_the_record_and_keeps_what_there_was(path: Path):
    def open_file(place: Path):
        connection, unfit = history_file.open_for_writing(place)
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        return connection, unfit

    replaced(path)
    many = [f"node-{number:02d}" for number in range(60)]

    (warning,) = replaced(path, History(lambda: path, open_file=open_file), many)

    assert "there is no space for it" in warning.cause
    assert warning.remedy.startswith("make space")
    assert listed(path)[-1].verdict == "committed"


@needs_limits
def test_a_directory_that_cannot_be_written_is_told_of(path: Path):
    path.parent.mkdir(mode=0o500)

    (warning,) = replaced(path)

    assert "Permission denied" in warning.cause


def test_a_parent_that_is_a_file_is_told_of(path: Path):
    path.parent.write_text("in the way")

    (warning,) = replaced(path)

    assert warning.code == "HISTORY_NOT_WRITTEN"
    assert "it cannot be used" in warning.cause


def test_a_copy_on_a_medium_that_cannot_be_written_is_read(path: Path, monkeypatch: pytest.MonkeyPatch):
    replaced(path)
    path.parent.chmod(0o500)
    monkeypatch.setattr(os, "access", lambda *args: False)  # root may write everywhere

    assert len(listed(path)) == 1

    assert [each.name for each in path.parent.iterdir()] == ["prod.db"]
    path.parent.chmod(0o700)


class TestWithoutWriteAheadLog:
    @pytest.mark.parametrize("kind", ["nfs4", "cifs", "9p", "fuse.sshfs"])
    def test_a_network_file_system_is_known_by_its_mount(self, tmp_path: Path, kind: str):
        device = tmp_path.stat().st_dev
        numbers = f"{os.major(device)}:{os.minor(device)}"
        mounts = tmp_path / "mountinfo"
        mounts.write_text(
            f"36 35 1:2 / /a rw - {kind} b rw\n"
            f"37 35 {numbers} / /mnt rw,noatime shared:1 - {kind} srv:/x rw\n"
        )

        assert history_file.network_file_system(tmp_path, mounts) == kind

    @pytest.mark.parametrize("text", ["36 35 1:2 / /a rw - nfs b rw\n", "", "garbage\n"])
    def test_any_other_is_not(self, tmp_path: Path, text: str):
        mounts = tmp_path / "mountinfo"
        mounts.write_text(text)

        assert history_file.network_file_system(tmp_path, mounts) == ""
        assert history_file.network_file_system(tmp_path, tmp_path / "missing") == ""

    def test_it_is_said_and_everything_is_recorded_all_the_same(self, path: Path):
        modes: list[str] = []

        def open_file(place: Path):
            opened = history_file.open_for_writing(place, unfit_for_wal=lambda directory: "nfs4")
            modes.append(opened[0].execute("PRAGMA journal_mode").fetchone()[0])
            modes.append(opened[0].execute("PRAGMA synchronous").fetchone()[0])
            return opened

        (warning,) = replaced(path, History(lambda: path, open_file=open_file))

        assert warning.code == "HISTORY_WITHOUT_WAL"
        assert "nfs4" in warning.cause
        assert warning.file == str(path)
        assert modes == ["delete", 3]  # EXTRA
        assert [run.verdict for run in listed(path)] == ["committed"]

    def test_elsewhere_every_commit_of_the_log_is_synchronised(self, path: Path):
        connection, unfit = history_file.open_for_writing(path)

        found = [
            connection.execute(f"PRAGMA {each}").fetchone()[0]
            for each in ("journal_mode", "synchronous", "foreign_keys")
        ]
        connection.close()

        assert (found, unfit) == (["wal", 2, 1], "")


_ENDLESS = """
import asyncio, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from support.fake_cluster import FakeCluster
from support.fake_node import bundle
from gausscert_coordinator.history import History

async def run():
    number = 0
    while True:
        number += 1
        cluster = FakeCluster(tuple(f"node-{{i:02d}}" for i in range(20)))
        async with cluster.coordinator(recorder=History(lambda: Path({path!r}))) as coordinator:
            plan = await coordinator.plan(bundle("new"))
            print("go", flush=True)
            await coordinator.replace(plan, bundle("new"))

asyncio.run(run())
"""


@pytest.mark.parametrize("after_s", [0.0, 0.004, 0.011, 0.03, 0.1])
def test_a_killed_writer_leaves_whole_groups(path: Path, after_s: float):
    script = _ENDLESS.format(tests=str(TESTS), path=str(path))
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout as lines:
        for _ in range(2):
            assert lines.readline() == "go\n"
        threading.Event().wait(after_s)
        process.kill()
        process.wait()
    assert process.returncode == -signal.SIGKILL

    found = listed(path)

    assert found
    assert found[-1].verdict == "committed"
    with sqlite3.connect(path) as opened:
        steps = "SELECT count(*) FROM step WHERE run = ? AND node <> '' GROUP BY stage"
        for (run,) in opened.execute("SELECT run FROM run").fetchall():
            # A group has the answers of all nodes of a stage, or of none.
            assert {count for (count,) in opened.execute(steps, (run,))} <= {20}
    opened.close()
