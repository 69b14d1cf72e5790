"""The agent's durable record: written to one file (`journal_file`), read as what was written or not at all.

`save` returns when the record would survive a power cut. A file that cannot be read as what was written stops
the agent: an agent that forgot its promises could break them. The file keeps the name that an older release
gave it, although it is JSON no more: an agent of that release refuses it, and would take a missing file for a
fresh start.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Self

from gausscert_common.errors import NodeFailure, Reason

from gausscert_agent import journal_slots, state_directory
from gausscert_agent.files import Disk
from gausscert_agent.journal_file import LOST, MAX_BYTES, RESTORE, JournalFile, failed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

    from gausscert_common.protocol.state import NodeState

    from gausscert_agent.journal_codec import Record, Values

_OLD_VERSION: Final = 1
_OLD_BEGINNING: Final = b"{"
_READS: Final = 5
"""How often a file is read that a serving agent writes meanwhile."""

logger = logging.getLogger(__name__)


class Journal:
    """The record in the agent's state directory.

    Reading needs no lock (`gausscert-agent status` reads beside a serving agent); writing does.

    Args:
        state_dir: The agent's own directory.
        disk: Makes every change.
    """

    def __init__(self, state_dir: Path, *, disk: Disk | None = None) -> None:
        self._path = state_dir
        self._file = JournalFile(state_dir, disk or Disk())
        self._directory: int | None = None
        self._lock: int | None = None
        self._record: Record | None = None
        self._begins_anew = False

    @property
    def begins_anew(self) -> bool:
        """Whether there was no file when it was loaded last: the first start, or a file that is lost."""
        return self._begins_anew

    @property
    def path(self) -> Path:
        """The record's file."""
        return self._file.path

    @property
    def record(self) -> Record:
        """What was loaded or saved last."""
        return _fresh() if self._record is None else self._record

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
        self._file.remove_torn(self._directory)

    def close(self) -> None:
        """Give the lock back; harmless to repeat."""
        for descriptor in (self._lock, self._directory):
            if descriptor is not None:
                os.close(descriptor)
        self._lock = self._directory = None
        self._file.forget()

    def load(self) -> NodeState:
        """Read the record; a missing file is a fresh state, unless it was there before.

        Raises:
            NodeFailure: JOURNAL_DAMAGED; JOURNAL_FAILED: the file is of another version, or not private.
        """
        self._file.forget()
        values = self._read_steady()
        if values is None and self._record is not None and not self._begins_anew:
            raise self.gone("this agent has read it before")
        self._begins_anew = values is None
        self._record = _fresh() if values is None else self._decoded(values)
        return self._record.node

    def says_idle(self) -> bool:
        """Whether nothing was in flight when the last record was written: an agent that starts with it finds
        nothing to settle. What else the record says is for `load`.

        Raises:
            NodeFailure: As `load`.
        """
        values = self._read_steady()
        if values is None:
            return True
        flying = [values.get(key, "unknown") for key in ("transaction", "operation", "request_in_flight")]
        return flying == [None, None, ""]

    def save(self, state: NodeState) -> None:
        """Make a state durable, and leave the rest of the record as it is. Raises as `save_record`."""
        self.save_record(replace(self.record, node=state))

    def save_record(self, record: Record) -> None:
        """Make a record durable.

        Raises:
            NodeFailure: JOURNAL_FAILED; which of the two records is durable is unknown until `load`.
        """
        if self._lock is None or self._directory is None:
            raise RuntimeError("the journal is not locked")
        self._file.write(self._directory, _text(record))
        self._record = record

    def _read_steady(self) -> Values | None:
        """Reads again where the file was written meanwhile, which leaves it the same only when it was not.

        Returns:
            The record's values, None if there is no file.
        """
        before: bytes | None = None
        for _ in range(_READS):
            raw = self._file.read()
            if raw is None:
                return None
            try:
                return self._values(raw)
            except NodeFailure:
                if raw == before:
                    raise
                before = raw
        raise self._failed("does not stay the same for long enough to be read", "try again")

    def _values(self, raw: bytes) -> Values:
        if len(raw) > MAX_BYTES:
            raise self._damaged("is too long for a journal")
        with self._reading():
            if raw.startswith(_OLD_BEGINNING):
                return self._old_values(raw)
            found = journal_slots.read(raw)
            values = _values_of(found.text)
        if found.cut_short and self._lock is not None:  # else somebody may be writing it just now
            told = {"file": str(self.path)}
            logger.warning("the last record was cut short; the one before it counts", extra=told)
        return values

    def _old_values(self, raw: bytes) -> Values:
        """What releases before the two slots wrote: one JSON text, replaced as a whole."""
        envelope = json.loads(raw)
        version, checksum, values = envelope["version"], envelope["sha256"], envelope["record"]
        if version != _OLD_VERSION:
            raise self._other_version(repr(version))
        if checksum != hashlib.sha256(_canonical(values)).hexdigest():
            raise self._damaged("does not fit its checksum")
        return dict(values)

    def _decoded(self, values: Values) -> Record:
        from gausscert_agent import journal_codec

        with self._reading():
            return journal_codec.decode(values)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except journal_slots.OtherVersionError as error:
            raise self._other_version(str(error)) from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise self._damaged("is damaged") from error

    def gone(self, what_is_left: str) -> NodeFailure:
        """There is no file, and there was one: something on disk shows it.

        Args:
            what_is_left: What shows it, for a person.
        """
        return NodeFailure(
            Reason.JOURNAL_DAMAGED,
            f"the journal is gone, but {what_is_left}",
            file=str(self.path),
            remedy=LOST,
        )

    def _damaged(self, message: str) -> NodeFailure:
        return NodeFailure(Reason.JOURNAL_DAMAGED, message, file=str(self.path), remedy=RESTORE)

    def _other_version(self, version: str) -> NodeFailure:
        known = journal_slots.VERSION.decode()
        return self._failed(
            f"has version {version}, this agent knows {known}",
            "run the agent's release that wrote it, or a later one",
        )

    def _failed(self, message: str, remedy: str) -> NodeFailure:
        return failed(self.path, message, remedy)


def _fresh() -> Record:
    from gausscert_agent import journal_codec

    return journal_codec.Record()


def _text(record: Record) -> bytes:
    """A checksum, and the record as JSON."""
    from gausscert_agent import journal_codec

    body = _canonical(journal_codec.encode(record))
    return hashlib.sha256(body).digest() + body


def _values_of(text: bytes) -> Values:
    size = hashlib.sha256().digest_size
    if hashlib.sha256(text[size:]).digest() != text[:size]:
        raise ValueError("the record does not fit its checksum")
    return dict(json.loads(text[size:]))


def _canonical(values: object) -> bytes:
    return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
