"""The thread that writes a run's groups to the file: one commit per group, and never a word to the engine."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from concurrent.futures import Future
from contextlib import closing, suppress
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from gausscert_common.auditing import Head
from gausscert_common.errors import GausscertError, InternalError, Reason

from gausscert_coordinator import history_chain
from gausscert_coordinator import history_schema as schema
from gausscert_coordinator.history_catalogue import finding

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from gausscert_common.findings import Finding

    from gausscert_coordinator.history_rows import Row

    Make = Callable[[], Iterable[Row]]
    Open = Callable[[Path], tuple[sqlite3.Connection, str]]

_logger = logging.getLogger(__name__)

_LAST: Final = None


class Clerk:
    """Writes one run, in a thread of its own. Not one of asyncio's pool: the interpreter waits for those when
    it ends, and a disk may hang for ever.

    Args:
        place: Where the file lies.
        open_file: Opens it; answers why there is no write-ahead log, or "".
    """

    def __init__(self, place: Callable[[], Path], open_file: Open) -> None:
        self._place = place
        self._open_file = open_file
        self._path: Path | None = None
        self._groups: queue.SimpleQueue[tuple[Sequence[Make], Future[None]] | None] = queue.SimpleQueue()
        self._newest: Future[None] = Future()
        self._newest.set_result(None)
        self._gone: Future[None] = Future()
        self._troubles: list[Finding] = []
        try:
            threading.Thread(target=self._work, name="gausscert-history", daemon=True).start()
        except RuntimeError as error:  # the system gives us no more threads
            self._give_up(error)

    def write(self, group: Sequence[Make]) -> None:
        """Take over a group; it is on disk, all of it or nothing, when `caught_up` says so."""
        self._newest = Future()
        self._groups.put((group, self._newest))

    def dismiss(self) -> None:
        """Nothing more will come: the file is closed once all is written."""
        self._groups.put(_LAST)
        self._newest = self._gone

    async def caught_up(self, patience_s: float) -> bool:
        """Wait until all that was taken over is on disk, or nothing will be written any more.

        Args:
            patience_s: How long.

        Returns:
            False: it took longer.
        """
        loop = asyncio.get_running_loop()
        done = asyncio.Event()

        def tell(_: Future[None]) -> None:
            with suppress(RuntimeError):  # the loop is closed, so nobody waits any more
                loop.call_soon_threadsafe(done.set)

        for each in (self._newest, self._gone):
            each.add_done_callback(tell)
        try:
            async with asyncio.timeout(patience_s):
                await done.wait()
        except TimeoutError:
            return False
        return True

    @property
    def troubles(self) -> tuple[Finding, ...]:
        """What is wrong with the recording, worst last."""
        return tuple(self._troubles)

    @property
    def path(self) -> str:
        """The file, as far as it is known."""
        return str(self._path or "")

    def _work(self) -> None:
        """The one place where anything wrong with the history ends: it must not reach the transaction."""
        try:
            path = self._path = self._place()
            connection, unfit = self._open_file(path)
            if unfit:
                cause = f"no write-ahead log on {unfit}: a rollback journal is used, which is slower"
                self._troubles.append(finding("HISTORY_WITHOUT_WAL", cause, self.path))
            with closing(connection):
                self._write_all(connection, path)
        except Exception as error:  # noqa: BLE001 - see above; told as a warning of the result
            self._give_up(error)
        else:
            self._gone.set_result(None)

    def _give_up(self, error: Exception) -> None:
        self._troubles.append(_told(error, self.path))
        self._gone.set_result(None)

    def _write_all(self, connection: sqlite3.Connection, path: Path) -> None:
        from gausscert_coordinator import history_file

        run: int | None = None
        while (taken := self._groups.get()) is not _LAST:
            group, written = taken
            with history_file.described(path):
                run = write_group(connection, run, [row for make in group for row in make()])
            written.set_result(None)


def write_group(connection: sqlite3.Connection, run: int | None, group: Sequence[Row]) -> int | None:
    """Write rows as one transaction.

    Args:
        connection: In autocommit mode.
        run: The run they belong to; None: the group begins with one.
        group: In order.

    Returns:
        The run.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        written: list[tuple[int, Row]] = []
        for statement, each in groupby(group, itemgetter(0)):
            rows = list(each)
            if statement == schema.BEGIN_RUN:
                run = [connection.execute(statement, (None, *cells)).lastrowid for _, cells in rows][-1]
            else:
                connection.executemany(statement, [(run, *cells) for _, cells in rows])
            written += [(run or 0, row) for row in rows]
        _chain(connection, written)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # some errors of SQLite have rolled back already
            connection.execute("ROLLBACK")
        raise
    return run


def _chain(connection: sqlite3.Connection, written: Iterable[tuple[int, Row]]) -> None:
    """In the same commit, so that neither is there without the other."""
    last = connection.execute(schema.LAST_LINE).fetchone()
    head = history_chain.BEGINNING if last is None else Head(*last)
    lines = []
    for run, (statement, cells) in written:
        line, head = history_chain.link(head, run, statement, cells)
        lines.append(line)
    connection.executemany(schema.PUT_LINE, lines)


def _told(raised: Exception, path: str) -> Finding:
    error = raised if isinstance(raised, GausscertError) else _bug(raised)
    cause = f"recording stopped here, the transaction did not: {error.message}"
    return finding("HISTORY_NOT_WRITTEN", cause, error.file or path, error.remedy)


def _bug(raised: Exception) -> InternalError:
    _logger.error("recording the history failed", exc_info=raised)
    return InternalError(
        Reason.INTERNAL,
        f"a bug in gausscert, {type(raised).__name__}",
        remedy="report it with what was logged; the transaction itself is not concerned",
    )
