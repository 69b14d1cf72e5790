"""The data link layout, for where two directories cannot be exchanged: `cm` stays, and what is in it are
links through `..data`, whose replacement by one rename swaps the whole set. Kubernetes mounts secrets in
this way; cm_server starts with it and serves the new set (facts section 17).

Every function takes the open `cm`. Each step leaves what is seen there as it is, but for `point`; and
every link is durable under another name before it takes the place of anything.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Final

from gausscert_agent import files, set_names, set_on_disk, stage
from gausscert_agent.set_on_disk import is_link_of_set, link_text, linked
from gausscert_agent.stage import Contents

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gausscert_agent.files import Disk
    from gausscert_agent.set_on_disk import SetOnDisk

_SELF: Final = "."


def convert(disk: Disk, directory: int, live: SetOnDisk, *, needed: str = "") -> tuple[str, ...]:
    """Make everything of the live set a link through `..data`; nothing where that is so already.

    Args:
        disk: Makes the changes.
        directory: The open `cm`.
        live: What is seen in it, without strays.
        needed: A name that is needed for a stage: what is live must have another one. A request that was
            cut short after its swap and is repeated finds its stage live.

    Returns:
        What of owner, mode, ACL or label could not be copied, in words; then nothing was made a link.

    Raises:
        OSError: As the kernel says.
    """
    target = linked(directory)
    if target == needed or not _holds(directory, target, live):
        name = set_names.former_name(live.digest)
        different = _write_former(disk, directory, name, live)
        if different:
            return different
        point(disk, directory, name)
        disk.sync(directory)
    _replace_by_links(
        disk, directory, [name for name in sorted(live.files) if not is_link_of_set(directory, name)]
    )
    return ()


def is_converted(directory: int, live: SetOnDisk) -> bool:
    """Whether all of the live set is seen through links. Raises OSError."""
    return _holds(directory, linked(directory), live) and all(
        is_link_of_set(directory, name) for name in live.files
    )


def add_links(disk: Disk, directory: int, names: Iterable[str]) -> None:
    """Links for files that only another set has: they lead nowhere until that one is live. Raises OSError."""
    _replace_by_links(disk, directory, [name for name in sorted(names) if not files.exists(directory, name)])


def point(disk: Disk, directory: int, name: str) -> None:
    """Make the set of one directory live, at one instant; durable after a sync. Raises OSError."""
    _remove_link(disk, directory, set_names.NEW_DATA)
    disk.link(directory, name, set_names.NEW_DATA)
    disk.sync(directory)
    disk.replace(directory, set_names.NEW_DATA, set_names.DATA)


def find(directory: int, digest: str, first: str) -> str | None:
    """A directory that holds a set and is not retired; `first` is looked at first. Raises OSError."""
    names = sorted(_set_directories(directory), key=lambda name: (name != first, name))
    return next((name for name in names if set_on_disk.digest_of(directory, name) == digest), None)


def not_live(directory: int) -> list[str]:
    """The directories that hold a set which is neither live nor retired. Raises OSError."""
    live = linked(directory)
    return [name for name in _set_directories(directory) if name != live]


def tidy(disk: Disk, directory: int) -> None:
    """Remove links that lead nowhere and what a probe or conversion that was cut short has left; nothing in
    flight may need it. Not durable. Raises OSError."""
    target = linked(directory)
    for name in sorted(os.listdir(directory)):
        if set_names.may_precede_links(name) and name != target:
            stage.remove_set(disk, directory, name)
        elif set_names.is_passing_link(name):
            _remove_link(disk, directory, name)
        elif is_link_of_set(directory, name) and not (target and _leads_somewhere(directory, target, name)):
            disk.unlink(directory, name)


def probe(disk: Disk, directory: int) -> None:
    """Try all that a swap needs, with names that nobody else uses. Raises OSError."""
    one, other = set_names.PROBE_LINKS
    place = set_names.PROBE[0]
    try:
        _remove_probe(disk, directory)
        disk.make_directory(directory, place)
        disk.link(directory, place, one)
        disk.link(directory, place, other)
        disk.replace(directory, other, one)
        disk.sync(directory)
    finally:
        _remove_probe(disk, directory)


def _set_directories(directory: int) -> list[str]:
    names = sorted(name for name in os.listdir(directory) if set_names.is_set(name))
    return [name for name in names if stat.S_ISDIR(_status(directory, name).st_mode)]


def _status(directory: int, name: str) -> os.stat_result:
    return os.stat(name, dir_fd=directory, follow_symlinks=False)


def _holds(directory: int, name: str | None, live: SetOnDisk) -> bool:
    found = None if name is None else set_on_disk.read_set(directory, name)
    return found is not None and found.files == live.files


def _write_former(disk: Disk, directory: int, name: str, live: SetOnDisk) -> tuple[str, ...]:
    """A copy of what is live under a name made of its digest: whatever is there under that name and is
    live has been that set; whatever is not live is a copy cut short."""
    if linked(directory) == name:
        raise OSError(errno.EEXIST, "holds another set than the one it was made for", name)
    stage.remove_set(disk, directory, name)
    modes = {file: mode & stage.OWNER_BITS for file, mode in live.modes.items()}
    return stage.write_set(disk, directory, name, Contents(live.files, modes), _SELF)


def _replace_by_links(disk: Disk, directory: int, names: list[str]) -> None:
    if not names:
        return
    for name in names:
        _remove_link(disk, directory, set_names.NEW_LINK + name)
        disk.link(directory, link_text(name), set_names.NEW_LINK + name)
    disk.sync(directory)
    for name in names:
        disk.replace(directory, set_names.NEW_LINK + name, name)
    disk.sync(directory)


def _leads_somewhere(directory: int, target: str, name: str) -> bool:
    return files.exists(directory, os.path.join(target, name))


def _remove_link(disk: Disk, directory: int, name: str) -> None:
    if set_on_disk.link_target(directory, name) is not None:
        disk.unlink(directory, name)


def _remove_probe(disk: Disk, directory: int) -> None:
    for name in set_names.PROBE_LINKS:
        _remove_link(disk, directory, name)
    stage.remove_set(disk, directory, set_names.PROBE[0])
