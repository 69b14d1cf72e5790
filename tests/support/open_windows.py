"""What would open something of a set or of the agent to others, read off the system calls."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from gausscert_common import certset
from support.disk_operations import Op

OURS: Final = re.compile(r"(state|home/share/sslcert)/.")
"""What lies below either; `share/sslcert` itself is CM's."""
LOCK: Final = "state/lock"
"""Opened by every agent, and held open: it may be there already."""


def windows(ops: Sequence[Op], umask: int) -> list[str]:
    """Every operation that opens something of ours to others, follows a link, or takes what is there."""
    found = []
    for op in ops:
        if not OURS.match(op.path) or op.kind not in ("create", "mkdir", "chmod"):
            continue
        # What somebody else is given is not for the mode to say: -1 is a change of owner.
        mode = 0 if op.mode < 0 else op.mode & ~umask if op.kind != "chmod" else op.mode
        by_us = op.kind == "create" and ".encrypt/" not in op.path  # cm_ctl's, in a directory that is private
        careless = by_us and op.path != LOCK and "O_EXCL" not in op.flags
        following = by_us and "O_NOFOLLOW" not in op.flags
        chmodded = op.kind == "chmod" and op.path.rpartition("/")[2] in certset.NAMES + certset.CRL_NAMES
        if mode & 0o077 or careless or following or chmodded:
            found.append(f"{op} {op.mode:04o} {op.flags}")
    return found
