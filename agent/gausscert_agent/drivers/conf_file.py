"""A configuration file of CM as a whole: read, and put back in one step."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from gausscert_common.errors import NodeFailure, Reason

from gausscert_agent import files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gausscert_agent.files import Disk

MAX_BYTES: Final = 512 * 1024
"""CM's own files have some 10 KiB."""

_NEW: Final = ".gausscert.new"
_PRIVATE: Final = 0o600
_MODE_BITS: Final = 0o777


@dataclass(frozen=True, slots=True)
class ConfFile:
    """Content and whose it is."""

    body: bytes = field(repr=False)
    mode: int
    """Permission bits."""
    uid: int
    gid: int


def read(path: Path) -> ConfFile | None:
    """The whole file; None if there is none.

    Raises:
        NodeFailure: CONF_FAILED; it cannot be read, is a link, or far too long.
    """
    try:
        with (
            _failures(path, "cannot be read"),
            files.opened(path.parent) as directory,
            files.opened_file(directory, path.name) as descriptor,
        ):
            status = os.fstat(descriptor)
            body = files.read_all(descriptor, MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode) or len(body) > MAX_BYTES:
        raise NodeFailure(
            Reason.CONF_FAILED,
            f"is no file of at most {MAX_BYTES // 1024} KiB",
            file=str(path),
            remedy="put CM's own configuration file in its place",
        )
    return ConfFile(body, status.st_mode & _MODE_BITS, status.st_uid, status.st_gid)


def replace(disk: Disk, path: Path, wanted: ConfFile) -> None:
    """Put a file in place of the present one, at one instant and durably.

    Raises:
        NodeFailure: CONF_FAILED; the present one is as it was.
    """
    name = path.name + _NEW
    with _failures(path, "cannot be replaced"), files.opened(path.parent) as directory:
        with suppress(FileNotFoundError):
            disk.unlink(directory, name)
        descriptor = disk.create(directory, name, _PRIVATE)
        try:
            disk.write(descriptor, wanted.body)
            status = os.fstat(descriptor)
            if (status.st_uid, status.st_gid) != (wanted.uid, wanted.gid):
                with suppress(PermissionError):  # as after cm_ctl, which makes the file anew as well
                    disk.set_owner(descriptor, wanted.uid, wanted.gid)
            if wanted.mode != _PRIVATE:
                disk.set_mode(descriptor, wanted.mode)
            disk.sync(descriptor)
        finally:
            os.close(descriptor)
        disk.replace(directory, name, path.name)
        disk.sync(directory)


def sync(disk: Disk, path: Path) -> None:
    """fsync a file and its directory, in which cm_ctl may have replaced it.

    Raises:
        NodeFailure: CONF_FAILED.
    """
    with _failures(path, "cannot be made durable"), files.opened(path.parent) as directory:
        with files.opened_file(directory, path.name) as descriptor:
            disk.sync(descriptor)
        disk.sync(directory)


@contextmanager
def _failures(path: Path, what: str) -> Iterator[None]:
    """FileNotFoundError passes while reading: no file is no failure there."""
    try:
        yield
    except OSError as error:
        if isinstance(error, FileNotFoundError) and what == "cannot be read":
            raise
        raise NodeFailure(
            Reason.CONF_FAILED,
            f"{what}: {error.strerror or error}",
            file=str(path),
            remedy="see to rights, space and health of that file system, then run gausscert recover",
        ) from error
