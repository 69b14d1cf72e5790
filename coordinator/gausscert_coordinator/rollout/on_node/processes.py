"""The agent that runs on this node, whoever has started it.

Everybody may name a process as he likes: what counts is also whom it runs as, and what it runs.
"""

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
_CONFIG: Final = "--config"
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
    able, pythons = _able(layout), _pythons(layout)
    for pid, words in _command_lines():
        if "serve" in words and named.intersection(words) and _is_agent(words):
            try:
                if not (_runs_as(pid) <= able and _runs_python(pid, pythons)):
                    continue
                ticks = _ticks(pid)
                return Running(pid, _release(words[0], layout), _since(ticks), f"{_boot()} {ticks}")
            except (OSError, ValueError, IndexError):
                continue  # it has ended
    return None


def serving(uid: int) -> Iterator[tuple[int, str]]:
    """Whatever agents serve as that user: process and configuration, "" where its command line names none."""
    for pid, words in _command_lines():
        if "serve" in words and _is_agent(words):
            try:
                if _runs_as(pid) == {uid} and _runs_python(pid, set()):
                    yield pid, config_in(words)
            except (OSError, ValueError):
                continue  # it has ended


def config_in(words: list[str]) -> str:
    """The configuration that an agent's command line names; "" for none."""
    for number, word in enumerate(words):
        if word == _CONFIG:
            return words[number + 1] if number + 1 < len(words) else ""
        if word.startswith(f"{_CONFIG}="):
            return word.partition("=")[2]
    return ""


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


def _able(layout: Layout) -> set[int]:
    """Whom an agent of this configuration can run as: whoever owns it, for nobody else may read it; and where
    root looks, root, with whom somebody may have started it by mistake. Root's programs that all may run, su
    for one, are told from it by `_runs_python`, which only root can."""
    uids = {os.geteuid()}
    for path in (layout.config, layout.etc, layout.state):
        try:
            return uids | {path.stat().st_uid}
        except OSError:
            continue
    return uids


def _runs_as(pid: int) -> set[int]:
    """The real, effective, saved and file system's user of a process (proc_pid_status(5)). Not the owner of
    its directory: that is root for one that is not dumpable, as agents are."""
    status = (_PROC / str(pid) / "status").read_text(errors="replace")
    (uids,) = (line.split()[1:] for line in status.splitlines() if line.startswith("Uid:"))
    return set(map(int, uids))


def _runs_python(pid: int, pythons: set[str]) -> bool:
    """Whether it is Python that runs, or nobody but root could tell."""
    try:
        program = os.readlink(_PROC / str(pid) / "exe").removesuffix(" (deleted)")
    except PermissionError:
        return True
    return program in pythons or Path(program).name.startswith("python")


def _pythons(layout: Layout) -> set[str]:
    """Those of the releases, under whatever name."""
    return {os.path.realpath(path) for path in layout.releases.glob("*/bin/python")}


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
