"""The control plane's own CA and the identities it issues.

Apart from the certificates that gausscert replaces, so that it works when all of those have expired. P-256
and ECDSA with SHA-256 throughout. Files are created 0400 and never written over.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from gausscert_common import identity
from gausscert_common.errors import InvalidInput, Reason
from gausscert_common.identity import Identity, Role

from gausscert_coordinator import (
    pki_certificates,
    pki_kept,
    pki_register,
    pki_trust,
    private_files,
    regular_files,
)
from gausscert_coordinator.issue import MAX_PASSPHRASE_BYTES
from gausscert_coordinator.pki_certificates import Authority

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CA_CERT: Final = "ca.crt"
CA_KEY: Final = "ca.key"
CA_DAYS: Final = 3650
NODE_DAYS: Final = 825
PERSON_DAYS: Final = 365

_MAX_DAYS: Final = 36500


@dataclass(frozen=True, slots=True)
class Issued:
    """An identity that was issued, and where it lies."""

    identity: Identity
    cert: Path
    key: Path
    ca: Path
    not_after: datetime
    fingerprint: str
    """SHA-256 of the certificate, hex."""


@dataclass(frozen=True, slots=True)
class Signed:
    """An identity that was issued, and lies nowhere yet."""

    identity: Identity
    cert_pem: bytes
    key_pem: bytes = field(repr=False)
    ca_pem: bytes
    """The CA that has issued it, and whatever else the ca.crt of its directory holds (`pki_trust`)."""
    not_after: datetime
    fingerprint: str
    """SHA-256 of the certificate, hex."""


def init(
    directory: Path, cluster: str, passphrase: bytes | None, days: int = CA_DAYS, now: datetime | None = None
) -> Path:
    """Make a CA for a cluster's control plane.

    Args:
        directory: Made with mode 0700 if it is not there; must not hold a CA already.
        cluster: The cluster's name; all identities of this CA belong to it.
        passphrase: Encrypts the CA's key; None leaves it in the clear, for machines that are locked away.
        days: How long the CA is good.
        now: For tests.

    Returns:
        The CA's certificate.

    Raises:
        InvalidInput: ARGUMENT_INVALID: a file is there already, or the name or the days cannot be used.
    """
    identity.check_name("cluster", cluster)
    _check_days(days)
    key = ec.generate_private_key(ec.SECP256R1())
    cert = pki_certificates.ca_certificate(cluster, key, _now(now), days)
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        _check_passphrase(passphrase)
        encryption = serialization.BestAvailableEncryption(passphrase)
    private_files.make_directory(directory)
    private_files.write_new({directory / CA_KEY: _key_pem(key, encryption), directory / CA_CERT: _pem(cert)})
    return directory / CA_CERT


def issue(
    directory: Path,
    role: Role,
    name: str,
    sans: Sequence[str] = (),
    passphrase: bytes | None = None,
    days: int | None = None,
    out: Path | None = None,
    now: datetime | None = None,
) -> Issued:
    """Issue an identity.

    Args:
        directory: Where `init` made the CA.
        role: What the identity is for. A node may serve and dial, a person may only dial.
        name: The node's or the person's name.
        sans: Further DNS names and IP addresses of a node, for other tools; gausscert dials by the name
            that `identity.node_dns_name` makes.
        passphrase: That of the CA's key, None when it has none.
        days: How long; by role when None.
        out: Where the files go, `<role>-<name>.crt` and `.key` and a copy of ca.crt; the CA's directory
            when None.
        now: For tests.

    Raises:
        InvalidInput: ARGUMENT_INVALID, CREDENTIAL_INVALID: a file is there already, the CA cannot be read or
            ends earlier, or a name cannot be used.
    """
    signed = sign(directory, role, name, sans, passphrase, days, now)
    target = directory if out is None else out
    private_files.make_directory(target)
    base = f"{role}-{name}"
    cert_path, key_path = target / f"{base}.crt", target / f"{base}.key"
    cert = x509.load_pem_x509_certificate(signed.cert_pem)
    beside = {key_path: signed.key_pem, cert_path: signed.cert_pem}
    shared = {} if os.path.samefile(target, directory) else {target / CA_CERT: signed.ca_pem}
    pki_kept.keep(directory, [cert], pending=True, beside=beside, shared=shared)
    pki_kept.confirm(directory, {f"{cert.serial_number:x}"})  # a machine may die before all of it is there
    return Issued(
        signed.identity, cert_path, key_path, target / CA_CERT, signed.not_after, signed.fingerprint
    )


def sign(
    directory: Path,
    role: Role,
    name: str,
    sans: Sequence[str] = (),
    passphrase: bytes | None = None,
    days: int | None = None,
    now: datetime | None = None,
) -> Signed:
    """As `issue`, without writing anything: for an identity that goes straight to its machine. `register` it
    before it goes there."""
    at = _now(now)
    authority = open_authority(directory, passphrase)
    granted = Identity(authority.cluster, role, name)
    not_after = end_of(authority.cert, role, at, days)
    key = ec.generate_private_key(ec.SECP256R1())
    cert = pki_certificates.leaf(
        authority, granted, key.public_key(), pki_certificates.names(granted, sans), at, not_after
    )
    return Signed(
        granted,
        cert_pem=_pem(cert),
        key_pem=_key_pem(key, serialization.NoEncryption()),
        ca_pem=pki_trust.bundle(authority.cert, authority.trusted),
        not_after=cert.not_valid_after_utc,
        fingerprint=cert.fingerprint(hashes.SHA256()).hex(),
    )


def register(directory: Path, signed: Iterable[Signed]) -> None:
    """Keep the certificates of what was signed as pending; `pki_kept.confirm` once they are on their nodes.

    Raises:
        InvalidInput: ARGUMENT_INVALID: the directory cannot be written.
    """
    pki_kept.keep(directory, [x509.load_pem_x509_certificate(each.cert_pem) for each in signed], pending=True)


def renew(
    directory: Path,
    certificate: Path,
    out: Path,
    passphrase: bytes | None = None,
    days: int | None = None,
    now: datetime | None = None,
) -> Issued:
    """Issue the identity of an existing certificate anew, with a fresh key.

    Args:
        directory: Where `init` made the CA.
        certificate: The one to follow; expired or not.
        out: Another directory than that of the certificate: nothing is written over. Agents notice changed
            files by themselves.
        passphrase: As for `issue`.
        days: As for `issue`.
        now: For tests.

    Raises:
        InvalidInput: As `issue`; also CREDENTIAL_INVALID when the certificate is not one of this CA, or
            revoked: what would come of it is not.
    """
    authority = open_authority(directory, passphrase)
    old = _parse(certificate, "name the certificate that is to be followed: ROLE-NAME.crt")
    if old in authority.trusted or not pki_certificates.issued_by(old, authority.cert):
        remedy = "name a certificate that was issued, and with --dir the CA that has issued it"
        raise _unusable(certificate, "this CA has not issued it", remedy)
    _refuse_revoked(directory, certificate, old)
    was, extra = named_in(old)
    return issue(directory, was.role, was.name, extra, passphrase, days, out, now)


def _refuse_revoked(directory: Path, path: Path, cert: x509.Certificate) -> None:
    denied = pki_register.deny_list(directory)
    if denied.holds(f"{cert.serial_number:x}", cert.fingerprint(hashes.SHA256()).hex()):
        raise InvalidInput(
            Reason.CREDENTIAL_INVALID,
            "it is revoked",
            file=str(path),
            remedy="if its bearer is to have another one nevertheless, issue it: gausscert pki issue",
        )


def named_in(cert: x509.Certificate) -> tuple[Identity, list[str]]:
    """Whose certificate it is, and what else it is good for beside the name by which a node is dialled.

    Raises:
        InvalidInput: CREDENTIAL_INVALID: it holds no identity, or more than one.
    """
    try:
        names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        (uri,) = names.get_values_for_type(x509.UniformResourceIdentifier)
    except (x509.ExtensionNotFound, ValueError):
        raise InvalidInput(Reason.CREDENTIAL_INVALID, "the certificate holds no gausscert identity") from None
    was = identity.parse(uri)
    dialled = identity.node_dns_name(was.cluster, was.name)
    extra = [dns for dns in names.get_values_for_type(x509.DNSName) if dns != dialled]
    return was, [*extra, *(str(address) for address in names.get_values_for_type(x509.IPAddress))]


def end_of(ca: x509.Certificate, role: Role, now: datetime, days: int | None) -> datetime:
    """Until when an identity is good: a term that was asked for is kept or refused, the usual one ends with
    the CA.

    Raises:
        InvalidInput: CREDENTIAL_INVALID, ARGUMENT_INVALID.
    """
    last = ca.not_valid_after_utc
    if now >= last:
        raise InvalidInput(
            Reason.CREDENTIAL_INVALID,
            f"the CA expired on {last:%Y-%m-%d}",
            remedy="make a new one: gausscert pki init",
        )
    if days is None:
        return min(now + timedelta(days=NODE_DAYS if role is Role.NODE else PERSON_DAYS), last)
    _check_days(days)
    if now + timedelta(days=days) > last:
        raise InvalidInput(
            Reason.ARGUMENT_INVALID,
            f"{days} days are longer than the CA lasts ({last:%Y-%m-%d})",
            remedy=f"ask for at most {(last - now).days} days",
        )
    return now + timedelta(days=days)


def open_authority(directory: Path, passphrase: bytes | None) -> Authority:
    """The CA of a directory, ready to sign. Its ca.crt may hold further ones, while the control plane changes
    its CA.

    Raises:
        InvalidInput: CREDENTIAL_INVALID: it cannot be read, or not with this passphrase.
    """
    trusted = pki_trust.read(_body(directory / CA_CERT)) or (_parse(directory / CA_CERT),)
    path = directory / CA_KEY
    private_files.require_closed(directory)
    try:
        key = serialization.load_pem_private_key(_body(path, private=True), passphrase)
    except TypeError:
        wants = "needs its passphrase" if passphrase is None else "has no passphrase, but one was given"
        remedy = "give it with --passphrase-file" if passphrase is None else "leave --passphrase-file out"
        raise _unusable(path, f"the CA's key {wants}", remedy) from None
    except ValueError:
        remedy = "give the passphrase that gausscert pki init was given, and the directory that it made"
        raise _unusable(path, "the passphrase is wrong, or this is no key", remedy) from None
    except UnsupportedAlgorithm:
        raise _unusable(path, "it is a key of a kind that no CA of gausscert has") from None
    own = [cert for cert in trusted if _public_key(cert) == key.public_key()]
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not own:
        raise _unusable(path, f"the key does not belong to {directory / CA_CERT}", _ROTATED)
    if not pki_certificates.may_sign(own[0]):
        raise _unusable(directory / CA_CERT, "it is no CA of a control plane: it may sign nothing")
    clusters = own[0].subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    if len(clusters) != 1:
        raise _unusable(directory / CA_CERT, "it is no CA of a control plane: it names no cluster")
    return Authority(own[0], key, str(clusters[0].value), trusted)


def _public_key(cert: x509.Certificate) -> object:
    try:
        return cert.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return None


_OUR_DIRECTORY: Final = "use the directory that gausscert pki init made"
_ROTATED: Final = (
    "use the directory that gausscert pki init made for that CA; after a rotation that is the new one"
    " (the last step of `Rotation of the control plane` in docs/runbook.md)"
)


def _parse(path: Path, remedy: str = _OUR_DIRECTORY) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(_body(path, remedy=remedy))
    except ValueError:
        raise _unusable(path, "it holds no certificate in PEM form", remedy) from None


def _body(path: Path, remedy: str = _OUR_DIRECTORY, *, private: bool = False) -> bytes:
    try:
        return regular_files.read(path, private=private)
    except OSError as error:
        mode = "; the key must be yours or root's, mode 0400" if private else ""
        raise _unusable(path, f"it cannot be used: {error.strerror}", f"{remedy}{mode}") from None


def _pem(cert: x509.Certificate) -> bytes:
    return cert.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey, encryption: serialization.KeySerializationEncryption) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def _check_passphrase(passphrase: bytes) -> None:
    if not passphrase:
        raise InvalidInput(Reason.ARGUMENT_INVALID, "the passphrase is empty", remedy="give one, or none")
    if len(passphrase) > MAX_PASSPHRASE_BYTES:
        raise InvalidInput(
            Reason.ARGUMENT_INVALID,
            f"the passphrase has more than {MAX_PASSPHRASE_BYTES} bytes",
            remedy="choose a shorter one",
        )


def _check_days(days: int) -> None:
    if not 1 <= days <= _MAX_DAYS:
        raise InvalidInput(
            Reason.ARGUMENT_INVALID, f"{days} days cannot be used", remedy=f"ask for 1 to {_MAX_DAYS}"
        )


def _now(now: datetime | None) -> datetime:
    """Certificates know whole seconds."""
    return (now or datetime.now(UTC)).replace(microsecond=0)


def _unusable(path: Path, message: str, remedy: str = _OUR_DIRECTORY) -> InvalidInput:
    return InvalidInput(Reason.CREDENTIAL_INVALID, message, file=str(path), remedy=remedy)
