"""What certificates a set or a bundle holds, with their dates."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from cryptography import x509

from gausscert_common import certset, pem
from gausscert_common.model import Certificate, CertificateKind
from gausscert_common.validate import certificate
from gausscert_common.validate.certificate import CRYPTO_ERRORS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NO_END: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""What RFC 5280 section 4.1.2.5 writes where there is no end; here for a CRL without next update."""

_LEAVES: Final = {"server.crt": CertificateKind.SERVER, "client.crt": CertificateKind.CLIENT}


def describe(files: Mapping[str, bytes]) -> tuple[Certificate, ...]:
    """Every certificate and CRL: leaves, then CAs, CRLs, and further certificates of .crt files.

    What is missing or cannot be read is left out, and so are files with other names; never raises.
    """
    leaves: list[Certificate] = []
    extras: list[Certificate] = []
    for name, kind in _LEAVES.items():
        for found in _certificates(name, files.get(name, b""), kind):
            (extras if found.index else leaves).append(found)
    cas = _certificates("cacert.pem", files.get("cacert.pem", b""), CertificateKind.CA)
    crls = [crl for name in certset.CRL_NAMES for crl in _crls(name, files.get(name, b""))]
    return (*leaves, *cas, *crls, *extras)


def _certificates(name: str, body: bytes, kind: CertificateKind) -> Iterator[Certificate]:
    for index, block in enumerate(pem.split(body).of(pem.CERTIFICATE_LABELS)):
        try:
            cert = certificate.read(block.der or b"", name, index)
        except CRYPTO_ERRORS:
            continue
        extra = index > 0 and kind is not CertificateKind.CA
        yield Certificate(
            file=name,
            index=index,
            kind=CertificateKind.EXTRA if extra else kind,
            subject=cert.x509.subject.rfc4514_string(),
            issuer=cert.x509.issuer.rfc4514_string(),
            serial=f"{cert.serial:x}",
            fingerprint=hashlib.sha256(cert.der).hexdigest(),
            not_before=cert.not_before,
            not_after=cert.not_after,
        )


def _crls(name: str, body: bytes) -> Iterator[Certificate]:
    for index, block in enumerate(pem.split(body).of(pem.CRL_LABELS)):
        try:
            yield _crl(name, index, block.der or b"")
        except CRYPTO_ERRORS:
            continue


def _crl(name: str, index: int, der: bytes) -> Certificate:
    crl = x509.load_der_x509_crl(der)
    issuer = crl.issuer.rfc4514_string()
    return Certificate(
        file=name,
        index=index,
        kind=CertificateKind.CRL,
        subject=issuer,
        issuer=issuer,
        serial=_crl_number(crl),
        fingerprint=hashlib.sha256(der).hexdigest(),
        not_before=crl.last_update_utc,
        not_after=crl.next_update_utc or NO_END,
    )


def _crl_number(crl: x509.CertificateRevocationList) -> str:
    try:
        return f"{crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number:x}"
    except x509.ExtensionNotFound:
        return ""
