"""Which process is the agent of a node. Everybody may give his processes any command line: such a one kept
agents from being deployed, until who runs it and what it runs counted, too."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from gausscert_coordinator.rollout.on_node import configuration, processes
from gausscert_coordinator.rollout.on_node.layout import Layout, layout, me

AGENT, OTHER = 1500, 1600
READS = "import sys; print(flush=True); sys.stdin.read()"


@pytest.fixture
def places(tmp_path: Path) -> Layout:
    (tmp_path / "g").mkdir()
    made = layout(str(tmp_path / "g"))
    configuration.make_places(made, me())
    made.config.touch()
    return made


class Proc:
    """Processes as proc(5) shows them; the configuration belongs to AGENT."""

    def __init__(self, root: Path, places: Layout) -> None:
        self._root = root
        self._places = places
        root.mkdir()
        (root / "uptime").write_text("1000.00 1000.00\n")
        (root / "self").mkdir()
        (root / "sys/kernel/random").mkdir(parents=True)
        (root / "sys/kernel/random/boot_id").write_text("6d2e\n")

    def add(self, pid: int, uids: Sequence[int], exe: str, program: str = "") -> None:
        home = self._root / str(pid)
        home.mkdir()
        words = [program or exe, "gausscert-agent", "serve", "--config", str(self._places.config)]
        (home / "cmdline").write_bytes(b"".join(word.encode() + b"\0" for word in words))
        (home / "status").write_text("Name:\tx\nUid:\t" + "\t".join(map(str, uids)) + "\nGid:\t1\t1\t1\t1\n")
        (home / "stat").write_text(f"{pid} (x) S " + " ".join(["1"] * 18) + " 100 0\n")
        (home / "exe").symlink_to(exe)


@pytest.fixture
def proc(tmp_path: Path, places: Layout, monkeypatch: pytest.MonkeyPatch) -> Proc:
    monkeypatch.setattr(processes, "_PROC", tmp_path / "proc")
    monkeypatch.setattr(processes, "_able", lambda _: {0, AGENT})
    return Proc(tmp_path / "proc", places)


@pytest.mark.parametrize(
    ("uids", "exe"),
    [
        ([OTHER] * 4, "/usr/bin/python3.11"),
        ([OTHER, AGENT, AGENT, AGENT], "/usr/bin/python3.11"),
        ([OTHER, 0, 0, 0], "/usr/bin/su"),
        ([0, 0, 0, 0], "/usr/bin/sudo"),
    ],
    ids=["another user", "a program with the agent's rights", "su that asks", "sudo that asks"],
)
def test_who_only_names_it_so_is_not_the_agent(proc: Proc, places: Layout, uids: Sequence[int], exe: str):
    proc.add(100, uids, exe)
    assert processes.agent(places) is None

    proc.add(99999, [AGENT] * 4, "/usr/bin/python3.11")
    found = processes.agent(places)
    assert found is not None
    assert found.pid == 99999


def test_the_python_of_a_release_may_have_any_name(proc: Proc, places: Layout, tmp_path: Path):
    odd = tmp_path / "opt" / "snake"
    odd.parent.mkdir()
    odd.touch()
    link = places.releases / "r1" / "bin" / "python"
    link.parent.mkdir(parents=True)
    link.symlink_to(odd)
    proc.add(100, [AGENT] * 4, str(odd), str(link))

    found = processes.agent(places)

    assert found is not None
    assert found.release == "r1"


def test_an_agent_whose_python_was_upgraded_beneath_it_is_still_one(proc: Proc, places: Layout):
    proc.add(100, [AGENT] * 4, "/usr/bin/python3.11 (deleted)")

    assert processes.agent(places) is not None


def test_an_agent_that_nobody_may_look_into_is_one(proc: Proc, places: Layout, monkeypatch):
    """Agents are not dumpable: what one runs can be read by root alone."""
    proc.add(100, [AGENT] * 4, "/usr/bin/python3.11")

    def refuse(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(processes.os, "readlink", refuse)

    assert processes.agent(places) is not None


def test_whoever_owns_the_configuration_runs_the_agent(places: Layout, tmp_path: Path):
    assert processes._able(places) == {os.geteuid()}
    places.config.unlink()
    assert processes._able(places) == {os.geteuid()}
    assert processes._able(layout(str(tmp_path / "nowhere"))) == {os.geteuid()}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give it to somebody else")
def test_whose_the_configuration_is_is_found_out_however_much_of_it_is_there(places: Layout):
    os.chown(places.config, AGENT, AGENT)
    os.chown(places.etc, AGENT + 1, AGENT)
    os.chown(places.state, AGENT + 2, AGENT)

    assert processes._able(places) == {0, AGENT}
    places.config.unlink()
    assert processes._able(places) == {0, AGENT + 1}
    places.etc.rmdir()
    assert processes._able(places) == {0, AGENT + 2}


@contextmanager
def running(*argv: str) -> Iterator[int]:
    child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        yield child.pid
    finally:
        child.communicate()


def test_a_shell_with_the_agents_words_is_none(places: Layout):
    words = ("gausscert-agent", "serve", "--config", str(places.config))
    with running("/bin/sh", "-c", "echo; read x", *words):
        assert processes.agent(places) is None
    with running(sys.executable, "-c", READS, *words) as pid:
        found = processes.agent(places)
        assert found is not None
        assert found.pid == pid


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="root and setpriv are needed")
def test_another_users_process_with_the_agents_words_is_none(places: Layout):
    words = ("gausscert-agent", "serve", "--config", str(places.config))
    other = ("setpriv", f"--reuid={OTHER}", f"--regid={OTHER}", "--clear-groups")
    with running(*other, "/usr/bin/env", "python3", "-c", READS, *words):
        assert processes.agent(places) is None
    os.chown(places.config, OTHER, OTHER)
    with running(*other, "/usr/bin/env", "python3", "-c", READS, *words) as pid:
        found = processes.agent(places)
        assert found is not None
        assert found.pid == pid
