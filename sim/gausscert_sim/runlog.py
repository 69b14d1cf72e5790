"""CM's log files: `<log>/cm/<program>/<program>-<date>-current.log` and DCC's `run.log`."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING

from gausscert_sim.settings import VERSION

if TYPE_CHECKING:
    from pathlib import Path


class RunLog:
    """Appends lines in CM's form: time, thread, program, level, text."""

    def __init__(self, directory: Path, program: str) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = _current(directory, program)
        self._program = program
        self._descriptor = _open(path)
        if os.fstat(self._descriptor).st_size == 0:
            self.write("LOG", f"{program} {VERSION}")

    def write(self, level: str, text: str) -> None:
        """One line; level is LOG, WARNING, ERROR or FATAL."""
        now = time.time()
        stamp, millis = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now)), int(now % 1 * 1000)
        line = f"{stamp}.{millis:03d} tid={threading.get_native_id()} {self._program} {level}: {text}\n"
        os.write(self._descriptor, line.encode(errors="replace"))


class DccLog:
    """DCC's own log, `<log>/cm/dcc/run/run.log`."""

    def __init__(self, log_path: Path) -> None:
        directory = log_path / "cm" / "dcc" / "run"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._descriptor = _open(directory / "run.log")
        if os.fstat(self._descriptor).st_size == 0:
            self.write(f"dcc {VERSION}")

    def write(self, text: str) -> None:
        """One error line."""
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
        os.write(self._descriptor, f"UTC+0 {stamp}|DCC|{os.getpid()}|ERROR>{text}\n".encode())


def write_environment(log: RunLog) -> None:
    """cm_server logs its whole environment at start, secrets and all (facts section 17)."""
    for name, value in sorted(os.environ.items()):
        log.write("LOG", f"environ: {name}={value}")


def quiet_streams() -> None:
    """Point a daemon's standard streams at /dev/null, so that it holds nobody's pipe open."""
    sys.stdout.flush()
    descriptor = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(descriptor, stream)
    os.close(descriptor)


def _current(directory: Path, program: str) -> Path:
    # Real CM goes on with the file that is marked "current", whatever its date.
    for path in sorted(directory.glob(f"{program}-*-current.log")):
        return path
    return directory / f"{program}-{time.strftime('%Y-%m-%d_%H%M%S')}-current.log"


def _open(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
