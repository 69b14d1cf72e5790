"""How records lie in the journal's file: in two slots, each half of the file, written in turn.

While one slot is written the other one holds the record before it, whole. A slot is written in sectors of
512 bytes, each of which says what it is a part of and has its own checksum. A disk writes a sector whole or
not at all, so the two things that may be wrong with a slot can be told apart:

    cut short   every sector is whole, but they are of several records: the power failed while it was
                written, nobody was ever told of that record, and the other slot's counts
    damaged     a sector is not what was written: what it said may have been promised; nothing counts

Only bytes here, no disk.
"""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

SECTOR: Final = 512
"""What every disk writes as one, or a multiple of it."""

_MAGIC: Final = b"gausscj"
VERSION: Final = b"2"
_HEADER: Final = struct.Struct(">8sQHHHH16s")
"""Magic and version, number of the record, which sector of how many, sectors in a slot, bytes of text,
checksum of all this and the text."""
_CHECKSUM: Final = 16
_TEXT: Final = SECTOR - _HEADER.size
_BLANK: Final = bytes(SECTOR)
_STEP: Final = 32
"""Slots grow in steps of 16 KiB: one holds all that a node of a few hundred journals."""


class OtherVersionError(ValueError):
    """Written by another release; says which version."""


class Slots(NamedTuple):
    """What a file holds."""

    text: bytes
    """Of the newest record that is whole."""
    cut_short: bool
    """Whether a newer one was begun."""


class _Sector(NamedTuple):
    number: int
    """Of the record; 0 for a sector that was never written."""
    place: int
    """In the record."""
    of: int
    """How many there are."""
    text: bytes


def capacity_for(text: bytes) -> int:
    """How many sectors a slot must have that is to hold a record, with room for it to grow."""
    return -(-_sectors_of(text) // _STEP) * _STEP


def fits(text: bytes, capacity: int) -> bool:
    """Whether a record fits into a slot."""
    return _sectors_of(text) <= capacity


def written(text: bytes, number: int, capacity: int) -> bytes:
    """What is to be written at the beginning of a slot.

    Args:
        text: The record; not empty.
        number: Higher than that of every record before it in this file.
        capacity: Sectors in a slot.
    """
    count = _sectors_of(text)
    return b"".join(_sector(text, number, index, count, capacity) for index in range(count))


def blank(capacity: int) -> bytes:
    """Two slots that were never written."""
    return bytes(2 * capacity * SECTOR)


def read(raw: bytes) -> Slots:
    """The newest record of a whole file.

    Raises:
        OtherVersionError: Another release wrote it.
        ValueError: It is damaged, or holds no record.
    """
    capacity, rest = divmod(len(raw), 2 * SECTOR)
    if rest or not capacity:
        raise ValueError("no file of two slots")
    half = capacity * SECTOR
    found = [_read_slot(raw[:half], capacity), _read_slot(raw[half:], capacity)]
    whole = [slot for slot in found if slot is not None and slot.number]
    if not whole:
        raise ValueError("no slot is whole")
    newest = max(whole, key=lambda slot: slot.number)
    return Slots(newest.text, cut_short=None in found)


def _read_slot(raw: bytes, capacity: int) -> _Sector | None:
    """Its record as one sector; None if it was cut short."""
    first = _parsed(raw[:SECTOR], capacity)
    if not first.number:
        # Blank, unless the first sector alone has not got to the disk.
        return first if raw == bytes(len(raw)) else None
    sectors = [first, *_others(raw, capacity, first.of)]
    if any(sector.number != first.number for sector in sectors):
        return None
    if [sector.place for sector in sectors] != list(range(first.of)):
        raise ValueError("sectors are out of order")
    return first._replace(text=b"".join(sector.text for sector in sectors))


def _others(raw: bytes, capacity: int, count: int) -> Iterator[_Sector]:
    if not 0 < count <= capacity:
        raise ValueError("a record longer than its slot")
    for index in range(1, count):
        yield _parsed(raw[index * SECTOR : (index + 1) * SECTOR], capacity)


def _parsed(raw: bytes, capacity: int) -> _Sector:
    if raw == _BLANK:
        return _Sector(0, 0, 0, b"")
    magic, number, place, of, room, length, checksum = _HEADER.unpack_from(raw)
    if magic[:-1] == _MAGIC and magic[-1:] != VERSION and checksum == _checksum(raw):
        raise OtherVersionError(magic[-1:].decode("ascii", "replace"))
    good = magic == _MAGIC + VERSION and checksum == _checksum(raw)
    if not good or not number or room != capacity or not 0 < length <= _TEXT:
        raise ValueError("a sector is damaged")
    return _Sector(number, place, of, raw[_HEADER.size : _HEADER.size + length])


def _sector(text: bytes, number: int, index: int, count: int, capacity: int) -> bytes:
    part = text[index * _TEXT : (index + 1) * _TEXT]
    said = (_MAGIC + VERSION, number, index, count, capacity, len(part))
    raw = _HEADER.pack(*said, bytes(_CHECKSUM)) + part.ljust(_TEXT, b"\0")
    return _HEADER.pack(*said, _checksum(raw)) + raw[_HEADER.size :]


def _checksum(raw: bytes) -> bytes:
    """Of a sector, whatever its own checksum says."""
    said = raw[: _HEADER.size - _CHECKSUM] + raw[_HEADER.size :]
    return hashlib.sha256(said).digest()[:_CHECKSUM]


def _sectors_of(text: bytes) -> int:
    return -(-len(text) // _TEXT)
