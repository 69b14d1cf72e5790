"""Names of transactions and of those who run them."""

from __future__ import annotations

import getpass
import os
import re
import secrets
import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

TRANSACTION_ID: Final = re.compile(r"[a-z0-9-]{8,64}")
"""What agents accept (agent_service.proto, TransactionRef)."""


_UNKNOWN: Final = "unknown"


def transaction_id(now: datetime) -> str:
    """A fresh id such as `20251123t141502z-9f3c1a`: sorts by time, unlikely to meet another.

    Args:
        now: The present, in UTC.
    """
    return f"{now:%Y%m%dt%H%M%Sz}-{secrets.token_hex(3)}"


def person() -> str:
    """Who runs this, for people: "user@host"."""
    return f"{_user()}@{socket.gethostname()}"


def holder() -> str:
    """Who this coordinator is: "user@host/boot.namespace:pid". Another run of the same operator is another
    holder. Boot and pid namespace are there because host names are not unique, and a pid means something
    only together with them."""
    return f"{person()}/{_pid_space()}:{os.getpid()}"


def is_gone(other: str, own: str | None = None) -> bool:
    """Whether a coordinator was run by this operator on this machine and has ended.

    False wherever that cannot be known. It only spares the operator `--take-over`: what keeps two
    coordinators apart is the fence, not this.
    """
    place, _, pid = other.rpartition(":")
    here = (own or holder()).rpartition(":")[0]
    if place != here or place.endswith(f"/{_UNKNOWN}") or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return _is_dead_but_not_reaped(pid)


def _is_dead_but_not_reaped(pid: str) -> bool:
    """A zombie still answers signal 0 (proc(5): the state follows the name in parentheses)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as opened:
            state = opened.read().rpartition(b")")[2].split()[:1]
    except OSError:
        return False
    return state == [b"Z"]


def _pid_space() -> str:
    """Tells this machine's present boot and our pid namespace from all others (pid_namespaces(7))."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as opened:
            boot = opened.read().strip()
        return f"{boot[:8]}.{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return _UNKNOWN


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no such uid in the user database, as in a container
        return str(os.getuid())
