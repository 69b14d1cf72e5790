"""The agent that runs on this node, whoever has started it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gausscert_coordinator.rollout.on_node.layout import Layout

_PROC: Final = Path("/proc")
_AT_ONCE_S: Final = 0.1
"""What is put there so soon after its start is what the agent reads; times of files and processes are no
more exact than that."""
_PROGRAMS: Final = ("gausscert-agent", "gausscert_agent.cli")


class Running(NamedTuple):
    """An agent that serves from a configuration."""

    pid: int
    release: str
    """"" where it was not started from one."""
    since: float
    """Seconds since the epoch."""
    started: str
    """Boot and ticks since then: never the same for another process."""


def agent(layout: Layout) -> Running | None:
    """The one that serves with this configuration, or None."""
    named = {str(layout.config), f"--config={layout.config}"}
    for pid, words in _command_lines():
        if "serve" in words and named.intersection(words) and _is_agent(words):
            try:
                ticks = _ticks(pid)
                return Running(pid, _release(words[0], layout), _since(ticks), f"{_boot()} {ticks}")
            except (OSError, ValueError, IndexError):
                continue  # it has ended
    return None


def older_than(running: Running, files: Iterable[Path]) -> bool:
    """Whether one of the files was put there after the agent was started."""
    for path in files:
        try:
            if path.stat().st_ctime > running.since + _AT_ONCE_S:
                return True
        except OSError:
            continue
    return False


def _command_lines() -> Iterator[tuple[int, list[str]]]:
    for entry in filter(str.isdigit, os.listdir(_PROC)):
        try:
            raw = (_PROC / entry / "cmdline").read_bytes()
        except OSError:
            continue
        if raw:
            yield int(entry), [os.fsdecode(word) for word in raw.rstrip(b"\0").split(b"\0")]


def _is_agent(words: list[str]) -> bool:
    return any(Path(word).name in _PROGRAMS for word in words[:4])


def _release(interpreter: str, layout: Layout) -> str:
    parts = Path(interpreter).parts
    base = layout.releases.parts
    return parts[len(base)] if parts[: len(base)] == base and len(parts) > len(base) else ""


def _ticks(pid: int) -> int:
    """See proc(5): starttime is the 22nd field, in ticks since boot; the second may hold blanks."""
    fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return int(fields[19])


def _since(ticks: int) -> float:
    """Not by btime, which is up to a second too early."""
    up_s = float((_PROC / "uptime").read_text().split()[0])
    return time.time() - up_s + ticks / os.sysconf("SC_CLK_TCK")


def _boot() -> str:
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
