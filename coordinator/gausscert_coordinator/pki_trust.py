"""Which CAs go with a credential: the one that has issued it, and those that are trusted beside it.

While the control plane changes from one CA to another both are trusted everywhere (docs/runbook.md, Rotation
of the control plane). Who got the one alone would refuse all that the other has issued.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import serialization

if TYPE_CHECKING:
    from collections.abc import Iterable


def bundle(issuer: x509.Certificate, beside: Iterable[x509.Certificate]) -> bytes:
    """The ca.crt that goes with what the issuer signs, PEM: the issuer first, each once.

    Args:
        issuer: The CA that signs.
        beside: All that are trusted where it is handed out; the issuer may be among them.
    """
    each_once = dict.fromkeys((issuer, *beside))
    return b"".join(cert.public_bytes(serialization.Encoding.PEM) for cert in each_once)


def read(body: bytes) -> tuple[x509.Certificate, ...]:
    """The CAs of a ca.crt; () where it holds nothing that can be read."""
    try:
        return tuple(x509.load_pem_x509_certificates(body))
    except ValueError:
        return ()
