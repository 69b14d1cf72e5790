"""Just enough of PEM and DER for what CM looks at itself, without a library that is slow to load."""

from __future__ import annotations

import hashlib
import re
import ssl
from datetime import UTC, datetime
from typing import Final

_BLOCK: Final = re.compile(
    rb"-----BEGIN (?P<label>[A-Z0-9 ]+)-----.*?-----END (?P=label)-----[ \t]*\r?\n?",
    re.DOTALL,
)
_UTC_TIME: Final = 0x17
_EXPLICIT_0: Final = 0xA0


def blocks(body: bytes, label: str) -> tuple[bytes, ...]:
    """All PEM blocks of one label, each as it stands in the file."""
    return tuple(found.group(0) for found in _BLOCK.finditer(body) if found["label"] == label.encode())


def first_certificate(body: bytes) -> bytes:
    """The first certificate of a file, as PEM: all that CM takes from a .crt (cs_ssl.cpp:1117-1152).

    Raises:
        ValueError: There is none.
    """
    found = blocks(body, "CERTIFICATE")
    if not found:
        raise ValueError("no certificate")
    return found[0]


def der(certificate: bytes) -> bytes:
    """DER of one PEM certificate.

    Raises:
        ValueError: It is not base64.
    """
    return ssl.PEM_cert_to_DER_cert(certificate.decode("ascii").strip())


def fingerprint(certificate: bytes) -> str:
    """SHA-256 over the DER of one PEM certificate, hex."""
    return hashlib.sha256(der(certificate)).hexdigest()


def not_after(certificate: bytes) -> datetime:
    """When a certificate ends (RFC 5280 section 4.1.2.5).

    Raises:
        ValueError: It is not a certificate.
    """
    try:
        return _not_after(der(certificate))
    except IndexError as cause:
        raise ValueError("not a certificate") from cause


def _not_after(body: bytes) -> datetime:
    _, outer, _ = _element(body, 0)
    _, position, _ = _element(body, outer)
    tag, _, end = _element(body, position)
    # version [0] is optional; then come serial, signature, issuer, validity
    for _ in range(4 if tag == _EXPLICIT_0 else 3):
        position = end
        _, _, end = _element(body, position)
    _, inner, _ = _element(body, position)
    _, _, inner = _element(body, inner)
    tag, start, end = _element(body, inner)
    text = body[start:end].decode("ascii")
    form = "%y%m%d%H%M%SZ" if tag == _UTC_TIME else "%Y%m%d%H%M%SZ"
    return datetime.strptime(text, form).replace(tzinfo=UTC)


def _element(body: bytes, position: int) -> tuple[int, int, int]:
    """Tag, start and end of the contents of the DER element at a position."""
    tag, length, start = body[position], body[position + 1], position + 2
    if length >= 0x80:
        size = length - 0x80
        length = int.from_bytes(body[start : start + size], "big")
        start += size
    return tag, start, start + length
