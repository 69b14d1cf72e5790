"""The agent's log: one line per event on standard error, constant text plus fields, as text or JSON.

Nobody waits for whoever reads it. A journal that hangs, or a pipe that nobody empties, would otherwise hold
every thread that has something to say, and with it the command that is to bring the node back.
"""

from __future__ import annotations

import json
import logging
import os
import select
import sys
import threading
import time
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

Format = Literal["text", "json"]

_STANDARD: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
"""What every record has; the rest are fields."""

PATIENCE_S: Final = 1.0
"""So long a reader may take once; after that lines are lost, without waiting, until he reads again."""
NAMED: Final = 64
"""So many have an allowance of their own at once (`Sparing`); the next one has to do with that of all."""
_PIECE: Final = select.PIPE_BUF
"""What can be written is at least as much (pipe(7), and the kernel's pipe_poll and unix_writable); but to a
terminal (`_unwaiting`)."""


def configure(level: str, style: Format) -> None:
    """Log to standard error from now on, and nowhere else."""
    handler = UnwaitingHandler(sys.stderr.fileno())
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """What was handed over as `extra`."""
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


class UnwaitingHandler(logging.Handler):
    """Writes lines to a descriptor, and loses those that cannot be written; how many is the first that is
    written again.

    Args:
        descriptor: Of a file, a pipe, a socket or a terminal.
        patience_s: How long one line may take with a reader who has read until now.
    """

    def __init__(self, descriptor: int, patience_s: float = PATIENCE_S) -> None:
        super().__init__()
        self._descriptor = _unwaiting(descriptor) if os.isatty(descriptor) else descriptor
        self._patience_s = patience_s
        self._writable = select.poll()
        self._writable.register(self._descriptor, select.POLLOUT)
        self._lost = 0
        self._torn = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write it, or lose it."""
        try:
            if self._lost and not self._write(self._told(_loss(self._lost))):
                self._lost += 1
                return
            self._lost = 0
            self._lost += not self._write(self._told(record))
        except Exception:  # noqa: BLE001 - what logging asks of a handler
            self.handleError(record)

    def _told(self, record: logging.LogRecord) -> bytes:
        return (self.format(record) + "\n").encode(errors="backslashreplace")

    def _write(self, line: bytes) -> bool:
        rest = b"\n" + line if self._torn else line
        until = time.monotonic() + self._patience_s
        while rest:
            left_s = 0.0 if self._lost else max(0.0, until - time.monotonic())
            ready = self._writable.poll(left_s * 1000)
            if not ready or not ready[0][1] & select.POLLOUT:
                return False
            try:
                written = os.write(self._descriptor, rest[:_PIECE])
            except OSError:
                return False
            rest = rest[written:]
            self._torn = bool(rest)
        return True


def _unwaiting(terminal: int) -> int:
    """A terminal has no least size (n_tty_poll): it is opened anew, so as not to wait there. Whoever else
    writes to it goes on as he is used to. What may not be opened is used as it is."""
    try:
        return os.open(f"/dev/fd/{terminal}", os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return terminal


def _loss(lines: int) -> logging.LogRecord:
    record = logging.makeLogRecord({"name": __name__, "levelno": logging.WARNING, "levelname": "WARNING"})
    record.msg, record.lines = "lines of this log are lost: nobody read it", lines
    return record


class Sparing:
    """Of what may come a thousand times a second, a few are told and the others counted: some at once, then
    one every now and then. May be used from any thread.

    Args:
        at_once: How many.
        every_s: How often afterwards.
        monotonic: Seconds, never set back.
        each: So many of each one who is named are told whatever comes of others, and one more every ten times
            `every_s`: nobody's flood hides what another one does.
    """

    def __init__(
        self,
        at_once: int,
        every_s: float,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        each: int = 0,
    ) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._all = _Allowance(at_once, every_s, monotonic())
        self._make_own = partial(_Allowance, each, 10 * every_s)
        self._own: dict[str, _Allowance] = {}
        self._left_out = 0

    def ask(self, who: str = "") -> bool:
        """May the next one be told? It is counted where it may not.

        Args:
            who: Whose it is; "" where nobody is known.
        """
        with self._lock:
            now = self._monotonic()
            own = who != "" and self._take_own(who, now)
            if self._all.take(now) or own:
                return True
            self._left_out += 1
            return False

    def leave_out(self, count: int = 1) -> None:
        """So many more are not told, whatever was allowed."""
        with self._lock:
            self._left_out += count

    def told(self) -> int:
        """How many were left out is known now: count anew.

        Returns:
            How many.
        """
        with self._lock:
            left_out, self._left_out = self._left_out, 0
            return left_out

    def _take_own(self, who: str, now: float) -> bool:
        if who not in self._own:
            if len(self._own) >= NAMED:
                self._own = {each: own for each, own in self._own.items() if not own.is_whole(now)}
            if len(self._own) >= NAMED:
                return False
            self._own[who] = self._make_own(now)
        return self._own[who].take(now)


class _Allowance:
    """Is used up, and comes back with time."""

    def __init__(self, most: int, every_s: float, now: float) -> None:
        self._most = most
        self._every_s = every_s
        self._left = float(most)
        self._looked_at = now

    def take(self, now: float) -> bool:
        """One, if there is one."""
        self._refill(now)
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def is_whole(self, now: float) -> bool:
        """Whether it is as if nothing had ever been taken."""
        self._refill(now)
        return self._left >= self._most

    def _refill(self, now: float) -> None:
        self._left = min(self._most, self._left + (now - self._looked_at) / self._every_s)
        self._looked_at = now


class TextFormatter(logging.Formatter):
    """time level logger text key=value ..."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        fields = "".join(f" {key}={_quoted(value)}" for key, value in fields_of(record).items())
        line = f"{_time(record)} {record.levelname} {record.name} {record.getMessage()}{fields}"
        return _one_line(line + _trace(record))


class JsonFormatter(logging.Formatter):
    """An object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        event: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "event": record.getMessage(),
        }
        event |= fields_of(record)
        if record.exc_info:
            event["trace"] = _trace(record).strip()
        return json.dumps(event, default=str, ensure_ascii=False)


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _trace(record: logging.LogRecord) -> str:
    """Where an exception came from, without its text, which may hold whatever the code had at hand."""
    if not record.exc_info or record.exc_info[1] is None:
        return ""
    kind, _, trace = record.exc_info
    where = []
    while trace is not None:
        code = trace.tb_frame.f_code
        where.append(f"{code.co_filename}:{trace.tb_lineno}")
        trace = trace.tb_next
    return f" exception={kind.__name__ if kind else ''} where={','.join(where)}"


def _quoted(value: object) -> str:
    text = str(value)
    return (
        text
        if text and not any(c.isspace() or c in '"=' for c in text)
        else json.dumps(text, ensure_ascii=False)
    )


def _one_line(text: str) -> str:
    """Whatever a caller put into a field, it cannot make a line of its own."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
