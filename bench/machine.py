"""What the figures were measured on: they are ratios because this differs."""

from __future__ import annotations

import os
import platform
from pathlib import Path

_MEMORY = frozenset({"tmpfs", "ramfs"})


def describe(directory: Path) -> dict[str, str]:
    """The machine, and the file system that a directory lies on."""
    kind, device = file_system(directory)
    return {
        "cpu": f"{os.cpu_count()} x {_cpu_model()}",
        "python": platform.python_version(),
        "kernel": platform.release(),
        "file system": f"{kind} ({device})",
        "load": f"{os.getloadavg()[0]:.1f}",
    }


def disk_directory() -> Path:
    """Where temporary files lie on a disk rather than in memory, if there is such a place.

    /tmp often is a tmpfs, on which fsync costs nothing; /var/tmp hardly ever is (hier(7)).
    """
    for candidate in (Path(os.environ.get("TMPDIR", "/tmp")), Path("/var/tmp"), Path.cwd()):  # noqa: S108
        if os.access(candidate, os.W_OK) and file_system(candidate)[0] not in _MEMORY:
            return candidate
    return Path(os.environ.get("TMPDIR", "/tmp"))  # noqa: S108


def file_system(directory: Path) -> tuple[str, str]:
    """Type and device of the mount that a directory is in (proc_pid_mountinfo(5))."""
    device = directory.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    found = ("unknown", "?")
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        before, _, after = line.partition(" - ")
        if before.split()[2] == wanted:
            kind, source, *_ = after.split()
            found = (kind, source)
    return found


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith(("model name", "Model")):
            return line.partition(":")[2].strip()
    return platform.machine()
