"""A recording of system calls as operations on a disk, relative to its root. What is not understood fails
loudly: a harness that overlooks a change would prove nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from support.strace import Call


@dataclass(frozen=True)
class Op:
    """One operation."""

    kind: str
    """create write overwrite sync mkdir remove rename exchange link chmod stamp truncate ack"""
    path: str = ""
    other: str = ""
    """Of rename and exchange: the new name. Of link: what it says. Of ack: the step."""
    body: bytes = b""
    mode: int = 0
    flags: str = ""
    at: int = 0
    """Of overwrite: where it begins."""

    def __str__(self) -> str:
        return " ".join(part for part in (self.kind, self.path, self.other) if part)


def operations(calls: Iterable[Call], root: Path) -> list[Op]:
    """All of them, in order."""
    return [_OPERATIONS[call.name](call, str(root.resolve())) for call in calls]


def _relative(path: str, root: str) -> str:
    return path.removeprefix(root).strip("/")


def _at(call: Call, root: str, first: int = 0) -> str:
    """A path told as a directory and a name in it, or as one that is absolute."""
    kind, body = call.words[first]
    text = body.decode(errors="surrogateescape")
    if kind == "fd" and first + 1 < len(call.words):
        name = call.words[first + 1][1].decode(errors="surrogateescape")
        return _relative(name if name.startswith("/") else f"{text}/{name}", root)
    return _relative(text, root)


def _opened(call: Call, root: str) -> Op:
    if "O_CREAT" not in call.flags:
        return Op("truncate", _at(call, root))
    found = re.search(r", 0([0-7]+)$", call.flags)
    assert found, call.flags
    return Op("create", _at(call, root), mode=int(found[1], 8), flags=call.flags)


def _written(call: Call, root: str) -> Op:
    if call.flags.startswith("1<"):
        return Op("ack", other=call.words[-1][1].decode().split()[-1])
    return Op(
        "write", _at(call, root, 0) if len(call.words) == 1 else _fd(call, root), body=call.words[-1][1]
    )


def _overwritten(call: Call, root: str) -> Op:
    """One that takes the place of bytes that are there; `Recorder` sees to it that it does."""
    found = re.search(r", (\d+), (\d+)$", call.flags)
    assert found, call.flags
    body = call.words[-1][1]
    assert int(found[1]) == len(body), call.flags
    return Op("overwrite", _fd(call, root), body=body, at=int(found[2]))


def _fd(call: Call, root: str) -> str:
    return _relative(call.words[0][1].decode(errors="surrogateescape"), root)


def _renamed(call: Call, root: str) -> Op:
    old, new = (_at(call, root, 0), _at(call, root, 2)) if len(call.words) == 4 else _two(call, root)
    return Op("exchange" if "RENAME_EXCHANGE" in call.flags else "rename", old, new)


def _two(call: Call, root: str) -> tuple[str, str]:
    old, new = (_relative(body.decode(errors="surrogateescape"), root) for _, body in call.words)
    return old, new


def _linked(call: Call, root: str) -> Op:
    return Op("link", _at(call, root, 1), other=call.words[0][1].decode())


def _mode(call: Call) -> int:
    found = re.search(r", 0([0-7]+)", call.flags)
    assert found, call.flags
    return int(found[1], 8)


_OPERATIONS: Final[dict[str, Callable[[Call, str], Op]]] = {
    "openat": _opened,
    "write": _written,
    "pwrite64": _overwritten,
    "fsync": lambda call, root: Op("sync", _fd(call, root)),
    "fdatasync": lambda call, root: Op("sync", _fd(call, root)),
    "mkdirat": lambda call, root: Op("mkdir", _at(call, root), mode=_mode(call)),
    "unlinkat": lambda call, root: Op("remove", _at(call, root)),
    "unlink": lambda call, root: Op("remove", _at(call, root)),
    "renameat": _renamed,
    "renameat2": _renamed,
    "rename": _renamed,
    "symlinkat": _linked,
    "fchmod": lambda call, root: Op("chmod", _fd(call, root), mode=_mode(call)),
    "fchown": lambda call, root: Op("chmod", _fd(call, root), mode=-1),
    "utimensat": lambda call, root: Op("stamp", _fd(call, root)),
    "ftruncate": lambda call, root: Op("truncate", _fd(call, root)),
}
