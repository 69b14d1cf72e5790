"""Nodes on which the real program of a roll-out runs, in this process and in directories of the test's own:
an `Ssh` that carries it out there. Only what starts agents, and their processes, are fakes: a restart and a
boot do what the unit that lies there says.

nodes = Nodes(tmp_path, monkeypatch, ("n1", "n2"))
nodes["n1"].has(FORMER)            # an agent of that release runs there
nodes.cut_at = ("n1", 3)           # n1 loses its power before its third change in ACTIVATE
Rollout(inventory, nodes, doctor, ...)
"""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from gausscert_coordinator.rollout import facts as facts_of
from gausscert_coordinator.rollout import units
from gausscert_coordinator.rollout.decide import NodePlan, Wanted, decide
from gausscert_coordinator.rollout.facts import Facts, Service
from gausscert_coordinator.rollout.on_node import files, look, main, processes, service, software
from gausscert_coordinator.rollout.on_node.layout import Account, Layout, me
from gausscert_coordinator.rollout.ssh import Ended
from support.rollout_fakes import RELEASE, read

STARTED = re.compile(r"/releases/([^/\s]+)/bin/gausscert-agent")
AGENT = "#!/bin/sh\nexit 0\n"
UNIT = "[Unit]\nDescription=of {}\n"


class Cut(BaseException):
    """The power fails, or somebody kills the program."""


@dataclass
class Node:
    """One machine."""

    name: str
    root: Path
    layout: Layout
    account: Account
    running: processes.Running | None = None
    up: bool = True
    never_starts: set[str] = field(default_factory=set)
    """Releases whose agents never say READY."""
    masked: bool = False
    enabled: bool = False
    fails_once: str = ""
    """What systemctl fails at, once."""
    restarts: list[str] = field(default_factory=list)
    """The release of each."""
    journal: Callable[..., dict[str, str]] = lambda *_: {"phase": "NONE"}
    """Of the agent there; given what `look.journal` is."""
    on_break: Callable[[], Any] = lambda: None
    """When ssh breaks there."""
    before_step: Callable[[str], Any] = lambda _: None
    _pids: Iterator[int] = field(default_factory=lambda: itertools.count(100))

    @property
    def service(self) -> service.Service:
        """The agent's unit there."""
        return service.Service(service.USER, self.account)

    def has(self, release: str, config: str = "former") -> None:
        """Install that release, and have it run."""
        home = self.layout
        for each in (home.etc, home.state, self.service.drop_in.parent):
            each.mkdir(parents=True, exist_ok=True)
        make_release(home.releases / release)
        (home.releases / release / ".complete").touch()
        software.switch(home, release)
        home.config.write_text(config)
        self.service.unit.write_text(UNIT.format(release))
        names = f'ExecStart="{home.agent(release)}" serve --config "{home.config}"\n'
        self.service.drop_in.write_text(names)
        self.enabled = True
        self.start()
        assert self.running is not None
        self.running = self.running._replace(since=time.time() - 60)

    def start(self) -> int:
        """What systemd does for `restart`, and at boot; answers systemctl's exit code."""
        try:
            release = STARTED.findall(self.service.drop_in.read_text())[-1]
        except OSError:
            return 1
        self.restarts.append(release)
        self.running = None
        if release in self.never_starts or not self.layout.agent(release).exists():
            return 1
        pid = next(self._pids)
        self.running = processes.Running(pid, release, time.time(), f"boot {pid}")
        return 0

    def boot(self) -> None:
        """The machine starts anew."""
        self.up, self.running = True, None
        if self.enabled:
            self.start()

    def disk(self) -> dict[str, bytes | str]:
        """What a boot, or an agent that starts by itself, goes by."""
        there = [self.layout.config, *self.service.texts]
        read: dict[str, bytes | str] = {path.name: path.read_bytes() for path in there if path.exists()}
        return {**read, "current": self.layout.release()}

    def systemctl(self, argv: Sequence[str], **_: Any) -> subprocess.CompletedProcess[str]:
        words = [word for word in argv[1:] if word != "--user"]
        said, code = "", 0
        match words[0]:
            case "restart":
                code = self.start()
            case "is-active":
                said = "active" if self.running else "inactive"
            case "is-enabled":
                said = "masked" if self.masked else "enabled" if self.enabled else "disabled"
            case self.fails_once:
                self.fails_once, code = "", 1
            case "enable":
                self.enabled = True
            case "disable":
                self.enabled, self.running = False, None
        return subprocess.CompletedProcess(argv, code, said, "systemctl has failed" if code else "")


def make_release(target: Path, _: Path | None = None) -> None:
    """Instead of a virtual environment."""
    agent = target / "bin" / "gausscert-agent"
    agent.parent.mkdir(parents=True, exist_ok=True)
    agent.write_text(AGENT)
    agent.chmod(0o755)


class Nodes:
    """See the module."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, names: Sequence[str]) -> None:
        self._monkeypatch = monkeypatch
        self._nodes: dict[str, Node] = {}
        for name in names:
            base = root / name / "gausscert"
            base.mkdir(parents=True)
            home = replace(me(), home=str(root / name))
            place = Layout(base, base / "etc", base / "state")
            self._nodes[name] = Node(name, root / name, place, home)
        self.asked: list[tuple[str, str]] = []
        self.cut_at: tuple[str, int] | None = None
        self.power = True
        """Whether the whole machine goes, or only the program."""
        self.changes = 0
        """Made so far in ACTIVATE, on the node that `cut_at` names."""
        self.breaks: set[str] = set()
        """Nodes at which ssh breaks with ACTIVATE: it is not carried out, and stands in `unheard`."""
        self.unheard: list[dict[str, Any]] = []
        self.down_for = 0
        """So many times ssh gets nowhere after that."""
        self.waits: Callable[[Node], object] = lambda _: None
        """What happens while a step waits for another one there."""

    def __getitem__(self, name: str) -> Node:
        return self._nodes[name]

    async def __call__(self, argv: Sequence[str], stdin: bytes) -> Ended:
        node = self._nodes[argv[argv.index("--") + 1]]
        await asyncio.sleep(0)
        if self.unheard and self.down_for:
            self.down_for -= 1
            return Ended(255, "", "ssh: connect to host: No route to host")
        if not node.up:
            return Ended(255, "", "ssh: connect to host: Connection timed out")
        request = read(stdin)["request"]
        self.asked.append((node.name, request["action"]))
        node.before_step(request["action"])
        if request["action"] == "activate" and node.name in self.breaks:
            self.breaks.remove(node.name)
            self.unheard.append(request)
            node.on_break()
            return Ended(255, "", "client_loop: send disconnect: Broken pipe")
        sizes = sum(each["size"] for each in request["files"])
        try:
            said = self._run(node, request, stdin[len(stdin) - sizes :])
        except Cut:
            if self.power:
                node.up, node.running = False, None
            return Ended(255, "", "Connection closed by remote host")
        return Ended(0, said, "")

    def actions(self, name: str) -> list[str]:
        """What a node was asked for."""
        return [action for asked, action in self.asked if asked == name]

    def look(self, name: str) -> Facts:
        """At a node, as it is."""
        request = {"action": "look", "node": name, "user": "", "cm_home": "", "directory": "", "files": []}
        said = self._run(self._nodes[name], request, b"").rpartition(main.ANSWER)[2]
        return facts_of.of(json.loads(said)["result"])

    def plan(self, name: str, release: str = RELEASE, config: str = "new") -> NodePlan:
        """To bring that release onto a node as it is."""
        seen = self.look(name)
        bundle = {"user/gausscert-agent.service": UNIT.format(release)}
        texts = units.units(bundle, Service.USER, seen, release, ())
        return decide(seen, Wanted(name, "prod", release, Service.AUTO, config, texts, credential_good=True))

    def deliver(self, request: dict[str, Any]) -> str:
        """What a node says to a request that comes late."""
        return self._run(self._nodes[request["node"]], request, b"")

    def _run(self, node: Node, request: dict[str, Any], blobs: bytes) -> str:
        out = io.StringIO()
        with self._on(node, cut=request["action"] == "activate"), redirect_stdout(out):
            main.run(request, io.BytesIO(blobs))
        return out.getvalue()

    @contextmanager
    def _on(self, node: Node, *, cut: bool) -> Iterator[None]:
        umask, hup = os.umask(0o077), signal.getsignal(signal.SIGHUP)
        with self._monkeypatch.context() as patched:
            for module in (main, look):
                patched.setattr(module, "me", lambda: node.account)
                patched.setattr(module, "agent_user", lambda *_: node.account)
            patched.setattr(main, "layout", lambda _: node.layout)
            patched.setattr(files, "alone", partial(files.alone, pause=lambda _: self.waits(node)))
            patched.setattr(look, "journal", node.journal)
            patched.setattr(processes, "agent", lambda _: node.running)
            patched.setattr(service, "run", node.systemctl)
            patched.setattr(service, "managers", lambda _: {"system": False, "user": True, "linger": True})
            patched.setattr(software, "_make", make_release)
            if cut:
                patched.setattr(os, "replace", self._counted(node, os.replace))
                patched.setattr(service.Service, "_must", self._counted(node, service.Service._must))
                patched.setattr(files, "sync_directory", lambda _: None)
            try:
                yield
            finally:
                os.umask(umask)
                signal.signal(signal.SIGHUP, hup)

    def _counted(self, node: Node, really: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            if self.cut_at is not None and self.cut_at[0] == node.name:
                self.changes += 1
                if self.changes == self.cut_at[1]:
                    raise Cut
            return really(*arguments, **more)

        return call
