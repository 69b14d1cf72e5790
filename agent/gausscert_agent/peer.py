"""Who calls, by the certificate that was shown: identity, serial number and fingerprint.

The numbers are read by hand, because an idle agent does without `cryptography`: the serial number is the
first number of a certificate (RFC 5280 section 4.1), and TLS has verified the rest already.
"""

from __future__ import annotations

import hashlib
import ssl
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from gausscert_common import identity
from gausscert_common.errors import Denied, InvalidInput, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gausscert_common.identity import Identity

_PROPERTY: Final = "x509_pem_cert"
"""Where gRPC keeps it (GRPC_X509_PEM_CERT_PROPERTY_NAME of grpc_security_constants.h)."""
_SEQUENCE: Final = 0x30
_VERSION: Final = 0xA0
_INTEGER: Final = 0x02
_LONG: Final = 0x80


class Numbers(NamedTuple):
    """What tells one certificate from all others."""

    serial: str
    """Hex without leading zeros, small letters."""
    fingerprint: str
    """SHA-256 over the DER encoding, hex."""


class Peer(Protocol):
    """What is known of whoever calls; `grpc.ServicerContext` is one."""

    def auth_context(self) -> Mapping[str, Any]:
        """What TLS says of him."""

    def peer(self) -> str:
        """His address."""


class Remembered:
    """What was known of a caller, without his call: to gRPC a call that somebody holds is open still, and
    with more of them on a connection than it may have it refuses the next one there."""

    def __init__(self, context: Peer) -> None:
        self._said = context.auth_context()
        self._address = context.peer()

    def auth_context(self) -> Mapping[str, Any]:
        """As `Peer`."""
        return self._said

    def peer(self) -> str:
        """As `Peer`."""
        return self._address


def caller_of(context: Peer) -> Identity:
    """Who calls: the one gausscert URI SAN of the certificate that TLS has verified.

    Raises:
        Denied: UNAUTHENTICATED: there is none, or more than one.
    """
    said: Any = context.auth_context().get("peer_uri", ())
    try:
        return identity.of_uris(said)
    except InvalidInput:
        raise Denied(
            Reason.UNAUTHENTICATED,
            "the caller's certificate holds no gausscert identity",
            remedy="use a credential that gausscert pki issue made",
        ) from None


def numbers_of(context: Peer) -> Numbers:
    """Those of the caller.

    Raises:
        Denied: UNAUTHENTICATED: there is no certificate that can be read.
    """
    said: Any = context.auth_context().get(_PROPERTY, ())
    try:
        (pem,) = said
        return _numbers(pem)
    except (ValueError, IndexError):
        raise Denied(Reason.UNAUTHENTICATED, "the caller's certificate cannot be read") from None


@lru_cache(maxsize=64)
def _numbers(pem: bytes) -> Numbers:
    """Each connection shows the same one with every call."""
    der = ssl.PEM_cert_to_DER_cert(pem.decode("ascii"))
    return Numbers(f"{serial_of(der):x}", hashlib.sha256(der).hexdigest())


def serial_of(der: bytes) -> int:
    """The serial number of a certificate.

    Raises:
        ValueError, IndexError: It is none.
    """
    certificate, _ = _element(der, _SEQUENCE)
    body, _ = _element(certificate, _SEQUENCE)
    if body[0] == _VERSION:
        _, body = _element(body, _VERSION)
    number, _ = _element(body, _INTEGER)
    return int.from_bytes(number, "big")


def _element(der: bytes, tag: int) -> tuple[bytes, bytes]:
    """Content of the first element, and what comes after it (X.690 section 8.1)."""
    if der[0] != tag:
        raise ValueError("another element was expected")
    length, start = der[1], 2
    if length & _LONG:
        start = 2 + (length & ~_LONG)
        length = int.from_bytes(der[2:start], "big")
    if len(der) < start + length:
        raise ValueError("cut short")
    return der[start : start + length], der[start + length :]
