"""The process list: which CM programs of one home run, and how to end one session of ours.

The pid alone does not name a process, because pids are used again; pid and start ticks do, within one
boot and one pid namespace.
"""

from __future__ import annotations

import functools
import os
import re
import signal
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gausscert_common import boots
from gausscert_common.model import CmProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROC: Final = Path("/proc")

CM_PROGRAMS: Final = frozenset({"cm_server", "cm_agent", "om_monitor", "cm_ctl"})
DAEMONS: Final = frozenset({"cm_server", "cm_agent", "om_monitor", "gaussdb"})
"""Never ended together with a cm_ctl that may have started them: that would stop the database."""

_INTERPRETERS: Final = ("python", "sh", "bash", "dash", "ksh")
_DELETED: Final = " (deleted)"
_GONE: Final = frozenset("ZXx")
_POLL_S: Final = 0.02
_BEGINNING_BYTES: Final = 16_384
"""Room for three paths, or the pids of three thousand kernel threads."""
_NAMED_TEXT: Final = re.compile("|".join(sorted(CM_PROGRAMS))).search
_NAMED: Final = re.compile("|".join(sorted(CM_PROGRAMS)).encode()).search
_KTHREADD: Final = 2
_PF_KTHREAD: Final = 0x0020_0000
"""In the flags of /proc/PID/stat (include/linux/sched.h)."""


@dataclass(frozen=True, slots=True)
class Stat:
    """What /proc/PID/stat says of one process."""

    pid: int
    state: str
    parent: int
    session: int
    start_ticks: int
    """Clock ticks between boot and its start."""

    @property
    def runs(self) -> bool:
        """Whether it still is more than an entry that waits for its parent."""
        return self.state not in _GONE


def read_stat(pid: int, proc: Path = PROC) -> Stat | None:
    """One process, or None if there is none."""
    try:
        text = (proc / str(pid) / "stat").read_text("latin-1")
        fields = text[text.rindex(")") + 1 :].split()
        # proc(5) counts from 1 and the two fields before are the pid and the name.
        return Stat(pid, fields[0], int(fields[1]), int(fields[3]), int(fields[19]))
    except (OSError, ValueError, IndexError):
        return None


def start_ticks(pid: int, proc: Path = PROC) -> int:
    """Field 22 of /proc/PID/stat, or 0 if there is no such process."""
    stat = read_stat(pid, proc)
    return stat.start_ticks if stat is not None else 0


def boot_mark(proc: Path = PROC) -> str:
    """Names what pids mean something in: this boot, this pid namespace, this life of it. See `boots`.

    The inode of a pid namespace is used again after a container was restarted; when its first process
    began is not. A part that cannot be read is "-".
    """
    parts = [
        _read_word(proc / "sys/kernel/random/boot_id"),
        _namespace(proc),
        str(start_ticks(1, proc) or ""),
    ]
    return " ".join(part or boots.UNKNOWN for part in parts)


def find_processes(home: Path, proc: Path = PROC) -> tuple[CmProcess, ...]:
    """The cm_server, cm_agent, om_monitor and cm_ctl processes of exactly this home, by pid.

    A process belongs to a home by its executable, even after an upgrade has removed that file, or by
    the path it was called with; GAUSSHOME is a symbolic link where it is upgraded (facts section 7).
    """
    found = []
    wanted = os.path.join(home, "bin")
    named = functools.cache(_folder)  # for this look only
    for pid, paths in _suspects(proc):
        name = _program_in(wanted, paths, named)
        stat = read_stat(pid, proc) if name else None
        if stat is not None and stat.runs:
            found.append((pid, name, stat))
    if not found:
        return ()
    booted_at, mark = _boot_time(proc), boot_mark(proc)
    return tuple(
        CmProcess(name, pid, _started_at(stat, booted_at), stat.start_ticks, mark)
        for pid, name, stat in sorted(found)
    )


def environment_value(pid: int, name: str, proc: Path = PROC) -> str | None:
    """One variable of the environment that a process was started with; None where it has none, or is somebody
    else's. Nothing else of it is kept: it may hold secrets."""
    wanted = os.fsencode(name) + b"="
    try:
        body = (proc / str(pid) / "environ").read_bytes()
    except OSError:
        return None
    found = (part for part in body.split(b"\0") if part.startswith(wanted))
    return next((os.fsdecode(part[len(wanted) :]) for part in found), None)


def session_members(session: int, proc: Path = PROC) -> tuple[Stat, ...]:
    """The running processes of a session, without daemons that cm_ctl may have left in it."""
    stats = (read_stat(pid, proc) for pid in _pids(proc))
    return tuple(
        stat
        for stat in stats
        if stat is not None
        and stat.runs
        and stat.session == session
        and not _program_names(stat.pid, proc) & DAEMONS
    )


def end_session(
    leader: int,
    leader_ticks: int,
    *,
    timeout_s: float = 5.0,
    proc: Path = PROC,
    kill: Callable[[int, int], None] = os.kill,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Kill and await all that is left of a session we started; whether nothing is left.

    A leader with other start ticks means that its pid is used again, which the kernel allows only
    when nothing of the old session is left.
    """
    deadline = clock() + timeout_s
    while True:
        now_leader = read_stat(leader, proc)
        if now_leader is not None and now_leader.start_ticks != leader_ticks:
            return True
        members = [stat for stat in session_members(leader, proc) if stat.start_ticks >= leader_ticks]
        if not members:
            return True
        if clock() >= deadline:
            return False
        for stat in members:
            _kill(stat.pid, kill)
        sleep(_POLL_S)


def _kill(pid: int, kill: Callable[[int, int], None]) -> None:
    try:
        kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    except PermissionError:
        return  # not ours to end; it stays in the list and the caller is told


def _pids(proc: Path) -> Iterator[int]:
    for name in sorted((name for name in os.listdir(proc) if name.isdecimal()), key=int):
        yield int(name)


def _suspects(proc: Path) -> Iterator[tuple[int, list[str]]]:
    """The processes that have the name of a CM program in what they may be the program of, with all of that.

    Each command of a transaction looks at all processes of the node, right before and right after sets are
    exchanged: nothing here is done that all those which are no suspects do not need.
    """
    root = os.fspath(proc)
    names = [name for name in os.listdir(root) if name.isdecimal()]
    kernel = _kernel_threads(root)
    for name in names:
        if name in kernel:
            continue
        entry = f"{root}/{name}"
        executable = _executable(entry)
        raw = _command_line(entry)
        if _NAMED(raw) or _NAMED_TEXT(executable):
            yield int(name), _paths_of(executable, raw)


def _kernel_threads(proc: str) -> frozenset[str]:
    """Most of the processes of a machine. They are children of kthreadd, and none of them runs a program.

    Empty where the kernel does not tell (CONFIG_PROC_CHILDREN); one that is missing is looked at.
    """
    if not _has_kthreadd(proc):
        return frozenset()
    raw = _read_at_once(f"{proc}/{_KTHREADD}/task/{_KTHREADD}/children")
    return frozenset(raw.decode("ascii", "replace").split())


@functools.cache
def _has_kthreadd(proc: str) -> bool:
    """Whether pid 2 is kthreadd; for good, because it never ends.

    In a container with a process list of its own there is none, and 2 is a pid like any other.
    """
    name, _, rest = _read_at_once(f"{proc}/{_KTHREADD}/stat").rpartition(b")")
    try:
        _, parent, _, _, _, _, flags, *_ = rest.split()
        return name == b"%d (kthreadd" % _KTHREADD and parent == b"0" and bool(int(flags) & _PF_KTHREAD)
    except ValueError:
        return False


def _folder(path: str) -> tuple[int, int] | str:
    """What tells a folder from another one, whatever path leads to it; where there is none, its real path."""
    try:
        found = os.stat(path)
    except OSError:
        return os.path.realpath(path)
    return found.st_dev, found.st_ino


def _program_in(wanted: str, paths: list[str], named: Callable[[str], object]) -> str:
    """Which CM program of that folder a process runs, or ""."""
    for path in paths:
        folder, name = os.path.split(path)
        if name not in CM_PROGRAMS or not os.path.isabs(folder):
            continue
        if folder == wanted or named(folder) == named(wanted):
            return name
    return ""


def _program_names(pid: int, proc: Path) -> frozenset[str]:
    return frozenset(os.path.basename(path) for path in _program_paths(pid, proc))


def _program_paths(pid: int, proc: Path) -> list[str]:
    """What a process may be the program of: its executable, its name, and the script of an interpreter."""
    entry = f"{proc}/{pid}"
    return _paths_of(_executable(entry), _command_line(entry))


def _paths_of(executable: str, raw: bytes) -> list[str]:
    paths = [executable.removesuffix(_DELETED)] if executable else []
    arguments = [os.fsdecode(argument) for argument in raw.split(b"\0")[:3] if argument]
    paths += arguments[:1]
    if arguments and os.path.basename(arguments[0]).startswith(_INTERPRETERS):
        paths += _script(arguments)
    return paths


def _script(arguments: list[str]) -> list[str]:
    """The script an interpreter runs: the first argument, or the second after one option."""
    if len(arguments) > 2 and arguments[1].startswith("-") and arguments[1] not in ("-c", "-m"):
        return arguments[2:3]
    return arguments[1:2]


def _executable(entry: str) -> str:
    """Refused for processes of other users; their argument list is readable all the same."""
    try:
        return os.readlink(entry + "/exe")
    except OSError:
        return ""


def _command_line(entry: str) -> bytes:
    return _read_at_once(entry + "/cmdline")


def _read_at_once(path: str) -> bytes:
    """The beginning of a file, b"" if it cannot be read. Without pathlib and buffers: a node has hundreds of
    processes."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(descriptor, _BEGINNING_BYTES)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def _read_word(path: Path) -> str:
    try:
        return "".join(path.read_text("ascii").split())
    except (OSError, ValueError):
        return ""


def _namespace(proc: Path) -> str:
    try:
        return os.readlink(proc / "self/ns/pid")
    except OSError:
        return ""


def _boot_time(proc: Path) -> int:
    for line in (proc / "stat").read_text("ascii", "replace").splitlines():
        if line.startswith("btime "):
            return int(line.split()[1])
    return 0


def _started_at(stat: Stat, booted_at: int) -> datetime:
    return datetime.fromtimestamp(booted_at + stat.start_ticks / os.sysconf("SC_CLK_TCK"), UTC)
