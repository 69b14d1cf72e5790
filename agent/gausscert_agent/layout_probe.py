"""How can the live set be swapped here? Found out without changing what is seen of it.

Two empty directories beside it are exchanged, which shows what the file system of the parent can do.
Two things that does not show, so they are looked at: a live directory that is a mount point (EBUSY),
and one from a lower layer of an overlay (EXDEV although the parent's own directories exchange).
Where exchanging is refused or not certain, links inside `cm` are tried, under names of their own.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gausscert_common.errors import NodeRefusal
from gausscert_common.model import Layout

from gausscert_agent import data_link, files, set_names, set_on_disk, stage, syscalls

if TYPE_CHECKING:
    from pathlib import Path

    from gausscert_agent.files import Disk

OVERLAY: Final = 0x794C7630
FUSE: Final = 0x65735546
NFS: Final = 0x6969
"""statfs(2)."""

_NAMES: Final = {OVERLAY: "overlayfs", FUSE: "FUSE", NFS: "NFS"}
_REFUSALS: Final = {
    errno.EINVAL: "the file system of share/sslcert cannot exchange directories",
    errno.ENOSYS: "this kernel cannot exchange directories",
    errno.EXDEV: "directories in share/sslcert may not be renamed",
    errno.EACCES: "the agent may not write to share/sslcert",
    errno.EPERM: "the agent may not rename in share/sslcert",
    errno.EROFS: "share/sslcert is read-only",
    errno.EBUSY: "directories in share/sslcert are in use",
}
"""What a file system that cannot exchange, or may not, answers. Everything else is a disk that fails, and
no reason for another layout."""


@dataclass(frozen=True, slots=True)
class LayoutProbe:
    """What came of a probe."""

    layout: Layout | None
    """How a swap is done here; None: not at all."""
    cause: str = ""
    """Why not by an exchange, for a person; for None also why not by links."""


EXCHANGE: Final = LayoutProbe(Layout.EXCHANGE)


def probe(disk: Disk, parent_path: Path) -> LayoutProbe:
    """As `look`, for those who only report: a disk that fails is a cause, too."""
    try:
        with files.opened(parent_path) as parent:
            return look(disk, parent)
    except FileNotFoundError:
        return LayoutProbe(None, "share/sslcert is not there")
    except OSError as error:
        return LayoutProbe(None, f"share/sslcert cannot be looked at: {error.strerror or error}")


def look(disk: Disk, parent: int) -> LayoutProbe:
    """Look, and try with what is gone afterwards. Where there are links already, they stay.

    Args:
        disk: Makes the changes.
        parent: The open `share/sslcert`.

    Raises:
        OSError: The disk fails; nothing was found out.
    """
    if _is_linked(parent):
        cause = "the files in share/sslcert/cm are links already"
    else:
        cause = _why_not(parent) or _refusal(disk, parent)
    if not cause and _is_immutable(parent):
        return LayoutProbe(None, "share/sslcert/cm is immutable (chattr -i allows changes)")
    if not cause:
        return EXCHANGE
    unlinkable = _link_refusal(disk, parent)
    if not unlinkable:
        return LayoutProbe(Layout.DATA_LINK, cause)
    return LayoutProbe(None, f"{cause}; nor can there be links in share/sslcert/cm: {unlinkable}")


def _is_linked(parent: int) -> bool:
    try:
        with files.opened(set_names.LIVE, parent) as live:
            return set_on_disk.linked(live) is not None
    except (FileNotFoundError, NotADirectoryError):
        return False


def _link_refusal(disk: Disk, parent: int) -> str:
    """Why links in `cm` cannot be used; "" when they can."""
    try:
        with files.opened(set_names.LIVE, parent) as live:
            data_link.probe(disk, live)
    except FileNotFoundError:
        return "there is no such directory; make it, with mode 0700"
    except NodeRefusal as refusal:
        return refusal.message
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        return error.strerror or str(error)
    return ""


def _refusal(disk: Disk, parent: int) -> str:
    """What trying shows; "" when it works."""
    try:
        _try(disk, parent)
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        return _REFUSALS[error.errno]
    return ""


def _try(disk: Disk, parent: int) -> None:
    one, other = set_names.PROBE
    try:
        for name in set_names.PROBE:
            stage.remove_set(disk, parent, name)
            disk.make_directory(parent, name)
        disk.exchange(parent, one, other)
    finally:
        for name in set_names.PROBE:
            stage.remove_set(disk, parent, name)


def _why_not(parent: int) -> str:
    """What the live directory itself shows; "" when nothing speaks against it, or there is none."""
    try:
        with files.opened(set_names.LIVE, parent) as live:
            if _is_mount_point(live, parent):
                return "share/sslcert/cm is a mount point"
            kind = _NAMES.get(syscalls.file_system_type(live))
    except FileNotFoundError:
        return ""
    return f"share/sslcert/cm lies on {kind}, where exchanging directories is not certain" if kind else ""


def _is_immutable(parent: int) -> bool:
    """Directories beside it can be exchanged all the same, it cannot (EPERM)."""
    try:
        with files.opened(set_names.LIVE, parent) as live:
            return syscalls.is_immutable(live)
    except FileNotFoundError:
        return False


def _is_mount_point(live: int, parent: int) -> bool:
    """By mount ids: device numbers would miss bind mounts of the same file system, and take a btrfs
    subvolume, which can be exchanged, for a mount. Where no id is told nothing is claimed."""
    one, other = syscalls.mount_id(live), syscalls.mount_id(parent)
    return None not in (one, other) and one != other
