"""The states in which a power cut may leave a disk, under two models of what is durable:

    ordered    changes of directories persist in their order (a journal of metadata, as of ext4, xfs, btrfs);
               what was written to a file since its last fsync is there not at all, by half, or whole
    weak       of all that no fsync has covered any subset persists; only a rename is never half done. What a
               link says is lost where it was renamed before it was durable, as the content of a new file is

In both, what is written over bytes that are there already persists in sectors of 512 bytes, any of them, each
of them whole: that is what disks promise. fdatasync covers it as fsync does, for the file keeps its length.

    for state in states(disk, ops, "weak", cap=100): ...
    state.materialise(root)

A disk is a graph of inodes; `step` changes it as the kernel's memory does, and says what each change needs in
order to be durable.
"""

from __future__ import annotations

import itertools
import os
import random
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeAlias

from support.disk_operations import Op

Model = Literal["ordered", "weak"]
SECTOR: Final = 512
MODELS: Final[tuple[Model, ...]] = ("ordered", "weak")
SEED: Final = 7
LOST: Final = "lost"
"""What a link says whose text did not reach the disk."""

Names: TypeAlias = tuple[tuple[int, str, int | None], ...]
"""Entries of directories: (directory, name, inode or None)."""


@dataclass
class Disk:
    """Inodes by number; 0 is the root."""

    directories: dict[int, dict[str, int]] = field(default_factory=lambda: {0: {}})
    files: dict[int, bytes] = field(default_factory=dict)
    links: dict[int, str] = field(default_factory=dict)
    modes: dict[int, int] = field(default_factory=dict)

    @classmethod
    def load(cls, root: Path) -> Disk:
        """What lies below a directory."""
        disk = cls()
        disk._load(0, root)
        return disk

    def copy(self) -> Disk:
        """A copy that can be changed."""
        directories = {number: dict(names) for number, names in self.directories.items()}
        return Disk(directories, dict(self.files), dict(self.links), self.modes)

    def find(self, path: str) -> int:
        """The inode of a path; links on the way are followed, as those to directories are here."""
        number = 0
        for name in filter(None, path.split("/")):
            found = self.directories[number][name]
            number = self.directories[number][self.links[found]] if found in self.links else found
        return number

    def place(self, path: str) -> tuple[int, str]:
        """The directory and the name in it."""
        directory, _, name = path.rpartition("/")
        return self.find(directory), name

    def content(self) -> tuple[object, ...]:
        """All that can be seen, to tell states apart."""
        return self._content(0)

    def materialise(self, root: Path) -> None:
        """Make it a real directory."""
        os.mkdir(root)
        self._materialise(0, os.fspath(root))

    def enter(self, names: Names) -> None:
        """Make or remove entries."""
        for directory, name, inode in names:
            entries = self.directories.setdefault(directory, {})
            if inode is None:
                entries.pop(name, None)
            else:
                entries[name] = inode

    def _load(self, number: int, path: Path) -> None:
        self.modes[number] = stat.S_IMODE(path.stat().st_mode)
        for entry in sorted(os.scandir(path), key=lambda each: each.name):
            child = len(self.modes) + len(self.links) + 1
            while child in self.modes or child in self.links:
                child += 1
            self.directories[number][entry.name] = child
            if entry.is_symlink():
                self.links[child] = os.readlink(entry.path)
            elif entry.is_dir():
                self.directories[child] = {}
                self._load(child, Path(entry.path))
            else:
                self.files[child] = Path(entry.path).read_bytes()
                self.modes[child] = stat.S_IMODE(entry.stat().st_mode)

    def _content(self, number: int) -> tuple[object, ...]:
        return tuple(
            (name, self._content(child) if child in self.directories else self._leaf(child))
            for name, child in sorted(self.directories[number].items())
        )

    def _leaf(self, number: int) -> object:
        return self.links.get(number, self.files.get(number, b""))

    def _materialise(self, number: int, path: str) -> None:
        """Without pathlib: it is done for each of many thousand states."""
        for name, child in self.directories[number].items():
            target = f"{path}/{name}"
            if child in self.links:
                os.symlink(self.links[child], target)
            elif child in self.directories:
                os.mkdir(target)
                self._materialise(child, target)
                os.chmod(target, self.modes[child])
            else:
                _put(target, self.files.get(child, b""), self.modes[child])


def _put(path: str, body: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        written = os.write(descriptor, body)
        assert written == len(body)
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


def patched(body: bytes, patch: tuple[int, bytes]) -> bytes:
    """A content with something written over it."""
    at, new = patch
    return body[:at] + new + body[at + len(new) :]


@dataclass(frozen=True)
class Change:
    """One change and what it concerns."""

    names: Names = ()
    new: int = -1
    """The inode that it makes."""
    inode: int = -1
    """Whose content it changes, if it changes content."""
    body: bytes = b""
    patch: tuple[int, bytes] | None = None
    """Where it is written over the content, and what; `body` is then the content with it."""
    sync: int = -1
    """The inode that is synced."""
    ack: str = ""


class Recorder:
    """Turns operations into changes of inodes, as the kernel's memory sees them.

    `made` knows every inode there ever was: its kind is part of it, not of any directory.
    """

    def __init__(self, disk: Disk) -> None:
        self.now = disk.copy()
        self.now.modes = dict(disk.modes)
        self.made = self.now
        self._next = 1 + max([0, *self.now.modes, *self.now.links])

    def change(self, op: Op) -> Change | None:
        """One operation; None if it changes nothing that could be lost."""
        if op.kind in ("ack", "sync"):
            return Change(ack=op.other) if op.kind == "ack" else Change(sync=self.now.find(op.path))
        if op.kind in ("chmod", "stamp"):
            return None
        if op.kind in ("write", "truncate"):
            return self._written(op)
        if op.kind == "overwrite":
            return self._overwritten(op)
        first = self._next
        names = self._names(op)
        self.now.enter(names)
        return Change(names, new=first if self._next > first else -1) if names else None

    def _written(self, op: Op) -> Change:
        inode = self.now.find(op.path)
        self.now.files[inode] = self.now.files[inode] + op.body if op.kind == "write" else b""
        return Change(inode=inode, body=self.now.files[inode])

    def _overwritten(self, op: Op) -> Change:
        inode = self.now.find(op.path)
        before = self.now.files[inode]
        assert op.at % SECTOR == len(op.body) % SECTOR == 0, "a sector that is written in part is read first"
        assert op.at + len(op.body) <= len(before), (
            "it makes the file longer: fdatasync is another matter then"
        )
        self.now.files[inode] = patched(before, (op.at, op.body))
        return Change(inode=inode, body=self.now.files[inode], patch=(op.at, op.body))

    def _names(self, op: Op) -> Names:
        directory, name = self.now.place(op.path)
        present = self.now.directories[directory].get(name)
        if op.kind == "create":
            return () if present is not None else ((directory, name, self._new(op)),)
        if op.kind in ("mkdir", "link"):
            assert present is None, op
            return ((directory, name, self._new(op)),)
        assert present is not None, op
        if op.kind == "remove":
            return ((directory, name, None),)
        into, new = self.now.place(op.other)
        if op.kind == "exchange":
            return ((directory, name, self.now.directories[into][new]), (into, new, present))
        assert op.kind == "rename", op
        return ((directory, name, None), (into, new, present))

    def _new(self, op: Op) -> int:
        number, self._next = self._next, self._next + 1
        if op.kind == "link":
            self.now.links[number] = op.other
        else:
            (self.now.directories if op.kind == "mkdir" else self.now.files)[number] = (
                {} if op.kind == "mkdir" else b""
            )  # type: ignore[assignment]
            self.now.modes[number] = op.mode
        return number


@dataclass(frozen=True)
class State:
    """One disk that a power cut may leave."""

    disk: Disk = field(repr=False)
    model: Model
    after: int
    """How many operations had been made."""
    acked: str
    """The last command that had been answered."""


def states(disk: Disk, ops: Sequence[Op], model: Model, cap: int, *, first: int = 0) -> Iterator[State]:
    """Every distinct state after each operation, at most `cap` tries after one of them.

    Args:
        disk: Before the first operation.
        ops: The operations.
        model: What is durable.
        cap: Where there are more combinations, as many are drawn.
        first: States after fewer operations than these are left out.
    """
    recorder = Recorder(disk)
    durable, pending, acked = disk.copy(), [], ""
    seen: set[object] = set()
    chance = random.Random(SEED)  # noqa: S311 - a sample that is the same each time
    for index in range(len(ops) + 1):
        if index >= first:
            for found in _lost(durable, pending, recorder.made, model, cap, chance):
                known = (found.content(), acked)
                if known not in seen:
                    seen.add(known)
                    yield State(found, model, index, acked)
        if index == len(ops):
            return
        change = recorder.change(ops[index])
        if change is None:
            continue
        if change.ack:
            acked = change.ack
        elif change.sync >= 0:
            durable, pending = _synced(durable, pending, change.sync, recorder.made, model)
        else:
            pending = [*pending, change]


def _synced(
    durable: Disk, pending: list[Change], inode: int, made: Disk, model: Model
) -> tuple[Disk, list[Change]]:
    """What an fsync makes durable, and what it leaves pending."""
    own = [each.inode == inode or any(where == inode for where, _, _ in each.names) for each in pending]
    if model == "ordered":
        last = max((at for at, each in enumerate(pending) if own[at] and each.names), default=-1)
        own = [own[at] or (at <= last and bool(each.names)) for at, each in enumerate(pending)]
    base = durable.copy()
    for change, is_own in zip(pending, own, strict=True):
        if is_own:
            _apply(base, change, made)
    return base, [change for change, is_own in zip(pending, own, strict=True) if not is_own]


def _lost(
    durable: Disk, pending: list[Change], made: Disk, model: Model, cap: int, chance: random.Random
) -> Iterator[Disk]:
    names = [change for change in pending if change.names]
    bodies: dict[int, list[Change]] = {}
    for change in pending:
        if not change.names:
            bodies.setdefault(change.inode, []).append(change)
    contents = [_contents(durable.files.get(inode, b""), changes) for inode, changes in bodies.items()]
    kept: Sequence[Sequence[Change]]
    count = len(names) + 1 if model == "ordered" else 2 ** len(names)
    total = count
    for each in contents:
        total *= len(each)
    if total <= cap:
        kept = _prefixes(names) if model == "ordered" else _subsets(names)
        chosen = itertools.product(kept, itertools.product(*contents))
    else:
        chosen = iter([_draw(names, contents, model, chance) for _ in range(cap)])
    for entries, written in chosen:
        found = durable.copy()
        for change in (*entries, *(one for one in written if one is not None)):
            _apply(found, change, made)
        yield found


def _contents(before: bytes, changes: list[Change]) -> list[Change | None]:
    """What may be in a file that was not synced: nothing of it, half of it, all of it; and of what was
    written over its content any sectors."""
    whole = [change for change in changes if change.patch is None]
    found: list[Change | None] = [None]
    if whole:
        last = whole[-1]
        half = Change(inode=last.inode, body=last.body[: len(last.body) // 2])
        found += [last, half] if len(last.body) > 1 else [last]
    patches = [change.patch for change in changes if change.patch is not None]
    if not patches:
        return found
    inode = changes[0].inode
    bases = [before, *(each.body for each in found if each is not None)]
    bodies = [body for base in bases for body in _sprinkled(base, patches)]
    return [None, *(Change(inode=inode, body=body) for body in dict.fromkeys(bodies) if body != before)]


def _sprinkled(base: bytes, patches: list[tuple[int, bytes]]) -> Iterator[bytes]:
    """Each of them not at all, whole, or some of its sectors."""
    for torn in itertools.product(*(_torn(patch) for patch in patches)):
        body = base
        for patch in itertools.chain.from_iterable(torn):
            if patch[0] + len(patch[1]) <= len(base):
                body = patched(body, patch)
        yield body


def _torn(patch: tuple[int, bytes]) -> list[list[tuple[int, bytes]]]:
    """Some of its sectors."""
    at, body = patch
    each = [(at + start, body[start : start + SECTOR]) for start in range(0, len(body), SECTOR)]
    return [[], each, each[:1], each[1:], each[: len(each) // 2], each[::2], each[1::2]]


def _prefixes(names: list[Change]) -> list[list[Change]]:
    return [names[:length] for length in range(len(names) + 1)]


def _subsets(names: list[Change]) -> list[list[Change]]:
    return [[change for at, change in enumerate(names) if bits >> at & 1] for bits in range(2 ** len(names))]


def _draw(
    names: list[Change], contents: list[list[Change | None]], model: Model, chance: random.Random
) -> tuple[list[Change], tuple[Change | None, ...]]:
    if model == "ordered":
        kept = names[: chance.randint(0, len(names))]
    else:
        share = chance.choice((0.1, 0.5, 0.9))
        kept = [change for change in names if chance.random() < share]
    return kept, tuple(chance.choice(each) for each in contents)


def _apply(disk: Disk, change: Change, made: Disk) -> None:
    if not change.names:
        disk.files[change.inode] = change.body
        return
    for _, _, inode in change.names:
        if inode is not None:
            _know(disk, inode, made, is_new=inode == change.new)
    disk.enter(change.names)
    disk.modes = made.modes


def _know(disk: Disk, inode: int, made: Disk, *, is_new: bool) -> None:
    if inode in made.links:
        disk.links.setdefault(inode, made.links[inode] if is_new else LOST)
    elif inode in made.directories:
        disk.directories.setdefault(inode, {})
    else:
        disk.files.setdefault(inode, b"")
