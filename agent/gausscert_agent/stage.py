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


def unlike(parent: int, name: str, other: str) -> tuple[str, ...]:
    """How owner, mode, ACL or label of one set differ from another's, in words. Raises OSError."""
    with files.opened(name, parent) as one, files.opened(other, parent) as two:
        return _unlike((name, one), (other, two))


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


def _copy_attributes(
    disk: Disk, parent: int, made: _Open, like: str | None, written: Mapping[str, int]
) -> tuple[str, ...]:
    """A new file takes the owner of its namesake, or of the directory if there is none (or a link)."""
    if like is None:
        return ()
    name_made, directory = made
    with files.opened(like, parent) as model:
        with files.inside(like):
            goal = attributes.of_directory(model)
            present = {name: attributes.of_file(descriptor) for name, descriptor in written.items()}
            goals = {name: _goal_of_file(model, name, goal, had) for name, had in present.items()}
        with files.inside(name_made):
            for name, descriptor in written.items():
                attributes.copy(disk, descriptor, present[name], goals[name])
            attributes.copy(disk, directory, attributes.of_directory(directory), goal)
        return _unlike(made, (like, model))


def _goal_of_file(
    model: int, name: str, of_directory: attributes.Attributes, present: attributes.Attributes
) -> attributes.Attributes:
    if not (files.exists(model, name) and files.is_regular(model, name)):
        return attributes.Attributes(of_directory.uid, of_directory.gid, present.mode, present.extended)
    with files.opened_file(model, name) as descriptor:
        return attributes.of_file(descriptor)


def _unlike(one: _Open, other: _Open) -> tuple[str, ...]:
    found = list(
        attributes.unlike(attributes.of_directory(one[1]), attributes.of_directory(other[1]), mode=True)
    )
    left, right = _attributes_of_files(one), _attributes_of_files(other)
    for name in sorted(left.keys() & right.keys()):
        found.extend(f"{name}: {what}" for what in attributes.unlike(left[name], right[name], mode=False))
    return tuple(found)


def _attributes_of_files(opened: _Open) -> dict[str, attributes.Attributes]:
    name, directory = opened
    found = {}
    with files.inside(name):
        for entry in files.entries(directory):
            if not entry.is_file(follow_symlinks=False):
                continue
            descriptor = files.open_file(directory, entry.name)
            try:
                found[entry.name] = attributes.of_file(descriptor)
            finally:
                os.close(descriptor)
    return found
