"""The ends of CM's own logs on this node: fixed files below $GAUSSLOG/cm, bounded, only what is new.

Only signatures are looked for in them; no text of a log leaves this module's caller (`cm_signatures`).
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gausscert_agent.drivers import cm_signatures

if TYPE_CHECKING:
    from pathlib import Path

    from gausscert_common.findings import Finding

TAIL_BYTES: Final = 128 * 1024
"""Of each file, at most: a crash loop repeats its reason every ten seconds (facts section 17)."""

_PROGRAMS: Final = (cm_signatures.SERVER, cm_signatures.AGENT, cm_signatures.CTL)
_DCC: Final = ("dcc", "run", "run.log")


@dataclass(frozen=True, slots=True)
class _Mark:
    """Up to where a file was written."""

    device: int
    inode: int
    size: int


class CmLogs:
    """CM's logs of one node.

    Args:
        log_path: $GAUSSLOG; None: not known, and nothing is read.
    """

    def __init__(self, log_path: Path | None) -> None:
        self._log_path = log_path
        self._marks: dict[str, _Mark] | None = None

    def found(self) -> tuple[str, ...]:
        """Whose logs there are."""
        return tuple(log for log, path in self._paths().items() if os.path.isfile(path))

    def mark(self) -> None:
        """What is logged from now on is what `causes` looks at. Never fails."""
        self._marks = {log: mark for log, path in self._paths().items() if (mark := _mark(path)) is not None}

    def causes(self) -> tuple[Finding, ...]:
        """What the logs say went wrong since `mark`; nothing before that, for what went wrong long ago
        would pass for the cause. A file that cannot be read says nothing."""
        if self._marks is None:
            return ()
        marks = self._marks
        return cm_signatures.read({log: _since(path, marks.get(log)) for log, path in self._paths().items()})

    def _paths(self) -> dict[str, str]:
        if self._log_path is None:
            return {}
        folder = os.path.join(self._log_path, "cm")
        found = {cm_signatures.DCC: os.path.join(folder, *_DCC)}
        for program in _PROGRAMS:
            current = _current(os.path.join(folder, program), program)
            if current:
                found[program] = current
        return found


def _current(folder: str, program: str) -> str:
    """CM writes to the one file that is marked so; a name for each start and size (facts section 3.1)."""
    try:
        names = [name for name in os.listdir(folder) if name.startswith(f"{program}-")]
    except OSError:
        return ""
    current = sorted(name for name in names if name.endswith("-current.log"))
    return os.path.join(folder, current[-1]) if current else ""


def _open(path: str) -> int | None:
    """Only a regular file: no link out of the folder, no pipe that would hold the agent up."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    try:
        descriptor = os.open(path, flags)
    except OSError:
        return None
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    return None


def _mark(path: str) -> _Mark | None:
    descriptor = _open(path)
    if descriptor is None:
        return None
    try:
        status = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    return _Mark(status.st_dev, status.st_ino, status.st_size)


def _since(path: str, mark: _Mark | None) -> str:
    """The end of a file, as far as it is new: all of it where another file stands in its place now."""
    descriptor = _open(path)
    if descriptor is None:
        return ""
    try:
        status = os.fstat(descriptor)
        same = mark is not None and (mark.device, mark.inode) == (status.st_dev, status.st_ino)
        begin = mark.size if mark is not None and same and mark.size <= status.st_size else 0
        with suppress(OSError):
            begin = max(begin, status.st_size - TAIL_BYTES)
            return os.pread(descriptor, TAIL_BYTES, begin).decode("utf-8", "replace")
        return ""
    finally:
        os.close(descriptor)
