"""Sets for simulated nodes: a CA, two leaves and factor files, with one thing bent if a test wants it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from gausscert_sim import cm_cipher

PASSWORD = b"Gauss#9Test"
BOTH = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Authority:
    """A CA that signs leaves."""

    name: str
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    certificate: x509.Certificate

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)


@dataclass(frozen=True)
class Recipe:
    """What a set is made of; `replace` it to bend one thing."""

    authority: str = "old"
    serial: int = 1
    server_usage: tuple[x509.ObjectIdentifier, ...] = BOTH
    client_usage: tuple[x509.ObjectIdentifier, ...] = BOTH
    server_days: tuple[int, int] = (-1, 3650)
    client_days: tuple[int, int] = (-1, 3650)
    authority_days: tuple[int, int] = (-1, 3650)
    client_authority: str = ""
    trusted: tuple[str, ...] = ()
    password: bytes = PASSWORD
    factor_password: bytes = PASSWORD
    libpq_off: bool = False


def authority(name: str, days: tuple[int, int] = (-1, 3650)) -> Authority:
    return _authority(name, days)


@cache
def _authority(name: str, days: tuple[int, int]) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"simulated CA {name}")])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + days[0] * DAY)
        .not_valid_after(now + days[1] * DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return Authority(name, key, builder.sign(key, hashes.SHA256()))


@cache
def make_set(recipe: Recipe = Recipe()) -> dict[str, bytes]:
    """The nine files."""
    layout = cm_cipher.layout_for(libpq_off=recipe.libpq_off)
    trusted = recipe.trusted or (recipe.authority,)
    files = {"cacert.pem": b"".join(authority(name, recipe.authority_days).pem for name in trusted)}
    signers = {"server": recipe.authority, "client": recipe.client_authority or recipe.authority}
    usages = {"server": recipe.server_usage, "client": recipe.client_usage}
    for role, signer in signers.items():
        days = recipe.server_days if role == "server" else recipe.client_days
        signed_by = authority(signer, recipe.authority_days)
        key, certificate = _leaf(signed_by, role, usages[role], days, recipe.serial)
        files[f"{role}.crt"] = certificate.public_bytes(serialization.Encoding.PEM)
        files[f"{role}.key"] = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(recipe.password),
        )
        cipher, rand = cm_cipher.encrypt(recipe.factor_password, layout)
        files[f"{role}.key.cipher"], files[f"{role}.key.rand"] = cipher, rand
    return files


def old_set() -> dict[str, bytes]:
    return make_set(Recipe())


def new_set() -> dict[str, bytes]:
    """As `old_set`, of another CA."""
    return make_set(Recipe(authority="new", serial=2))


def expired_set() -> dict[str, bytes]:
    """CA and both leaves ended a month ago."""
    past = (-400, -30)
    return make_set(
        Recipe(authority="gone", serial=3, server_days=past, client_days=past, authority_days=past)
    )


def bent(**changes: object) -> dict[str, bytes]:
    return make_set(replace(Recipe(), **changes))


def revocation_list(name: str, *serials: int, days: tuple[int, int] = (-1, 30)) -> bytes:
    """A CRL of one CA, as PEM."""
    signer = authority(name)
    now = datetime.now(UTC)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(signer.certificate.subject)
        .last_update(now + days[0] * DAY)
        .next_update(now + days[1] * DAY)
    )
    for serial in serials:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now - DAY)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(signer.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _leaf(
    signer: Authority,
    role: str,
    usage: tuple[x509.ObjectIdentifier, ...],
    days: tuple[int, int],
    serial: int,
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, role)]))
        .issuer_name(signer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(serial * 10 + (1 if role == "server" else 2))
        .not_valid_before(now + days[0] * DAY)
        .not_valid_after(now + days[1] * DAY)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key()), critical=False
        )
    )
    if usage:
        builder = builder.add_extension(x509.ExtendedKeyUsage(list(usage)), critical=False)
    return key, builder.sign(signer.key, hashes.SHA256())
