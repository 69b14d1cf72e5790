"""Which CM processes of a home are running, as /proc shows them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

DAEMONS: Final = ("om_monitor", "cm_agent", "cm_server")
PROGRAMS: Final = (*DAEMONS, "cm_ctl")


class Process(NamedTuple):
    """A running program of one home."""

    name: str
    pid: int


def program_of(pid: int) -> str:
    """The script a process runs, or "" if it runs none, is a zombie or is gone.

    A script's command line is [interpreter, script, ...].
    """
    try:
        parts = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    return os.fsdecode(parts[1]) if len(parts) > 1 else ""


def running(home: Path, names: Iterable[str] = DAEMONS) -> tuple[Process, ...]:
    """The programs of a home that run now, whoever started them."""
    wanted = {str(place / "bin" / name): name for name in names for place in (home, home.resolve())}
    pids = (int(entry) for entry in os.listdir("/proc") if entry.isdigit())
    found = (Process(wanted[program], pid) for pid in pids if (program := program_of(pid)) in wanted)
    return tuple(sorted(found, key=lambda process: process.pid))


def from_pid_file(path: Path, program: Path) -> int | None:
    """The pid in a pid file if that process still runs the program, else None.

    Much cheaper than a walk through /proc, for what is asked many times a second.
    """
    try:
        pid = int(path.read_text())
    except (OSError, ValueError):
        return None
    return pid if program_of(pid) == str(program) else None


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal; a process that is gone already is no error."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def wait_gone(home: Path, names: Iterable[str], timeout_s: float) -> bool:
    """Wait until no program of these names runs in a home."""
    deadline = time.monotonic() + timeout_s
    while running(home, names):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
