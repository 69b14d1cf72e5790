"""What the control plane's CA has issued, and what of it is revoked: the public side of its directory.

Each certificate is kept beside the CA (`pki_kept`), whatever became of the files that were handed out.
`deny.list` has those that may call nothing any more; agents are told of it (`control_plane`).
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from gausscert_common import denylist, identity
from gausscert_common.denylist import DenyList
from gausscert_common.errors import InvalidInput, Reason
from gausscert_common.identity import Identity, Role

from gausscert_coordinator import pki_certificates, pki_kept, pki_trust, private_files, regular_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

DENY_LIST: Final = "deny.list"
_HEADER: Final = (
    "# certificates of the control plane that may call nothing any more; see gausscert pki revoke\n"
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One certificate that was issued."""

    identity: Identity
    serial: str
    """Hex."""
    fingerprint: str
    """SHA-256 of the certificate, hex."""
    not_before: datetime
    not_after: datetime
    revoked: bool
    number: int = 0
    """Of the order in which they were signed; 0 where an older gausscert has not kept it."""
    pending: bool = False
    """It was signed for an agent that was not seen to have it, or for files that may not be there."""

    @property
    def role(self) -> Role:
        """What it is for."""
        return self.identity.role


def entries(directory: Path) -> tuple[Entry, ...]:
    """Everything that the CA of a directory is known to have issued: kept in the register or, by an older
    gausscert, left beside the CA. By role and name, the newest first.

    Raises:
        InvalidInput: CREDENTIAL_INVALID: there is no CA; DENY_LIST_INVALID.
    """
    cas = _authorities(directory / "ca.crt")
    if not cas:
        raise InvalidInput(
            Reason.CREDENTIAL_INVALID,
            "there is no CA that can be read",
            file=str(directory / "ca.crt"),
            remedy="name the directory that gausscert pki init made",
        )
    denied = deny_list(directory)
    # Of several files with one certificate the one of the register counts.
    numbered = sorted(_entries(directory, cas, denied), key=lambda each: each.number)
    found = {each.fingerprint: each for each in numbered}
    newest = sorted(found.values(), key=lambda each: (each.number, each.not_before), reverse=True)
    return tuple(sorted(newest, key=lambda each: (list(Role).index(each.role), each.identity.name)))


def newest(entries: Iterable[Entry], now: datetime) -> Entry | None:
    """Which of the credentials of one identity was issued last, of those that are good; None where none is.

    By the order of the register, and never by a date alone.

    Raises:
        InvalidInput: ARGUMENT_INVALID: that is not known.
    """
    valid = [each for each in entries if not each.revoked and each.not_after > now]
    good = [each for each in valid if not each.pending]
    last = max(good, key=lambda each: each.number, default=None)
    begun = [each for each in valid if each.pending and each.number > (last.number if last else 0)]
    if begun:
        raise _unknown(begun, "was cut off when it was issued: whether anybody has it is not known")
    if last is None or len(good) == 1:
        return last
    older = [each for each in good if not each.number]
    if last.number and all(each.not_before < last.not_before for each in older):
        return last
    doubtful = older if not last.number else [last, *older]
    raise _unknown(doubtful, "was issued last is not known: an older gausscert has not kept the order")


def _unknown(doubtful: list[Entry], why: str) -> InvalidInput:
    name = doubtful[0].identity.name
    serials = " and ".join(each.serial for each in doubtful)
    which = "which of " if len(doubtful) > 1 else "that of "
    return InvalidInput(
        Reason.ARGUMENT_INVALID,
        f"{which}{name}'s credentials with serial {serials} {why}",
        remedy=f"look which one {name} uses (openssl x509 -noout -serial -in CERT), then run:"
        f" gausscert pki revoke {name} --keep SERIAL --dir DIR",
    )


def deny_list(directory: Path) -> DenyList:
    """What is revoked; an empty list where nothing ever was.

    Raises:
        InvalidInput: DENY_LIST_INVALID: it cannot be read, or a line is not understood.
    """
    path = directory / DENY_LIST
    try:
        return _understood(regular_files.read(path), path)
    except FileNotFoundError:
        return DenyList()
    except OSError as error:
        raise InvalidInput(
            Reason.DENY_LIST_INVALID,
            f"it cannot be read: {error.strerror}",
            file=str(path),
            remedy="let yourself read it, then run it again",
        ) from error


def _understood(body: bytes, path: Path) -> DenyList:
    try:
        return denylist.read(body)
    except InvalidInput as error:
        error.file = str(path)
        raise


def revoke(directory: Path, revoked: Iterable[Entry], note: str) -> DenyList:
    """Put certificates on the deny list; those that are on it stay as they are.

    Args:
        directory: Of the CA.
        revoked: Which.
        note: For people, after each one's identity.

    Returns:
        The list afterwards.

    Raises:
        InvalidInput: DENY_LIST_INVALID, ARGUMENT_INVALID: it cannot be read or written.
    """
    said = [
        denylist.entry(int(each.serial, 16), f"{each.identity.role} {each.identity.name} {note}")
        for each in revoked
    ]
    with private_files.alone_in(directory):  # two at a time would each forget what the other has added
        before = deny_list(directory)
        new = before.lacks(said)
        if new:
            path = directory / DENY_LIST
            former = regular_files.read(path) if path.exists() else _HEADER.encode()
            lines = former if former.endswith(b"\n") else former + b"\n"
            body = lines + "".join(f"{one.line}\n" for one in new).encode()
            _understood(body, path)  # before it counts
            private_files.replace_private(path, body)
    return DenyList((*before.entries, *new))


def _entries(directory: Path, cas: tuple[x509.Certificate, ...], denied: DenyList) -> Iterator[Entry]:
    for path in sorted(directory.glob("*.crt")):
        cert = _certificate(path)
        if cert is None or cert in cas or not any(pki_certificates.issued_by(cert, ca) for ca in cas):
            continue
        with suppress(InvalidInput, ValueError, x509.ExtensionNotFound):
            yield _entry(path, cert, denied)


def _entry(path: Path, cert: x509.Certificate, denied: DenyList) -> Entry:
    names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    (uri,) = names.get_values_for_type(x509.UniformResourceIdentifier)
    serial, fingerprint = f"{cert.serial_number:x}", cert.fingerprint(hashes.SHA256()).hex()
    return Entry(
        identity.parse(uri),
        serial,
        fingerprint,
        cert.not_valid_before_utc,
        cert.not_valid_after_utc,
        denied.holds(serial, fingerprint),
        *pki_kept.said_by(path),
    )


def _authorities(path: Path) -> tuple[x509.Certificate, ...]:
    """More than one while the control plane changes its CA."""
    try:
        return pki_trust.read(regular_files.read(path))
    except OSError:
        return ()


def _certificate(path: Path) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificate(regular_files.read(path))
    except (OSError, ValueError):
        return None
