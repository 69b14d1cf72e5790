"""Running the programs of a simulated node as an agent would, and reading what they leave behind."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gausscert_sim.node import SimulatedNode


@dataclass(frozen=True)
class Finished:
    """A program that ended."""

    code: int
    out: str
    err: str
    took_s: float


def run(argv: list[str], environment: Mapping[str, str], stdin: str = "", timeout_s: float = 60) -> Finished:
    """Run without a controlling terminal."""
    began = time.monotonic()
    done = subprocess.run(
        argv,
        env=dict(environment),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        start_new_session=True,
        check=False,
    )
    return Finished(done.returncode, done.stdout, done.stderr, time.monotonic() - began)


def cm_ctl(node: SimulatedNode, *arguments: str, stdin: str = "", timeout_s: float = 60) -> Finished:
    return run([str(node.cm_ctl), *arguments], node.environment(), stdin, timeout_s)


def server_log(node: SimulatedNode) -> str:
    return _read(node.log_path / "cm" / "cm_server", "cm_server-*-current.log")


def agent_log(node: SimulatedNode) -> str:
    return _read(node.log_path / "cm" / "cm_agent", "cm_agent-*-current.log")


def dcc_log(node: SimulatedNode) -> str:
    return _read(node.log_path / "cm" / "dcc" / "run", "run.log")


def pids(node: SimulatedNode, name: str) -> set[int]:
    return {process.pid for process in node.processes() if process.name == name}


def until(holds: Callable[[], bool], what: str, timeout_s: float = 15) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, f"never came true: {what}"
        time.sleep(0.05)


def zombie_children() -> list[int]:
    """Dead children of this process that nobody collected."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            fields = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] == "Z" and int(fields[1]) == os.getpid():
            found.append(int(entry))
    return found


def _read(directory: Path, pattern: str) -> str:
    return "".join(path.read_text() for path in sorted(directory.glob(pattern)))
