"""Roll-outs in the history: begun, ended, verified, and in the way of nothing."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from gausscert_common.errors import NodeFailure, Reason
from gausscert_coordinator import history_file, history_reader, history_verify
from gausscert_coordinator.history_rollouts import Change, Kind, Record
from gausscert_coordinator.rollout.catalogue import finding

NOW = datetime(2026, 11, 26, 10, 0, tzinfo=UTC)
ID = "20261126t100000z-abc123"
HOLDER = "alice@desk/boot.1:77"
BEGUN = (Change("n1", "0.1.0-aa", "0.2.0-bb", "begun"), Change("n2", "", "0.2.0-bb", "begun"))
ENDED = (
    Change("n1", "0.1.0-aa", "0.2.0-bb", "put back", "upload,install", "health"),
    Change("n2", "", "0.2.0-bb", "untouched", "upload,install"),
)
FAILURE = NodeFailure(Reason.ROLLOUT_FAILED, "not healthy", node="n1", file="/x", remedy="look there")
BACK = finding("ROLLOUT_PUT_BACK", "0.1.0-aa serves again", "n1")


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=2)
        return self.now


def record(path: Path, *, ends: bool = True, **options):
    made = Record(lambda: path, now=Clock(), **options)

    async def once():
        await made.begin(Kind.UPGRADE, "prod", ID, HOLDER, *BEGUN)
        return await made.end(ENDED, (BACK,), (FAILURE,)) if ends else ()

    return asyncio.run(once())


def test_what_was_done_to_which_node_by_whom_and_how_it_ended(tmp_path):
    path = tmp_path / "history.db"

    assert record(path) == ()

    (account,) = history_reader.transaction(path, "prod", ID)
    run = account.run
    assert (run.kind, run.holder, run.participants) == ("agents upgrade", HOLDER, 2)
    assert (run.verdict, run.duration_s, run.interrupted) == ("failed", 2.0, False)
    assert run.begun_at == NOW + timedelta(seconds=2)
    assert [
        (each.node, each.former, each.release, each.state, each.done, each.failed_at)
        for each in account.agents
    ] == [(c.node, c.former, c.release, c.state, c.done, c.failed_at) for c in ENDED]
    assert [(each.node, each.message) for each in account.failures] == [("n1", "not healthy")]
    assert [each.code for each in account.findings] == ["ROLLOUT_PUT_BACK"]
    assert history_reader.runs(path, "prod", limit=5) == (run,)


def test_a_machine_that_dies_leaves_behind_what_it_was_about(tmp_path):
    path = tmp_path / "history.db"

    record(path, ends=False)

    (account,) = history_reader.transaction(path, "prod", ID)
    assert (account.run.ended_at, account.run.verdict) == (None, None)
    assert {each.state for each in account.agents} == {"begun"}


@pytest.mark.parametrize("what", ["release = 'x'", "former = 'x'", "state = 'deployed'"])
def test_what_is_altered_afterwards_is_named(tmp_path, what):
    path = tmp_path / "history.db"
    record(path)
    assert history_verify.verify(path).fault == ""

    with closing(sqlite3.connect(path, isolation_level=None)) as book:
        book.execute(f"UPDATE rollout SET {what} WHERE node = 'n1'")  # noqa: S608 - of this test

    assert "rollout: the row of run 1, node n1 was altered" in history_verify.verify(path).fault


def test_a_history_that_cannot_be_written_is_told_and_stops_nothing(tmp_path):
    (tmp_path / "history.db").mkdir()

    (told,) = record(tmp_path / "history.db")

    assert (told.code, told.file) == ("HISTORY_NOT_WRITTEN", str(tmp_path / "history.db"))
    assert told.remedy


def test_a_disk_that_hangs_is_not_waited_for(tmp_path):
    import threading

    over = threading.Event()

    def hangs(path):
        over.wait(30)
        return history_file.open_for_writing(path)

    (told,) = record(tmp_path / "history.db", open_file=hangs, patience_s=0.05)
    over.set()

    assert told.code == "HISTORY_NOT_WRITTEN"
    assert "the roll-out did not" in told.cause


def test_transactions_have_no_agents(tmp_path):
    path = tmp_path / "history.db"
    record(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as book:
        book.execute("DELETE FROM rollout")

    (account,) = history_reader.transaction(path, "prod", ID)
    assert account.agents == ()
