"""New files that nobody else may read: created 0400, durable, never over anything that is there."""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from gausscert_common.errors import InvalidInput, Reason

from gausscert_coordinator import regular_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FILE_MODE: Final = 0o400
DIRECTORY_MODE: Final = 0o700
_SEE_TO: Final = "see to space and permissions there, then run it again"
_NAME_ANOTHER: Final = "name another one, or move it away"
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def make_directory(directory: Path) -> None:
    """Make a directory with mode 0700, or take one that nobody else may write to.

    Raises:
        InvalidInput: ARGUMENT_INVALID: its parent is missing, it is no directory, or others may write to it.
    """
    try:
        os.mkdir(directory, DIRECTORY_MODE)
    except FileExistsError:
        pass
    except FileNotFoundError:
        cause = "the directory cannot be made: its parent is missing"
        raise _refused(directory, cause, f"mkdir -p {directory.parent}, or name another one") from None
    except OSError as error:
        raise _refused(directory, f"the directory cannot be made: {error.strerror}", _SEE_TO) from None
    else:
        sync_directory(directory.parent)
    require_closed(directory)


def require_closed(directory: Path) -> None:
    """Refuse what is no directory, and one that others may write to.

    Raises:
        InvalidInput: ARGUMENT_INVALID.
    """
    try:
        status = os.stat(directory)
    except OSError as error:
        raise _refused(directory, f"it cannot be looked at: {error.strerror}", _NAME_ANOTHER) from None
    if not stat.S_ISDIR(status.st_mode):
        raise _refused(directory, "it is no directory", _NAME_ANOTHER)
    if stat.S_IMODE(status.st_mode) & 0o022:
        raise _refused(directory, "others may write to this directory", f"chmod 0700 {directory}")


def write_new(files: Mapping[Path, bytes], shared: Mapping[Path, bytes] | None = None) -> None:
    """Write all of them, or none.

    Args:
        files: None of them may exist.
        shared: May exist with the very same content, and is then left alone.

    Raises:
        InvalidInput: ARGUMENT_INVALID: something is there already, or cannot be written.
    """
    wanted = dict(files)
    for path, body in (shared or {}).items():
        if not os.path.exists(path):
            wanted[path] = body
        elif _body(path) != body:
            raise _refused(path, "another file of this name is there", "use an empty directory")
    for path in files:
        if os.path.lexists(path):
            raise _refused(path, "it is there already, and nothing is ever written over", "move it away")
    _create_all(wanted)


def _body(path: Path) -> bytes:
    try:
        return regular_files.read(path)
    except OSError as error:
        raise _refused(
            path, f"it is there and cannot be read: {error.strerror}", "use an empty directory"
        ) from None


def replace_private(path: Path, body: bytes) -> None:
    """Write a file anew that nobody else may read; whoever reads it meanwhile sees the former or the new one.

    Raises:
        InvalidInput: ARGUMENT_INVALID: it cannot be written.
    """
    new = path.with_name(f"{path.name}.new")
    try:
        new.unlink(missing_ok=True)
        _create(new, body, [], 0o600)
        os.replace(new, path)
        sync_directory(path.parent)
    except OSError as error:
        raise _refused(path, f"it cannot be written: {error.strerror}", _SEE_TO) from None


def rename(path: Path, new: Path) -> None:
    """Give a file another name in the same directory, durably; success where somebody else has done so.

    Raises:
        InvalidInput: ARGUMENT_INVALID: the directory cannot be written.
    """
    try:
        with suppress(FileNotFoundError):
            os.rename(path, new)
        sync_directory(path.parent)
    except OSError as error:
        raise _refused(path, f"it cannot be renamed: {error.strerror}", _SEE_TO) from None


@contextmanager
def alone_in(directory: Path) -> Iterator[None]:
    """Wait until nobody else is at it who also asks; given back by whatever end the process has.

    Raises:
        InvalidInput: ARGUMENT_INVALID: it cannot be opened.
    """
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _refused(directory, f"it cannot be opened: {error.strerror}", _SEE_TO) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _create_all(files: Mapping[Path, bytes]) -> None:
    made: list[Path] = []
    try:
        for path, body in files.items():
            _create(path, body, made)
        for directory in {path.parent for path in files}:
            sync_directory(directory)
    except (OSError, KeyboardInterrupt) as error:
        for each in made:
            each.unlink()
        if isinstance(error, KeyboardInterrupt):
            raise
        raise _refused(path, f"it cannot be written: {error.strerror}", _SEE_TO) from None


def _create(path: Path, body: bytes, made: list[Path], mode: int = FILE_MODE) -> None:
    descriptor = os.open(path, _CREATE, mode)
    made.append(path)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(body)
        opened.flush()
        os.fsync(opened.fileno())


def sync_directory(directory: Path) -> None:
    """Make durable which names it has.

    Raises:
        OSError: It cannot be opened or synchronised.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refused(path: Path, message: str, remedy: str) -> InvalidInput:
    return InvalidInput(Reason.ARGUMENT_INVALID, message, file=str(path), remedy=remedy)
