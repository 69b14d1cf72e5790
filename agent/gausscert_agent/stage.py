"""One directory with a set in it: written anew, compared, removed. All names are relative to an open
directory; `set_names` makes them."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from gausscert_common import certset

from gausscert_agent import attributes, files
from gausscert_agent.attributes import Attributes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gausscert_agent.files import Disk

OWNER_BITS: Final = 0o700
"""A file carried over keeps its mode but for group and others, who get nothing in a set (I11)."""

_Open: TypeAlias = tuple[str, int]
"""A directory's name and its descriptor."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a stage is to hold."""

    files: Mapping[str, bytes] = field(repr=False)
    modes: Mapping[str, int]


def write_set(disk: Disk, parent: int, name: str, contents: Contents, like: str | None) -> tuple[str, ...]:
    """Make a directory with a set in it, durable to the last byte when this returns.

    Args:
        disk: Makes the changes.
        parent: The open directory in which sets lie.
        name: The directory; must not exist.
        contents: The files.
        like: The directory whose owner, mode, ACL and label are copied; None if there is none.

    Returns:
        What could not be copied, in words.

    Raises:
        OSError: EEXIST if the directory is there; or as the kernel says.
    """
    disk.make_directory(parent, name)
    written: dict[str, int] = {}
    with files.opened(name, parent) as directory:
        try:
            for file_name, body in sorted(contents.files.items()):
                with files.inside(name):
                    written[file_name] = disk.create(directory, file_name, contents.modes[file_name])
                with files.inside(os.path.join(name, file_name)):
                    disk.write(written[file_name], body)
            left = _copy_attributes(disk, parent, (name, directory), like, written)
            for file_name, descriptor in written.items():
                with files.inside(os.path.join(name, file_name)):
                    disk.sync(descriptor)
        finally:
            for descriptor in written.values():
                os.close(descriptor)
        disk.sync(directory)
    disk.sync(parent)
    return left


def unlike(disk: Disk, parent: int, name: str, other: str) -> tuple[str, ...]:
    """How owner, group, mode, ACL or label of one set differ from what they should be beside another set, in
    words. Raises OSError."""
    with files.opened(name, parent) as one, files.opened(other, parent) as two:
        model = _Model(disk, two, other)
        with files.inside(name):
            directory = attributes.of_directory(disk, one)
            present = _attributes_of_files(disk, one)
        return _unlike(directory, present, model.directory, model.goals(present))


def remove_set(disk: Disk, parent: int, name: str) -> bool:
    """Remove a directory and the files in it; a part of it may be gone already.

    A directory inside it is none of ours and stops the removal, before a file is gone.

    Returns:
        Whether there was something to remove. The parent is not synced.

    Raises:
        OSError: As the kernel says.
    """
    try:
        with files.opened(name, parent) as directory:
            if not os.fstat(directory).st_mode & stat.S_IWUSR:
                disk.set_mode(directory, certset.DIRECTORY_MODE)
            with files.inside(name):
                entries = sorted(os.listdir(directory))
                _require_no_directories(directory, entries)
                for entry in entries:
                    disk.unlink(directory, entry)
    except FileNotFoundError:
        return False
    disk.remove_directory(parent, name)
    return True


def _require_no_directories(directory: int, entries: Iterable[str]) -> None:
    for entry in entries:
        if stat.S_ISDIR(os.stat(entry, dir_fd=directory, follow_symlinks=False).st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), entry)


class _Model:
    """A directory with a set that another one is to be like.

    Args:
        disk: Reads attributes.
        descriptor: The open directory.
        name: Its name, for errors.
    """

    def __init__(self, disk: Disk, descriptor: int, name: str) -> None:
        with files.inside(name):
            self.directory = attributes.of_directory(disk, descriptor)
            self._files = _attributes_of_files(disk, descriptor)

    def goals(self, present: Mapping[str, Attributes]) -> dict[str, Attributes]:
        """What files should have: what their namesakes have; the directory's owner where there are none (or
        links), and what the kernel has given them else."""
        own = self.directory
        return {
            name: self._files.get(name, Attributes(own.uid, own.gid, had.mode, had.extended))
            for name, had in present.items()
        }


def _copy_attributes(
    disk: Disk, parent: int, made: _Open, like: str | None, written: Mapping[str, int]
) -> tuple[str, ...]:
    if like is None:
        return ()
    name_made, directory = made
    with files.opened(like, parent) as descriptor:
        model = _Model(disk, descriptor, like)
    with files.inside(name_made):
        present = {name: attributes.of_file(disk, file) for name, file in written.items()}
        goals = model.goals(present)
        for name, file in written.items():
            attributes.copy(disk, file, present[name], goals[name])
        attributes.copy(disk, directory, attributes.of_directory(disk, directory), model.directory)
        made_files = {name: attributes.of_file(disk, file) for name, file in written.items()}
        return _unlike(attributes.of_directory(disk, directory), made_files, model.directory, goals)


def _unlike(
    directory: Attributes,
    present: Mapping[str, Attributes],
    wanted: Attributes,
    goals: Mapping[str, Attributes],
) -> tuple[str, ...]:
    found = list(attributes.unlike(directory, wanted, mode=True))
    for name in sorted(present):
        found.extend(f"{name}: {what}" for what in attributes.unlike(present[name], goals[name], mode=False))
    return tuple(found)


def _attributes_of_files(disk: Disk, directory: int) -> dict[str, Attributes]:
    found = {}
    for entry in files.entries(directory):
        if entry.is_file(follow_symlinks=False):
            with files.opened_file(directory, entry.name) as descriptor:
                found[entry.name] = attributes.of_file(disk, descriptor)
    return found
