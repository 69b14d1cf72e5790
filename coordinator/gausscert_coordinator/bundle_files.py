"""A bundle as a directory: read one, write one. Only the names of a bundle count, links are not followed."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from gausscert_common import certset
from gausscert_common.bundle import FactorFiles
from gausscert_common.errors import InvalidInput, Reason
from gausscert_common.findings import errors
from gausscert_common.validate.catalogue import finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from gausscert_common.bundle import Bundle
    from gausscert_common.findings import Finding

CA_KEY: Final = "ca.key"
"""What `bundle new` leaves beside the bundle; never read, never sent to a node."""

_WANTED: Final = certset.BUNDLE_NAMES + certset.FACTOR_NAMES
_SECRET: Final = frozenset({"server.key", "client.key", *certset.FACTOR_NAMES})
_READ_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
"""O_NONBLOCK so that a FIFO of this name does not hang us before its kind is known."""
_IRREGULAR: Final = {errno.ELOOP: "it is a symbolic link", errno.ENXIO: "it is a socket or a FIFO"}
"""What open(2) with these flags says of files that are none."""
_WRITE_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class BundleFiles:
    """What a directory holds of a bundle."""

    pem: Mapping[str, bytes] = field(repr=False)
    """The five PEM files and the CRLs, as far as they are there."""
    factor_files: FactorFiles | None = field(default=None, repr=False)
    """None when there is none of the four; a missing one among others is b""."""
    unknown: tuple[str, ...] = ()
    """Other names in the directory, sorted; they are left alone."""
    findings: tuple[Finding, ...] = ()
    """What is wrong with files as they lie there; their contents are `validate`'s business."""


def read_directory(path: Path) -> BundleFiles:
    """Read a bundle's files.

    Raises:
        InvalidInput: USAGE; the directory cannot be opened.
    """
    directory = _open_directory(path)
    try:
        names = set(os.listdir(directory))
        findings: list[Finding] = []
        bodies = {
            name: body for name in _WANTED if name in names for body in _read(directory, name, findings)
        }
    finally:
        os.close(directory)
    factors = [bodies.get(name, b"") for name in certset.FACTOR_NAMES]
    return BundleFiles(
        pem={name: bodies[name] for name in certset.BUNDLE_NAMES if name in bodies},
        factor_files=FactorFiles(*factors) if names & set(certset.FACTOR_NAMES) else None,
        unknown=tuple(sorted(names - {*_WANTED, CA_KEY})),
        findings=tuple(findings),
    )


def with_contents(lying: Iterable[Finding], contents: Iterable[Finding]) -> tuple[Finding, ...]:
    """What is wrong with the files as they lie there and with what is in them; a file that is there and
    could not be read is not also said to be missing.

    Args:
        lying: The findings of `read_directory`.
        contents: Those of `validate` or of a plan.
    """
    lying = tuple(lying)
    unread = {each.file for each in lying if each.code in {"FILE_NOT_REGULAR", "FILE_UNREADABLE"}}
    rest = (each for each in contents if each.code != "FILE_MISSING" or each.file not in unread)
    return (*lying, *rest)


def require_readable(path: Path, lying: Sequence[Finding]) -> None:
    """Refuse files that cannot be read, where nobody judges the bundle before it is used.

    Args:
        path: The directory.
        lying: The findings of `read_directory`.

    Raises:
        InvalidInput: BUNDLE_INVALID, with all of them.
    """
    wrong = errors(lying)
    if wrong:
        causes = "; ".join(f"{finding.file}: {finding.cause}" for finding in wrong)
        remedy = "; ".join(dict.fromkeys(finding.remedy for finding in wrong))
        raise InvalidInput(
            Reason.BUNDLE_INVALID, causes, file=str(path), remedy=remedy, findings=tuple(lying)
        )


def _open_directory(path: Path) -> int:
    try:
        return os.open(path, _DIRECTORY_FLAGS)
    except OSError as error:
        raise InvalidInput(
            Reason.USAGE,
            f"the directory cannot be opened: {error.strerror}",
            file=str(path),
            remedy="name a directory with a bundle that you may read; gausscert bundle new makes one",
        ) from error


def _read(directory: int, name: str, findings: list[Finding]) -> tuple[bytes, ...]:
    """The file's body, or nothing and a finding."""
    try:
        handle = os.open(name, _READ_FLAGS, dir_fd=directory)
    except OSError as error:
        irregular = _IRREGULAR.get(error.errno or 0)
        code = "FILE_NOT_REGULAR" if irregular else "FILE_UNREADABLE"
        findings.append(finding(code, irregular or f"it cannot be opened: {error.strerror}", name))
        return ()
    try:
        return _read_open(handle, name, findings)
    except OSError as error:
        findings.append(finding("FILE_UNREADABLE", f"it cannot be read: {error.strerror}", name))
        return ()
    finally:
        os.close(handle)


def _read_open(handle: int, name: str, findings: list[Finding]) -> tuple[bytes, ...]:
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        findings.append(finding("FILE_NOT_REGULAR", "it is no regular file", name))
        return ()
    if name in _SECRET and status.st_mode & (stat.S_IRGRP | stat.S_IROTH):
        cause = f"its mode is {stat.S_IMODE(status.st_mode):04o}"
        findings.append(finding("KEY_FILE_READABLE", cause, name))
    # One byte more than allowed, so that validation sees that it is too large; the file may grow meanwhile.
    body = b""
    while chunk := os.read(handle, certset.MAX_FILE_BYTES + 1 - len(body)):
        body += chunk
    return (body,)


def write_directory(path: Path, bundle: Bundle, ca_key: bytes | None) -> None:
    """Write a bundle's files, 0400, into a new or empty directory; durable when it returns.

    Passwords are not written.

    Args:
        path: Created 0700 if it does not exist; its parent has to.
        bundle: What to write.
        ca_key: The CA's key, encrypted, for `ca.key`; None for none.

    Raises:
        InvalidInput: USAGE; the directory is not empty, or cannot be created or written. What was
            there before is untouched.
    """
    try:
        _write(path, bundle, ca_key)
    except OSError as error:
        raise InvalidInput(
            Reason.USAGE,
            f"the bundle cannot be written: {error.strerror}",
            file=str(path),
            remedy="name a new directory in a place where you may write",
        ) from error


def _write(path: Path, bundle: Bundle, ca_key: bytes | None) -> None:
    files = {name: body for name, body in bundle.pem.items() if name in certset.BUNDLE_NAMES}
    files |= bundle.factor_files.as_files() if bundle.factor_files else {}
    files |= {CA_KEY: ca_key} if ca_key is not None else {}
    try:
        os.mkdir(path, certset.DIRECTORY_MODE)
    except FileExistsError:
        _refuse_unless_empty(path)
    directory = os.open(path, _DIRECTORY_FLAGS | os.O_NOFOLLOW)
    try:
        for name, body in files.items():
            _write_file(directory, name, body)
        os.fsync(directory)
    finally:
        os.close(directory)
    _sync_directory(path.absolute().parent)


def _refuse_unless_empty(path: Path) -> None:
    if os.path.islink(path) or not os.path.isdir(path) or os.listdir(path):
        raise InvalidInput(
            Reason.USAGE,
            "it exists and is no empty directory; nothing in it is ever overwritten",
            file=str(path),
            remedy="name a new directory",
        )


def _write_file(directory: int, name: str, body: bytes) -> None:
    handle = os.open(name, _WRITE_FLAGS, certset.FILE_MODE, dir_fd=directory)
    try:
        view = memoryview(body)
        while view:
            view = view[os.write(handle, view) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_directory(path: Path) -> None:
    handle = os.open(path, _DIRECTORY_FLAGS)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
