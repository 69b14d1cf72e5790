"""The agent's own directory: private, and for one agent at a time."""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from gausscert_common.errors import InvalidInput, Reason

from gausscert_agent.files import FOR_OTHERS, OPEN_DIRECTORY

if TYPE_CHECKING:
    from pathlib import Path

LOCK: Final = "lock"
_LOCK_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_PID_BYTES: Final = 32


def open_private(path: Path) -> int:
    """Open the directory, made with mode 0700 if it is absent; its parent must exist.

    Raises:
        InvalidInput: CONFIG_INVALID; it cannot be made or opened, is not ours, or others may enter.
    """
    try:
        _make(path)
        directory = os.open(path, OPEN_DIRECTORY)
    except OSError as error:
        raise _invalid(path, f"cannot be used: {error.strerror}", "see to `state_dir`") from error
    status = os.fstat(directory)
    if status.st_uid == os.geteuid() and not stat.S_IMODE(status.st_mode) & FOR_OTHERS:
        return directory
    os.close(directory)
    raise _invalid(
        path,
        f"belongs to user {status.st_uid} with mode {stat.S_IMODE(status.st_mode):04o};"
        f" must be user {os.geteuid()} and 0700",
        f"chown {os.geteuid()} {path} && chmod 700 {path}",
    )


def _make(path: Path) -> None:
    """Durably: a journal must not vanish with a directory that was never synced."""
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        return
    parent = os.open(path.parent, OPEN_DIRECTORY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


def lock(directory: int, path: Path) -> int:
    """Take the lock for as long as the descriptor returned stays open.

    The kernel gives it back when the agent dies, however it dies.

    Raises:
        InvalidInput: CONFIG_INVALID; another agent has it, whose pid is named.
    """
    try:
        descriptor = os.open(LOCK, _LOCK_FLAGS, 0o600, dir_fd=directory)
    except OSError as error:
        raise _invalid(path / LOCK, f"cannot be opened: {error.strerror}", "remove it") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        other = os.read(descriptor, _PID_BYTES).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise _invalid(
            path,
            f"another agent uses it: pid {other}",
            "stop that agent, or give this one a `state_dir` of its own",
        ) from None
    with suppress(OSError):  # only told to others; a full disk keeps no agent from settling what it can
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor


def _invalid(path: Path, message: str, remedy: str) -> InvalidInput:
    return InvalidInput(Reason.CONFIG_INVALID, message, file=str(path), remedy=remedy)
