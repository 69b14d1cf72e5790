"""Files that are read whole, and are nothing else: a named pipe would be waited for without an end."""

from __future__ import annotations

import errno
import os
import re
import stat
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

LARGEST: Final = 4 * 1024 * 1024
"""Bytes: a deny list of many thousands, and an end for what has none."""
DESCRIPTOR: Final = re.compile(r"/dev/(stdin|fd/[0-9]+)|/proc/(self|[0-9]+)/fd/[0-9]+")
"""A pipe that the caller has opened himself, as `<(command)` of a shell does it."""
_READ: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


def read(path: Path, *, private: bool = False, pipes: bool = False) -> bytes:
    """All of a file.

    Args:
        path: The file, or a link to it.
        pipes: Or a descriptor of a pipe, which is read to its end however long that takes.
        private: It is a secret: nobody but its owner may read or write it, and that is the caller or root.

    Raises:
        OSError: It cannot be read; what is wrong with a file that can be is said in `strerror` as well.
    """
    descriptor = os.open(path, _READ)
    with os.fdopen(descriptor, "rb") as opened:
        status = os.fstat(descriptor)
        if pipes and stat.S_ISFIFO(status.st_mode) and DESCRIPTOR.fullmatch(str(path)):
            os.set_blocking(descriptor, True)
        elif not stat.S_ISREG(status.st_mode):
            raise _unfit(path, _KINDS.get(stat.S_IFMT(status.st_mode), "it is no regular file"))
        if private and stat.S_IMODE(status.st_mode) & 0o077:
            raise _unfit(path, f"others can read or write it (mode {stat.S_IMODE(status.st_mode):04o})")
        if private and status.st_uid not in (0, os.geteuid()):
            raise _unfit(path, "it belongs to another user")
        body = opened.read(LARGEST + 1)
    if len(body) > LARGEST:
        raise _unfit(path, f"it has more than {LARGEST} bytes")
    return body


_KINDS: Final = {
    stat.S_IFDIR: os.strerror(errno.EISDIR),
    stat.S_IFIFO: "it is a named pipe, and no regular file",
}


def _unfit(path: Path, cause: str) -> OSError:
    return OSError(errno.EINVAL, cause, str(path))
