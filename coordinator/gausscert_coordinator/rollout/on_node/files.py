"""Files as an agent wants them: for their owner alone before they have content, durable, replaced whole."""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import shutil
import stat
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, Final

from gausscert_coordinator.rollout.on_node.running import sharing
from gausscert_coordinator.rollout.on_node.trouble import Trouble

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_CHUNK: Final = 1024 * 1024
_MOST: Final = 1024 * 1024
"""Bytes of a file that is laid ready; agents take far fewer (`agent_toml`), and systemd its lines."""
NEW: Final = ".new"
LOCK: Final = ".lock"
_OTHER_S: Final = 660.0
"""How long another roll-out is waited for: a little longer than its longest step."""
_AGAIN_S: Final = 0.2


@contextmanager
def alone(
    place: Path,
    patience_s: float = _OTHER_S,
    *,
    make: Callable[[], object] = lambda: None,
    pause: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Wait until no other roll-out is at work there, and keep others waiting meanwhile. A step goes on when
    its operator has gone; the one that he repeats it with must not remove what the first is making. A program
    that a step has begun goes on when the step was killed, and holds the lock itself.

    Args:
        place: A directory; where there is none, nobody can be at work in it.
        patience_s: How long.
        make: Makes the directory first where it is needed, also after a removal that was waited for.
        pause: Waits for some seconds.

    Raises:
        Trouble: The other one has not ended, or the file system has no locks.
    """
    deadline = time.monotonic() + patience_s
    while True:
        make()
        descriptor = _opened(place / LOCK)
        if descriptor is None:
            yield
            return
        try:
            _take(descriptor, place, deadline, pause)
            if _is_still_there(descriptor, place / LOCK):
                with sharing(descriptor):
                    yield
                return
        finally:
            os.close(descriptor)


def _opened(lock: Path) -> int | None:
    try:
        return os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        return None


def _is_still_there(descriptor: int, lock: Path) -> bool:
    """A removal that was waited for has taken the file away: who locks that one locks nobody out."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(lock))
    except FileNotFoundError:
        return False


def _take(descriptor: int, place: Path, deadline: float, pause: Callable[[float], None]) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Trouble(
                    "another roll-out is at work on this node",
                    "wait for its end, then run this again; fuser shows what is left of one that was killed",
                    str(place / LOCK),
                ) from None
            pause(_AGAIN_S)
        except OSError as error:  # NFS without its lock daemon, for one
            raise Trouble(
                f"no file can be locked there: {error.strerror}",
                "have that file system lock files, or name another place with directory under [agent]",
                str(place),
            ) from error
        else:
            return


def replace(path: Path, body: bytes, mode: int) -> None:
    """Put a file in its place in one step; 0600 until its content is complete.

    Raises:
        OSError: The file of before is still there.
    """
    fresh = write_beside(path, body, mode)
    os.replace(fresh, path)
    sync_directory(path.parent)


def write_beside(path: Path, body: bytes, mode: int) -> Path:
    """The new file beside the one it is going to replace, durable; what an earlier attempt has left is
    removed."""
    fresh = path.with_name(path.name + NEW)
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, _CREATE, 0o600)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(body)
        opened.flush()
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
    return fresh


def receive(stream: BinaryIO, path: Path, size: int, sha256: str) -> None:
    """A file out of the stream, checked before it has its name.

    Raises:
        Trouble: Fewer bytes came, or others than were announced.
    """
    fresh = path.with_name(path.name + NEW)
    fresh.unlink(missing_ok=True)
    digest, left = hashlib.sha256(), size
    with os.fdopen(os.open(fresh, _CREATE, 0o600), "wb") as opened:
        while left and (chunk := stream.read(min(left, _CHUNK))):
            opened.write(chunk)
            digest.update(chunk)
            left -= len(chunk)
        opened.flush()
        os.fsync(opened.fileno())
    if left or digest.hexdigest() != sha256:
        fresh.unlink()
        raise Trouble("what arrived is not what was sent", "run it again", str(path))
    os.replace(fresh, path)


def digest_of(path: Path) -> str:
    """SHA-256 of a file, hex; "" for what `_small` has nothing of."""
    body = _small(path)
    return "" if body is None else hashlib.sha256(body).hexdigest()


def text_of(path: Path) -> str:
    """A file's; "" for what `_small` has nothing of."""
    return (_small(path) or b"").decode(errors="replace")


def _small(path: Path) -> bytes | None:
    """A file's bytes; None where it cannot be read, is no regular file, or is larger than any that is laid
    ready: whoever puts a named pipe or a link to a device there holds nobody up."""
    try:
        with os.fdopen(os.open(path, _READ), "rb") as opened:
            if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
                return None
            body = opened.read(_MOST + 1)
    except OSError:
        return None
    return body if len(body) <= _MOST else None


def make_directory(path: Path, mode: int, owner: tuple[int, int] | None = None) -> None:
    """Make a directory that is missing; one that is there is left as it is. It has its name only once it has
    its owner: one that was left half made would be left as it is ever after."""
    if os.path.lexists(path):
        return
    fresh = half_made(path)
    if os.path.lexists(fresh):
        fresh.rmdir()  # of an attempt that was cut short; empty
    fresh.mkdir(mode=mode)
    if owner is not None and owner[0] != os.geteuid():
        os.chown(fresh, *owner)
    fresh.chmod(mode)
    fresh.rename(path)
    sync_directory(path.parent)


def half_made(path: Path) -> Path:
    """Where a directory or a link is made before it has its name; one that was cut off stays there."""
    return path.with_name(f".{path.name}{NEW}")


def remove_tree(path: Path) -> bool:
    """Remove a directory with all that is in it; answers whether it was there."""
    if path.is_symlink() or not path.is_dir():
        return False
    shutil.rmtree(path)
    return True


def sync_file_system(path: Path) -> None:
    """Make durable all that is on the file system of a directory (syncfs(2)): thousands of files, one after
    the other, would take as many commits of its journal, and whoever else writes there would wait for each.

    Raises:
        OSError: It could not be written.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))
    finally:
        os.close(descriptor)


def sync_directory(path: Path) -> None:
    """Make durable which names it has."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
