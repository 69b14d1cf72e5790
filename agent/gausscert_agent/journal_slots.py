"""How records lie in the journal's file: in two slots, each half of the file, written in turn.

While one slot is written the other one holds the record before it, whole. A slot is written in sectors of
512 bytes, each of which says what it is a part of and has its own checksum. A disk writes a sector whole or
not at all, so the two things that may be wrong with a slot can be told apart:

    cut short   every sector is whole, but they are of several records, the newest of which comes right
                after the other slot's: the power failed while it was written, nobody was ever told of it,
                and the other slot's counts
    damaged     a sector is not what was written, or a record is missing between both slots: what it said
                may have been promised; nothing counts

So that a sector that was wiped is not taken for one that was never written, these are no zeroes, either.
Only bytes here, no disk.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Final, NamedTuple, TypeAlias

SECTOR: Final = 512
"""What every disk writes as one, or a multiple of it."""

_MAGIC: Final = b"gausscj"
VERSION: Final = b"3"
READ: Final = frozenset({b"2", VERSION})
"""Records of version 2 lack what only version 3 says of a transaction, and nothing else. An agent that knows
only 2 would call a record damaged that says more; by its version it can name it."""
_HEADER: Final = struct.Struct(">8sQHHHH16s")
"""Magic and version, number of the record, which sector of how many, sectors in a slot, bytes of text,
checksum of all this and the text."""
_CHECKSUM: Final = 16
_TEXT: Final = SECTOR - _HEADER.size
_NEVER: Final = 0
"""The number in sectors that were never written."""
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
    """Of the record; `_NEVER` for a sector that was never written."""
    place: int
    """In the record."""
    of: int
    """How many there are."""
    text: bytes


_Slot: TypeAlias = "list[_Sector | None]"


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
    return _sector(b"", _NEVER, 0, 0, capacity) * (2 * capacity)


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
    slots = [_parsed_slot(raw[:half], capacity), _parsed_slot(raw[half:], capacity)]
    texts = [_whole(slot) for slot in slots]
    if None not in texts:
        return _of_two_whole([_good(slot[0]).number for slot in slots], [text or b"" for text in texts])
    kept = 1 if texts[0] is None else 0
    text = texts[kept]
    if not text:
        raise ValueError("no slot is whole")
    _require_cut_short(slots[1 - kept], _good(slots[kept][0]).number)
    return Slots(text, cut_short=True)


def _of_two_whole(numbers: list[int], texts: list[bytes]) -> Slots:
    """A file is made with its first record in the first slot; from then on they take turns."""
    first, second = numbers
    if not first % 2 or second % 2 or abs(first - second) != 1:
        raise ValueError("the slots do not follow each other")
    return Slots(texts[first < second], cut_short=False)


def _whole(slot: _Slot) -> bytes | None:
    """The text of its record, b"" if none was ever written; None if its sectors are of several."""
    first = _good(slot[0])
    if first.number == _NEVER:
        return b"" if all(_good(sector).number == _NEVER for sector in slot) else None
    if not 0 < first.of <= len(slot):
        raise ValueError("a record longer than its slot")
    mine = [_good(sector) for sector in slot[: first.of]]
    if any(sector.number != first.number for sector in mine):
        return None
    if [(sector.place, sector.of) for sector in mine] != [(at, first.of) for at in range(first.of)]:
        raise ValueError("sectors are out of order")
    return b"".join(sector.text for sector in mine)


def _require_cut_short(slot: _Slot, kept: int) -> None:
    """It was to become the record after `kept`, over the one before it and what older ones have left.

    Raises:
        ValueError: It was not.
    """
    sectors = [_good(sector) for sector in slot]
    begun = [(at, sector) for at, sector in enumerate(sectors) if sector.number == kept + 1]
    older = {sector.number for sector in sectors} - {kept + 1, _NEVER}
    # A first sector that was never written has the number 0, which is before 1 alone.
    follows = sectors[0].number in (kept + 1, kept - 1)
    if not begun or not follows or any(number > kept or number % 2 == kept % 2 for number in older):
        raise ValueError("the slots do not follow each other")
    if any((sector.place, sector.of) != (at, begun[0][1].of) for at, sector in begun):
        raise ValueError("sectors are out of order")


def _good(sector: _Sector | None) -> _Sector:
    if sector is None:
        raise ValueError("a sector is damaged")
    return sector


def _parsed_slot(raw: bytes, capacity: int) -> _Slot:
    return [_parsed(raw[at : at + SECTOR], capacity) for at in range(0, len(raw), SECTOR)]


def _parsed(raw: bytes, capacity: int) -> _Sector | None:
    """None for a damaged one: behind a record nothing is missed."""
    magic, number, place, of, room, length, checksum = _HEADER.unpack_from(raw)
    ours, known = magic[:-1] == _MAGIC, magic[-1:] in READ
    if ours and not known and checksum == _checksum(raw):
        raise OtherVersionError(magic[-1:].decode("ascii", "replace"))
    good = ours and known and checksum == _checksum(raw)
    if not good or room != capacity or length > _TEXT or (number != _NEVER and not length):
        return None
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
