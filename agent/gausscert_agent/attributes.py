"""Owner, mode, ACL and security label: they travel with the inode, not with the name, so a stage
must have those of the live set before the two are exchanged (design section 4).

Files of a set never get an ACL: its mask would show as group bits, and CM accepts mode 0400 only
(cs_ssl.cpp:1797-1813). Their owner and label are copied.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gausscert_agent.files import Disk

ACL: Final = "system.posix_acl_access"
DEFAULT_ACL: Final = "system.posix_acl_default"
LABEL: Final = "security.selinux"

_NOT_THERE: Final = frozenset({errno.ENODATA, errno.ENOTSUP, errno.EINVAL})
_NOT_PERMITTED: Final = frozenset({errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EINVAL})


@dataclass(frozen=True, slots=True)
class Attributes:
    """What must be equal before and after an exchange."""

    uid: int
    gid: int
    mode: int
    """Permission bits."""
    extended: tuple[tuple[str, bytes | None], ...]
    """By name: ACLs (of directories) and label; None where there is none."""


def of_directory(disk: Disk, descriptor: int) -> Attributes:
    """Of an open directory. Raises OSError."""
    return _read(disk, descriptor, (ACL, DEFAULT_ACL, LABEL))


def of_file(disk: Disk, descriptor: int) -> Attributes:
    """Of an open file. Raises OSError."""
    return _read(disk, descriptor, (LABEL,))


def copy(disk: Disk, descriptor: int, present: Attributes, wanted: Attributes) -> None:
    """Give an open file or directory the attributes wanted, as far as that is permitted.

    `unlike` tells afterwards what was not permitted. The mode of a file is never changed.
    """
    if present.uid != wanted.uid:
        with _where_permitted():
            disk.set_owner(descriptor, wanted.uid, -1)
    if present.gid != wanted.gid:
        with _where_permitted():
            disk.set_owner(descriptor, -1, wanted.gid)
    if stat.S_ISDIR(os.fstat(descriptor).st_mode) and present.mode != wanted.mode:
        disk.set_mode(descriptor, wanted.mode)
    for (name, value), (_, goal) in zip(present.extended, wanted.extended, strict=True):
        if value != goal:
            with _where_permitted():
                disk.set_attribute(descriptor, name, goal)


def unlike(one: Attributes, other: Attributes, *, mode: bool) -> tuple[str, ...]:
    """What differs, in words. The group only counts where the mode grants it something.

    Args:
        one: Of what was made, or is live.
        other: What these should be.
        mode: Whether the modes must be the same; else that of `one` is right.
    """
    found = []
    if one.uid != other.uid:
        found.append(f"owner {one.uid} instead of {other.uid}")
    granted = one.mode | other.mode if mode else one.mode
    if one.gid != other.gid and granted & stat.S_IRWXG:
        found.append(f"group {one.gid} instead of {other.gid}, with mode {granted:04o}")
    if mode and one.mode != other.mode:
        found.append(f"mode {one.mode:04o} instead of {other.mode:04o}")
    pairs = zip(one.extended, other.extended, strict=True)
    found.extend(f"another {name}" for (name, value), (_, goal) in pairs if value != goal)
    return tuple(found)


def _read(disk: Disk, descriptor: int, names: tuple[str, ...]) -> Attributes:
    status = os.fstat(descriptor)
    extended = tuple((name, _attribute(disk, descriptor, name)) for name in names)
    return Attributes(status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode), extended)


def _attribute(disk: Disk, descriptor: int, name: str) -> bytes | None:
    try:
        return disk.read_attribute(descriptor, name)
    except OSError as error:
        if error.errno in _NOT_THERE:
            return None
        raise


@contextmanager
def _where_permitted() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _NOT_PERMITTED:
            raise
