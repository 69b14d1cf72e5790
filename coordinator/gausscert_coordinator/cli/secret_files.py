"""A file that holds a secret: read only where nobody else can have read or written it, and never waited for
without an end."""

from __future__ import annotations

import os
import select
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gausscert_common.errors import InvalidInput, Reason

from gausscert_coordinator import regular_files

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE_S: Final = 300.0
"""How long a descriptor may take: the command behind `<(command)` may ask a person for something itself."""
QUIET_S: Final = 2.0
"""After so long somebody is told what is waited for."""
_OPEN: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
"""A named pipe without a writer, or a device, would hold open(2) up for good."""
_KINDS: Final = (
    (stat.S_ISDIR, "is a directory", "name a file"),
    (stat.S_ISFIFO, "is a named pipe, which nobody may ever write to", "open it yourself: /dev/fd/3 3<{}"),
    (stat.S_ISCHR, "is a device", "name a file; without the option you are asked on the terminal"),
)
"""What is no file, and what to do."""


def read(
    path: Path,
    longest: int,
    waits: Callable[[str], object],
    *,
    patience_s: float = PATIENCE_S,
    quiet_s: float = QUIET_S,
) -> bytes:
    """What it holds, or the beginning of it. A pipe is read to its end where it is named as a descriptor, as
    `<(command)` of a shell does it.

    Args:
        path: A regular file of the caller's own, or root's, for nobody else; or a descriptor.
        longest: Bytes.
        waits: Told for people that a descriptor is waited for.
        patience_s: How long one is waited for.
        quiet_s: How long before somebody is told.

    Raises:
        InvalidInput: ARGUMENT_INVALID: it cannot be read, is no such file, or somebody else's; or its other
            end has neither written nor closed it in time.
    """
    try:
        descriptor = os.open(path, _OPEN)
    except OSError as error:
        raise unfit(path, f"cannot be read: {error.strerror}", "name a file that you can read") from error
    try:
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode):
            _check_private(path, status)
        elif not (stat.S_ISFIFO(status.st_mode) and regular_files.DESCRIPTOR.fullmatch(str(path))):
            raise _no_file(path, status)
        return _drained(path, descriptor, longest, waits, patience_s, quiet_s)
    finally:
        os.close(descriptor)


def _check_private(path: Path, status: os.stat_result) -> None:
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        mode = f"{stat.S_IMODE(status.st_mode):04o}"
        raise unfit(path, f"can be read or written by others (mode {mode})", f"chmod 600 {path}")
    if status.st_uid not in (0, os.geteuid()):
        remedy = "chown it to the user that runs gausscert, or name a file of his"
        raise unfit(path, "belongs to another user", remedy)


def _no_file(path: Path, status: os.stat_result) -> InvalidInput:
    for is_kind, cause, remedy in _KINDS:
        if is_kind(status.st_mode):
            return unfit(path, cause, remedy.format(path))
    return unfit(path, "is no regular file", "name one")


def _drained(
    path: Path,
    descriptor: int,
    longest: int,
    waits: Callable[[str], object],
    patience_s: float,
    quiet_s: float,
) -> bytes:
    """Reads before it waits: what was closed before it was opened here is at its end, but not to poll(2)."""
    body = bytearray()
    began = time.monotonic()
    told = False
    while len(body) < longest:
        try:
            chunk = os.read(descriptor, longest - len(body))
        except BlockingIOError:
            waited = time.monotonic() - began
            if waited >= patience_s:
                cause = f"is a pipe, {'not closed' if body else 'and empty'} after {patience_s:.0f} s"
                raise unfit(path, cause, "see what the command at its other end waits for") from None
            if waited >= quiet_s and not told:
                told = True
                waits(f"waiting for {path} to be written and closed (Ctrl-C gives up)")
            _wait(descriptor, (patience_s if told else min(quiet_s, patience_s)) - waited)
            continue
        except OSError as error:
            raise unfit(path, f"cannot be read: {error.strerror}", "name a file that you can read") from error
        if not chunk:
            break
        body += chunk
    return bytes(body)


def _wait(descriptor: int, timeout_s: float) -> None:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    poll.poll(max(timeout_s, 0.0) * 1000)


def unfit(path: Path, cause: str, remedy: str) -> InvalidInput:
    """A file that is refused; the cause follows its name."""
    return InvalidInput(Reason.ARGUMENT_INVALID, f"the password file {cause}", file=str(path), remedy=remedy)
