"""Reads sets. A set is read through one descriptor, so that a swap meanwhile is not seen by halves.

The live set may lie in `cm` itself or be seen there through links (the data link layout, as Kubernetes
mounts secrets): `cm/server.key` -> `..data/server.key`, and `..data` -> the one directory that is live.
"""

from __future__ import annotations

import errno
import operator
import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from gausscert_common import certset
from gausscert_common.errors import NodeRefusal, Reason

from gausscert_agent import files, set_names

if TYPE_CHECKING:
    from collections.abc import Callable

_NAME: Final = operator.attrgetter("name")
_OF_CM: Final = frozenset(certset.NAMES + certset.CRL_NAMES)
_READS: Final = 3
"""How often a directory that changes under the reader is read; swaps are minutes apart."""


@dataclass(frozen=True, slots=True)
class SetOnDisk:
    """What one directory holds. A repr never shows a key."""

    files: dict[str, bytes] = field(repr=False)
    """Regular files by name."""
    modes: dict[str, int]
    """Permission bits by the same names."""
    strays: tuple[str, ...] = ()
    """Entries that cannot belong to a set: links, directories, files above `certset.MAX_FILE_BYTES`, files
    CM does not read and we may not, names of the layout's own, names that are no UTF-8 (told with
    backslashes)."""

    @property
    def digest(self) -> str:
        """The digest of the set."""
        return certset.digest(self.files)


def read_set(parent: int, name: str) -> SetOnDisk | None:
    """Read a directory.

    What is swapped out may be removed at once: a directory that no longer has its name after it was read
    may have been read by halves, and one file of it may have vanished. Then it is read again.

    Returns:
        None if there is no entry of that name.

    Raises:
        NodeRefusal: NODE_UNFIT; the entry is not a directory.
        OSError: It cannot be read; EBUSY: it does not stay the same for long enough.
    """
    return _read_steady(parent, name, _read)


def read_live(parent: int) -> SetOnDisk | None:
    """Read the live set, through its links where it has any; as `read_set`."""
    return _read_steady(parent, set_names.LIVE, read_through)


def read_through(directory: int) -> SetOnDisk:
    """What CM sees in an open `cm`; a link that leads nowhere is no file for it either. Raises OSError."""
    entries = {entry.name: entry for entry in files.entries(directory) if not _is_ours(directory, entry.name)}
    links = [
        name for name, entry in entries.items() if entry.is_symlink() and is_link_of_set(directory, name)
    ]
    plain = _read_entries(directory, [entry for name, entry in entries.items() if name not in links])
    if not links:
        return plain
    behind = _read_behind(directory, links)
    return SetOnDisk(plain.files | behind.files, plain.modes | behind.modes, plain.strays + behind.strays)


def read_seen(directory: int) -> SetOnDisk:
    """`read_through`, again where a probe or a swap of another thread gets in between.

    Raises OSError; EBUSY: it does not stay the same for long enough.
    """
    for _ in range(_READS):
        before = linked(directory)
        try:
            found = read_through(directory)
        except FileNotFoundError:
            continue
        if linked(directory) == before:
            return found
    raise OSError(errno.EBUSY, "changes while it is read", set_names.LIVE)


def digest_of(parent: int, name: str) -> str:
    """The digest of the set in a directory, `certset.ABSENT` if there is none; raises as `read_set`."""
    found = read_set(parent, name)
    return certset.ABSENT if found is None else found.digest


def linked(directory: int) -> str | None:
    """The directory that `..data` names in an open `cm`; None where there is no such link of ours.

    Raises OSError.
    """
    target = link_target(directory, set_names.DATA)
    return target if target is not None and set_names.is_set(target) else None


def link_target(directory: int, name: str) -> str | None:
    """What a link says; None where there is none. Raises OSError."""
    try:
        return os.readlink(name, dir_fd=directory)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.EINVAL:  # no link (readlink(2))
            return None
        raise


def is_link_of_set(directory: int, name: str) -> bool:
    """Whether an entry of `cm` is the link through which a file of the set is seen. Raises OSError."""
    return link_target(directory, name) == link_text(name)


def link_text(name: str) -> str:
    """What that link says."""
    return f"{set_names.DATA}/{name}"


def _read_steady(parent: int, name: str, read: Callable[[int], SetOnDisk]) -> SetOnDisk | None:
    for _ in range(_READS):
        directory = _open_set(parent, name)
        if directory is None:
            return None
        try:
            with files.inside(name):
                before = linked(directory)
                found = read(directory)
                same = linked(directory) == before
            if same and _still_is(parent, name, directory):
                return found
        except FileNotFoundError:
            continue
        finally:
            os.close(directory)
    raise OSError(errno.EBUSY, "changes while it is read", name)


def _open_set(parent: int, name: str) -> int | None:
    try:
        return os.open(name, files.OPEN_DIRECTORY, dir_fd=parent)
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        raise NodeRefusal(
            Reason.NODE_UNFIT,
            "is not a directory of its own",
            file=name,
            remedy="replace the link or file by a directory that holds the set",
        ) from None


def _still_is(parent: int, name: str, directory: int) -> bool:
    try:
        return os.path.samestat(os.stat(name, dir_fd=parent, follow_symlinks=False), os.fstat(directory))
    except FileNotFoundError:
        return False


def _read_behind(directory: int, links: list[str]) -> SetOnDisk:
    """Links without a `..data` to lead through are of nobody knows what."""
    target = linked(directory)
    if target is None:
        return SetOnDisk({}, {}, tuple(sorted(map(files.printable, links))))
    try:
        with files.opened(target, directory) as behind, files.inside(target):
            return _read_entries(behind, [entry for entry in files.entries(behind) if entry.name in links])
    except FileNotFoundError:
        return SetOnDisk({}, {})


def _is_ours(directory: int, name: str) -> bool:
    """Whether an entry of `cm` belongs to the layout and not to the set."""
    if not name.startswith("."):
        return False
    if name == set_names.DATA:
        return linked(directory) is not None
    if set_names.may_precede_links(name) or (name.startswith(set_names.PREFIX) and linked(directory)):
        return stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)
    if set_names.is_passing_link(name):
        return link_target(directory, name) is not None
    return False


def _read(directory: int) -> SetOnDisk:
    return _read_entries(directory, files.entries(directory))


def _read_entries(directory: int, entries: list[os.DirEntry[str]]) -> SetOnDisk:
    bodies: dict[str, bytes] = {}
    modes: dict[str, int] = {}
    strays: list[str] = []
    for entry in sorted(entries, key=_NAME):
        name = entry.name
        found = None
        if _may_be_of_a_set(name) and entry.is_file(follow_symlinks=False):
            found = _read_file(directory, name)
        if found is None:
            strays.append(files.printable(name))
        else:
            bodies[name], modes[name] = found
    return SetOnDisk(bodies, modes, tuple(strays))


def _may_be_of_a_set(name: str) -> bool:
    return name in _OF_CM or (files.printable(name) == name and not set_names.is_reserved(name))


def _read_file(directory: int, name: str) -> tuple[bytes, int] | None:
    """Content and mode; None if it cannot belong to a set."""
    try:
        descriptor = files.open_file(directory, name)
    except PermissionError:
        # What CM reads must be readable for us, too; what somebody else put beside it is his.
        if name in _OF_CM:
            raise
        return None
    try:
        status = os.fstat(descriptor)
        body = os.read(descriptor, min(status.st_size, certset.MAX_FILE_BYTES) + 1)
        if len(body) != status.st_size:  # it is written just now, or too long
            body += files.read_all(descriptor, certset.MAX_FILE_BYTES + 1 - len(body))
    finally:
        os.close(descriptor)
    return None if len(body) > certset.MAX_FILE_BYTES else (body, stat.S_IMODE(status.st_mode))
