"""Instants and lengths of time on the wire: aware UTC datetimes and seconds here."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from gausscert_common.errors import InvalidInput, Reason

if TYPE_CHECKING:
    from google.protobuf.message import Message

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def timestamp(at: datetime | None) -> Timestamp | None:
    """An aware datetime to the microsecond; None stays unsaid."""
    if at is None:
        return None
    since = at - _EPOCH
    seconds = since.days * 86400 + since.seconds
    return Timestamp(seconds=seconds, nanos=since.microseconds * 1000)


def instant(message: Message, field: str) -> datetime:
    """A timestamp that has to be there.

    Raises:
        InvalidInput: ARGUMENT_INVALID: it is missing, or outside the years 1 to 9999.
    """
    found = instant_or_none(message, field)
    if found is None:
        raise InvalidInput(Reason.ARGUMENT_INVALID, f"{field} is missing")
    return found


def instant_or_none(message: Message, field: str) -> datetime | None:
    """A timestamp, or None where the wire says nothing.

    Raises:
        InvalidInput: ARGUMENT_INVALID: outside the years 1 to 9999.
    """
    if not message.HasField(field):
        return None
    stamp: Timestamp = getattr(message, field)
    try:
        return _EPOCH + timedelta(seconds=stamp.seconds, microseconds=stamp.nanos // 1000)
    except OverflowError:
        raise InvalidInput(Reason.ARGUMENT_INVALID, f"{field} is no date") from None


def duration(length_s: float) -> Duration:
    """Seconds to the microsecond."""
    whole, micros = divmod(round(length_s * 1_000_000), 1_000_000)
    return Duration(seconds=whole, nanos=micros * 1000)


def length_s(message: Message, field: str) -> float:
    """Seconds; 0.0 where the wire says nothing."""
    length: Duration = getattr(message, field)
    return length.seconds + length.nanos / 1e9
