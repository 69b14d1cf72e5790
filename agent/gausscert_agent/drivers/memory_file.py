"""Files for OpenSSL that never touch a disk: the ssl module takes keys and certificates by path only."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def memory_file(body: bytes) -> Iterator[str]:
    """A path with these bytes behind it, for this process alone and as long as the block lasts.

    It has no name in any file system; opening it by /proc/PID/fd takes the right to trace the process,
    which nobody has on a process that is not dumpable (proc(5), PR_SET_DUMPABLE).
    """
    fd = os.memfd_create("gausscert", os.MFD_CLOEXEC)
    try:
        view = memoryview(body)
        while view:
            view = view[os.write(fd, view) :]
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)
