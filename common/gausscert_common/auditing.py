"""The audit log of an agent as text: lines, their chain, and how it is verified. Pure.

A line is a hash and a record, `HASH JSON`. The hash is that of the record's bytes, and each record holds the
number and the hash of the one before it, so that a line that is altered, taken out, put in or moved is named
by the first line that does not fit. Whoever can write the file can also make a whole new chain of it, or cut
its end off: that is seen only by a head that was kept elsewhere, which the coordinators' histories do.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FIRST: Final = "0" * 64
"""What the first record has in the place of the hash before it."""
MAX_LINE_BYTES: Final = 4096
MAX_NUMBER: Final = 2**62
"""Of a line; far more than are ever written, and what a history can keep."""
HEAD_KEY: Final = "gausscert-audit"
"""Trailing metadata of a call that was carried out: the head that the line about it makes, where it is
durable."""


class Head(NamedTuple):
    """The last line of a log at some moment."""

    number: int
    """0: there was none."""
    hash: str


class Event(NamedTuple):
    """One thing that was asked of an agent, and what came of it. Never a password, a key or a text of CM."""

    at: str
    """UTC, ISO 8601 to the millisecond, by the node's clock."""
    who: str
    """The identity's URI; "" where there is none."""
    serial: str
    """Of the certificate that was shown, hex; "" where it could not be read."""
    peer: str
    """Address and port."""
    rpc: str
    """The method; "agent" where the agent speaks of itself."""
    transaction: str
    epoch: int
    step: str
    outcome: str
    """"OK", else the reason."""
    skipped: int = 0
    """How many refusals before this one were too many to be written down."""


class Fault(NamedTuple):
    """The first line that does not fit."""

    number: int
    """That it has, or should have."""
    cause: str


class Verified(NamedTuple):
    """What came of it."""

    first: int
    """Number of the first line that is kept; 0 where there is none."""
    head: Head
    """The last line that fits."""
    fault: Fault | None


NOTHING: Final = Head(0, FIRST)
_HEAD: Final = r"([0-9]{1,19}):([0-9a-f]{64})"


def line(event: Event, before: Head) -> tuple[str, Head]:
    """A line without its end, and the head that it makes.

    Args:
        event: What happened.
        before: The head so far.
    """
    record = {"number": before.number + 1, "before": before.hash, **event._asdict()}
    text = json.dumps(record, ensure_ascii=True, separators=(",", ":"), sort_keys=True)
    digest = _hash(text)
    return f"{digest} {text}", Head(before.number + 1, digest)


def head_of(text: str) -> Head | None:
    """What a line makes the head; None for one that is none, or was altered."""
    found = _read(text)
    return None if isinstance(found, str) else Head(found[0], found[2])


def written(head: Head) -> str:
    """A head as metadata and people have it."""
    return f"{head.number}:{head.hash}"


def as_head(text: str) -> Head | None:
    """The same, read; None for what is none, whoever has sent it."""
    match = re.fullmatch(_HEAD, text)
    return Head(int(match[1]), match[2]) if match is not None and int(match[1]) <= MAX_NUMBER else None


def verify(lines: Iterable[str], heads: Mapping[int, str] | None = None) -> Verified:
    """Follow the chain from the first line that is kept to its end.

    Where heads are known, one of them must be a line that is kept, or the one right before these: a chain
    that begins later is as easily made anew as one from the first line. An agent gives lines up only for
    megabytes of newer ones, but so many can be made, too; so nothing less than a line that was seen counts.

    Args:
        lines: In order, without their ends.
        heads: Hashes by number that were kept elsewhere; those of lines that are kept no more do not count.
    """
    known = heads or {}
    first, head = 0, NOTHING
    for text in lines:
        found = _read(text)
        expected = head.number + 1
        if isinstance(found, str):
            return Verified(first, head, Fault(expected, found))
        number, before, digest = found
        if first == 0:
            first, head = number, Head(number - 1, before)
            if number == 1 and before != FIRST:
                return Verified(first, NOTHING, Fault(1, "it is not the first line that was ever written"))
            if known.get(number - 1, before) != before:
                return Verified(
                    first,
                    head,
                    Fault(number, "it does not follow the line that a history has seen"),
                )
            expected = number
        if number != expected:
            return Verified(first, head, Fault(expected, f"line {number} stands in its place"))
        if before != head.hash:
            return Verified(first, head, Fault(number, "it does not follow the line before it"))
        if known.get(number, digest) != digest:
            return Verified(first, head, Fault(number, "it is not the line that a history has seen"))
        head = Head(number, digest)
    return Verified(first, head, _unseen(first, head, known))


def _unseen(first: int, head: Head, known: Mapping[int, str]) -> Fault | None:
    """Of lines that all fit: what a history has seen, and these do not show."""
    last = max(known, default=0)
    if last > head.number:
        return Fault(head.number + 1, f"the end is missing: line {last} was seen")
    if known and last < first - 1:
        return Fault(
            first,
            f"nothing that a history has seen is kept: line {last} was the last of it",
        )
    return None


def _read(text: str) -> tuple[int, str, str] | str:
    """Number, hash before, own hash; or why it is no line. Whoever made the text may have meant harm."""
    digest, _, body = text.partition(" ")
    if _hash(body) != digest:
        return "it was altered, or is no line of the log"
    try:
        record = json.loads(body)
        number, before = record["number"], record["before"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return "it is no record"
    known = type(number) is int and 0 < number <= MAX_NUMBER and isinstance(before, str)
    return (number, before, digest) if known else "it is no record"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
