"""The chain of the history: whatever is done to the file behind gausscert's back is named."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from gausscert_common.auditing import Head
from gausscert_common.protocol.coordinator import Verdict
from gausscert_coordinator import history_chain, history_file, history_verify
from gausscert_coordinator import history_schema as schema
from gausscert_coordinator.history import History
from support.fake_agents import Fault
from support.fake_cluster import FakeCluster
from support.fake_node import bundle


async def replaced(path: Path, *, fails: bool = False, heads: dict[str, Head] | None = None) -> None:
    cluster = FakeCluster()
    if fails:
        cluster.script("node-b", "swap", Fault.REFUSED)
    for name, head in (heads or {}).items():
        cluster.agents[name].audit_head = head
    async with cluster.coordinator(recorder=History(lambda: path)) as coordinator:
        plan = await coordinator.plan(bundle("new"))
        result = await coordinator.replace(plan, bundle("new"))
    assert result.verdict is (Verdict.ROLLED_BACK if fails else Verdict.COMMITTED)


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> bytes:
    """A history of three runs; of one file, so that it can be copied."""
    path = tmp_path_factory.mktemp("history") / "prod.db"
    asyncio.run(replaced(path))
    asyncio.run(replaced(path, fails=True))
    asyncio.run(replaced(path, heads={"node-a": Head(7, "a" * 64), "node-c": Head(9, "c" * 64)}))
    with closing(sqlite3.connect(path, isolation_level=None)) as book:
        book.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        book.execute("PRAGMA journal_mode = DELETE")
    return path.read_bytes()


@pytest.fixture
def path(tmp_path, written) -> Path:
    made = tmp_path / "prod.db"
    made.touch(0o600)
    made.write_bytes(written)
    return made


def tamper(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as book:
        book.execute("PRAGMA foreign_keys = OFF")
        for statement in statements:
            assert book.execute(statement).rowcount != 0, statement


def test_what_was_written_is_intact(path):
    found = history_verify.verify(path)

    assert (found.fault, found.runs, found.older) == ("", 3, 0)
    assert found.head.number > 50
    assert history_verify.verify(path, found.head).fault == ""


def test_no_history_is_intact(tmp_path):
    assert history_verify.verify(tmp_path / "none.db") == history_verify.NOTHING


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE run SET holder = 'mallory@ops:1' WHERE run = 2", ("run", "run 2", "altered", "holder")),
        ("UPDATE run SET verdict = 'committed' WHERE run = 2", ("run 2", "verdict")),
        ("UPDATE step SET reason = '' WHERE run = 2 AND reason != ''", ("step", "run 2", "reason")),
        ("UPDATE evidence SET fingerprint = 'ff' WHERE run = 1 AND number = 0", ("evidence", "fingerprint")),
        (
            "UPDATE node SET new_digest = 'ff' WHERE run = 3 AND node = 'node-b'",
            ("node node-b", "new_digest"),
        ),
        ("UPDATE audit_head SET hash = 'ff' WHERE node = 'node-a'", ("audit_head", "node-a", "hash")),
        ("DELETE FROM step WHERE run = 1 AND number = 3", ("step", "number 3", "taken out")),
        ("DELETE FROM failure WHERE run = 2", ("failure", "run 2", "taken out")),
        ("DELETE FROM run WHERE run = 2", ("run 2", "taken out")),
        ("INSERT INTO failure VALUES (1, 0, 'FENCED', 'node-a', '', '', '')", ("failure", "run 1", "put in")),
        ("UPDATE chain SET cells = cells || ' ' WHERE number = 9", ("line 9",)),
        ("UPDATE chain SET hash = 'ff' WHERE number = 9", ("line 9",)),
        ("UPDATE chain SET statement = 'put_node' WHERE number = 9", ("line 9",)),
        ("DELETE FROM chain WHERE number = 9", ("line 9", "missing")),
        ("UPDATE chain SET run = 2 WHERE number = 1", ("line 1",)),
        ("UPDATE chain SET cells = x'00' WHERE number = 9", ("line 9", "altered")),
        ("UPDATE chain SET statement = x'00' WHERE number = 9", ("line 9", "altered")),
        ("UPDATE chain SET run = 'one' WHERE number = 9", ("line 9", "altered")),
        ("UPDATE chain SET run = x'00' WHERE number = 9", ("line 9", "altered")),
    ],
)
def test_whatever_is_done_to_the_file_is_named(path, statement, words):
    tamper(path, statement)

    fault = history_verify.verify(path).fault

    assert fault
    assert all(word in fault for word in words), fault


@pytest.mark.parametrize(
    "cells",
    ["5", f"[{10**30}]", "[" * 100_000, '[{"a": 1}]', "null"],
    ids=["number", "large", "deep", "object", "null"],
)
def test_a_line_with_a_hash_of_its_own_that_nothing_can_be_done_with_is_named(path, cells):
    with closing(sqlite3.connect(path, isolation_level=None)) as book:
        run, name, before = book.execute(
            "SELECT run, statement, (SELECT hash FROM chain WHERE number = 8) FROM chain WHERE number = 9"
        ).fetchone()
        made = history_chain.digest(Head(8, before), run, name, cells)
        book.execute("UPDATE chain SET cells = ?, hash = ? WHERE number = 9", (cells, made))

    found = history_verify.verify(path)

    assert (found.head.number, "line 9" in found.fault) == (8, True)


def test_heads_that_are_none_are_left_out(path):
    tamper(path, "UPDATE audit_head SET number = 'many' WHERE node = 'node-a'")

    assert history_verify.heads(path, "prod").keys() == {"node-c"}


def test_two_lines_that_changed_places_are_named(path):
    tamper(
        path,
        "UPDATE chain SET number = -1 WHERE number = 9",
        "UPDATE chain SET number = 9 WHERE number = 10",
        "UPDATE chain SET number = 10 WHERE number = -1",
    )

    assert "line 9" in history_verify.verify(path).fault


def cut(path: Path) -> None:
    """The third run, as if it had never been."""
    tables = list(history_verify._KEYS)
    with closing(sqlite3.connect(path, isolation_level=None)) as book:
        book.execute("PRAGMA foreign_keys = OFF")
        for table in (*tables, "chain"):
            book.execute(f"DELETE FROM {table} WHERE run = 3")  # noqa: S608 - names of this product


def test_an_end_that_was_cut_off_is_missed_only_by_a_head_that_was_kept_elsewhere(path):
    head = history_verify.verify(path).head
    cut(path)

    found = history_verify.verify(path)
    assert (found.fault, found.runs) == ("", 2)
    fault = history_verify.verify(path, head).fault
    assert f"line {head.number} was seen" in fault
    assert f"from line {found.head.number + 1} on" in fault


def test_a_chain_made_anew_is_found_by_a_head_that_was_kept_elsewhere(path):
    head = history_verify.verify(path).head
    with closing(sqlite3.connect(path, isolation_level=None)) as book:
        book.execute("UPDATE run SET holder = 'mallory' WHERE run = 2")
        forged = history_chain.BEGINNING
        for number, run, name, cells in book.execute(
            "SELECT number, run, statement, cells FROM chain ORDER BY number"
        ).fetchall():
            made = cells.replace('"alice', '"mallory') if name == "begin_run" and run == 2 else cells
            digest = history_chain.digest(forged, run, name, made)
            book.execute("UPDATE chain SET cells = ?, hash = ? WHERE number = ?", (made, digest, number))
            forged = Head(number, digest)

    assert history_verify.verify(path, head).fault


def test_what_was_written_before_there_was_a_chain_is_told_and_not_judged(tmp_path):
    path = tmp_path / "old.db"
    history_file.prepare(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as book:
        history_file.migrate(path, book, schema.MIGRATIONS[:3])
        book.execute(
            "INSERT INTO run (transaction_id, cluster, kind, holder, version, participants, restart,"
            " take_over, begun_at) VALUES"
            " ('tx-00000001', 'prod', 'replace', 'a', '0', 3, 'cluster', 0, '2026-01-01T00:00:00.000Z')"
        )
    before = history_verify.verify(path)
    assert (before.fault, before.runs, before.older) == ("", 0, 1)

    asyncio.run(replaced(path))

    after = history_verify.verify(path)
    assert (after.fault, after.runs, after.older) == ("", 1, 1)


def test_every_table_is_verified(path):
    with closing(sqlite3.connect(path)) as book:
        tables = {row[0] for row in book.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}

    assert tables == history_verify._KEYS.keys() | {"chain"}


def test_every_statement_that_writes_is_chained_by_a_name_of_its_own():
    own = {"PUT_LINE", "LAST_LINE"}
    statements = {
        getattr(schema, name)
        for name in dir(schema)
        if name.startswith(("BEGIN_", "SET_", "END_", "PUT_")) and name not in own
    }

    assert set(history_chain.NAMES) == statements
    assert len(history_chain.STATEMENTS) == len(history_chain.NAMES)


def test_what_was_seen_of_the_nodes_logs_is_kept(path):
    assert history_verify.heads(path, "prod") == {"node-a": {7: "a" * 64}, "node-c": {9: "c" * 64}}
    assert history_verify.heads(path, "other") == {}
