"""What a process that is handed keys and passwords gives up before it touches any."""

from __future__ import annotations

import ctypes
import os
import resource
from typing import Final

from gausscert_common.errors import InternalError, Reason

_PR_SET_DUMPABLE: Final = 4
_MCL_CURRENT: Final = 1
_MCL_FUTURE: Final = 2
_MCL_ONFAULT: Final = 4

TELLTALES: Final = ("GRPC_TRACE", "SSLKEYLOGFILE")
"""Variables that make libraries write down what travels inside TLS: gRPC's traces may dump what is read and
written in the clear, passwords included; a key log lets anybody decrypt what was recorded."""

TLS12_CIPHERS: Final = ("GRPC_SSL_CIPHER_SUITES", "ECDHE-RSA-AES256-GCM-SHA384")
"""Leaves nothing but TLS 1.3, for which gRPC has no setting in Python. The variable names the ciphers of TLS
1.2 and of no newer version (SSL_CTX_set_cipher_list(3)); this one needs an RSA key, and credentials of the
control plane have none."""

GRPC_VERBOSITY: Final = ("GRPC_VERBOSITY", "ERROR")
"""By default gRPC writes a line of its own on standard error for each handshake that fails: anybody who can
connect fills an agent's log past its format and its budget, and a live board is smeared. What a failed
handshake means is told by us."""


def hush() -> None:
    """No word of gRPC's own below an error, unless the environment asks for more. To be called before grpc is
    imported."""
    os.environ.setdefault(*GRPC_VERBOSITY)


def harden() -> None:
    """No core, no ptrace and no /proc/PID/mem for others of the same user, no swap where the limit allows it,
    no library that writes down what travels, and no gRPC over anything older than TLS 1.3. To be called
    before grpc is imported.

    Raises:
        InternalError: The kernel refuses.
    """
    for name in TELLTALES:
        os.environ.pop(name, None)
    hush()
    os.environ[TLS12_CIPHERS[0]] = TLS12_CIPHERS[1]
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise InternalError(
            Reason.INTERNAL, f"prctl(PR_SET_DUMPABLE) failed: {os.strerror(ctypes.get_errno())}"
        )
    _lock_memory(libc)


def _lock_memory(libc: ctypes.CDLL) -> None:
    """Keep what is touched out of the swap, where there is no limit to that. What the kernel answers is not
    asked: it is a help, and no condition of work.

    Under a limit not even a little is locked: from then on a mapping beyond the limit would fail
    (mlockall(2)), and a process that finds no memory at the wrong moment is worse than one that is swapped.
    Python copies strings as it likes, so there is no smaller place that would hold all secrets.
    """
    if resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY:
        libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT)
