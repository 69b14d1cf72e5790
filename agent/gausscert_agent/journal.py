"""The agent's durable record: one versioned, checksummed file, replaced as a whole.

`save` returns when the record would survive a power cut: a new file is written and synced, renamed
over the old one, and the directory is synced. A file that cannot be read as what was written stops
the agent: an agent that forgot its promises could break them.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Self

from gausscert_common.errors import NodeFailure, Reason

from gausscert_agent import files, journal_codec, state_directory
from gausscert_agent.files import FOR_OTHERS, Disk
from gausscert_agent.journal_codec import Record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

    from gausscert_common.protocol.state import NodeState

FILE: Final = "journal.json"
VERSION: Final = 1
_TORN: Final = "journal.json.new"
_MODE: Final = 0o600
_MAX_BYTES: Final = 1 << 20
"""Far above the longest record: 64 tombstones and the names of a thousand participants."""


class Journal:
    """The record in the agent's state directory.

    Reading needs no lock (`gausscert-agent status` reads beside a serving agent); writing does.

    Args:
        state_dir: The agent's own directory.
        disk: Makes every change.
    """

    def __init__(self, state_dir: Path, *, disk: Disk | None = None) -> None:
        self._path = state_dir
        self._disk = disk or Disk()
        self._directory: int | None = None
        self._lock: int | None = None
        self._record = Record()

    @property
    def path(self) -> Path:
        """The record's file."""
        return self._path / FILE

    @property
    def record(self) -> Record:
        """What was loaded or saved last."""
        return self._record

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def lock(self) -> None:
        """Take the state directory for this agent alone, making it if need be; harmless to repeat.

        What a predecessor did not finish writing is removed.

        Raises:
            InvalidInput: CONFIG_INVALID; another agent has it, or it is not private.
            NodeFailure: JOURNAL_FAILED.
        """
        if self._lock is not None:
            return
        if self._directory is None:
            self._directory = state_directory.open_private(self._path)
        self._lock = state_directory.lock(self._directory, self._path)
        self._remove_torn(self._directory)

    def close(self) -> None:
        """Give the lock back; harmless to repeat."""
        for descriptor in (self._lock, self._directory):
            if descriptor is not None:
                os.close(descriptor)
        self._lock = self._directory = None

    def load(self) -> NodeState:
        """Read the record; a missing file is a fresh state.

        Raises:
            NodeFailure: JOURNAL_DAMAGED; JOURNAL_FAILED: the file is of another version, or not private.
        """
        self._record = Record() if (raw := self._read()) is None else self._parse(raw)
        return self._record.node

    def save(self, state: NodeState) -> None:
        """Make a state durable, and leave the rest of the record as it is. Raises as `save_record`."""
        self.save_record(replace(self._record, node=state))

    def save_record(self, record: Record) -> None:
        """Make a record durable.

        Raises:
            NodeFailure: JOURNAL_FAILED; which of the two records is durable is unknown until `load`.
        """
        if self._lock is None or self._directory is None:
            raise RuntimeError("the journal is not locked")
        text = _text(record)
        self._remove_torn(self._directory)
        with self._writing():
            self._replace(self._directory, text)
        self._record = record

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._failed(
                f"cannot be written: {error.strerror or error}",
                "see to space, permissions and health of that file system",
            ) from error

    def _remove_torn(self, directory: int) -> None:
        with self._writing():
            if files.exists(directory, _TORN):
                self._disk.unlink(directory, _TORN)

    def _replace(self, directory: int, text: bytes) -> None:
        descriptor = self._disk.create(directory, _TORN, _MODE)
        try:
            self._disk.write(descriptor, text)
            self._disk.sync(descriptor)
        finally:
            os.close(descriptor)
        self._disk.replace(directory, _TORN, FILE)
        self._disk.sync(directory)

    def _read(self) -> bytes | None:
        try:
            with files.opened(self._path) as directory, files.opened_file(directory, FILE) as descriptor:
                self._require_private(os.fstat(descriptor))
                return files.read_all(descriptor, _MAX_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failed(f"cannot be read: {error.strerror}", _RESTORE) from error

    def _require_private(self, status: os.stat_result) -> None:
        mode = stat.S_IMODE(status.st_mode)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or mode & FOR_OTHERS:
            raise self._failed(
                f"is not a private file of user {os.geteuid()} (owner {status.st_uid}, mode {mode:04o})",
                "find out who changed it; if it can be trusted, give it back its owner and mode 0600",
            )

    def _parse(self, raw: bytes) -> Record:
        try:
            if len(raw) > _MAX_BYTES:
                raise ValueError("too long")
            envelope = json.loads(raw)
            version, checksum, body = envelope["version"], envelope["sha256"], envelope["record"]
            if version == VERSION and checksum == _checksum(body):
                return journal_codec.decode(body)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise self._damaged("is damaged") from error
        if version != VERSION:
            raise self._failed(
                f"has version {version!r}, this agent knows {VERSION}",
                "run the agent's release that wrote it, end the transaction there, then upgrade",
            )
        raise self._damaged("does not fit its checksum")

    def _damaged(self, message: str) -> NodeFailure:
        return NodeFailure(Reason.JOURNAL_DAMAGED, message, file=str(self.path), remedy=_RESTORE)

    def _failed(self, message: str, remedy: str) -> NodeFailure:
        return NodeFailure(Reason.JOURNAL_FAILED, message, file=str(self.path), remedy=remedy)


_RESTORE: Final = (
    "do not remove it while a transaction is in doubt: see gausscert status on the other nodes;"
    " if none is, move the file away and start the agent again"
)


def _text(record: Record) -> bytes:
    body = journal_codec.encode(record)
    envelope = {"version": VERSION, "sha256": _checksum(body), "record": body}
    return json.dumps(envelope, indent=1, allow_nan=False).encode() + b"\n"


def _checksum(body: object) -> str:
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
