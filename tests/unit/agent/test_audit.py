"""The agent's audit log on the disk."""

from __future__ import annotations

import errno
import os
import threading
from datetime import UTC, datetime

import pytest
from gausscert_agent import audit
from gausscert_agent.audit import (
    KEPT,
    REFUSAL_EVERY_S,
    REFUSALS,
    REFUSALS_OF_EACH,
    TURNED_AWAY_EVERY_S,
    AuditLog,
)
from gausscert_common import auditing
from gausscert_common.auditing import Event, verify
from gausscert_common.errors import NodeFailure, Reason
from support.audit_lines import event_of

NOW = datetime(2026, 11, 26, 6, 0, tzinfo=UTC)


def event(outcome="OK", **changes):
    said = {"at": "", "who": "gausscert://prod/operator/alice", "serial": "1f", "peer": "", "rpc": "Commit"}
    said |= {"transaction": "tx-00000001", "epoch": 1, "step": "COMMIT", "outcome": outcome} | changes
    return Event(**said)


class Bench:
    def __init__(self, root, **options) -> None:
        self.root, self.ticks, self.options = root, 500.0, options
        self.log = self.open()

    def open(self) -> AuditLog:
        return AuditLog(self.root, lambda: NOW, monotonic=lambda: self.ticks, **self.options)

    def restart(self) -> None:
        self.log.close()
        self.log = self.open()

    def lines(self) -> list[str]:
        return [text for _, text in audit.numbered(self.root / "audit")]

    def events(self) -> list[Event]:
        return [event_of(text) for text in self.lines()]

    @property
    def files(self):
        return sorted((self.root / "audit").iterdir())

    def verified(self) -> auditing.Verified:
        return verify(self.lines())


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    yield made
    made.log.close()


@pytest.fixture
def small(tmp_path):
    made = Bench(tmp_path, file_bytes=1000)
    yield made
    made.log.close()


def test_every_line_is_chained_and_private(bench):
    heads = [bench.log.note(event(epoch=number)) for number in range(3)]

    assert heads[-1] == bench.verified().head
    assert [each.epoch for each in bench.events()] == [0, 1, 2]
    assert bench.events()[0].at == "2026-11-26T06:00:00.000Z"
    assert bench.files[0].stat().st_mode & 0o777 == 0o600
    assert bench.files[0].parent.stat().st_mode & 0o777 == 0o700


def test_an_agent_that_starts_again_goes_on_with_the_chain(bench):
    bench.log.note(event())
    bench.restart()
    bench.log.note(event("FENCED"))

    assert [each.outcome for each in bench.events()] == ["OK", "FENCED"]
    assert bench.verified().fault is None


def test_the_chain_goes_on_from_file_to_file_of_which_the_oldest_go(small):
    heads = [small.log.note(event(epoch=number)) for number in range(60)]
    small.restart()
    heads.append(small.log.note(event()))

    found = small.verified()
    assert len(small.files) == KEPT
    assert found.first > 1
    assert (found.head, found.fault) == (heads[-1], None)
    assert all(path.stat().st_size < 2000 for path in small.files)
    known = {head.number: head.hash for head in heads}
    assert verify(small.lines(), known).fault is None


def test_pages_have_whole_lines_and_lead_through_all_files(small):
    for number in range(25):
        small.log.note(event(epoch=number))
    seen, after, pages = [], 0, 0
    while True:
        lines, after = small.log.lines(after, 1500)
        if not lines:
            break
        assert sum(len(text) + 1 for text in lines) <= 1500
        seen += lines
        pages += 1

    assert seen == small.lines()
    assert pages > 3
    assert len(small.log.lines(0, 1)[0]) == 1


def test_a_line_that_was_never_ended_is_cut_off_and_that_is_told(bench):
    bench.log.note(event())
    bench.log.note(event())
    bench.log.close()
    path = bench.files[0]
    os.truncate(path, path.stat().st_size - 20)
    bench.restart()

    bench.log.note(event("FENCED"))

    assert [each.outcome for each in bench.events()] == ["OK", "TAIL_LOST", "FENCED"]
    assert bench.events()[1].rpc == "agent"
    assert bench.verified().fault is None


@pytest.mark.parametrize("left", [0, 7])
def test_a_file_that_a_power_cut_left_without_any_whole_line(small, left):
    while len(getattr(small, "files", [])) < 2 if (small.root / "audit").exists() else True:
        small.log.note(event())
    small.log.close()
    os.truncate(small.files[-1], left)
    small.restart()

    small.log.note(event("FENCED"))

    assert small.verified().fault is None
    assert small.events()[-1].outcome == "FENCED"


@pytest.fixture
def two_files(small):
    small.log.note(event())
    while len(small.files) < 2:
        small.log.note(event())
    small.log.close()
    return small


@pytest.mark.parametrize("left", [0, 7])
def test_a_power_cut_that_took_the_end_of_one_file_and_all_of_the_next_does_not_end_the_log(two_files, left):
    former, newest = two_files.files
    former.write_bytes(b"".join(former.read_bytes().splitlines(keepends=True)[:-1]))
    os.truncate(newest, left)
    two_files.restart()

    for outcome in ("FENCED", "OK"):
        assert two_files.log.note(event(outcome)) is not None

    assert [each.outcome for each in two_files.events() if each][-3:] == ["CHAIN_BROKEN", "FENCED", "OK"]
    assert two_files.log.findings() == ()
    assert two_files.verified().fault is not None
    two_files.restart()
    assert two_files.log.note(event()) is not None


def test_the_first_line_is_durable_with_the_directories_that_lead_to_it(bench, monkeypatch):
    synced = []
    monkeypatch.setattr(bench.log._disk, "sync", lambda opened: synced.append(os.fstat(opened).st_ino))

    bench.log.note(event())

    assert synced == [bench.root.stat().st_ino, (bench.root / "audit").stat().st_ino]


def test_a_file_is_durable_before_the_next_one_is_there(small, monkeypatch):
    synced = []
    real = small.log._disk.create

    def create(directory, name, mode):
        made.append((name, list(synced)))
        return real(directory, name, mode)

    made: list[tuple[str, list[int]]] = []
    monkeypatch.setattr(
        small.log._disk, "sync_data", lambda descriptor: synced.append(os.fstat(descriptor).st_ino)
    )
    monkeypatch.setattr(small.log._disk, "create", create)
    small.log.note(event(), durable=False)
    while len(small.files) < 2:
        small.log.note(event(), durable=False)

    assert made[1] == (small.files[1].name, [small.files[0].stat().st_ino])


def test_a_log_whose_end_was_altered_begins_a_chain_of_its_own_and_the_place_is_named(bench):
    for _ in range(3):
        bench.log.note(event())
    bench.log.close()
    path = bench.files[0]
    path.write_bytes(path.read_bytes()[:-10] + b"tampered!\n")
    before = path.read_bytes()
    bench.restart()

    bench.log.note(event("FENCED"))

    assert path.read_bytes() == before
    outcomes = [each.outcome for each in bench.events() if each is not None]
    assert outcomes == ["OK", "OK", "CHAIN_BROKEN", "FENCED"]
    assert bench.verified().fault.number == 3


def test_floods_of_refusals_are_counted_and_not_written(bench):
    for _ in range(1000):
        bench.log.note(event("PERMISSION_DENIED"), refusal=True)
    assert len(bench.lines()) == REFUSALS

    bench.log.note(event("OK"))
    bench.ticks += REFUSAL_EVERY_S
    bench.log.note(event("PERMISSION_DENIED"), refusal=True)
    bench.log.note(event("PERMISSION_DENIED"), refusal=True)

    last = bench.events()[REFUSALS:]
    assert [(each.outcome, each.skipped) for each in last] == [
        ("OK", 1000 - REFUSALS),
        ("PERMISSION_DENIED", 0),
    ]


def test_a_flood_of_refusals_needs_weeks_to_push_out_what_was_before(bench):
    who = f"gausscert://{'c' * 30}/operator/{'n' * 30}"
    for _ in range(REFUSALS):
        bench.log.note(event("PERMISSION_DENIED", who=who, serial="f" * 40), refusal=True)

    line_bytes = bench.files[0].stat().st_size / REFUSALS
    lines = (KEPT - 1) * audit.FILE_BYTES / line_bytes
    assert lines * REFUSAL_EVERY_S > 21 * 86_400


def test_a_full_disk_stops_nothing_and_is_told_until_it_is_over(bench, monkeypatch, caplog):
    bench.log.note(event())
    real = bench.log._disk.write

    def full(descriptor, body):
        os.write(descriptor, body[:30])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(bench.log._disk, "write", full)
    assert bench.log.note(event()) is None
    assert bench.log.note(event()) is None
    (finding,) = bench.log.findings()
    assert (finding.code, finding.file) == ("NODE_AUDIT_NOT_WRITTEN", str(bench.root / "audit"))
    assert len([r for r in caplog.records if "audit log cannot be written" in r.getMessage()]) == 1

    monkeypatch.setattr(bench.log._disk, "write", real)
    assert bench.log.note(event("FENCED")) is not None
    assert bench.log.findings() == ()
    assert [each.outcome for each in bench.events()] == ["OK", "TAIL_LOST", "FENCED"]
    assert bench.verified().fault is None


def test_only_what_costs_no_outage_is_made_durable(bench, monkeypatch):
    synced = []
    monkeypatch.setattr(bench.log._disk, "sync_data", synced.append)

    bench.log.note(event(), durable=False)
    assert synced == []
    bench.log.note(event())
    assert len(synced) == 1


def test_nobody_is_told_of_a_line_that_a_power_cut_may_take(bench, monkeypatch):
    """A history would take the log for altered afterwards."""
    durable = []
    monkeypatch.setattr(bench.log._disk, "sync_data", lambda opened: durable.append(os.fstat(opened).st_size))

    assert bench.log.note(event(), durable=False) is None
    told = bench.log.note(event())
    assert (told.number, durable[-1]) == (2, bench.files[0].stat().st_size)

    assert bench.log.note(event(), durable=False) is None
    lines, _ = bench.log.lines(0, 10_000)
    assert (len(lines), durable[-1]) == (3, bench.files[0].stat().st_size)
    bench.log.lines(0, 10_000)
    assert len(durable) == 2


def test_whoever_writes_in_an_outage_waits_for_no_reader(bench, monkeypatch):
    bench.log.note(event(), durable=False)
    entered, leave = threading.Event(), threading.Event()

    def slow(_):
        entered.set()
        leave.wait(10)

    monkeypatch.setattr(bench.log._disk, "sync_data", slow)
    reader = threading.Thread(target=bench.log.lines, args=(0, 10_000))
    reader.start()
    assert entered.wait(10)

    bench.log.note(event(), durable=False)

    assert reader.is_alive()
    leave.set()
    reader.join()
    assert len(bench.lines()) == 2


def test_a_flood_of_those_without_a_slot_hides_nobody_who_may_not_call_nor_the_other_way_round(bench):
    for _ in range(100):
        bench.log.note(event("BUSY"), refusal=True, durable=False)
    bench.log.note(event("REVOKED"), refusal=True, durable=False)
    assert [each.outcome for each in bench.events()] == ["BUSY"] * REFUSALS + ["REVOKED"]
    assert bench.events()[-1].skipped == 100 - REFUSALS

    for _ in range(100):
        bench.log.note(event("REVOKED"), refusal=True, durable=False)
    bench.ticks += TURNED_AWAY_EVERY_S
    bench.log.note(event("BUSY"), refusal=True, durable=False)
    assert bench.events()[-1].outcome == "BUSY"


def test_a_flood_of_one_who_may_not_call_hides_no_other_one(bench):
    for _ in range(100):
        bench.log.note(event("PERMISSION_DENIED", who="eve"), refusal=True)
    for _ in range(REFUSALS_OF_EACH + 1):
        bench.log.note(event("REVOKED", who="mallory"), refusal=True)

    others = [each for each in bench.events() if each.who == "mallory"]
    assert len(others) == REFUSALS_OF_EACH


def test_what_was_left_out_is_not_forgotten_when_the_line_that_tells_of_it_fails(bench, monkeypatch):
    for _ in range(REFUSALS + 3):
        bench.log.note(event("PERMISSION_DENIED"), refusal=True)
    real = bench.log._disk.write

    def full(descriptor, body):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(bench.log._disk, "write", full)
    bench.log.note(event())
    monkeypatch.setattr(bench.log._disk, "write", real)
    bench.log.note(event())

    assert bench.events()[-1].skipped == 3


def test_what_a_predecessor_wrote_is_durable_before_it_is_read(bench, monkeypatch):
    bench.log.note(event(), durable=False)
    bench.restart()
    durable = []
    monkeypatch.setattr(bench.log._disk, "sync_data", lambda opened: durable.append(os.fstat(opened).st_ino))

    assert len(bench.log.lines(0, 10_000)[0]) == 1
    assert durable == [bench.files[0].stat().st_ino]


def test_lines_that_cannot_be_made_durable_are_not_told(bench, monkeypatch):
    bench.log.note(event(), durable=False)

    def fails(_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(bench.log._disk, "sync_data", fails)
    with pytest.raises(NodeFailure) as caught:
        bench.log.lines(0, 10_000)
    assert (caught.value.reason, caught.value.file) == (Reason.STORE_FAILED, str(bench.root / "audit"))


def test_side_by_side_no_line_is_lost(bench):
    def write() -> None:
        for _ in range(50):
            bench.log.note(event(), durable=False)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    found = bench.verified()
    assert (found.head.number, found.fault) == (200, None)
