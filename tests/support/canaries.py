"""Secrets that are planted, in every form in which they might turn up where they do not belong.

    canaries = Canaries()
    canaries.plant("server password", "Demo-0a1b2c3d4e")
    canaries.plant_key("server.key", pem, "Demo-0a1b2c3d4e")
    assert canaries.hits(log) == set()

Not among the forms is what PBKDF2 makes of a password: that is what CM's own factor files hold.
"""

from __future__ import annotations

import base64
import hashlib
import json
import urllib.parse
from collections.abc import Iterator

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from gausscert_common import pem

_WINDOW = 24
"""Bytes of a key that nobody has by chance, also in base64 that begins elsewhere."""
_COMMON = 120
"""What keys that are encrypted alike begin with: names of algorithms, salts, counts."""


class Canaries:
    """See the module."""

    def __init__(self) -> None:
        self._forms: dict[bytes, str] = {}

    def plant(self, name: str, text: str) -> None:
        """A password or passphrase."""
        for form, body in _text_forms(text):
            self._forms[body] = f"{name} ({form})"

    def plant_key(self, name: str, body: bytes, password: str | None) -> None:
        """A private key in PEM, encrypted or not: its lines, its bytes, and the secret number itself."""
        key = serialization.load_pem_private_key(body, password.encode() if password else None)
        assert isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
        number = (
            key.private_numbers().private_value
            if isinstance(key, ec.EllipticCurvePrivateKey)
            else key.private_numbers().d
        )
        size = (number.bit_length() + 7) // 8
        for form, piece in _byte_forms(number.to_bytes(size, "big")[:_WINDOW]):
            self._forms[piece] = f"{name} (its number, {form})"
        self._forms[str(number).encode()] = f"{name} (its number, decimal)"
        lines = [line for line in body.splitlines() if not line.startswith(b"-----")]
        # The last lines of a key in the clear are its public half, which certificates show.
        for line in (lines if password else lines[:2])[1 if password else 0 :]:
            if len(line) >= _WINDOW:
                self._forms[line] = f"{name} (a line)"
        if password:
            (block,) = pem.split(body).blocks
            for start in range(_COMMON, len(block.der) - _WINDOW, _WINDOW):
                for form, piece in _byte_forms(block.der[start : start + _WINDOW]):
                    self._forms[piece] = f"{name} (bytes {start}, {form})"

    def hits(self, body: bytes) -> set[str]:
        """Which of them are in there, and in which form."""
        return {name for form, name in self._forms.items() if form in body}

    def forms(self) -> dict[bytes, str]:
        """All that is looked for."""
        return dict(self._forms)


def _text_forms(text: str) -> Iterator[tuple[str, bytes]]:
    raw = text.encode()
    yield from _byte_forms(raw)
    yield "repr", repr(text)[1:-1].encode()
    yield "repr of bytes", repr(raw)[2:-1].encode()
    yield "JSON", json.dumps(text)[1:-1].encode()
    yield "URL", urllib.parse.quote(text, safe="").encode()
    yield "UTF-16", text.encode("utf-16-le")
    yield "backwards", raw[::-1]
    yield "octal", b"".join(b"\\%o" % each for each in raw)
    for name in ("md5", "sha1", "sha256", "sha512"):
        digest = hashlib.new(name, raw).digest()
        yield f"{name} without salt", digest
        yield f"{name} without salt, hex", digest.hex().encode()


def _byte_forms(raw: bytes) -> Iterator[tuple[str, bytes]]:
    yield "raw", raw
    yield "hex", raw.hex().encode()
    yield "HEX", raw.hex().upper().encode()
    yield "hex with blanks", raw.hex(" ").encode()
    yield "escaped", b"".join(b"\\x%02x" % each for each in raw)
    for shift in range(3):
        # What comes before and after changes the first and the last letters.
        whole = base64.b64encode(bytes(shift) + raw)
        begin, end = (4 if shift else 0), len(whole) - (4 if (shift + len(raw)) % 3 else 0)
        yield f"base64 + {shift}", whole[begin:end]
        yield f"URL base64 + {shift}", whole[begin:end].replace(b"+", b"-").replace(b"/", b"_")
