"""A plan on file: written 0600 and durable, read with mistrust."""

from __future__ import annotations

import json
import os
import secrets
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from gausscert_common.errors import InvalidInput, Reason

from gausscert_coordinator import plan_document
from gausscert_coordinator.private_files import sync_directory

if TYPE_CHECKING:
    from pathlib import Path

    from gausscert_coordinator.plan_record import PlanRecord

MODE: Final = 0o600
LARGEST: Final = 16 * 1024 * 1024
_READ: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def check_writable(path: Path) -> None:
    """See to it that a plan can be written there: before anybody is asked for a password.

    Raises:
        InvalidInput: ARGUMENT_INVALID; something else than a plan is there, or it is no place to write to.
    """
    if os.path.lexists(path):
        if path.is_symlink():
            raise _refused(path, "it is a symbolic link", "name the file itself")
        try:
            _load(path)
        except InvalidInput as error:
            message = "it is there already and is no plan of your own, and only a plan is ever written over"
            raise _refused(path, message, "name another file") from error
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise _refused(path, "its directory is missing, or you may not write to it", "name another place")


def write(path: Path, kept: PlanRecord) -> None:
    """Write it, whole or not at all, in place of an older plan.

    Raises:
        InvalidInput: ARGUMENT_INVALID; as `check_writable`, or it cannot be written.
    """
    check_writable(path)
    body = json.dumps(plan_document.to_document(kept), indent=2).encode() + b"\n"
    beside = path.parent / f".{path.name}.{secrets.token_hex(4)}"
    try:
        _create(beside, body)
        os.replace(beside, path)
        sync_directory(path.parent)
    except OSError as error:
        with suppress(OSError):
            beside.unlink()
        raise _refused(path, f"it cannot be written: {error.strerror}", "name another place") from error


def read(path: Path) -> PlanRecord:
    """The plan that a file holds.

    Raises:
        InvalidInput: ARGUMENT_INVALID; it cannot be read, others may write to it or own it, or it is no plan.
    """
    try:
        return plan_document.from_document(_load(path))
    except ValueError as error:
        raise _no_plan(path, str(error)) from None


def _create(path: Path, body: bytes) -> None:
    descriptor = os.open(path, _CREATE, MODE)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(body)
        opened.flush()
        os.fsync(opened.fileno())


def _load(path: Path) -> dict[str, Any]:
    """The document, which says of itself that it is a plan of some version."""
    try:
        document = json.loads(_body(path))
    except (ValueError, RecursionError):  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise _no_plan(path, "it is no JSON document") from None
    said = document.get("schema") if isinstance(document, dict) else None
    if not (isinstance(said, str) and said.startswith(plan_document.SCHEMA.rpartition("/")[0])):
        raise _no_plan(path, "it does not say that it is one")
    return dict(document)


def _body(path: Path) -> bytes:
    try:
        descriptor = os.open(path, _READ)
    except OSError as error:
        message = f"the plan cannot be read: {error.strerror}"
        raise _refused(path, message, "name a file that gausscert plan --out has written") from error
    try:
        _check_kept(path, os.fstat(descriptor))
        with os.fdopen(descriptor, "rb", closefd=False) as opened:
            body = opened.read(LARGEST + 1)
    finally:
        os.close(descriptor)
    if len(body) > LARGEST:
        raise _no_plan(path, f"it has more than {LARGEST} bytes")
    return body


def _check_kept(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _no_plan(path, "it is no regular file")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        mode = f"{stat.S_IMODE(status.st_mode):04o}"
        message = f"others may write to the plan (mode {mode}): it may not say what was agreed to"
        raise _refused(path, message, f"look at it again, then chmod 600 {path}; or plan again")
    if status.st_uid not in (0, os.geteuid()):
        message = "the plan belongs to another user, who may write to it: it may not say what was agreed to"
        raise _refused(path, message, "look at it, then copy it to a file of your own; or plan again")


def _no_plan(path: Path, why: str) -> InvalidInput:
    remedy = "name a file that gausscert plan --out has written with this version, or plan again"
    return _refused(path, f"this is no plan that can be carried out: {why}", remedy)


def _refused(path: Path, message: str, remedy: str) -> InvalidInput:
    return InvalidInput(Reason.ARGUMENT_INVALID, message, file=str(path), remedy=remedy)
