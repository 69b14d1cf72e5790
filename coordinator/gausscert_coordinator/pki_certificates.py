"""What the certificates of the control plane look like (RFC 5280 profile, P-256, ECDSA with SHA-256)."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from gausscert_common import identity
from gausscert_common.errors import InvalidInput, Reason
from gausscert_common.identity import Identity, Role

if TYPE_CHECKING:
    from collections.abc import Sequence

_HOST_NAME: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*")
_HOST_NAME_CHARS: Final = 253

BACKDATED: Final = timedelta(hours=1)
"""Nodes' clocks differ; an identity must be good on all of them the moment it is issued."""


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA that can sign."""

    cert: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    cluster: str
    trusted: tuple[x509.Certificate, ...]
    """All CAs of its ca.crt, itself among them."""


def ca_certificate(
    cluster: str, key: ec.EllipticCurvePrivateKey, now: datetime, days: int
) -> x509.Certificate:
    """A self-signed CA. Its subject is never used twice: two of one name would be mistaken for each other."""
    serial = x509.random_serial_number()
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, cluster),
            x509.NameAttribute(NameOID.COMMON_NAME, f"gausscert control plane {serial:x}"[:64]),
        ]
    )
    builder = _builder(name, name, key.public_key(), serial, now, now + timedelta(days=days))
    return (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )


def leaf(
    authority: Authority,
    granted: Identity,
    key: ec.EllipticCurvePublicKey,
    names: x509.SubjectAlternativeName,
    now: datetime,
    not_after: datetime,
) -> x509.Certificate:
    """An identity's certificate: a node's may serve and dial, a person's may only dial."""
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, granted.cluster),
            x509.NameAttribute(NameOID.COMMON_NAME, granted.name),
        ]
    )
    purposes = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if granted.role is Role.NODE:
        purposes.insert(0, ExtendedKeyUsageOID.SERVER_AUTH)
    serial = x509.random_serial_number()
    builder = _builder(subject, authority.cert.subject, key, serial, now, not_after)
    ca_key_id = authority.cert.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_key_id), critical=False
        )
        .add_extension(names, critical=False)
        .sign(authority.key, hashes.SHA256())
    )


def may_sign(cert: x509.Certificate) -> bool:
    """Whether it is a CA as `ca_certificate` makes them, that leaves can be made under."""
    try:
        constraints = cert.extensions.get_extension_for_class(x509.BasicConstraints).value
        cert.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except (x509.ExtensionNotFound, ValueError):
        return False
    return constraints.ca


def issued_by(cert: x509.Certificate, ca: x509.Certificate) -> bool:
    """Whether a CA has signed a certificate."""
    try:
        cert.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    serial: int,
    now: datetime,
    not_after: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(serial)
        .not_valid_before(now - BACKDATED)
        .not_valid_after(not_after)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def names(granted: Identity, sans: Sequence[str]) -> x509.SubjectAlternativeName:
    """What the certificate is good for: the identity, the name by which a node is dialled, further ones.

    Raises:
        InvalidInput: ARGUMENT_INVALID: a further name that is none, or one for a person.
    """
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(granted.uri)]
    if granted.role is Role.NODE:
        names.append(x509.DNSName(identity.node_dns_name(granted.cluster, granted.name)))
    elif sans:
        raise InvalidInput(
            Reason.ARGUMENT_INVALID, "DNS names and addresses are for nodes", remedy="leave them out"
        )
    return x509.SubjectAlternativeName([*names, *(_extra_name(text) for text in dict.fromkeys(sans))])


def _extra_name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        pass
    if _HOST_NAME.fullmatch(text) is None or len(text) > _HOST_NAME_CHARS:
        raise InvalidInput(
            Reason.ARGUMENT_INVALID,
            f"{text[:80]!r} is neither a host name nor an address",
            remedy="give names as DNS knows them, without port and wildcard",
        )
    return x509.DNSName(text)
