"""The data link layout, for where two directories cannot be exchanged: `cm` stays, and what is in it are
links through `..data`, whose replacement by one rename swaps the whole set. Kubernetes mounts secrets in
this way; cm_server starts with it and serves the new set (facts section 17).

Every function takes the open `cm`. Each step leaves what is seen there as it is, but for `point`; and
every link is durable under another name before it takes the place of anything.
"""

from __future__ import annotations

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
    """Make everything of the live set a link through `..data`; nothing where that is so already. Durable
    after a sync; what a power cut leaves before it shows the same set.

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
    plain = [name for name in sorted(live.files) if not is_link_of_set(directory, name)]
    target = linked(directory)
    if target == needed or not _holds(directory, target, live):
        name = _free_name(directory, live.digest)
        _make_link(disk, directory, set_names.NEW_DATA, name)
        _make_links(disk, directory, plain)
        # Its own sync of the directory makes the links durable, too.
        different = _write_former(disk, directory, name, live)
        if different:
            return different
        disk.replace(directory, set_names.NEW_DATA, set_names.DATA)
        disk.sync(directory)
    elif plain:
        _make_links(disk, directory, plain)
        disk.sync(directory)
    for name in plain:
        disk.replace(directory, set_names.NEW_LINK + name, name)
    return ()


def is_converted(directory: int, live: SetOnDisk) -> bool:
    """Whether all of the live set is seen through links. Raises OSError."""
    return _holds(directory, linked(directory), live) and all(
        is_link_of_set(directory, name) for name in live.files
    )


def add_links(disk: Disk, directory: int, names: Iterable[str]) -> bool:
    """Links for files that only another set has: they lead nowhere until that one is live. Durable after a
    sync.

    Returns:
        Whether there were any to make.

    Raises:
        OSError: As the kernel says.
    """
    missing = [name for name in sorted(names) if not files.exists(directory, name)]
    for name in missing:
        disk.link(directory, link_text(name), name)
    return bool(missing)


def point(disk: Disk, directory: int, name: str, *, unsynced: bool = False) -> None:
    """Make the set of one directory live, at one instant; durable after a sync.

    Args:
        disk: Makes the changes.
        directory: The open `cm`.
        name: The directory with the set.
        unsynced: There are links that a power cut must not take away once that set is live.

    Raises:
        OSError: As the kernel says.
    """
    links = (set_names.NEW_DATA, set_names.BACK_DATA)
    ready = next((link for link in links if set_on_disk.link_target(directory, link) == name), None)
    if ready is None:
        ready, unsynced = set_names.NEW_DATA, True
        _make_link(disk, directory, ready, name)
    if unsynced:
        disk.sync(directory)
    disk.replace(directory, ready, set_names.DATA)


def make_ready(disk: Disk, directory: int, name: str) -> None:
    """Have the links for the way to a set and back ready: there may be no room for one later. Durable after a
    sync. Raises OSError."""
    _make_link(disk, directory, set_names.NEW_DATA, name)
    former = linked(directory)
    if former is not None:
        _make_link(disk, directory, set_names.BACK_DATA, former)


def find(directory: int, digest: str, first: str) -> tuple[str, SetOnDisk] | None:
    """A directory with a set of that digest that is not retired; `first` is tried first. Raises OSError."""
    for name in sorted(_set_directories(directory), key=lambda name: (name != first, name)):
        found = set_on_disk.read_set(directory, name)
        if found is not None and found.digest == digest:
            return name, found
    return None


def not_live(directory: int) -> list[str]:
    """The directories that hold a set which is neither live nor retired. Raises OSError."""
    live = linked(directory)
    return [name for name in _set_directories(directory) if name != live]


def tidy(disk: Disk, directory: int) -> None:
    """Remove links that lead nowhere and what a probe or conversion that was cut short has left; nothing in
    flight may need it. Not durable. Raises OSError.

    Where `..data` leads nowhere, or there are links and no `..data`, somebody has taken away what they lead
    to, and what is there may be all that is left: then nothing is removed.
    """
    target = linked(directory)
    names = sorted(os.listdir(directory))
    links = [name for name in names if is_link_of_set(directory, name)]
    if links and not (target and _is_directory(directory, target)):
        return
    for name in names:
        if set_names.may_precede_links(name) and name != target and _is_directory(directory, name):
            stage.remove_set(disk, directory, name)
        elif set_names.is_passing_link(name):
            _remove_link(disk, directory, name)
    for name in links:
        if target and not files.exists(directory, os.path.join(target, name)):
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
    return [name for name in names if _is_directory(directory, name)]


def _is_directory(directory: int, name: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def _holds(directory: int, name: str | None, live: SetOnDisk) -> bool:
    found = None if name is None else set_on_disk.read_set(directory, name)
    return found is not None and found.files == live.files


def _free_name(directory: int, digest: str) -> str:
    """A name for what is live, made of its digest; another one where `..data` names that already: somebody
    has written through the links into what was made for another set."""
    name = set_names.former_name(digest)
    return name if linked(directory) != name else set_names.former_name(digest[::-1])


def _write_former(disk: Disk, directory: int, name: str, live: SetOnDisk) -> tuple[str, ...]:
    """A copy of what is live. What is there under that name is not live: a copy cut short."""
    stage.remove_set(disk, directory, name)
    modes = {file: mode & stage.OWNER_BITS for file, mode in live.modes.items()}
    return stage.write_set(disk, directory, name, Contents(live.files, modes), _SELF)


def _make_links(disk: Disk, directory: int, names: Iterable[str]) -> None:
    """Links under names of their own, to take the places of files once they are durable."""
    for name in names:
        _make_link(disk, directory, set_names.NEW_LINK + name, link_text(name))


def _make_link(disk: Disk, directory: int, name: str, target: str) -> None:
    _remove_link(disk, directory, name)
    disk.link(directory, target, name)


def _remove_link(disk: Disk, directory: int, name: str) -> None:
    if set_on_disk.link_target(directory, name) is not None:
        disk.unlink(directory, name)


def _remove_probe(disk: Disk, directory: int) -> None:
    for name in set_names.PROBE_LINKS:
        _remove_link(disk, directory, name)
    stage.remove_set(disk, directory, set_names.PROBE[0])
