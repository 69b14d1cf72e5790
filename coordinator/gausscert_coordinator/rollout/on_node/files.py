"""Files as an agent wants them: for their owner alone before they have content, durable, replaced whole."""

from __future__ import annotations

import hashlib
import os
import shutil
from typing import TYPE_CHECKING, BinaryIO, Final

from gausscert_coordinator.rollout.on_node.trouble import Trouble

if TYPE_CHECKING:
    from pathlib import Path

_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK: Final = 1024 * 1024
NEW: Final = ".new"


def replace(path: Path, body: bytes, mode: int) -> None:
    """Put a file in its place in one step; 0600 until its content is complete.

    Raises:
        OSError: The file of before is still there.
    """
    fresh = write_beside(path, body, mode)
    os.replace(fresh, path)
    sync_directory(path.parent)


def write_beside(path: Path, body: bytes, mode: int) -> Path:
    """The new file beside the one it is going to replace; what an earlier attempt has left is removed."""
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
    """SHA-256 of a file, hex; "" where it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def make_directory(path: Path, mode: int, owner: tuple[int, int] | None = None) -> None:
    """Make a directory that is missing; one that is there is left as it is."""
    try:
        path.mkdir(mode=mode)
    except FileExistsError:
        return
    if owner is not None and owner[0] != os.geteuid():
        os.chown(path, *owner)
    path.chmod(mode)
    sync_directory(path.parent)


def remove_tree(path: Path) -> bool:
    """Remove a directory with all that is in it; answers whether it was there."""
    if path.is_symlink() or not path.is_dir():
        return False
    shutil.rmtree(path)
    return True


def sync_directory(path: Path) -> None:
    """Make durable which names it has."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
