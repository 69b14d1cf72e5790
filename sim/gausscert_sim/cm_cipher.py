"""Factor files as CM reads and writes them (facts section 3.5).

Kept apart from `gausscert_common.factors` on purpose: each of the two checks the other.
"""

from __future__ import annotations

import hashlib
import secrets
import struct
from functools import lru_cache
from typing import Final, NamedTuple

ITERATIONS: Final = 10_000
CIPHERTEXT_BYTES: Final = 16
_PAD: Final = 0x80
"""ISO/IEC 7816-4: one 0x80, then zeros."""

_POLYNOMIAL: Final = 0xEDB88320


class Layout(NamedTuple):
    """The sizes that the build flag ENABLE_LIBPQ decides."""

    random_bytes: int
    key_bytes: int

    @property
    def field(self) -> int:
        """A random field and its terminator, which CM never initialises."""
        return self.random_bytes + 1

    @property
    def rand_size(self) -> int:
        """Size of a .rand file."""
        return (self.field + 3) // 4 * 4 + 4

    @property
    def cipher_size(self) -> int:
        """Size of a .cipher file."""
        return (3 * self.field + 3) // 4 * 4 + 4


RELEASED: Final = Layout(random_bytes=16, key_bytes=16)
LIBPQ_OFF: Final = Layout(random_bytes=32, key_bytes=32)


class DecryptionFailed(Exception):
    """The pair does not decrypt to anything that CM would take for a password."""


def _table() -> tuple[int, ...]:
    rows = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        rows.append(value)
    return tuple(rows)


_CRC_TABLE: Final = _table()


def legacy_crc(data: bytes) -> int:
    """PostgreSQL's old checksum: a reflected table driven the wrong way round (pg_crc.h:54-70)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC_TABLE[(crc >> 24) ^ byte] ^ (crc << 8 & 0xFFFFFFFF)
    return crc ^ 0xFFFFFFFF


def layout_for(*, libpq_off: bool) -> Layout:
    """The layout of one build."""
    return LIBPQ_OFF if libpq_off else RELEASED


def encrypt(password: bytes, layout: Layout) -> tuple[bytes, bytes]:
    """The bodies of a .cipher and a .rand file, in this order, with fresh randomness."""
    seed, salt, vector = (secrets.token_bytes(layout.random_bytes) for _ in range(3))
    padded = (password + bytes([_PAD])).ljust(CIPHERTEXT_BYTES, b"\0")
    key = _derive(seed, salt, layout)
    block = _aes_cbc(key, vector[:16], padded, decrypting=False)
    rand = _sealed(seed + secrets.token_bytes(1), layout.rand_size)
    fields = (block.ljust(layout.random_bytes, b"\0"), salt, vector)
    # The terminators come from CM's stack and are covered by the checksum: any value will do.
    cipher = _sealed(b"".join(part + secrets.token_bytes(1) for part in fields), layout.cipher_size)
    return cipher, rand


def decrypt(cipher: bytes, rand: bytes, layout: Layout) -> bytes:
    """The password of a pair.

    As CM does it: the checksum is not looked at, nor anything behind the fields (facts section 4).

    Raises:
        DecryptionFailed: A file is too short, or the pair does not decrypt.
    """
    size, field = layout.random_bytes, layout.field
    if len(rand) < layout.rand_size or len(cipher) < layout.cipher_size:
        raise DecryptionFailed("read file failed")
    salt, vector = cipher[field : field + size], cipher[2 * field : 2 * field + size]
    key = _derive(rand[:size], salt, layout)
    padded = _aes_cbc(key, vector[:16], cipher[:CIPHERTEXT_BYTES], decrypting=True)
    password, mark, rest = padded.rpartition(bytes([_PAD]))
    if not mark or rest.strip(b"\0"):
        raise DecryptionFailed("decrypt failed")
    return password


def _sealed(body: bytes, size: int) -> bytes:
    body = body.ljust(size - 4, b"\0")
    return body + struct.pack("<I", legacy_crc(body))


@lru_cache(maxsize=8)
def _derive(seed: bytes, salt: bytes, layout: Layout) -> bytes:
    """One program connects many times, with the same files."""
    return hashlib.pbkdf2_hmac("sha256", seed, salt, ITERATIONS, 32)[: layout.key_bytes]


def _aes_cbc(key: bytes, vector: bytes, block: bytes, *, decrypting: bool) -> bytes:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    cipher = Cipher(algorithms.AES(key), modes.CBC(vector))
    context = cipher.decryptor() if decrypting else cipher.encryptor()
    return context.update(block) + context.finalize()
