"""A new bundle: a self-signed CA and two leaves that CM can use."""

from __future__ import annotations

import ipaddress
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from gausscert_common.bundle import Bundle
from gausscert_common.errors import InvalidInput, Reason
from gausscert_common.factors import password_faults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


class KeyType(StrEnum):
    """Kinds of keys that CM can use."""

    RSA_2048 = "rsa-2048"
    RSA_3072 = "rsa-3072"
    RSA_4096 = "rsa-4096"
    EC_P256 = "ec-p256"
    EC_P384 = "ec-p384"


_RSA_BITS: Final = {KeyType.RSA_2048: 2048, KeyType.RSA_3072: 3072, KeyType.RSA_4096: 4096}
_CA_KEY: Final = {KeyType.RSA_2048: KeyType.RSA_3072}
"""The CA's key outlives the leaves', so it is never weaker than what openGauss documents: RSA 3072."""

BACKDATED: Final = timedelta(hours=1)
"""Clocks of nodes may be behind; a certificate from the future fails every handshake (facts section 17)."""

MAX_DAYS: Final = 36_500
MAX_ALTERNATIVE_NAMES: Final = 100
MAX_PASSPHRASE_BYTES: Final = 1023
"""Of a CA's key: OpenSSL takes no longer one (PEM_BUFSIZE, 1024, with its end)."""
_MAX_ATTRIBUTE: Final = 64
"""Upper bound of organization and common name (RFC 5280 appendix A.1)."""


_SAN: Final = "write a name such as db1.example or an address such as 10.0.0.1 or fd00::1"


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _random_suffix() -> str:
    return secrets.token_hex(3)


@dataclass(frozen=True, slots=True)
class IssueOptions:
    """What the operator may choose."""

    organization: str = "gausscert"
    common_name: str = ""
    """The CA's; "" for one with date and a random part, so that no two CAs share a name: OpenSSL
    cannot tell CAs of one name apart (facts section 4)."""
    key_type: KeyType = KeyType.RSA_2048
    """The leaves'; the CA's is of the same kind and at least RSA 3072."""
    ca_days: int = 3650
    leaf_days: int = 1095
    dns_names: tuple[str, ...] = ()
    """Subject alternative names of both leaves; CM compares none (facts section 4)."""
    ip_addresses: tuple[str, ...] = ()
    avoid_subjects: tuple[str, ...] = ()
    """RFC 4514 subjects the CA must not have, such as the live CA's."""
    now: datetime = field(default_factory=_utc_now)
    suffix: Callable[[], str] = field(default=_random_suffix, repr=False)
    """Makes the random part of the CA's default name."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A new bundle."""

    bundle: Bundle
    ca_key_pem: bytes | None = field(repr=False)
    """The CA's key, encrypted; None when no passphrase was given and the key is gone."""


def issue_bundle(
    options: IssueOptions, server_password: str, client_password: str, *, ca_passphrase: str | None = None
) -> Issued:
    """Make a CA, and a server and a client certificate with encrypted keys.

    Takes a second or so for RSA keys.

    Args:
        options: Names, kinds and dates.
        server_password: For server.key; has to suit `cm_ctl encrypt`.
        client_password: For client.key; likewise.
        ca_passphrase: Encrypts the CA's key; None to forget the key, so that this CA never signs again.

    Raises:
        InvalidInput: ARGUMENT_INVALID; options or passwords cannot be used. Nothing was made.
    """
    _check(options, server_password, client_password, ca_passphrase)
    ca_key = _generate(_CA_KEY.get(options.key_type, options.key_type))
    ca = _ca_certificate(options, ca_key)
    pem = {"cacert.pem": ca.public_bytes(Encoding.PEM)}
    for role, password in (("server", server_password), ("client", client_password)):
        key = _generate(options.key_type)
        pem[f"{role}.crt"] = _leaf_certificate(options, role, key, ca, ca_key).public_bytes(Encoding.PEM)
        pem[f"{role}.key"] = _encrypted(key, password)
    return Issued(
        Bundle(pem, server_password, client_password),
        None if ca_passphrase is None else _encrypted(ca_key, ca_passphrase),
    )


def _check(options: IssueOptions, server: str, client: str, ca: str | None) -> None:
    """All that is wrong is told at once."""
    wrong = [*_of_passwords(server, client, ca), *_of_options(options)]
    if wrong:
        causes, remedies = zip(*wrong, strict=True)
        raise _invalid("; ".join(causes), "; ".join(dict.fromkeys(remedies)))


def _of_passwords(server: str, client: str, ca: str | None) -> Iterator[tuple[str, str]]:
    for whose, password in (("server", server), ("client", client)):
        faults = password_faults(password)
        if faults:
            cause = f"the password of {whose}.key does not suit CM: {'; '.join(faults)}"
            remedy = "choose 8 to 15 bytes with at least three of: capitals, small letters, digits, special"
            yield cause, f"{remedy} characters; --{whose}-password-file takes it from a file"
    if ca == "":
        yield "the passphrase of the CA's key is empty", "choose one, or do not keep the CA's key"
    if ca is not None and len(ca.encode()) > MAX_PASSPHRASE_BYTES:
        yield (
            f"the passphrase of the CA's key has more than {MAX_PASSPHRASE_BYTES} bytes",
            "choose a shorter one",
        )


def _of_options(options: IssueOptions) -> Iterator[tuple[str, str]]:
    if not 1 <= options.leaf_days <= options.ca_days <= MAX_DAYS:
        yield (
            f"--days {options.leaf_days} with --ca-days {options.ca_days} is not possible",
            f"use --ca-days from 1 to {MAX_DAYS}, and --days from 1 to --ca-days",
        )
    for what, text in (("organization", options.organization), ("common-name", options.common_name)):
        if len(text) > _MAX_ATTRIBUTE or not text.isprintable():
            yield (
                f"--{what}: it is too long or not printable",
                f"use up to {_MAX_ATTRIBUTE} printable characters",
            )
    if len(options.dns_names) + len(options.ip_addresses) > MAX_ALTERNATIVE_NAMES:
        yield "--san is given too often", f"give up to {MAX_ALTERNATIVE_NAMES} names"
    for name in options.dns_names:
        broken_address = name.replace(".", "").isdigit()
        if not name or not name.isascii() or not name.isprintable() or " " in name or broken_address:
            yield f"--san {name!r} is neither a DNS name nor an IP address", _SAN
    for text in options.ip_addresses:
        try:
            ipaddress.ip_address(text)
        except ValueError:
            yield f"--san {text!r} is no IP address", _SAN


def _invalid(message: str, remedy: str) -> InvalidInput:
    return InvalidInput(Reason.ARGUMENT_INVALID, message, remedy=remedy)


def _generate(kind: KeyType) -> PrivateKey:
    if kind in _RSA_BITS:
        return rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS[kind])
    return ec.generate_private_key(ec.SECP256R1() if kind is KeyType.EC_P256 else ec.SECP384R1())


def _encrypted(key: PrivateKey, password: str) -> bytes:
    # PKCS#8 with PBES2 and AES-256: what `openssl pkey -aes256` writes and CM's OpenSSL reads.
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password.encode()))


def _name(options: IssueOptions, common_name: str) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if options.organization:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, options.organization))
    return x509.Name(attributes)


_NAME_ATTEMPTS: Final = 8


def _ca_name(options: IssueOptions) -> x509.Name:
    avoided = {subject.casefold() for subject in options.avoid_subjects}
    for _ in range(_NAME_ATTEMPTS):
        default = f"CM CA {options.now:%Y-%m-%d} {options.suffix()}"
        name = _name(options, options.common_name or default)
        if name.rfc4514_string().casefold() not in avoided:
            return name
    raise _invalid(
        "the CA would have the name of another one, and OpenSSL could not tell them apart",
        "choose another --common-name, or leave it out",
    )


def _ca_certificate(options: IssueOptions, key: PrivateKey) -> x509.Certificate:
    name = _ca_name(options)
    builder = _dated(options, options.ca_days).subject_name(name).issuer_name(name)
    return (
        builder.public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _leaf_certificate(
    options: IssueOptions, role: str, key: PrivateKey, ca: x509.Certificate, ca_key: PrivateKey
) -> x509.Certificate:
    identifier = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    usage = _key_usage(digital_signature=True, key_encipherment=isinstance(key, rsa.RSAPrivateKey))
    # Both purposes on both leaves: cm_servers dial each other, agents serve each other (facts section 4).
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    authority = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
    builder = (
        _dated(options, options.leaf_days)
        .subject_name(_name(options, role))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(authority, critical=False)
    )
    if names := _alternative_names(options):
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(ca_key, hashes.SHA256())


def _dated(options: IssueOptions, days: int) -> x509.CertificateBuilder:
    begin = options.now.astimezone(UTC).replace(microsecond=0)
    return (
        x509.CertificateBuilder()
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin - BACKDATED)
        .not_valid_after(begin + timedelta(days=days))
    )


def _key_usage(
    *,
    digital_signature: bool = False,
    key_encipherment: bool = False,
    key_cert_sign: bool = False,
    crl_sign: bool = False,
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=key_encipherment,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative_names(options: IssueOptions) -> list[x509.GeneralName]:
    addresses = map(ipaddress.ip_address, options.ip_addresses)
    return [*map(x509.DNSName, options.dns_names), *map(x509.IPAddress, addresses)]
