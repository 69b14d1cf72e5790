"""The journal's file: two slots, written in turn (`journal_slots`).

A record costs one write over a slot that is on the disk already, and one sync of it. Only who made the file
writes into its slots, and only while every write has succeeded. A starting agent, and one whose write failed,
makes the file anew beside the old one and renames it: what a predecessor wrote last, or what an fsync failed
for, may be seen without being on the disk, and stays as it is until the new file is durable. The same way the
file grows, and takes the place of that of an older release.
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from gausscert_common.errors import NodeFailure, Reason

from gausscert_agent import files, journal_slots
from gausscert_agent.files import FOR_OTHERS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gausscert_agent.files import Disk

FILE: Final = "journal.json"
_TORN: Final = "journal.json.new"
_MODE: Final = 0o600
MAX_BYTES: Final = 1 << 21
"""Far above twice the longest record: 64 tombstones and the names of four thousand participants."""

RESTORE: Final = (
    "do not remove it while a transaction is in doubt: see gausscert status on the other nodes;"
    " if none is, move the file away and start the agent again"
)

LOST: Final = (
    "put the file back as it was and start the agent again;"
    " if it is lost for good, see docs/runbook.md, A damaged journal"
)


class _File(NamedTuple):
    """The file that this agent has made, and where its next record goes."""

    device: int
    inode: int
    capacity: int
    """Sectors in a slot."""
    number: int
    """Of the record that was written last."""

    def is_still(self, found: os.stat_result) -> bool:
        """Whether that is this file, as it was made."""
        size = 2 * self.capacity * journal_slots.SECTOR
        same = (found.st_dev, found.st_ino, found.st_size) == (self.device, self.inode, size)
        return same and stat.S_IMODE(found.st_mode) == _MODE


class JournalFile:
    """See the module. Whoever writes must have locked the state directory.

    Args:
        state_dir: Where it lies.
        disk: Makes every change.
    """

    def __init__(self, state_dir: Path, disk: Disk) -> None:
        self._path = state_dir
        self._disk = disk
        self._made: _File | None = None

    @property
    def path(self) -> Path:
        """Of the file."""
        return self._path / FILE

    def forget(self) -> None:
        """From now on nothing is known of its slots: the next record makes it anew."""
        self._made = None

    def write(self, directory: int, text: bytes) -> None:
        """Make a record durable.

        Args:
            directory: The open state directory.
            text: The record.

        Raises:
            NodeFailure: JOURNAL_FAILED; which of the two records is durable is unknown.
        """
        made, self._made = self._made, None  # until this is durable, nothing is known of its slots
        with self._writing():
            if made is None or not journal_slots.fits(text, made.capacity):
                self._made = self._make(directory, text)
            else:
                self._made = self._write_slot(directory, text, made)

    def read(self) -> bytes | None:
        """The whole file, up to one byte more than `MAX_BYTES`; None if there is none.

        Raises:
            NodeFailure: JOURNAL_FAILED; it cannot be read, or is not private.
        """
        try:
            with files.opened(self._path) as directory, files.opened_file(directory, FILE) as descriptor:
                self._require_private(os.fstat(descriptor))
                return files.read_all(descriptor, MAX_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise failed(self.path, f"cannot be read: {error.strerror}", RESTORE) from error

    def _require_private(self, status: os.stat_result) -> None:
        mode = stat.S_IMODE(status.st_mode)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or mode & FOR_OTHERS:
            raise failed(
                self.path,
                f"is not a private file of user {os.geteuid()} (owner {status.st_uid}, mode {mode:04o})",
                "find out who changed it; if it can be trusted, give it back its owner and mode 0600",
            )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise failed(
                self.path,
                f"cannot be written: {error.strerror or error}",
                "see to space, permissions and health of that file system",
            ) from error

    def remove_torn(self, directory: int) -> None:
        """Remove what a predecessor did not finish writing. Raises as `write`."""
        with self._writing():
            if files.exists(directory, _TORN):
                self._disk.unlink(directory, _TORN)

    def _make(self, directory: int, text: bytes) -> _File:
        """A new file with the record in its first slot, in place of whatever is there."""
        self.remove_torn(directory)
        capacity = journal_slots.capacity_for(text)
        body = journal_slots.written(text, 1, capacity)
        descriptor = self._disk.create(directory, _TORN, _MODE)
        try:
            # Both slots get their blocks here: to write a record later the disk needs no room.
            self._disk.write(descriptor, body + journal_slots.blank(capacity)[len(body) :])
            self._disk.sync(descriptor)
            made = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        self._disk.replace(directory, _TORN, FILE)
        self._disk.sync(directory)
        return _File(made.st_dev, made.st_ino, capacity, 1)

    def _write_slot(self, directory: int, text: bytes, made: _File) -> _File:
        """Over the older one of both records; a file that somebody has put there is not written into."""
        number = made.number + 1
        descriptor = files.open_for_writing(directory, FILE)
        if descriptor is None:
            return self._make(directory, text)
        try:
            if not made.is_still(os.fstat(descriptor)):
                return self._make(directory, text)
            body = journal_slots.written(text, number, made.capacity)
            slot = (number - 1) % 2
            self._disk.write_at(descriptor, body, slot * made.capacity * journal_slots.SECTOR)
            self._disk.sync_data(descriptor)
        finally:
            os.close(descriptor)
        return made._replace(number=number)


def failed(path: Path, message: str, remedy: str) -> NodeFailure:
    """What is wrong with the journal's file."""
    return NodeFailure(Reason.JOURNAL_FAILED, message, file=str(path), remedy=remedy)
