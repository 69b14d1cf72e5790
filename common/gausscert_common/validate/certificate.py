"""A certificate read once, with everything the rules ask of it.

`cryptography` parses much of a certificate lazily and raises from properties; all of that happens
here, so that the rules work on plain values.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, SignatureAlgorithmOID

if TYPE_CHECKING:
    from datetime import datetime

    from cryptography.hazmat.primitives.asymmetric.types import (
        CertificateIssuerPublicKeyTypes,
        CertificatePublicKeyTypes,
    )

CRYPTO_ERRORS: Final = (
    ValueError,  # malformed ASN.1, also InvalidVersion's base
    TypeError,
    OverflowError,
    UnsupportedAlgorithm,
    InvalidSignature,
    InternalError,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,  # x400Address, ediPartyName
)
"""Everything `cryptography` raises on input that somebody else made."""

BOTH_PURPOSES: Final = frozenset({ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH})

_PROXY: Final = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.14")
_NS_CERT_TYPE: Final = x509.ObjectIdentifier("2.16.840.1.113730.1.1")
NS_CLIENT: Final = 0x80
NS_SERVER: Final = 0x40
NS_SSL_CA: Final = 0x04
"""Bits of nsCertType, which OpenSSL still obeys (v3_purp.c: ns_reject, check_ca)."""

_KNOWN_EXTENSIONS: Final = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.CERTIFICATE_POLICIES,
        ExtensionOID.CRL_DISTRIBUTION_POINTS,
        ExtensionOID.NAME_CONSTRAINTS,
        ExtensionOID.POLICY_CONSTRAINTS,
        ExtensionOID.POLICY_MAPPINGS,
        ExtensionOID.INHIBIT_ANY_POLICY,
        _NS_CERT_TYPE,
    }
)
"""What OpenSSL processes although it is critical (X509_supported_extension)."""

_WEAK_SIGNATURES: Final = frozenset(
    {
        SignatureAlgorithmOID.RSA_WITH_MD5,
        SignatureAlgorithmOID.RSA_WITH_SHA1,
        x509.ObjectIdentifier("1.3.14.3.2.29"),  # sha1WithRSA of OIW
        SignatureAlgorithmOID.ECDSA_WITH_SHA1,
        SignatureAlgorithmOID.DSA_WITH_SHA1,
        x509.ObjectIdentifier("1.2.840.113549.1.1.2"),  # md2WithRSAEncryption
    }
)

_PRIME_FIELD: Final = bytes.fromhex("06072a8648ce3d0101")
"""The DER of 1.2.840.10045.1.1, with which the parameters of a written-out curve begin (RFC 3279 section
2.3.5). `cryptography` takes a curve that it knows in this form, OpenSSL does not."""

Name = tuple[frozenset[tuple[str, "str | bytes"]], ...]
"""A distinguished name for comparison, as OpenSSL compares: case and runs of blanks do not count."""


@dataclass(frozen=True, slots=True)
class Extensions:
    """What the rules ask of a certificate's extensions; None where there is none."""

    is_ca: bool | None = None
    path_length: int | None = None
    digital_signature: bool | None = None
    key_cert_sign: bool | None = None
    crl_sign: bool | None = None
    purposes: frozenset[x509.ObjectIdentifier] | None = None
    key_id: bytes | None = None
    authority_key_id: bytes | None = None
    authority_serial: int | None = None
    authority_issuers: tuple[Name, ...] = ()
    unknown_critical: tuple[str, ...] = ()
    is_proxy: bool = False
    """It is a proxy certificate (RFC 3820)."""
    ns_cert_type: int | None = None
    """The first octet of its bits; 0 when it cannot be read."""
    alternative_names: tuple[x509.GeneralName, ...] = ()
    permitted: tuple[x509.GeneralName, ...] = ()
    excluded: tuple[x509.GeneralName, ...] = ()
    """The subtrees of nameConstraints."""


@dataclass(frozen=True, slots=True)
class Cert:
    """One certificate of one file."""

    file: str
    index: int
    """Its place in the file, from 0."""
    x509: x509.Certificate = field(repr=False, compare=False)
    der: bytes = field(repr=False)
    subject: Name
    issuer: Name
    serial: int
    version_1: bool
    not_before: datetime
    not_after: datetime
    key: CertificatePublicKeyTypes | None = field(repr=False, compare=False)
    """None when it is of a kind that `cryptography` does not know."""
    spki: bytes = field(repr=False)
    """The public key's DER encoding; b"" without one."""
    extensions: Extensions
    weak_signature: bool
    explicit_curve: bool
    """The key is of an elliptic curve that is written out instead of named."""

    @property
    def shown(self) -> str:
        """Subject and place, for people."""
        return f"certificate {self.index + 1} ({shown_name(self.x509.subject)})"

    def valid_at(self, now: datetime) -> bool:
        """Whether OpenSSL would find it neither early nor late (X509_cmp_time: the end is exclusive)."""
        return self.not_before <= now < self.not_after

    @property
    def self_issued(self) -> bool:
        """Whether OpenSSL takes it for self-signed: by names and key identifiers, not by signature."""
        return self.subject == self.issuer and authority_fits(self, self)


def read(der: bytes, file: str, index: int) -> Cert:
    """Read a certificate.

    Raises:
        CRYPTO_ERRORS: It is malformed.
    """
    with warnings.catch_warnings():
        # A serial number of 0 or a country of three letters is reported by a rule or accepted by CM.
        warnings.simplefilter("ignore")
        raw = x509.load_der_x509_certificate(der)
        key = _public_key(raw)
        return Cert(
            file=file,
            index=index,
            x509=raw,
            der=der,
            subject=canonical(raw.subject),
            issuer=canonical(raw.issuer),
            serial=raw.serial_number,
            version_1=raw.version is x509.Version.v1,
            not_before=raw.not_valid_before_utc,
            not_after=raw.not_valid_after_utc,
            key=key,
            spki=spki_of(key) if key else b"",
            extensions=_extensions(raw.extensions),
            weak_signature=raw.signature_algorithm_oid in _WEAK_SIGNATURES or _weak_hash(raw),
            explicit_curve=isinstance(key, ec.EllipticCurvePublicKey)
            and _PRIME_FIELD in raw.tbs_certificate_bytes,
        )


def _public_key(raw: x509.Certificate) -> CertificatePublicKeyTypes | None:
    try:
        return raw.public_key()
    except CRYPTO_ERRORS:  # SM2, GOST, explicit curves: the rules say so by name
        return None


def spki_of(key: CertificatePublicKeyTypes) -> bytes:
    """A public key's DER encoding."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _weak_hash(raw: x509.Certificate) -> bool:
    try:
        found = raw.signature_hash_algorithm  # RSA-PSS names its hash in the parameters
    except UnsupportedAlgorithm:
        return False
    return found is not None and found.name in {"md5", "sha1"}


def canonical(name: x509.Name) -> Name:
    """For comparison, like X509_NAME_cmp: letters of any case, blanks trimmed and collapsed."""
    return tuple(
        frozenset((attribute.oid.dotted_string, _canonical_value(attribute.value)) for attribute in rdn)
        for rdn in name.rdns
    )


def _canonical_value(value: str | bytes) -> str | bytes:
    if isinstance(value, bytes):
        return value
    # Blanks are those of ASCII (x_name.c: asn1_string_canon); str.split() knows more.
    words = re.split("[ \\t\\n\\v\\f\\r]+", value.strip(" \t\n\v\f\r"))
    return "".join(c.lower() if c.isascii() else c for c in " ".join(words))


def shown_name(name: x509.Name) -> str:
    """A name for people: RFC 4514, nothing unprintable, not endless."""
    text = "".join(c if c.isprintable() else "?" for c in name.rfc4514_string()) or "empty subject"
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "..."


_MAX_SHOWN: Final = 120


def _extensions(extensions: x509.Extensions) -> Extensions:
    values: dict[str, Any] = {
        "unknown_critical": tuple(
            e.oid.dotted_string for e in extensions if e.critical and e.oid not in _KNOWN_EXTENSIONS
        )
    }
    for extension in extensions:
        values |= _facts(extension.value)
    return Extensions(**values)


def _facts(value: x509.ExtensionType) -> dict[str, Any]:
    match value:
        case x509.BasicConstraints():
            return {"is_ca": value.ca, "path_length": value.path_length}
        case x509.KeyUsage():
            return {
                "digital_signature": value.digital_signature,
                "key_cert_sign": value.key_cert_sign,
                "crl_sign": value.crl_sign,
            }
        case x509.ExtendedKeyUsage():
            return {"purposes": frozenset(value)}
        case x509.SubjectKeyIdentifier():
            return {"key_id": value.digest}
        case x509.AuthorityKeyIdentifier():
            return {
                "authority_key_id": value.key_identifier,
                "authority_serial": value.authority_cert_serial_number,
                "authority_issuers": tuple(
                    canonical(general.value)
                    for general in value.authority_cert_issuer or ()
                    if isinstance(general, x509.DirectoryName)
                ),
            }
        case x509.SubjectAlternativeName():
            return {"alternative_names": tuple(value)}
        case x509.NameConstraints():
            return {
                "permitted": tuple(value.permitted_subtrees or ()),
                "excluded": tuple(value.excluded_subtrees or ()),
            }
        case x509.UnrecognizedExtension() if value.oid == _PROXY:
            return {"is_proxy": True}
        case x509.UnrecognizedExtension() if value.oid == _NS_CERT_TYPE:
            return {"ns_cert_type": _first_octet(value.value)}
        case _:
            return {}


def _first_octet(der: bytes) -> int:
    """Of a DER BIT STRING (X.690 section 8.6); its unused bits do not count."""
    match list(der):  # bytes are no sequence to a pattern
        case [0x03, length, unused, first, *rest] if length == len(rest) + 2 and unused < 8:
            return first if rest else first & (0xFF << unused)
        case _:
            return 0


def authority_fits(cert: Cert, ca: Cert) -> bool:
    """Whether the authority key identifier lets this CA be the issuer, as in X509_check_akid.

    What either side does not say is no obstacle.
    """
    said = cert.extensions
    if ca.extensions.key_id is not None and said.authority_key_id not in {None, ca.extensions.key_id}:
        return False
    if said.authority_serial is not None and said.authority_serial != ca.serial:
        return False
    return not said.authority_issuers or ca.issuer in said.authority_issuers


def signed_by(cert: Cert, ca: Cert) -> bool | None:
    """Whether the CA's key made the certificate's signature; None when that cannot be checked.

    `verify_directly_issued_by` is not used: it compares names byte by byte, OpenSSL does not.
    """
    if ca.key is None:
        return None
    try:
        verify(ca.key, cert.x509)
    except InvalidSignature:
        return False
    except CRYPTO_ERRORS:  # MD5 and other algorithms that `cryptography` does not verify
        return None
    return True


def verify(
    key: CertificatePublicKeyTypes | CertificateIssuerPublicKeyTypes, signed: x509.Certificate
) -> None:
    """Verify a certificate's signature.

    Raises:
        InvalidSignature: It was not made by this key.
        CRYPTO_ERRORS: It cannot be checked.
    """
    signature, body = signed.signature, signed.tbs_certificate_bytes
    parameters, digest = signed.signature_algorithm_parameters, signed.signature_hash_algorithm
    match key:
        case rsa.RSAPublicKey() if parameters is None and digest is not None:
            raise UnsupportedAlgorithm(f"no padding known for RSA with {digest.name}")  # MD5
        case rsa.RSAPublicKey() if digest is not None and not isinstance(parameters, ec.ECDSA | None):
            key.verify(signature, body, parameters, digest)
        case ec.EllipticCurvePublicKey() if isinstance(parameters, ec.ECDSA):
            key.verify(signature, body, parameters)
        case dsa.DSAPublicKey() if digest is not None:
            key.verify(signature, body, digest)
        case ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey():
            key.verify(signature, body)
        case _:
            # An RSA key under an ECDSA signature and the like: this key did not make it.
            raise InvalidSignature
