"""Files that are no secret: nothing half written is left, nothing written over unless that is wanted."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING, Final

from gausscert_common.errors import InvalidInput, Reason

from gausscert_coordinator.private_files import sync_directory

if TYPE_CHECKING:
    from pathlib import Path

_MODE: Final = 0o644
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def write(path: Path, body: bytes, *, force: bool) -> None:
    """Write a file, durable.

    Args:
        path: Where to.
        body: All of it.
        force: Also over what is there, which stays whole until it is replaced.

    Raises:
        InvalidInput: ARGUMENT_INVALID: it is there already, or cannot be written.
    """
    first = path.with_name(f".{path.name}.{secrets.token_hex(4)}") if force else path
    try:
        _create(first, body)
        if force:
            _move(first, path)
        sync_directory(path.parent)
    except FileExistsError:
        raise _refused(
            path, "it is there already", "choose another name, or write over it with --force"
        ) from None
    except OSError as error:
        cause = f"it cannot be written: {error.strerror}"
        raise _refused(path, cause, "name a file in a directory that you may write to") from None


def _create(path: Path, body: bytes) -> None:
    descriptor = os.open(path, _CREATE, _MODE)
    try:
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(body)
            opened.flush()
            os.fsync(opened.fileno())
    except OSError:
        path.unlink()
        raise


def _move(first: Path, path: Path) -> None:
    try:
        os.replace(first, path)
    except OSError:
        first.unlink()
        raise


def _refused(path: Path, message: str, remedy: str) -> InvalidInput:
    return InvalidInput(Reason.ARGUMENT_INVALID, message, file=str(path), remedy=remedy)
