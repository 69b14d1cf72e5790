"""What certificates of the control plane say of themselves, told by the standard library alone.

An idle agent does without `cryptography` (design section 11). The same facts from that library, for those who
have it anyway, must be the very same.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable

    from cryptography import x509

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
"""As OpenSSL writes them, whatever the locale (ASN1_TIME_print(3))."""
_SHORT: Final = {"commonName": "CN", "organizationName": "O"}
"""What names of the control plane are made of (`pki_certificates`); RFC 4514 section 3."""
_ESCAPED: Final = frozenset(',+"\\<>;=')


class CertificateFacts(NamedTuple):
    """One certificate."""

    subject: str
    """RFC 4514."""
    issuer: str
    serial: str
    """Hex without leading zeros, small letters."""
    fingerprint: str
    """SHA-256 over the DER encoding, hex."""
    not_before: datetime
    not_after: datetime


def told(said: dict[str, Any], der: bytes) -> CertificateFacts:
    """From what `SSLSocket.getpeercert` says.

    Args:
        said: Its dictionary.
        der: Its binary form.
    """
    return CertificateFacts(
        _name(said["subject"]),
        _name(said["issuer"]),
        f"{int(said['serialNumber'], 16):x}",
        hashlib.sha256(der).hexdigest(),
        date_of(said["notBefore"]),
        date_of(said["notAfter"]),
    )


def trusted(context: ssl.SSLContext) -> tuple[CertificateFacts, ...]:
    """The CAs that a context was given, in an order that depends on nothing but them."""
    pairs = zip(context.get_ca_certs(), context.get_ca_certs(binary_form=True), strict=True)
    return ordered(told(said, der) for said, der in pairs)


def ordered(found: Iterable[CertificateFacts]) -> tuple[CertificateFacts, ...]:
    """The one that ends first, first."""
    return tuple(sorted(set(found), key=lambda one: (one.not_after, one.fingerprint)))


def read(cert: x509.Certificate) -> CertificateFacts:
    """The same, from a certificate of `cryptography`."""
    from cryptography.hazmat.primitives import hashes

    return CertificateFacts(
        cert.subject.rfc4514_string(),
        cert.issuer.rfc4514_string(),
        f"{cert.serial_number:x}",
        cert.fingerprint(hashes.SHA256()).hex(),
        cert.not_valid_before_utc,
        cert.not_valid_after_utc,
    )


def date_of(text: str) -> datetime:
    """What `SSLSocket.getpeercert` says of a date, such as "Jan  5 09:34:43 2018 GMT".

    `ssl.cert_time_to_seconds` reads it, too, but by way of `time.strptime` and its regular expressions, which
    every idle agent would hold.
    """
    month, day, clock, year, _ = text.split()
    hour, minute, second = map(int, clock.split(":"))
    return datetime(int(year), _MONTHS.index(month) + 1, int(day), hour, minute, second, tzinfo=UTC)


def _name(parts: tuple[tuple[tuple[str, str], ...], ...]) -> str:
    """The last part comes first (RFC 4514 section 2.1)."""
    return ",".join(
        "+".join(f"{_SHORT.get(kind, kind)}={_escaped(value)}" for kind, value in part)
        for part in reversed(parts)
    )


def _escaped(value: str) -> str:
    return "".join(f"\\{char}" if char in _ESCAPED else char for char in value)
