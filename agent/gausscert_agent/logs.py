"""The agent's log: one line per event on standard error, constant text plus fields, as text or JSON."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Final, Literal

Format = Literal["text", "json"]

_STANDARD: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
"""What every record has; the rest are fields."""


def configure(level: str, style: Format) -> None:
    """Log to standard error from now on, and nowhere else."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """What was handed over as `extra`."""
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


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
