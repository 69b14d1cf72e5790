"""Reads the history. Words are handed out as they were written: a newer gausscert may know more of them."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from gausscert_common.errors import InvalidInput, Reason

from gausscert_coordinator import history_file
from gausscert_coordinator import history_schema as schema
from gausscert_coordinator.history_rows import moment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NAMED: Final = 5
"""How many transactions are named where a beginning fits several."""


@dataclass(frozen=True, slots=True)
class Run:
    """What one coordinator did with a transaction."""

    run: int
    transaction_id: str
    cluster: str
    kind: str
    holder: str
    version: str
    participants: int
    restart: str
    ssl_wish: str | None
    """None for a recovery, as `drop_crls`, `bundle_digest` and `new_server`."""
    drop_crls: bool | None
    take_over: bool
    bundle_digest: str | None
    new_server: str | None
    begun_at: datetime
    epoch: int | None
    ended_at: datetime | None
    """None, as all that follows: the coordinator still runs, has died, or could not write on."""
    duration_s: float | None
    verdict: str | None
    why: str | None
    interrupted: bool | None
    last_stage: str | None
    cluster_state: str | None
    generation: str | None
    """What a rollback went back to; None for everything else."""
    accept_state: bool | None
    """None, as all that follows: an older gausscert wrote it."""
    excluded: str | None
    """Names with commas."""
    state_before: str | None
    """What `query` said before CM was stopped; None, too, where it did not come to that."""
    roles_before: str | None
    """For example "1 Primary, 2 Standby"; likewise."""
    roles: str | None
    """Those at the end."""


@dataclass(frozen=True, slots=True)
class Node:
    """The sets of one node: digest and server certificate, "" where there was none or nobody knows."""

    node: str
    old_digest: str
    old_server: str
    new_digest: str
    new_server: str


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate or CRL of the bundle, as it was staged."""

    file: str
    kind: str
    subject: str
    issuer: str
    serial: str
    fingerprint: str
    not_before: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True)
class Step:
    """A stage or a command from its sending to its answer, or one thing that was said."""

    number: int
    stage: str
    node: str
    """"" for the stage as a whole."""
    mark: str
    """A word of `report.Mark`; "started" where no answer is known."""
    at: datetime
    ended_at: datetime | None
    retries: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a cm_server was seen to serve."""

    stage: str
    seen_from: str
    cm_node_id: int
    target: str
    state: str
    fingerprint: str
    chain_verified: bool
    not_after: datetime | None
    cause: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A warning."""

    code: str
    severity: str
    node: str
    file: str
    cause: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Failure:
    """Why it did not go forward."""

    reason: str
    node: str
    file: str
    message: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Agent:
    """What became of the agent of one node in a roll-out: releases and words as `history_rollouts.Change`."""

    node: str
    former: str
    release: str
    state: str
    done: str
    failed_at: str


@dataclass(frozen=True, slots=True)
class Account:
    """All that is known of one run."""

    run: Run
    nodes: tuple[Node, ...]
    certificates: tuple[Certificate, ...]
    steps: tuple[Step, ...]
    evidence: tuple[Evidence, ...]
    findings: tuple[Finding, ...]
    failures: tuple[Failure, ...]
    agents: tuple[Agent, ...] = ()
    """Of a roll-out."""


def runs(path: Path, cluster: str, *, limit: int, since: datetime | None = None) -> tuple[Run, ...]:
    """The newest runs of a cluster, newest first; () where nothing was recorded yet.

    Args:
        path: The history's file.
        cluster: Its name.
        limit: How many at most.
        since: Only those begun at or after.

    Raises:
        InvalidInput: HISTORY_UNUSABLE: the file cannot be read, or is corrupt.
    """
    if is_empty(path):
        return ()
    query = "SELECT * FROM run WHERE cluster = ? AND begun_at >= ? ORDER BY begun_at DESC, run DESC LIMIT ?"
    with opened(path) as book:
        found = book.execute(query, (cluster, moment(since) if since is not None else "", limit))
        return tuple(_run(row) for row in found)


def transaction(path: Path, cluster: str, beginning: str) -> tuple[Account, ...]:
    """All runs of one transaction, oldest first.

    Args:
        path: The history's file.
        cluster: Its name.
        beginning: Of the transaction's id; one that fits no other.

    Raises:
        InvalidInput: ARGUMENT_INVALID: it fits none, or several. HISTORY_UNUSABLE: as `runs`.
    """
    if is_empty(path):
        raise _unknown(path, beginning, "nothing was recorded yet")
    if not beginning.isascii():  # no id is like that; and SQLite takes no bytes that are no text
        raise _unknown(path, beginning, "")
    with opened(path) as book:
        query = (
            "SELECT DISTINCT transaction_id FROM run WHERE cluster = ?1 AND"
            " substr(transaction_id, 1, length(?2)) = ?2 ORDER BY transaction_id DESC"
        )
        ids = [str(row[0]) for row in book.execute(query, (cluster, beginning))]
        if beginning not in ids and len(ids) != 1:
            raise _unknown(path, beginning, "") if not ids else _ambiguous(path, beginning, ids)
        wanted = beginning if beginning in ids else ids[0]
        query = "SELECT * FROM run WHERE cluster = ? AND transaction_id = ? ORDER BY run"
        found = [_run(row) for row in book.execute(query, (cluster, wanted))]
        return tuple(_account(book, each) for each in found)


def is_empty(path: Path) -> bool:
    """Whether nothing was recorded yet. A file of no bytes is one whose maker died before its first word."""
    with history_file.described(path):
        try:
            return os.stat(path).st_size == 0 and not os.path.exists(f"{path}-wal")
        except FileNotFoundError:
            return True


def _account(book: sqlite3.Connection, run: Run) -> Account:
    def rows(table: str, order: str) -> list[sqlite3.Row]:
        query = f"SELECT * FROM {table} WHERE run = ? ORDER BY {order}"  # noqa: S608 - names of this module
        return book.execute(query, (run.run,)).fetchall()

    return Account(
        run=run,
        nodes=tuple(Node(*row[1:]) for row in rows("node", "node")),
        certificates=tuple(_certificate(row) for row in rows("certificate", "number")),
        steps=tuple(_step(run, row) for row in rows("step", "number")),
        evidence=tuple(_evidence(row) for row in rows("evidence", "rowid")),
        findings=tuple(Finding(*row[2:]) for row in rows("finding", "number")),
        failures=tuple(Failure(*row[2:]) for row in rows("failure", "number")),
        agents=tuple(Agent(*row[1:]) for row in rows("rollout", "node")),
    )


def _run(row: sqlite3.Row) -> Run:
    told = dict(zip(row.keys(), row, strict=True))
    for name in ("drop_crls", "take_over", "interrupted", "accept_state"):
        told[name] = bool(told[name]) if told[name] is not None else None
    for name in ("begun_at", "ended_at"):
        told[name] = _moment(told[name])
    return Run(**told)


def _step(run: Run, row: sqlite3.Row) -> Step:
    _, number, stage, node, mark, at_s, ended_s, retries, reason, detail = row
    at = run.begun_at + timedelta(seconds=at_s)
    ended = run.begun_at + timedelta(seconds=ended_s) if ended_s is not None else None
    return Step(number, stage, node, mark, at, ended, retries, reason, detail)


def _evidence(row: sqlite3.Row) -> Evidence:
    _, stage, _, seen_from, cm_node_id, target, state, fingerprint, chain, until, cause = row
    not_after = _moment(until)
    return Evidence(stage, seen_from, cm_node_id, target, state, fingerprint, bool(chain), not_after, cause)


def _certificate(row: sqlite3.Row) -> Certificate:
    _, _, file, kind, subject, issuer, serial, fingerprint, not_before, not_after = row
    dates = (datetime.fromisoformat(not_before), datetime.fromisoformat(not_after))
    return Certificate(file, kind, subject, issuer, serial, fingerprint, *dates)


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text is not None else None


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """The file, to read from. The whole of it is checked first: a torn page is to be told, not read over.

    Raises:
        InvalidInput: HISTORY_UNUSABLE.
    """
    with _believed(path), history_file.described(path), closing(_connect(path)) as book:
        said = book.execute("PRAGMA quick_check(1)").fetchone()[0]
        if said != "ok":
            raise history_file.corrupt(path, str(said))
        if history_file.is_foreign(book):
            raise history_file.foreign(path)
        if history_file.version_of(path, book) == schema.VERSION:
            yield _with_names(book)
            return
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as newer:
            book.backup(newer)  # an older file is read as if it were new, and stays as it is
            history_file.migrate(path, newer)
            yield _with_names(newer)


@contextmanager
def _believed(path: Path) -> Iterator[None]:
    """Pages may be whole and yet hold what nobody has written."""
    try:
        yield
    except ValueError as error:
        raise history_file.corrupt(path, str(error)) from error


def _with_names(book: sqlite3.Connection) -> sqlite3.Connection:
    book.row_factory = sqlite3.Row
    return book


def _connect(path: Path) -> sqlite3.Connection:
    address = f"file:{quote(os.path.abspath(path))}?mode=ro"
    if not os.access(path.parent, os.W_OK) and not os.path.exists(f"{path}-wal"):
        # Reading makes files beside it that writers share, which cannot be made here: a copy on a medium that
        # is read only, or another user's. Without a log nobody has it open for writing just now.
        address += "&immutable=1"
    return sqlite3.connect(address, uri=True, timeout=history_file.BUSY_S, isolation_level=None)


def _unknown(path: Path, beginning: str, why: str) -> InvalidInput:
    return InvalidInput(
        Reason.ARGUMENT_INVALID,
        f"no transaction begins with {beginning!r}" + (f": {why}" if why else ""),
        file=str(path),
        remedy="see gausscert history; what was done from another machine is recorded there",
    )


def _ambiguous(path: Path, beginning: str, ids: list[str]) -> InvalidInput:
    more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
    return InvalidInput(
        Reason.ARGUMENT_INVALID,
        f"{len(ids)} transactions begin with {beginning!r}: {', '.join(ids[:_NAMED])}{more}",
        file=str(path),
        remedy="write more of it",
    )
