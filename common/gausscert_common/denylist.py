"""Who may call nothing any more: certificates of the control plane, by serial number or fingerprint. Pure.

    # one certificate a line; what follows the number is for people
    serial 1f2e3d4c          operator alice, left on 2026-11-20
    sha256 9f86d081...0f00a8 the same, by its fingerprint

A list grows and never shrinks by itself: lists of several sources can be put together in any order, and one
that comes late or twice does no harm.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from gausscert_common.errors import InvalidInput, Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_BYTES: Final = 512 * 1024
"""Of a list: some five thousand certificates, and half of what an agent takes as one message."""
_LINE: Final = r"(?P<kind>serial|sha256)[ \t]+(?P<number>[0-9A-Fa-f]+)(?:[ \t]+(?P<note>.*))?"
_SERIAL_CHARS: Final = 40
"""20 octets (RFC 5280 section 4.1.2.2)."""
_FINGERPRINT_CHARS: Final = 64
_MAX_NOTE: Final = 200
_SHOWN: Final = 60
_AS_A_LINE: Final = 'write "serial HEX" or "sha256 HEX" in each line, and # before what is only for people'
_TOLD: Final = 3


class Denied(NamedTuple):
    """One line."""

    kind: str
    """"serial" or "sha256"."""
    number: str
    """Hex, small letters; a serial without leading zeros."""
    note: str = ""
    """For people."""

    @property
    def line(self) -> str:
        """As it stands in a list."""
        return f"{self.kind} {self.number} {self.note}".rstrip()


class DenyList(NamedTuple):
    """A list that was read."""

    entries: tuple[Denied, ...] = ()

    def holds(self, serial: str, fingerprint: str) -> bool:
        """Whether a certificate is on it.

        Args:
            serial: Hex, as `Denied.number`.
            fingerprint: SHA-256 over the DER encoding, hex.
        """
        return any(one.number == (serial if one.kind == "serial" else fingerprint) for one in self.entries)

    def lacks(self, entries: Iterable[Denied]) -> tuple[Denied, ...]:
        """Those of other entries that this list has not, whatever their notes say."""
        known = {(one.kind, one.number) for one in self.entries}
        missing = {(one.kind, one.number): one for one in entries if (one.kind, one.number) not in known}
        return tuple(missing.values())


def entry(serial: int, note: str) -> Denied:
    """What denies a certificate by its serial number."""
    return Denied("serial", f"{serial:x}", _clean(note))


def parse(text: str) -> DenyList:
    """Read a list. A line that is not understood might deny somebody, so it spoils the whole list.

    Raises:
        InvalidInput: DENY_LIST_INVALID, with the first lines that are wrong.
    """
    entries: list[Denied] = []
    wrong: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        found = _read(stripped)
        if found is None:
            wrong.append(f"line {number} is not understood: {stripped[:_SHOWN]!r}")
        else:
            entries.append(found)
    if wrong:
        more = f" and {len(wrong) - _TOLD} more" if len(wrong) > _TOLD else ""
        raise invalid("; ".join(wrong[:_TOLD]) + more)
    return DenyList(tuple(entries))


def read(body: bytes) -> DenyList:
    """As `parse`, from a file or a message.

    Raises:
        InvalidInput: DENY_LIST_INVALID.
    """
    if len(body) > MAX_BYTES:
        raise invalid(
            f"it is longer than {MAX_BYTES} bytes",
            "take lines out of certificates that have expired: they are refused anyway",
        )
    try:
        return parse(body.decode())
    except UnicodeDecodeError:
        raise invalid("it is no UTF-8") from None


def invalid(message: str, remedy: str = _AS_A_LINE) -> InvalidInput:
    """What is wrong with a list."""
    return InvalidInput(Reason.DENY_LIST_INVALID, message, remedy=remedy)


def _read(line: str) -> Denied | None:
    match = re.fullmatch(_LINE, line)  # compiled when there is a line
    if match is None:
        return None
    kind, number = match["kind"], match["number"].lower()
    if kind == "sha256":
        return (
            Denied(kind, number, _clean(match["note"] or "")) if len(number) == _FINGERPRINT_CHARS else None
        )
    number = number.lstrip("0")
    return Denied(kind, number, _clean(match["note"] or "")) if 0 < len(number) <= _SERIAL_CHARS else None


def _clean(note: str) -> str:
    return "".join(char for char in note if char.isprintable())[:_MAX_NOTE].strip()
