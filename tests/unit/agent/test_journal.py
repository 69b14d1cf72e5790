"""The journal: what was saved is read back, and what was not saved by an agent is never believed."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from gausscert_agent import journal_codec, journal_slots
from gausscert_agent.files import Disk
from gausscert_agent.journal import Journal
from gausscert_agent.journal_codec import Record
from gausscert_agent.journal_slots import SECTOR
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
        begun_by="alice@host:41",
        reached=Fence(5, Step.START),
        previous_ssl=SslSetting(server=None, agent=False),
        abort_ended=True,
    ),
    operation=Operation("stop", 4711, 123456789012, "boot pid:[1] 7"),
    tombstones=(
        Tombstone("tx-00000000", Outcome.ABORTED, ("n3", "n4")),
        Tombstone("tx-0000000z", Outcome.COMMITTED),
    ),
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


WHOLE = replace(
    FULL,
    transaction=replace(
        FULL.transaction, excluded=(), joins="", begun_by="", reached=Fence(), abort_ended=False
    ),
)


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

    assert not values["transaction"].keys() & {"excluded", "joins", "begun_by", "reached", "abort_ended"}
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


@pytest.mark.parametrize(
    ("record", "idle"),
    [
        (Record(), True),
        (Record(MINIMAL, ("r-1",)), True),
        (Record(FULL), False),
        (Record(replace(FULL, operation=None)), False),
        (Record(replace(MINIMAL, operation=FULL.operation)), False),
        (Record(MINIMAL, request_in_flight="r-1"), False),
    ],
    ids=["fresh", "idle", "transaction and child", "transaction", "child", "request"],
)
def test_a_journal_says_whether_something_was_in_flight(directory, record, idle):
    assert Journal(directory).says_idle()
    with Journal(directory) as journal:
        journal.lock()
        journal.save_record(record)
    assert Journal(directory).says_idle() is idle


def test_a_damaged_journal_says_nothing(directory):
    path = saved(directory, MINIMAL)
    body = path.read_bytes()
    path.write_bytes(body[:100] + b"?" + body[101:])
    with pytest.raises(NodeFailure):
        Journal(directory).says_idle()


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
    lengths = {*range(0, 4 * SECTOR, 7), *range(0, len(whole), SECTOR), len(whole) // 2, len(whole) - 1}
    for length in sorted(lengths):
        path.write_bytes(whole[:length])
        refused(directory)


def both(directory: Path) -> Path:
    """MINIMAL, then FULL, by one agent: both slots hold a record."""
    with Journal(directory) as journal:
        journal.lock()
        journal.save(MINIMAL)
        journal.save(FULL)
        return journal.path


def used(raw: bytes) -> set[int]:
    """Every byte of a record."""
    half = len(raw) // 2
    return {
        at
        for at in range(len(raw))
        if at % half < SECTOR * int.from_bytes(raw[at // half * half + 18 : at // half * half + 20])
    }


@pytest.mark.parametrize("write", [saved, both])
def test_a_changed_byte_is_refused_or_means_the_same(directory, write):
    """Never the record before it: what was damaged may have been promised. Only what no record needs may
    change without being refused."""
    path = write(directory)
    whole = path.read_bytes()
    needed = used(whole)
    assert len(needed) >= 2 * SECTOR
    for at in sorted(needed | set(range(0, len(whole), SECTOR)) | set(range(3, len(whole), 101))):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x01]) + whole[at + 1 :])
        try:
            assert Journal(directory).load() == FULL
        except NodeFailure:
            continue
        assert at not in needed


def sectors_of_the_newest(raw: bytes) -> list[tuple[int, bytes]]:
    half = len(raw) // 2
    count = int.from_bytes(raw[half + 18 : half + 20])
    return [(half + at, raw[half + at : half + at + SECTOR]) for at in range(0, count * SECTOR, SECTOR)]


def test_of_a_record_cut_short_the_one_before_it_counts(directory):
    """Whichever sectors of the third record have got to the disk, over the first one."""
    with Journal(directory) as journal:
        journal.lock()
        journal.save(replace(FULL, holder="first@host:1"))
        journal.save(MINIMAL)
        before = journal.path.read_bytes()
        journal.save(replace(FULL, holder="third@host:1"))
        path, after = journal.path, journal.path.read_bytes()
    changed = [
        at for at in range(0, len(after), SECTOR) if after[at : at + SECTOR] != before[at : at + SECTOR]
    ]
    assert len(changed) == 2
    for landed in range(1, 2 ** len(changed) - 1):
        body = before
        for bit, at in enumerate(changed):
            if landed >> bit & 1:
                body = body[:at] + after[at : at + SECTOR] + body[at + SECTOR :]
        path.write_bytes(body)
        assert Journal(directory).load() == MINIMAL


@pytest.mark.parametrize("nodes", [2, 60])
def test_the_first_record_over_a_blank_slot_may_be_cut_short(directory, nodes):
    many = replace(FULL.transaction, participants=tuple(f"node-{number}" for number in range(nodes)))
    with Journal(directory) as journal:
        journal.lock()
        journal.save(MINIMAL)
        before = journal.path.read_bytes()
        journal.save(replace(FULL, transaction=many))
        path, after = journal.path, journal.path.read_bytes()
    sectors = sectors_of_the_newest(after)
    for kept in (sectors[:1], sectors[1:], sectors[:-1], sectors[::2], sectors[1::2]):
        body = before
        for at, sector in kept:
            body = body[:at] + sector + body[at + SECTOR :]
        path.write_bytes(body)
        assert Journal(directory).load() == MINIMAL


def test_an_agent_that_finds_a_record_cut_short_says_so(directory, caplog):
    path = both(directory)
    whole = path.read_bytes()
    (at, sector), *_ = sectors_of_the_newest(whole)
    capacity = len(whole) // 2 // SECTOR
    never = journal_slots.blank(capacity)[: len(sector)]
    path.write_bytes(whole[:at] + never + whole[at + len(sector) :])
    assert Journal(directory).load() == MINIMAL
    assert not caplog.records, "somebody else may be writing it"
    with Journal(directory) as journal:
        journal.lock()
        assert journal.load() == MINIMAL
    assert [record.message for record in caplog.records] == [
        "the last record was cut short; the one before it counts"
    ]


@pytest.mark.parametrize("records", [2, 3, 8, 9])
def test_a_wiped_sector_is_damage_and_no_record_that_was_cut_short(directory, records):
    """What it said may have been promised: a COMMIT that was answered must not be forgotten."""
    with Journal(directory) as journal:
        journal.lock()
        for number in range(1, records + 1):
            journal.save(replace(FULL, holder=f"bob@host:{number}"))
        path, whole = journal.path, journal.path.read_bytes()
    half = len(whole) // 2
    newest = 0 if records % 2 else half
    for at in (newest, newest + SECTOR):
        path.write_bytes(whole[:at] + bytes(SECTOR) + whole[at + SECTOR :])
        refused(directory)
    path.write_bytes(whole[:newest] + bytes(half) + whole[newest + half :])
    refused(directory)


def file_of(*numbers: int) -> bytes:
    """A file whose slots hold these records, whole; 0 for one that was never written."""
    capacity = journal_slots.capacity_for(b"x")
    never = journal_slots.blank(capacity)
    half, raw = len(never) // 2, b""
    for number in numbers:
        body = journal_slots.written(f"record {number}".encode(), number, capacity) if number else b""
        raw += body + never[len(body) : half]
    return raw


@pytest.mark.parametrize(
    ("numbers", "newest"),
    [((1, 0), 1), ((1, 2), 2), ((3, 2), 3), ((3, 4), 4), ((13, 14), 14), ((15, 14), 15)],
)
def test_of_two_records_that_follow_each_other_the_newer_one_counts(numbers, newest):
    assert journal_slots.read(file_of(*numbers)) == (f"record {newest}".encode(), False)


@pytest.mark.parametrize("numbers", [(3, 0), (0, 2), (0, 0), (2, 1), (1, 4), (5, 2), (3, 3), (13, 10)])
def test_records_that_do_not_follow_each_other_are_damage(numbers):
    with pytest.raises(ValueError, match=r"follow|whole"):
        journal_slots.read(file_of(*numbers))


def test_a_torn_slot_whose_sectors_are_of_records_that_never_met_is_damage():
    """Record 7 over record 5 is what a power cut leaves; record 9 over record 5 is not."""
    capacity, long = 32, b"x" * 2 * SECTOR
    never = journal_slots.blank(capacity)
    other = journal_slots.written(long, 6, capacity)
    for number, legal in ((7, True), (9, False)):
        old, new = (journal_slots.written(long, each, capacity) for each in (5, number))
        torn = new[:SECTOR] + old[SECTOR:]
        raw = torn + never[len(torn) : len(never) // 2] + other + never[len(other) : len(never) // 2]
        if legal:
            assert journal_slots.read(raw) == (long, True)
        else:
            with pytest.raises(ValueError, match="follow"):
                journal_slots.read(raw)


def test_records_go_to_both_slots_in_turn_and_the_file_stays_the_same(directory):
    with Journal(directory) as journal:
        journal.lock()
        journal.save(FULL)
        first, inode = journal.path.read_bytes(), journal.path.stat().st_ino
        half = len(first) // 2
        for number in range(5):
            before = journal.path.read_bytes()
            journal.save(replace(FULL, holder=f"bob@host:{number}"))
            after = journal.path.read_bytes()
            kept = slice(0, half) if number % 2 == 0 else slice(half, None)
            assert before[kept] == after[kept]
            assert before != after
            assert Journal(directory).load().holder == f"bob@host:{number}"
        assert (len(after), journal.path.stat().st_ino) == (len(first), inode)


def test_a_record_that_is_too_long_for_its_slot_makes_the_file_anew(directory):
    many = replace(FULL.transaction, participants=tuple(f"node-{number:058}" for number in range(4096)))
    with Journal(directory) as journal:
        journal.lock()
        for state in (MINIMAL, FULL, replace(FULL, transaction=many), MINIMAL, FULL):
            size = journal.path.stat().st_size if journal.path.exists() else 0
            journal.save(state)
            assert Journal(directory).load() == state
            assert journal.path.stat().st_size >= size


def test_a_new_agent_leaves_the_file_of_the_one_before_it_as_it_is_until_its_own_is_durable(directory):
    """What the old one shows may not be on the disk: its agent may have died before it was."""
    path = both(directory)
    was, inode = path.read_bytes(), path.stat().st_ino

    class Looking(Disk):
        def replace(self, at, old, new):
            assert path.read_bytes() == was
            super().replace(at, old, new)

    with Journal(directory, disk=Looking()) as journal:
        journal.lock()
        journal.save(journal.load())
    assert path.stat().st_ino != inode
    assert Journal(directory).load() == FULL


@pytest.mark.parametrize("how", ["removed", "replaced", "linked", "cut", "opened to others"])
def test_a_file_that_somebody_else_has_touched_is_made_anew(directory, tmp_path, how):
    with Journal(directory) as journal:
        journal.lock()
        journal.save(MINIMAL)
        path, whole = journal.path, journal.path.read_bytes()
        if how == "opened to others":
            path.chmod(0o644)
        elif how == "cut":
            path.write_bytes(whole[:-SECTOR])
        else:
            path.rename(tmp_path / "aside")
        if how == "replaced":
            path.write_bytes(whole)
        elif how == "linked":
            path.symlink_to(tmp_path / "aside")
        journal.save(FULL)
    assert Journal(directory).load() == FULL
    assert path.stat().st_mode & 0o777 == 0o600
    if how in ("removed", "replaced", "linked"):
        assert (tmp_path / "aside").read_bytes() == whole


def test_a_reader_beside_a_writing_agent_reads_again(directory, monkeypatch):
    """Both slots may change while it reads, so that neither is whole to it."""
    path = both(directory)
    whole = path.read_bytes()
    torn = b"\1".join(whole[at : at + len(whole) // 2 - 1] for at in (0, len(whole) // 2)) + b"\1"
    torn = bytes([torn[0] ^ 1]) + torn[1:]
    journal = Journal(directory)
    answers = [torn, torn[::-1], whole]
    monkeypatch.setattr(journal._file, "read", lambda: answers.pop(0))
    assert journal.load() == FULL
    answers = [torn, torn]
    with pytest.raises(NodeFailure):
        journal.load()
    assert not answers


def sealed(record: object) -> bytes:
    """A whole file that holds it, with every checksum right."""
    body = json.dumps(record).encode()
    text = hashlib.sha256(body).digest() + body
    capacity = journal_slots.capacity_for(text)
    written = journal_slots.written(text, 1, capacity)
    return written + journal_slots.blank(capacity)[len(written) :]


def test_another_version_is_refused_by_name(directory, monkeypatch):
    path = saved(directory)
    monkeypatch.setattr(journal_slots, "VERSION", b"4")
    path.write_bytes(sealed({}))
    monkeypatch.undo()
    assert "version 4" in refused(directory, Reason.JOURNAL_FAILED).message


def test_a_journal_of_the_version_before_is_read_and_written_on(directory, monkeypatch):
    monkeypatch.setattr(journal_slots, "VERSION", b"2")
    saved(directory, WHOLE)
    monkeypatch.undo()

    assert Journal(directory).load() == WHOLE
    with Journal(directory) as journal:
        journal.lock()
        assert journal.load() == WHOLE
        journal.save(FULL)
        assert Journal(directory).load() == FULL
        journal.save(MINIMAL)
    assert Journal(directory).load() == MINIMAL


@pytest.mark.parametrize("state", [FULL, WHOLE, MINIMAL])
def test_an_agent_that_knows_only_the_version_before_names_it_and_calls_nothing_damaged(
    directory, monkeypatch, state
):
    """Who began a transaction is always written: such an agent must not take that for damage."""
    saved(directory, state)
    monkeypatch.setattr(journal_slots, "VERSION", b"2")
    monkeypatch.setattr(journal_slots, "READ", frozenset({b"2"}))

    found = refused(directory, Reason.JOURNAL_FAILED)

    assert "has version 3, this agent knows 2" in found.message
    assert "a later one" in found.remedy


def test_a_record_with_another_checksum_is_refused(directory, monkeypatch):
    path = saved(directory)
    record = journal_codec.encode(Record(FULL))
    path.write_bytes(sealed(record))
    assert Journal(directory).load() == FULL
    text = b"0" * 32 + json.dumps(record).encode()
    written = journal_slots.written(text, 1, 32)
    path.write_bytes(written + journal_slots.blank(32)[len(written) :])
    refused(directory)


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b" " * (1 << 22), bytes(1 << 15)]
)
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
        {"tombstones": [["tx-00000001", "ABORTED", ["n1"], ["n2"]]]},
        {"requests": "abc"},
        {"unknown": 1},
    ],
)
def test_a_record_that_fits_its_checksum_but_no_state_is_refused(directory, change):
    path = saved(directory)
    path.write_bytes(sealed(journal_codec.encode(Record(FULL)) | change))
    refused(directory)


# The form before there were slots: one JSON text


def of_version_1(saved: Record, **changes: object) -> bytes:
    body = journal_codec.encode(saved)
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    envelope = {"version": 1, "sha256": hashlib.sha256(canonical.encode()).hexdigest(), "record": body}
    return json.dumps(envelope | changes, indent=1).encode() + b"\n"


def test_what_an_older_release_wrote_is_read_and_written_anew_by_the_first_save(directory):
    path = saved(directory)
    record = Record(FULL, ("r-1", "r-2"), "r-3")
    path.write_bytes(of_version_1(record))
    with Journal(directory) as journal:
        journal.lock()
        assert journal.load() == FULL
        assert path.read_bytes() == of_version_1(record)
        journal.save(FULL)
        assert journal.record == record
    assert not path.read_bytes().startswith(b"{")
    again = Journal(directory)
    again.load()
    assert again.record == record


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"version": 3}, Reason.JOURNAL_FAILED),
        ({"sha256": "0" * 64}, Reason.JOURNAL_DAMAGED),
        ({"record": {}}, Reason.JOURNAL_DAMAGED),
    ],
)
def test_what_no_older_release_wrote_is_refused(directory, changes, reason):
    path = saved(directory)
    path.write_bytes(of_version_1(Record(FULL), **changes))
    refused(directory, reason)


def test_what_an_older_release_wrote_is_refused_when_it_is_cut_or_changed(directory):
    path = saved(directory)
    whole = of_version_1(Record(FULL)).rstrip()
    for at in range(0, len(whole), 3):
        path.write_bytes(whole[:at])
        refused(directory)
    path.write_bytes(whole.replace(b'"SWAPPED"', b'"COMMITTED"'))
    assert "checksum" in refused(directory).message


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

    def __init__(self, at: int = 0) -> None:
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

    def write_at(self, descriptor, body, offset):
        self._count()
        super().write_at(descriptor, body, offset)

    def sync(self, descriptor):
        self._count()
        super().sync(descriptor)

    def sync_data(self, descriptor):
        self._count()
        super().sync_data(descriptor)

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


@pytest.mark.parametrize("loads", [True, False])
@pytest.mark.parametrize(("at", "counts"), [(1, MINIMAL), (2, FULL)], ids=["write", "sync"])
def test_after_a_write_into_a_slot_has_failed_no_slot_is_written_into(directory, at, counts, loads):
    """After an fsync that failed, what is seen may not be on the disk, and a second fsync would not tell.
    Both slots stay as they are until there is another file."""
    disk = FailingDisk()
    with Journal(directory, disk=disk) as journal:
        journal.lock()
        journal.save(MINIMAL)
        inode = journal.path.stat().st_ino
        disk.left = at
        with pytest.raises(NodeFailure):
            journal.save(FULL)
        assert Journal(directory).load() == counts
        assert journal.record.node == MINIMAL
        if loads:
            journal.load()
        journal.save(FULL)
        assert journal.path.stat().st_ino != inode
        assert Journal(directory).load() == FULL


class Recording(Disk):
    """What is changed and synced, in order."""

    def __init__(self) -> None:
        self.order = []

    def write(self, descriptor, body):
        self.order.append("write")
        super().write(descriptor, body)

    def write_at(self, descriptor, body, offset):
        self.order.append("write at")
        super().write_at(descriptor, body, offset)

    def sync(self, descriptor):
        self.order.append("sync dir" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "sync file")
        super().sync(descriptor)

    def sync_data(self, descriptor):
        self.order.append("sync data")
        super().sync_data(descriptor)

    def replace(self, directory, old, new):
        self.order.append("rename")
        super().replace(directory, old, new)


def test_the_first_save_is_synced_before_and_after_the_rename_and_every_other_one_once(directory):
    """What survives a power cut is decided here: file, rename, directory, in this order; then each slot."""
    disk = Recording()
    with Journal(directory, disk=disk) as journal:
        journal.lock()
        journal.save(FULL)
        assert disk.order == ["write", "sync file", "rename", "sync dir"]
        disk.order.clear()
        journal.save(MINIMAL)
        journal.save(FULL)
    assert disk.order == ["write at", "sync data"] * 2


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


def test_a_running_agent_whose_file_is_gone_keeps_what_it_knows(directory):
    """It must not report that it takes part in nothing."""
    path = saved(directory)
    with Journal(directory) as journal:
        journal.lock()
        known = journal.load()
        path.unlink()
        with pytest.raises(NodeFailure) as caught:
            journal.load()
        assert caught.value.reason is Reason.JOURNAL_DAMAGED
        assert journal.record.node == known == FULL
