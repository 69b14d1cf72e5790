"""The journal: what was saved is read back, and what was not saved by an agent is never believed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from gausscert_agent import journal_codec
from gausscert_agent.files import Disk
from gausscert_agent.journal import Journal
from gausscert_agent.journal_codec import Record
from gausscert_common.errors import InvalidInput, NodeFailure, Reason
from gausscert_common.protocol.state import NodeState, Operation, SslSetting, Transaction
from gausscert_common.protocol.words import Fence, Outcome, Phase, RestartScope, SslWish, Step, Tombstone
from support.agent_core import snapshot

FULL = NodeState(
    fence=Fence(7, Step.SWAP),
    owner="tx-00000001",
    holder="alice@host:42",
    phase=Phase.SWAPPED,
    transaction=Transaction(
        transaction_id="tx-00000001",
        participants=("a", "b"),
        old_digest="0" * 64,
        ssl_wish=SslWish.ON,
        restart=RestartScope.NODE,
        begun_at=1_700_000_000.123456,
        new_digest="1" * 64,
        bundle_digest="2" * 64,
        excluded=("c", "d"),
        joins="tx-0000000y",
        previous_ssl=SslSetting(server=None, agent=False),
    ),
    operation=Operation("stop", 4711, 123456789012, "boot pid:[1] 7"),
    tombstones=(Tombstone("tx-00000000", Outcome.ABORTED), Tombstone("tx-0000000z", Outcome.COMMITTED)),
)
MINIMAL = replace(FULL, transaction=None, phase=Phase.NONE, operation=None)


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "state"


def saved(directory: Path, state: NodeState = FULL) -> Path:
    with Journal(directory) as journal:
        journal.lock()
        journal.save(state)
        return journal.path


WHOLE = replace(FULL, transaction=replace(FULL.transaction, excluded=(), joins=""))


@pytest.mark.parametrize("state", [NodeState(), FULL, MINIMAL, WHOLE])
def test_a_state_is_read_back_as_it_was_saved(directory, state):
    saved(directory, state)
    assert Journal(directory).load() == state


@pytest.mark.parametrize("state", [NodeState(), FULL, MINIMAL])
def test_the_codec_makes_a_round_trip_through_json(state):
    record = Record(state, ("r-1", "r-2"), "r-3")
    assert journal_codec.decode(json.loads(json.dumps(journal_codec.encode(record)))) == record


def test_a_record_from_before_exclusions_is_read():
    values = journal_codec.encode(Record(WHOLE))

    assert not values["transaction"].keys() & {"excluded", "joins"}
    assert journal_codec.decode(values).node == WHOLE


def test_only_what_an_older_agent_could_not_honour_makes_a_new_record():
    """Such an agent is strict about names: it stops at these, and reads all others."""
    for changes in ({"excluded": ("c",)}, {"joins": "tx-0000000y"}):
        transaction = replace(WHOLE.transaction, **changes)
        values = journal_codec.encode(Record(replace(WHOLE, transaction=transaction)))
        assert set(changes) == values["transaction"].keys() & {"excluded", "joins"}
        assert journal_codec.decode(values).node.transaction == transaction


@pytest.mark.parametrize("changes", [{"excluded": "c"}, {"excluded": [1]}, {"joins": None}, {"without": []}])
def test_what_is_no_exclusion_is_no_record(changes):
    values = journal_codec.encode(Record(FULL))
    values["transaction"] |= changes

    with pytest.raises((ValueError, KeyError, TypeError)):
        journal_codec.decode(values)


def test_every_field_of_the_state_is_encoded():
    """A field that is added to the state and forgotten in the codec is found here."""
    values = journal_codec.encode(Record(FULL))
    fields = set(NodeState.__dataclass_fields__) | set(Record.__dataclass_fields__) - {"node"}
    assert set(values) == fields
    assert set(values["transaction"]) == set(Transaction.__dataclass_fields__)
    assert set(values["operation"]) == set(Operation.__dataclass_fields__)


def test_a_missing_file_is_a_fresh_state(directory):
    assert Journal(directory).load() == NodeState()


def test_saving_keeps_what_is_journalled_beside_the_state(directory):
    with Journal(directory) as journal:
        journal.lock()
        journal.save_record(Record(NodeState(), ("request-1",), "request-2"))
        journal.save(FULL)
    again = Journal(directory)
    again.load()
    assert again.record == Record(FULL, ("request-1",), "request-2")


def refused(directory: Path, reason: Reason = Reason.JOURNAL_DAMAGED) -> NodeFailure:
    before = snapshot(directory)
    with pytest.raises(NodeFailure) as caught:
        Journal(directory).load()
    assert caught.value.reason is reason
    assert caught.value.file == str(directory / "journal.json")
    assert caught.value.remedy
    assert snapshot(directory) == before
    return caught.value


def test_a_file_cut_anywhere_is_refused(directory):
    path = saved(directory)
    whole = path.read_bytes()
    for length in range(len(whole.rstrip())):
        path.write_bytes(whole[:length])
        refused(directory)


def test_a_changed_byte_is_refused_or_means_the_same(directory):
    """White space is the only thing that may change without being refused."""
    path = saved(directory)
    whole = path.read_bytes()
    refusals = 0
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x01]) + whole[at + 1 :])
        try:
            assert Journal(directory).load() == FULL
        except NodeFailure:
            refusals += 1
    assert refusals > len(whole) // 2


def test_another_phase_with_the_old_checksum_is_refused(directory):
    path = saved(directory)
    path.write_text(path.read_text().replace('"SWAPPED"', '"COMMITTED"'))
    assert "checksum" in refused(directory).message


def test_another_version_is_refused_by_name(directory):
    path = saved(directory)
    path.write_text(path.read_text().replace('"version": 1', '"version": 2'))
    assert "version 2" in refused(directory, Reason.JOURNAL_FAILED).message


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b" " * (1 << 21)])
def test_what_is_no_record_is_refused(directory, body):
    path = saved(directory)
    path.write_bytes(body)
    refused(directory)


@pytest.mark.parametrize(
    "change",
    [
        {"phase": "NONE"},
        {"transaction": None},
        {"phase": "SOMETHING"},
        {"fence": {"epoch": True, "step": 3}},
        {"fence": {"epoch": 1, "step": 11}},
        {"fence": {"epoch": 1, "step": 3, "more": 1}},
        {"owner": 5},
        {"tombstones": [["tx-00000001"]]},
        {"requests": "abc"},
        {"unknown": 1},
    ],
)
def test_a_record_that_fits_its_checksum_but_no_state_is_refused(directory, change):
    from gausscert_agent import journal

    path = saved(directory)
    record = json.loads(path.read_text())["record"] | change
    path.write_text(json.dumps({"version": 1, "sha256": journal._checksum(record), "record": record}))
    refused(directory)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_that_others_may_touch_is_refused(directory, mode):
    saved(directory).chmod(mode)
    refused(directory, Reason.JOURNAL_FAILED)


def test_a_link_in_place_of_the_file_is_refused(directory, tmp_path):
    path = saved(directory)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    refused(directory, Reason.JOURNAL_FAILED)


def test_a_torn_temporary_file_is_ignored_and_removed(directory):
    saved(directory)
    torn = directory / "journal.json.new"
    torn.write_bytes(b'{"version": 1, "sha')
    assert Journal(directory).load() == FULL
    with Journal(directory) as journal:
        journal.lock()
        assert not torn.exists()
        assert journal.load() == FULL


def test_a_link_planted_as_temporary_file_is_not_followed(directory, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    with Journal(directory) as journal:
        journal.lock()
        (directory / "journal.json.new").symlink_to(victim)
        journal.save(FULL)
        assert journal.load() == FULL
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_directory_and_files_are_private_under_any_umask(directory, umask):
    before = os.umask(umask)
    try:
        saved(directory)
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in directory.iterdir()}
    assert modes == {"journal.json": 0o600, "lock": 0o600}
    assert directory.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o750, 0o701, 0o777])
def test_a_state_directory_that_others_may_enter_is_refused(directory, mode):
    directory.mkdir()
    directory.chmod(mode)
    with pytest.raises(InvalidInput) as caught:
        Journal(directory).lock()
    assert caught.value.reason is Reason.CONFIG_INVALID
    assert not list(directory.iterdir())


def test_a_state_directory_without_a_parent_is_refused(tmp_path):
    with pytest.raises(InvalidInput) as caught:
        Journal(tmp_path / "no" / "state").lock()
    assert caught.value.reason is Reason.CONFIG_INVALID
    assert not list(tmp_path.iterdir())


def test_a_link_as_state_directory_is_refused(tmp_path):
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "state").symlink_to("real")
    with pytest.raises(InvalidInput):
        Journal(tmp_path / "state").lock()


def test_a_second_agent_is_refused_and_told_the_pid_of_the_first(directory):
    code = (
        "import sys, pathlib\n"
        "from gausscert_agent.journal import Journal\n"
        "journal = Journal(pathlib.Path(sys.argv[1])); journal.lock()\n"
        "print('locked', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(InvalidInput) as caught:
            Journal(directory).lock()
        assert caught.value.reason is Reason.CONFIG_INVALID
        assert f"pid {other.pid}" in caught.value.message
        other.kill()
        other.wait()
    with Journal(directory) as journal:
        journal.lock()  # the kernel gave the dead agent's lock back


def test_saving_without_the_lock_is_a_bug(directory):
    with pytest.raises(RuntimeError):
        Journal(directory).save(FULL)


class FailingDisk(Disk):
    """Fails at the n-th change, once."""

    def __init__(self, at: int) -> None:
        self.left = at

    def _count(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise OSError(28, "No space left on device")

    def create(self, directory, name, mode):
        self._count()
        return super().create(directory, name, mode)

    def write(self, descriptor, body):
        self._count()
        super().write(descriptor, body)

    def sync(self, descriptor):
        self._count()
        super().sync(descriptor)

    def replace(self, directory, old, new):
        self._count()
        super().replace(directory, old, new)


@pytest.mark.parametrize("at", range(1, 6))
def test_a_failed_save_leaves_one_of_the_two_records_whole(directory, at):
    saved(directory, MINIMAL)
    with Journal(directory, disk=FailingDisk(at)) as journal:
        journal.lock()
        journal.load()
        with pytest.raises(NodeFailure) as caught:
            journal.save(FULL)
        assert caught.value.reason is Reason.JOURNAL_FAILED
        assert "No space left" in caught.value.message
        assert journal.load() == (FULL if at == 5 else MINIMAL)
        journal.save(FULL)
        assert Journal(directory).load() == FULL


def test_a_save_is_synced_before_and_after_the_rename(directory):
    """What survives a power cut is decided here: file, rename, directory, in this order."""
    order = []

    class Recording(Disk):
        def sync(self, descriptor):
            order.append("sync dir" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "sync file")
            super().sync(descriptor)

        def replace(self, directory, old, new):
            order.append("rename")
            super().replace(directory, old, new)

    with Journal(directory, disk=Recording()) as journal:
        journal.lock()
        journal.save(FULL)
    assert order == ["sync file", "rename", "sync dir"]


def test_a_state_directory_that_is_made_is_durable_before_anything_is_in_it(tmp_path, monkeypatch):
    synced = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(os.readlink(f"/proc/self/fd/{fd}")), real(fd)))
    with Journal(tmp_path / "state") as journal:
        journal.lock()
    assert synced[0] == str(tmp_path)
    synced.clear()
    with Journal(tmp_path / "state") as journal:
        journal.lock()
    assert str(tmp_path) not in synced
