"""What the process gives up before it touches a key."""

from __future__ import annotations

import ctypes
import os
import resource
from typing import Final

from gausscert_common.errors import InternalError, Reason

_PR_SET_DUMPABLE: Final = 4
_UMASK: Final = 0o077


def harden() -> None:
    """No core, no ptrace and no /proc/PID/mem for others of the same user, no file for others.

    Raises:
        InternalError: The kernel refuses.
    """
    os.umask(_UMASK)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise InternalError(
            Reason.INTERNAL, f"prctl(PR_SET_DUMPABLE) failed: {os.strerror(ctypes.get_errno())}"
        )
