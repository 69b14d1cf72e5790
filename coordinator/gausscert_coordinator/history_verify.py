"""Whether the history is what was written: the chain fits together, and makes the rows that there are."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gausscert_common.auditing import Head

from gausscert_coordinator import history_chain, history_file, history_reader

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_KEYS: Final[dict[str, tuple[str, ...]]] = {
    "run": ("run",),
    "node": ("run", "node"),
    "certificate": ("run", "number"),
    "step": ("run", "number"),
    "evidence": ("run", "stage", "number"),
    "finding": ("run", "number"),
    "failure": ("run", "number"),
    "audit_head": ("run", "node"),
    "rollout": ("run", "node"),
}
"""Every table that the chain makes, and what tells its rows apart: all that the schema has but `chain`."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What came of it."""

    head: Head
    """The last line of the chain that fits."""
    runs: int
    """How many are in the chain."""
    older: int
    """How many an older gausscert has written, which had no chain: nothing is known of them."""
    fault: str
    """The first line or row that does not fit; "" where all do."""


NOTHING: Final = Verified(history_chain.BEGINNING, 0, 0, "")


def verify(path: Path, known: Head | None = None) -> Verified:
    """Follow the chain and do everything in it once more.

    Args:
        path: The history's file; one that is not there is in order.
        known: A head that was kept elsewhere: without one nobody sees that the end was cut off.

    Raises:
        InvalidInput: HISTORY_UNUSABLE: the file cannot be read, or is corrupt.
    """
    if history_reader.is_empty(path):
        return NOTHING if known is None else Verified(NOTHING.head, 0, 0, _missing(known))
    with (
        history_reader.opened(path) as book,
        closing(sqlite3.connect(":memory:", isolation_level=None)) as made,
    ):
        history_file.migrate(path, made)
        made.row_factory = sqlite3.Row
        head, fault = _replay(book, made, known)
        runs, first = made.execute("SELECT count(*), min(run) FROM run").fetchone()
        older = _count_before(book, first)
        return Verified(head, runs, older, fault or _difference(book, made, first))


def heads(path: Path, cluster: str) -> Mapping[str, Mapping[int, str]]:
    """What the history has seen of the nodes' audit logs: by node, the hash of each line by its number.

    Raises:
        InvalidInput: HISTORY_UNUSABLE.
    """
    found: dict[str, dict[int, str]] = {}
    if history_reader.is_empty(path):
        return found
    query = (
        "SELECT node, number, hash FROM audit_head JOIN run USING (run) WHERE cluster = ? ORDER BY run, node"
    )
    with history_reader.opened(path) as book:
        for node, number, digest in book.execute(query, (cluster,)):
            if isinstance(number, int):  # else it was altered, which `verify` tells
                found.setdefault(str(node), {})[number] = str(digest)
    return found


def _replay(book: sqlite3.Connection, made: sqlite3.Connection, known: Head | None) -> tuple[Head, str]:
    head = history_chain.BEGINNING
    for number, run, name, cells, digest in book.execute("SELECT * FROM chain ORDER BY number"):
        expected = head.number + 1
        if number != expected:
            return head, f"line {expected} of the chain is missing"
        if not (isinstance(run, int) and isinstance(name, str) and isinstance(cells, str)):
            return head, f"line {number} of the chain was altered: it is none that gausscert writes"
        if digest != history_chain.digest(head, run, name, cells):
            return head, f"line {number} of the chain ({name} of run {run}) was altered, or does not follow"
        if known is not None and known.number == number and known.hash != digest:
            return head, f"line {number} of the chain is not the one that was kept elsewhere"
        try:
            made.execute(history_chain.STATEMENTS[name], (run, *json.loads(cells)))
        except (KeyError, ValueError, TypeError, OverflowError, RecursionError, sqlite3.Error):
            return head, f"line {number} of the chain ({name} of run {run}) is none that gausscert writes"
        head = Head(number, digest)
    if known is not None and known.number > head.number:
        return head, _missing(known, head.number + 1)
    return head, ""


def _missing(known: Head, first: int = 1) -> str:
    return f"the end of the chain is missing from line {first} on: line {known.number} was seen"


def _difference(book: sqlite3.Connection, made: sqlite3.Connection, first: int | None) -> str:
    """The first row that is not what was written."""
    return next(_differences(book, made, first), "")


def _differences(book: sqlite3.Connection, made: sqlite3.Connection, first: int | None) -> Iterator[str]:
    if first is None:
        return
    for table, keys in _KEYS.items():
        found, written = _rows(book, table, keys, first), _rows(made, table, keys, first)
        for key in sorted(found.keys() | written.keys(), key=repr):
            what = ", ".join(f"{name} {value}" for name, value in zip(keys, key, strict=True))
            if key not in found:
                yield f"{table}: the row of {what} was taken out"
            elif key not in written:
                yield f"{table}: the row of {what} was put in"
            elif found[key] != written[key]:
                names = ", ".join(name for name in written[key] if found[key][name] != written[key][name])
                yield f"{table}: the row of {what} was altered ({names})"


def _rows(
    book: sqlite3.Connection, table: str, keys: tuple[str, ...], first: int
) -> dict[tuple[object, ...], dict[str, object]]:
    query = f"SELECT * FROM {table} WHERE run >= ?"  # noqa: S608 - names of this module
    rows = (dict(row) for row in book.execute(query, (first,)))
    return {tuple(row[key] for key in keys): row for row in rows}


def _count_before(book: sqlite3.Connection, first: int | None) -> int:
    """Runs that began before there was a chain."""
    query = "SELECT count(*) FROM run WHERE run < ?"
    if first is None:
        return int(book.execute("SELECT count(*) FROM run").fetchone()[0])
    return int(book.execute(query, (first,)).fetchone()[0])
