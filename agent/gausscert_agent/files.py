"""Files relative to an open directory: the agent's core opens, lists and changes nothing by path.

`Disk` has every call that changes something, so that a test can stop the agent before any one of
them. Names never come from a caller; links are never followed.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from gausscert_common.errors import NodeFailure, Reason

from gausscert_agent import syscalls

if TYPE_CHECKING:
    from collections.abc import Iterator

OPEN_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OVERWRITE: Final = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

_MEND_ALL: Final = "see to space, permissions and health of that file system"
_ROOM: Final = "make room on that file system"
_RIGHTS: Final = "let the user that the agent runs as read and write there"
_HEALTH: Final = "see to the health of that disk (the kernel's log tells)"
_MEND: Final = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: "have that file system writable again",
    errno.EIO: _HEALTH,
}
"""By what the kernel said."""

FOR_OTHERS: Final = 0o077
"""Permission bits that no file of a set or of the journal may have."""


class Disk:
    """Every change to the disk that store and journal make, and the extended attributes that they compare.
    Raises OSError."""

    def create(self, directory: int, name: str, mode: int) -> int:
        """Make a new file and open it for writing. The mode is set by the creation itself, so there
        is no moment with another one; a leftover or planted file is EEXIST, never reused."""
        descriptor = os.open(name, _CREATE, mode, dir_fd=directory)
        found = stat.S_IMODE(os.fstat(descriptor).st_mode)
        if found & FOR_OTHERS or found != mode:
            os.close(descriptor)
            raise PermissionError(f"created with mode {found:04o} instead of {mode:04o}")
        return descriptor

    def write(self, descriptor: int, body: bytes) -> None:
        """Write all of it."""
        view = memoryview(body)
        while view:
            view = view[os.write(descriptor, view) :]

    def write_at(self, descriptor: int, body: bytes, offset: int) -> None:
        """Write all of it over what is there, from an offset on."""
        view = memoryview(body)
        while view:
            done = os.pwrite(descriptor, view, offset)
            view, offset = view[done:], offset + done

    def sync(self, descriptor: int) -> None:
        """fsync a file or a directory."""
        os.fsync(descriptor)

    def sync_data(self, descriptor: int) -> None:
        """fdatasync a file: what was written over it, and not its times, which nothing depends on."""
        os.fdatasync(descriptor)

    def make_directory(self, directory: int, name: str) -> None:
        """Make a directory that only we can enter."""
        os.mkdir(name, 0o700, dir_fd=directory)

    def link(self, directory: int, target: str, name: str) -> None:
        """Make a symbolic link; EEXIST if there is anything of that name."""
        os.symlink(target, name, dir_fd=directory)

    def replace(self, directory: int, old: str, new: str) -> None:
        """Rename a file or link over another one."""
        os.rename(old, new, src_dir_fd=directory, dst_dir_fd=directory)

    def move(self, directory: int, old: str, new: str) -> None:
        """Rename, never over anything."""
        syscalls.move(directory, old, new)

    def exchange(self, directory: int, one: str, other: str) -> None:
        """Let two entries swap places at one instant."""
        syscalls.exchange(directory, one, other)

    def unlink(self, directory: int, name: str) -> None:
        """Remove a file."""
        os.unlink(name, dir_fd=directory)

    def remove_directory(self, directory: int, name: str) -> None:
        """Remove an empty directory."""
        os.rmdir(name, dir_fd=directory)

    def stamp(self, descriptor: int, at: float) -> None:
        """Set the times of an open file or directory, in seconds since the epoch."""
        os.utime(descriptor, (at, at))

    def set_owner(self, descriptor: int, uid: int, gid: int) -> None:
        """Give an open file or directory to an owner; -1 leaves that part."""
        os.fchown(descriptor, uid, gid)

    def set_mode(self, descriptor: int, mode: int) -> None:
        """Set the mode of an open directory or file; files of a set get theirs when they are created."""
        os.fchmod(descriptor, mode)

    def read_attribute(self, descriptor: int, name: str) -> bytes:
        """An extended attribute of an open file or directory; ENODATA if there is none."""
        return os.getxattr(descriptor, name)

    def set_attribute(self, descriptor: int, name: str, value: bytes | None) -> None:
        """Set an extended attribute, or remove it (None)."""
        if value is None:
            os.removexattr(descriptor, name)
        else:
            os.setxattr(descriptor, name, value)


def write_anew(disk: Disk, directory: int, name: str, body: bytes, mode: int) -> None:
    """Write a new file, durably, in place of what an earlier try has left under its name. The directory
    is not synced: the file counts once it is renamed.

    Raises OSError, with that name.
    """
    with suppress(FileNotFoundError):
        disk.unlink(directory, name)
    descriptor = disk.create(directory, name, mode)
    try:
        disk.write(descriptor, body)
        disk.sync(descriptor)
    except OSError as error:
        error.filename = name
        raise
    finally:
        os.close(descriptor)


@contextmanager
def opened(name: str | os.PathLike[str], directory: int | None = None) -> Iterator[int]:
    """An open directory. Raises FileNotFoundError, NotADirectoryError (a link, too) and other OSError."""
    descriptor = os.open(name, OPEN_DIRECTORY, dir_fd=directory)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def open_file(directory: int, name: str) -> int:
    """Open a file for reading its metadata or content. Raises OSError, for a link ELOOP."""
    return os.open(name, _OPEN_FILE, dir_fd=directory)


@contextmanager
def opened_file(directory: int, name: str) -> Iterator[int]:
    """An open file, for reading its metadata or content. Raises as `open_file`."""
    descriptor = open_file(directory, name)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def entries(directory: int) -> list[os.DirEntry[str]]:
    """What an open directory holds, with the kinds that the directory itself tells: a call for each entry is
    saved. Raises OSError."""
    with os.scandir(directory) as found:
        return list(found)


def open_for_writing(directory: int, name: str) -> int | None:
    """Open a file that is there already, to write over parts of it; None if there is none, or a link.

    Raises OSError.
    """
    try:
        return os.open(name, _OVERWRITE, dir_fd=directory)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP):
            return None
        raise


def read_all(descriptor: int, limit: int) -> bytes:
    """At most `limit` bytes of an open file, from where it stands. Raises OSError."""
    parts: list[bytes] = []
    left = limit
    while left > 0:
        part = os.read(descriptor, left)
        if not part:
            break
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def exists(directory: int, name: str) -> bool:
    """Whether there is an entry of that name, of whatever kind. Raises OSError."""
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def printable(name: str) -> str:
    """A name as messages and logs can hold it: bytes that are no UTF-8 are told with backslashes."""
    return name.encode("utf-8", "backslashreplace").decode()


@contextmanager
def inside(name: str) -> Iterator[None]:
    """Around work on the entries of an open directory: the name that an OSError holds is relative to
    that directory, and gets the directory's own name before it."""
    try:
        yield
    except OSError as error:
        error.filename = os.path.join(name, error.filename) if isinstance(error.filename, str) else name
        raise


@contextmanager
def store_errors(
    what: str, file: os.PathLike[str] | str, then: str = "run gausscert recover"
) -> Iterator[None]:
    """Turn OSError into NodeFailure STORE_FAILED that says what was tried, where, and what mends it.

    Args:
        what: After "cannot".
        file: What the names that OSErrors hold are relative to, unless they are absolute.
        then: What is to be done once the file system is mended.
    """
    try:
        yield
    except OSError as error:
        where = os.path.join(file, error.filename) if isinstance(error.filename, str) else str(file)
        raise NodeFailure(
            Reason.STORE_FAILED,
            f"cannot {what}: {error.strerror or error}",
            file=printable(where),
            remedy=f"{_MEND.get(error.errno or 0, _MEND_ALL)}, then {then}",
        ) from error
