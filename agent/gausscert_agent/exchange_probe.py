"""Can the live set be exchanged here? Found out without touching it.

Two empty directories beside it are exchanged, which shows what the file system of the parent can do.
Two things that does not show, so they are looked at: a live directory that is a mount point (EBUSY),
and one from a lower layer of an overlay (EXDEV although the parent's own directories exchange).
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gausscert_agent import files, stage, syscalls

if TYPE_CHECKING:
    from pathlib import Path

    from gausscert_agent.files import Disk

OVERLAY: Final = 0x794C7630
FUSE: Final = 0x65735546
NFS: Final = 0x6969
"""statfs(2)."""

_NAMES: Final = {OVERLAY: "overlayfs", FUSE: "FUSE", NFS: "NFS"}
_CAUSES: Final = {
    errno.EINVAL: "the file system of share/sslcert cannot exchange directories",
    errno.ENOSYS: "this kernel cannot exchange directories",
    errno.EXDEV: "directories in share/sslcert may not be renamed",
    errno.EACCES: "the agent may not write to share/sslcert",
    errno.EPERM: "the agent may not rename in share/sslcert",
    errno.EROFS: "share/sslcert is read-only",
    errno.ENOSPC: "no space is left for share/sslcert",
}


@dataclass(frozen=True, slots=True)
class ExchangeProbe:
    """What came of a probe."""

    capable: bool
    cause: str = ""
    """Why not, for a person; "" when capable."""


def probe(disk: Disk, parent_path: Path) -> ExchangeProbe:
    """Look, and try with two empty directories that are gone afterwards."""
    try:
        with files.opened(parent_path) as parent:
            cause = _why_not(parent) or _refusal(disk, parent)
    except FileNotFoundError:
        cause = "share/sslcert is not there"
    except OSError as error:
        cause = f"share/sslcert cannot be looked at: {error.strerror or error}"
    return ExchangeProbe(capable=not cause, cause=cause)


def _refusal(disk: Disk, parent: int) -> str:
    """What trying shows; "" when it works."""
    try:
        _try(disk, parent)
    except OSError as error:
        return _CAUSES.get(error.errno or 0, f"share/sslcert: {error.strerror or error}")
    return ""


def _try(disk: Disk, parent: int) -> None:
    one, other = stage.PROBE
    try:
        for name in stage.PROBE:
            stage.remove_set(disk, parent, name)
            disk.make_directory(parent, name)
        disk.exchange(parent, one, other)
    finally:
        for name in stage.PROBE:
            stage.remove_set(disk, parent, name)


def _why_not(parent: int) -> str:
    """What the live directory itself shows; "" when nothing speaks against it, or there is none."""
    try:
        with files.opened(stage.LIVE, parent) as live:
            if _is_mount_point(live, parent):
                return "share/sslcert/cm is a mount point; mount the volume at share/sslcert instead"
            kind = _NAMES.get(syscalls.file_system_type(live))
    except FileNotFoundError:
        return ""
    return f"share/sslcert/cm lies on {kind}, where exchanging directories is not certain" if kind else ""


def _is_mount_point(live: int, parent: int) -> bool:
    """By mount ids: device numbers would miss bind mounts of the same file system, and take a btrfs
    subvolume, which can be exchanged, for a mount. Where no id is told nothing is claimed."""
    one, other = syscalls.mount_id(live), syscalls.mount_id(parent)
    return None not in (one, other) and one != other
