"""The agent's audit log: who asked for what, and what came of it, one chained line for each.

Every call that may change something is in it, and every refusal of somebody who may not call, or for whom
there was no slot; floods of these are counted and not written, each kind by itself. The lines are in `audit/`
of the state directory, a new file every `FILE_BYTES`, of which `KEPT` are kept; the chain goes on from file
to file (`auditing`).

A line is written before the caller has his answer, so the death of the agent loses none; but for those whom
the door tells that there is no slot (`turned_away`). It is made durable at once only where nobody waits in an
outage: fdatasync between Stop and Start would be added to it, on every node. What a power cut may take are
the last lines of a transaction in flight, of which the journal knows; that something was cut short is told by
a line of its own. Only what is durable is told to anybody: a history that had seen more would take the rest
for altered. A log that cannot be written stops nothing: a rollback must go on with a full disk. It is told as
NODE_AUDIT_NOT_WRITTEN.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from gausscert_common import auditing
from gausscert_common.auditing import NOTHING, Event, Head
from gausscert_common.errors import Reason

from gausscert_agent import files
from gausscert_agent.files import Disk
from gausscert_agent.logs import Sparing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gausscert_common.findings import Finding

logger = logging.getLogger(__name__)

DIRECTORY: Final = "audit"
FILE_BYTES: Final = 4 * 1024 * 1024
KEPT: Final = 5
REFUSALS: Final = 30
"""So many refusals of authorisation are written at once, and then one every `REFUSAL_EVERY_S`."""
REFUSAL_EVERY_S: Final = 60.0
"""Somebody who is revoked, and asks all day, must not have pushed out within days what he did before."""
REFUSALS_OF_EACH: Final = 3
"""So many of each who may not call are written whatever the others do."""
TURNED_AWAY_EVERY_S: Final = 600.0
"""Beyond `REFUSALS` of those for whom there was no slot."""
_MODE: Final = 0o600
_NAME: Final = r"audit-(\d{12})\.log"
_TAIL_BYTES: Final = 2 * auditing.MAX_LINE_BYTES
_ITSELF: Final = "agent"
_AGAIN: Final = "run gausscert history --verify again"


class AuditLog:
    """See the module; may be used from any thread.

    Args:
        state_dir: The agent's own directory.
        now: The node's clock.
        monotonic: Seconds, never set back.
        file_bytes: From this size on the next line begins a new file.
    """

    def __init__(
        self,
        state_dir: Path,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        *,
        monotonic: Callable[[], float] = time.monotonic,
        file_bytes: int = FILE_BYTES,
    ) -> None:
        self.path = state_dir / DIRECTORY
        self._now = now
        self._file_bytes = file_bytes
        self._lock = threading.Lock()
        self._disk = Disk()
        self._head: Head | None = None
        self._descriptor = -1
        self._size = 0
        self._written, self._durable = 1, 0
        """Lines that were written, and of these how many are durable; what a predecessor has left counts as
        one."""
        self._trouble = ""
        self._denials = Sparing(REFUSALS, REFUSAL_EVERY_S, monotonic, each=REFUSALS_OF_EACH)
        self.turned_away = Sparing(REFUSALS, TURNED_AWAY_EVERY_S, monotonic)
        """For whom there was no slot."""

    def note(self, event: Event, *, refusal: bool = False, durable: bool = True) -> Head | None:
        """Write a line. Never raises.

        Args:
            event: What happened; its time is set here.
            refusal: Of somebody who may not call, or for whom there was no slot: of many, most are not
                written, but counted.
            durable: Whether it must survive a power cut.

        Returns:
            The line as the head that it makes; None where it was not written, or is not durable.
        """
        if refusal and not self._may_be_written(event):
            return None
        with self._lock:
            try:
                self._append(event, durable=durable)
            except OSError as error:
                self._close()
                self._tell(error.strerror or str(error))
                return None
            self._trouble = ""
            return self._head if durable else None

    def _may_be_written(self, refusal: Event) -> bool:
        if refusal.outcome == Reason.BUSY.value:
            return self.turned_away.ask()
        return self._denials.ask(refusal.who)

    def lines(self, after: int, limit_bytes: int) -> tuple[list[str], int]:
        """Whole lines that come after a number, as many as fit, and at least one if there is any; durable.

        Returns:
            The lines, and the number to go on after.

        Raises:
            NodeFailure: STORE_FAILED.
        """
        found: list[str] = []
        size = 0
        with files.store_errors("read the audit log", self.path, _AGAIN):
            # Locked, because a line that is just being written could be seen by half.
            with self._lock:
                written = self._written
                for number, text in numbered(self.path, after):
                    size += len(text) + 1
                    if found and size > limit_bytes:
                        break
                    found.append(text)
                    after = number
            self._make_durable(written)
        return found, after

    def findings(self) -> tuple[Finding, ...]:
        """What is to be said of it: () where it can be written."""
        if not self._trouble:
            return ()
        from gausscert_agent.node_findings import node_finding

        return (node_finding("NODE_AUDIT_NOT_WRITTEN", self._trouble, file=str(self.path)),)

    def close(self) -> None:
        """Let go of the file; harmless to repeat, and the log may be used afterwards."""
        with self._lock:
            self._close()

    def _append(self, event: Event, *, durable: bool) -> None:
        head = self._opened()
        if self._size >= self._file_bytes:
            self._begin_file(head)
        skipped = self._denials.told() + self.turned_away.told()
        text, after = auditing.line(self._stamped(event, skipped), head)
        body = f"{text}\n".encode()
        try:
            self._disk.write(self._descriptor, body)
        except OSError:
            self._denials.leave_out(skipped)
            raise
        self._head, self._size = after, self._size + len(body)
        self._written += 1
        if durable:
            self._disk.sync_data(self._descriptor)
            self._durable = self._written

    def _make_durable(self, written: int) -> None:
        """What was written so far; the files before the last one are durable already. Not locked: whoever
        writes in an outage waits for no disk, and so not for this."""
        names = _numbers(self.path)
        if self._durable >= written or not names:
            return
        with (
            files.opened(self.path) as directory,
            files.opened_file(directory, _name(names[-1])) as descriptor,
        ):
            self._disk.sync_data(descriptor)
        with self._lock:
            self._durable = max(self._durable, written)

    def _stamped(self, event: Event, skipped: int) -> Event:
        at = self._now().astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        shown = {name: getattr(event, name) for name in ("who", "serial", "peer", "rpc", "transaction")}
        return Event(
            at,
            **shown,
            epoch=event.epoch,
            step=event.step,
            outcome=event.outcome,
            skipped=skipped,
        )

    def _opened(self) -> Head:
        """The head, with the last file open at its end."""
        if self._head is None or self._descriptor < 0:
            self._head = self._open()
        return self._head

    def _open(self) -> Head:
        self._make_directory()
        numbers = _numbers(self.path)
        if not numbers:
            self._begin_file(NOTHING)
            return NOTHING
        name = _name(numbers[-1])
        with files.opened(self.path) as directory:
            descriptor = os.open(
                name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_APPEND, dir_fd=directory
            )
        self._descriptor, self._size = descriptor, os.fstat(descriptor).st_size
        head, cut = self._last(numbers[-1])
        if cut and head is not None:
            os.ftruncate(descriptor, self._size - cut)
            self._size -= cut
        if head is None:
            # Nobody can go on from there: a chain of its own begins, and verifying names the place.
            head = Head(numbers[-1] + _count(self.path / name) - 1, auditing.FIRST)
            if head.number >= numbers[-1]:  # else this file is empty, and as good as a new one
                self._begin_file(head)
            self._head = head
            self._append(_of_itself("CHAIN_BROKEN"), durable=True)
        elif cut:
            self._head = head
            self._append(_of_itself("TAIL_LOST"), durable=True)
        return head if self._head is None else self._head

    def _make_directory(self) -> None:
        if not self.path.exists():
            self.path.mkdir(mode=0o700, exist_ok=True)
            with files.opened(self.path.parent) as state_dir:
                self._disk.sync(state_dir)

    def _last(self, first: int) -> tuple[Head | None, int]:
        """The head, and how many bytes of a line that was never ended come after it."""
        start = max(0, self._size - _TAIL_BYTES)
        tail = os.pread(self._descriptor, _TAIL_BYTES, start)
        whole, newline, rest = tail.rpartition(b"\n")
        if not newline and start == 0:
            before = self._before(first)
            return before, len(rest)
        return auditing.head_of(whole.rpartition(b"\n")[2].decode(errors="replace")), len(rest)

    def _before(self, first: int) -> Head | None:
        """The head at the end of the file before one that holds no whole line."""
        if first == 1:
            return NOTHING
        former = [number for number in _numbers(self.path) if number < first][-1:]
        last = [text for number in former for text in _lines_of(self.path / _name(number))][-1:]
        head = auditing.head_of(last[0]) if last else None
        return head if head is not None and head.number == first - 1 else None

    def _begin_file(self, head: Head) -> None:
        """The former one is made durable first: a power cut must not take its end, and leave this one."""
        if self._descriptor >= 0:
            self._disk.sync_data(self._descriptor)
        self._close_descriptor()
        with files.opened(self.path) as directory:
            self._descriptor = self._disk.create(directory, _name(head.number + 1), _MODE)
            self._size = 0
            for number in _numbers(self.path)[:-KEPT]:
                self._disk.unlink(directory, _name(number))
            self._disk.sync(directory)

    def _close(self) -> None:
        self._close_descriptor()
        self._head = None

    def _close_descriptor(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def _tell(self, trouble: str) -> None:
        if trouble != self._trouble:
            logger.error("the audit log cannot be written", extra={"file": str(self.path), "cause": trouble})
        self._trouble = trouble


def numbered(path: Path, after: int = 0) -> Iterator[tuple[int, str]]:
    """The lines of a log that come after a number, in order, without their ends, each with its number by its
    place: what a line says of itself is for `auditing.verify` to judge. A last one without an end counts.
    Raises OSError."""
    numbers = _numbers(path)
    begun = [number for number in numbers if number <= after + 1]
    for first in [number for number in numbers if not begun or number >= begun[-1]]:
        number = first
        for text in _lines_of(path / _name(first)):
            if number > after:
                yield number, text
            number += 1


def _lines_of(file: Path) -> Iterator[str]:
    with file.open("rb") as opened:
        for raw in opened:
            yield raw.rstrip(b"\n").decode(errors="backslashreplace")


def _count(file: Path) -> int:
    return sum(1 for _ in _lines_of(file))


def _numbers(path: Path) -> list[int]:
    """Of the first line of each file."""
    try:
        names = os.listdir(path)
    except FileNotFoundError:
        return []
    return sorted(int(match[1]) for name in names if (match := re.fullmatch(_NAME, name)))


def _name(first: int) -> str:
    return f"audit-{first:012d}.log"


def _of_itself(outcome: str) -> Event:
    return Event("", "", "", "", _ITSELF, "", 0, "", outcome)
