"""One directory with a set in it: read, written anew, removed. All names are relative to the open
`share/sslcert`, and all of them are made here:

    cm                          the live set
    .cm.<transaction id>        the stage; after the exchange it holds the former set
    .cm.<id>.encrypt            where cm_ctl encrypt writes, for a moment
    .cm.retired.<id>            a former set kept for rollback
    .cm.<id>.gone               a former set that is being removed
    .cm.probe.one, .cm.probe.two    empty, while a probe runs

Hidden siblings do not disturb cm_server or cm_ctl (facts section 17).
"""

from __future__ import annotations

import errno
import os
import re
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from gausscert_common import certset
from gausscert_common.errors import InvalidInput, NodeRefusal, Reason

from gausscert_agent import attributes, files

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gausscert_agent.files import Disk

LIVE: Final = "cm"
PROBE: Final = (".cm.probe.one", ".cm.probe.two")

_ID: Final = re.compile(r"[a-z0-9-]{8,64}")
_RETIRED: Final = ".cm.retired."
_GONE: Final = ".gone"
_READS: Final = 3
"""How often a directory that changes under the reader is read; exchanges are minutes apart."""

_Open: TypeAlias = tuple[str, int]
"""A directory's name and its descriptor."""


@dataclass(frozen=True, slots=True)
class SetOnDisk:
    """What one directory holds. A repr never shows a key."""

    files: dict[str, bytes] = field(repr=False)
    """Regular files by name."""
    modes: dict[str, int]
    """Permission bits by the same names."""
    strays: tuple[str, ...] = ()
    """Entries that cannot belong to a set: links, directories, files above `certset.MAX_FILE_BYTES`, files
    CM does not read and we may not, names that are no UTF-8 (told with backslashes)."""

    @property
    def digest(self) -> str:
        """The digest of the set."""
        return certset.digest(self.files)


@dataclass(frozen=True, slots=True)
class Contents:
    """What a stage is to hold."""

    files: Mapping[str, bytes] = field(repr=False)
    modes: Mapping[str, int]


def stage_name(transaction_id: str) -> str:
    """The directory name of a transaction's stage.

    Raises:
        InvalidInput: ARGUMENT_INVALID; that is no transaction id.
    """
    return f".cm.{_checked(transaction_id)}"


def scratch_name(transaction_id: str) -> str:
    """Where cm_ctl encrypt writes. Raises InvalidInput ARGUMENT_INVALID."""
    return f".cm.{_checked(transaction_id)}.encrypt"


def retired_name(transaction_id: str) -> str:
    """The directory name of a retired set. Raises InvalidInput ARGUMENT_INVALID."""
    return f"{_RETIRED}{_checked(transaction_id)}"


def generation_of(name: str) -> str | None:
    """The generation whose retired set a directory name stands for, or None."""
    generation = name.removeprefix(_RETIRED)
    return generation if generation != name and _ID.fullmatch(generation) else None


def gone_name(transaction_id: str) -> str:
    """The name of a retired set while it is removed. Raises InvalidInput ARGUMENT_INVALID."""
    return f".cm.{_checked(transaction_id)}{_GONE}"


def is_gone(name: str) -> bool:
    """Whether a directory name stands for a set that is being removed."""
    return name.startswith(".cm.") and name.endswith(_GONE)


def read_set(parent: int, name: str) -> SetOnDisk | None:
    """Read a directory through one descriptor, so that an exchange meanwhile is not seen by halves.

    What is exchanged may be removed at once: a directory that no longer has its name after it was read
    may have been read by halves, and one file of it may have vanished. Then it is read again.

    Returns:
        None if there is no entry of that name.

    Raises:
        NodeRefusal: NODE_UNFIT; the entry is not a directory.
        OSError: It cannot be read; EBUSY: it does not stay the same for long enough.
    """
    for _ in range(_READS):
        directory = _open_set(parent, name)
        if directory is None:
            return None
        try:
            with files.inside(name):
                found = _read(directory)
            if _still_is(parent, name, directory):
                return found
        except FileNotFoundError:
            continue
        finally:
            os.close(directory)
    raise OSError(errno.EBUSY, "changes while it is read", name)


def digest_of(parent: int, name: str) -> str:
    """The digest of the set in a directory, `certset.ABSENT` if there is none; raises as `read_set`."""
    found = read_set(parent, name)
    return certset.ABSENT if found is None else found.digest


def write_set(disk: Disk, parent: int, name: str, contents: Contents, like: str) -> tuple[str, ...]:
    """Make a directory with a set in it, durable to the last byte when this returns.

    Args:
        disk: Makes the changes.
        parent: The open `share/sslcert`.
        name: The directory; must not exist.
        contents: The files.
        like: The directory whose owner, mode, ACL and label are copied, if it exists.

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

    A directory inside it is none of ours and stops the removal.

    Returns:
        Whether there was something to remove. The parent is not synced.

    Raises:
        OSError: As the kernel says.
    """
    try:
        with files.opened(name, parent) as directory:
            if not os.fstat(directory).st_mode & stat.S_IWUSR:
                disk.set_directory_mode(directory, certset.DIRECTORY_MODE)
            with files.inside(name):
                for entry in sorted(os.listdir(directory)):
                    disk.unlink(directory, entry)
    except FileNotFoundError:
        return False
    disk.remove_directory(parent, name)
    return True


def _checked(identifier: str) -> str:
    if not _ID.fullmatch(identifier):
        raise InvalidInput(
            Reason.ARGUMENT_INVALID,
            "an id is 8 to 64 lower-case letters, digits and hyphens",
        )
    return identifier


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


def _read(directory: int) -> SetOnDisk:
    bodies: dict[str, bytes] = {}
    modes: dict[str, int] = {}
    strays: list[str] = []
    for name in sorted(os.listdir(directory)):
        found = None
        if files.printable(name) == name and files.is_regular(directory, name):
            found = _read_file(directory, name)
        if found is None:
            strays.append(files.printable(name))
        else:
            bodies[name], modes[name] = found
    return SetOnDisk(bodies, modes, tuple(strays))


def _read_file(directory: int, name: str) -> tuple[bytes, int] | None:
    """Content and mode; None if it cannot belong to a set."""
    try:
        with files.opened_file(directory, name) as descriptor:
            body = files.read_all(descriptor, certset.MAX_FILE_BYTES + 1)
            mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
    except PermissionError:
        # What CM reads must be readable for us, too; what somebody else put beside it is his.
        if name in certset.NAMES + certset.CRL_NAMES:
            raise
        return None
    return None if len(body) > certset.MAX_FILE_BYTES else (body, mode)


def _copy_attributes(
    disk: Disk, parent: int, made: _Open, like: str, written: Mapping[str, int]
) -> tuple[str, ...]:
    """A new file takes the owner of its namesake, or of the directory if there is none."""
    if not files.exists(parent, like):
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
    if not files.exists(model, name):
        return attributes.Attributes(of_directory.uid, of_directory.gid, present.mode, present.extended)
    with files.opened_file(model, name) as descriptor:
        return attributes.of_file(descriptor)


def _unlike(one: _Open, other: _Open) -> tuple[str, ...]:
    found = list(
        attributes.unlike(attributes.of_directory(one[1]), attributes.of_directory(other[1]), mode=True)
    )
    common = set(os.listdir(one[1])) & set(os.listdir(other[1]))
    left, right = _attributes_of_files(one, common), _attributes_of_files(other, common)
    for name in sorted(left.keys() & right.keys()):
        found.extend(f"{name}: {what}" for what in attributes.unlike(left[name], right[name], mode=False))
    return tuple(found)


def _attributes_of_files(opened: _Open, names: Iterable[str]) -> dict[str, attributes.Attributes]:
    name, directory = opened
    found = {}
    with files.inside(name):
        for entry in names:
            if files.is_regular(directory, entry):
                with files.opened_file(directory, entry) as descriptor:
                    found[entry] = attributes.of_file(descriptor)
    return found
