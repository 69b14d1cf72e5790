"""The .cipher and .rand files that hold a key's password in CM's own encryption (facts section 3.5).

The password is padded to one block (ISO/IEC 7816-4) and encrypted with AES-CBC; the AES key is
PBKDF2-HMAC-SHA256 over the random part in .rand, with the salt in .cipher (cm_cipher.cpp:73-145,
225-259, 587-663). Two builds of CM lay the files out differently and use different key sizes. Between
the parts lie terminator and padding bytes that CM leaves uninitialised, so the same password never
gives the same file twice and files are not to be compared.
"""

from __future__ import annotations

import hashlib
import secrets
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from gausscert_common.errors import InvalidInput, Reason
from gausscert_common.model import FactorBuild

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MIN_PASSWORD_BYTES: Final = 8
MAX_PASSWORD_BYTES: Final = 15
MIN_KINDS: Final = 3
SPECIAL: Final = frozenset(rb"~!@#$%^&*()-_=+\|[{}];:,<.>/?")
"""What CM counts as a special character (cm_cipher.cpp:168-222); others are allowed but count for no kind."""

ITERATIONS: Final = 10_000
"""cm_defs.h:296."""

_BLOCK: Final = 16
_CRC_BYTES: Final = 4
_PAD_MARK: Final = b"\x80"


@dataclass(frozen=True, slots=True)
class _Layout:
    """One build's file layout: offsets into the packed C structs of cm_cipher.h:33-94."""

    part: int
    """Length of randkey, salt and vector fields; each is followed by one terminator byte."""
    key_bytes: int
    cipher_bytes: int
    rand_bytes: int

    @property
    def salt_at(self) -> int:
        return self.part + 1

    @property
    def vector_at(self) -> int:
        return 2 * self.salt_at


_LAYOUTS: Final = {
    FactorBuild.RELEASED: _Layout(part=16, key_bytes=16, cipher_bytes=56, rand_bytes=24),
    FactorBuild.LIBPQ_OFF: _Layout(part=32, key_bytes=32, cipher_bytes=104, rand_bytes=40),
}

LENGTHS: Final = {build: (layout.cipher_bytes, layout.rand_bytes) for build, layout in _LAYOUTS.items()}
"""Length of .cipher and of .rand by build, bytes."""


class PasswordFault(StrEnum):
    """What CM's `encrypt` has against a password; the value is for people."""

    TOO_SHORT = "it must contain at least 8 bytes"
    TOO_LONG = "it must contain at most 15 bytes"
    TOO_SIMPLE = "it must contain at least three kinds of characters"
    UNTYPABLE = "it must not contain control characters"
    """Not CM's rule: such a password cannot be typed at cm_ctl's prompt, or ends it early."""


def password_faults(password: str) -> tuple[PasswordFault, ...]:
    """Everything CM has against this password (cm_cipher.cpp:168-222); empty when it is good.

    Length counts bytes of UTF-8. Three of the four kinds A-Z, a-z, 0-9 and `SPECIAL` are needed.
    """
    raw = password.encode("utf-8", "surrogatepass")
    faults = []
    if len(raw) < MIN_PASSWORD_BYTES:
        faults.append(PasswordFault.TOO_SHORT)
    if len(raw) > MAX_PASSWORD_BYTES:
        faults.append(PasswordFault.TOO_LONG)
    if _kinds(raw) < MIN_KINDS:
        faults.append(PasswordFault.TOO_SIMPLE)
    if any(byte < 0x20 or byte == 0x7F for byte in raw):
        faults.append(PasswordFault.UNTYPABLE)
    return tuple(faults)


def _kinds(raw: bytes) -> int:
    found = (
        any(0x41 <= byte <= 0x5A for byte in raw),
        any(0x61 <= byte <= 0x7A for byte in raw),
        any(0x30 <= byte <= 0x39 for byte in raw),
        any(byte in SPECIAL for byte in raw),
    )
    return sum(found)


MAX_TRAILING: Final = 15
"""Bytes behind the end that are taken for a stray line end or padding. CM reads as much as it needs and does
not look further (facts sections 4 and 17); a longer rest would be as long as the other build's file."""


def build_of(cipher: bytes, rand: bytes) -> FactorBuild | None:
    """Which build of CM reads such a pair, judged by the lengths; None when no build does."""
    builds = {build_of_cipher(cipher), build_of_rand(rand)}
    return builds.pop() if len(builds) == 1 else None


def build_of_cipher(body: bytes) -> FactorBuild | None:
    """Which build of CM reads such a .cipher; None when no build does."""
    return _build_with(len(body), 0)


def build_of_rand(body: bytes) -> FactorBuild | None:
    """Which build of CM reads such a .rand; None when no build does."""
    return _build_with(len(body), 1)


def _build_with(length: int, place: int) -> FactorBuild | None:
    fitting = (build for build, lengths in LENGTHS.items() if 0 <= length - lengths[place] <= MAX_TRAILING)
    return next(fitting, None)


def crc_ok(body: bytes) -> bool:
    """Whether the checksum at the end of a .cipher or .rand file fits the bytes before it.

    CM writes it and never reads it (facts section 4): a wrong one hints at damage, no more.
    """
    if len(body) <= _CRC_BYTES:
        return False
    return int.from_bytes(body[-_CRC_BYTES:], "little") == crc(body[:-_CRC_BYTES])


@contextmanager
def remembering() -> Iterator[None]:
    """Within this block, in this thread, a pair that was read or written is not decrypted again: the rules
    and the rehearsal both need its password, and ten thousand rounds of PBKDF2 stand before it. At the end of
    the outermost block all is forgotten."""
    if _known.get() is not None:
        yield
        return
    forgotten = _known.set({})
    try:
        yield
    finally:
        _known.reset(forgotten)


_known: ContextVar[dict[tuple[bytes, bytes], str] | None] = ContextVar("passwords", default=None)


def read(cipher: bytes, rand: bytes) -> str:
    """The password that a pair holds.

    Raises:
        InvalidInput: BUNDLE_INVALID; the pair has no build's lengths, or does not decrypt.
    """
    known = _known.get()
    if known is None:
        return _read(cipher, rand)
    if (cipher, rand) not in known:
        known[cipher, rand] = _read(cipher, rand)
    return known[cipher, rand]


def _read(cipher: bytes, rand: bytes) -> str:
    build = build_of(cipher, rand)
    if build is None:
        raise InvalidInput(Reason.BUNDLE_INVALID, _length_cause(cipher, rand))
    layout = _LAYOUTS[build]
    salt = cipher[layout.salt_at : layout.salt_at + layout.part]
    vector = cipher[layout.vector_at : layout.vector_at + _BLOCK]
    decryptor = Cipher(AES(_key(layout, rand[: layout.part], salt)), CBC(vector)).decryptor()
    block = decryptor.update(cipher[:_BLOCK]) + decryptor.finalize()
    return _unpadded(block)


def write(
    password: str,
    build: FactorBuild = FactorBuild.RELEASED,
    *,
    random: Callable[[int], bytes] = secrets.token_bytes,
) -> tuple[bytes, bytes]:
    """A fresh pair, .cipher and .rand, as `cm_ctl encrypt` of that build would write it.

    Raises:
        InvalidInput: BUNDLE_INVALID; `cm_ctl encrypt` would refuse the password.
    """
    faults = password_faults(password)
    if faults:
        message = f"the password does not suit CM: {'; '.join(faults)}"
        raise InvalidInput(Reason.BUNDLE_INVALID, message, remedy="choose another password")
    layout = _LAYOUTS[build]
    randkey, salt, vector = random(layout.part), random(layout.part), random(layout.part)
    block = (password.encode() + _PAD_MARK).ljust(_BLOCK, b"\0")
    encryptor = Cipher(AES(_key(layout, randkey, salt)), CBC(vector[:_BLOCK])).encryptor()
    text = (encryptor.update(block) + encryptor.finalize()).ljust(layout.part, b"\0")
    cipher = b"".join(part + b"\0" for part in (text, salt, vector))
    pair = _sealed(cipher, layout.cipher_bytes), _sealed(randkey, layout.rand_bytes)
    known = _known.get()
    if known is not None:
        known[pair] = password
    return pair


def crc(body: bytes) -> int:
    """PostgreSQL's legacy checksum: a reflected table used most significant bit first (pg_crc.h:54-70)."""
    value = 0xFFFFFFFF
    for byte in body:
        value = _CRC_TABLE[(value >> 24) ^ byte] ^ ((value << 8) & 0xFFFFFFFF)
    return value ^ 0xFFFFFFFF


def _crc_entry(byte: int) -> int:
    for _ in range(8):
        byte = (byte >> 1) ^ (0xEDB88320 if byte & 1 else 0)
    return byte


_CRC_TABLE: Final = tuple(_crc_entry(byte) for byte in range(256))


def _key(layout: _Layout, randkey: bytes, salt: bytes) -> bytes:
    # CM always derives 32 bytes; the released build uses the first half of them.
    return hashlib.pbkdf2_hmac("sha256", randkey, salt, ITERATIONS, 32)[: layout.key_bytes]


def _unpadded(block: bytes) -> str:
    body, mark, _ = block.rpartition(_PAD_MARK)
    if not mark or not body or block.rstrip(b"\0") != body + mark:
        raise InvalidInput(
            Reason.BUNDLE_INVALID,
            "the pair does not decrypt: .cipher and .rand are damaged or come from different runs",
        )
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise InvalidInput(
            Reason.BUNDLE_INVALID, "the pair decrypts to bytes that are no text in UTF-8"
        ) from None


def _sealed(body: bytes, length: int) -> bytes:
    padded = body.ljust(length - _CRC_BYTES, b"\0")
    return padded + crc(padded).to_bytes(_CRC_BYTES, "little")


def _length_cause(cipher: bytes, rand: bytes) -> str:
    known = " or ".join(f"{c} and {r}" for c, r in LENGTHS.values())
    return f".cipher and .rand are {len(cipher)} and {len(rand)} bytes long instead of {known}"
