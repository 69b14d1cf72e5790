"""Real agents over real mTLS, the real command, and the simulated CM, on loopback.

    with LocalCluster.started(tmp_path, nodes=3) as cluster:
        bundle = cluster.new_bundle("new")
        before = cluster.picture()
        done = cluster.run("replace", bundle, "--yes", *cluster.passwords)
        assert done.code == 1
        assert cluster.picture() == before

`run(..., on={"swap started": act})` calls `act()` the first time a line of progress has these words in
it: that is how a test interrupts, breaks or mends something at a certain stage.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest
from gausscert_agent.journal import Journal
from gausscert_coordinator.cli import demo_claims
from gausscert_coordinator.cli.demo_cluster import GAUSSCERT, DemoCluster
from gausscert_sim.cluster import SimulatedCluster
from gausscert_sim.faults import Faults
from support.documents import only_document

COMMAND_S = 100.0

NODES = ("n1", "n2", "n3")
EACH_NODE = [pytest.param("n1", marks=pytest.mark.faults), "n2", pytest.param("n3", marks=pytest.mark.soak)]
"""One node; among the faults the one whose cm_ctl acts for all, and in the soak the last."""

Act = Callable[["Run"], None]


@dataclass(frozen=True)
class Picture:
    """All that a replacement may change, node by node."""

    disks: demo_claims.Disks
    served: demo_claims.Served
    conf: dict[str, str]
    beside: dict[str, list[str]]
    """What lies beside the live set in share/sslcert."""


@dataclass
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str
    acted: list[str] = field(default_factory=list)

    @property
    def document(self) -> dict[str, Any]:
        """Its JSON document."""
        return only_document(self.out)


class Run:
    """A command that runs."""

    def __init__(self, process: subprocess.Popen[str], on: Mapping[str, Act]) -> None:
        self.process = process
        self._waiting = dict(on)
        self._acted: list[str] = []
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def interrupt(self, number: int = signal.SIGINT) -> None:
        """As Ctrl-C."""
        self.process.send_signal(number)

    def done(self) -> Done:
        """Wait for its end."""
        assert self.process.stdout is not None
        try:
            out = self.process.stdout.read()
            code = self.process.wait(COMMAND_S)
        finally:
            self.process.kill()
            self._reader.join()
            self.process.stdout.close()
        return Done(code, out, "".join(self._lines), self._acted)

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:
                self._lines.append(line)
                for words in [words for words in self._waiting if words in line]:
                    act = self._waiting.pop(words)
                    act(self)
                    self._acted.append(words)


class LocalCluster(DemoCluster):
    """The demo's cluster, with what tests need beside."""

    @classmethod
    def started(
        cls,
        root: Path,
        nodes: int = 3,
        *,
        time_scale: float = 0.1,
        timeouts: Mapping[str, float] | None = None,
    ) -> Self:
        """A running cluster that serves its first set.

        Args:
            root: An empty directory.
            nodes: How many.
            time_scale: Every delay of real CM is multiplied by this.
            timeouts: Of the inventory, in place of the demo's.
        """
        homes = root / "nodes"
        homes.mkdir(mode=0o700)
        simulated = SimulatedCluster.create(homes, nodes, time_scale=time_scale)
        made = cls(root, simulated, show=False)
        try:
            made.start()
            made.set_timeouts(timeouts or {})
        except BaseException:
            made.stop()
            raise
        return made

    def set_timeouts(self, timeouts: Mapping[str, float]) -> None:
        """Change the inventory."""
        inventory = self.root / "gausscert.toml"
        lines = inventory.read_text().splitlines()
        for name, seconds in timeouts.items():
            (at,) = (number for number, line in enumerate(lines) if line.startswith(f"{name} = "))
            lines[at] = f"{name} = {seconds}"
        inventory.write_text("\n".join(lines) + "\n")

    @property
    def passwords(self) -> tuple[str, ...]:
        """Options of `replace` for the bundles of `new_bundle`."""
        return ("--server-password-file", "server.pw", "--client-password-file", "client.pw")

    def replace(self, *options: str, bundle: str = "fresh", on: Mapping[str, Act] | None = None) -> Done:
        """Run `replace` without questions; the document is in the answer."""
        return self.run("replace", bundle, "--yes", "--output", "json", *options, *self.passwords, on=on)

    def launch(self, *arguments: str, on: Mapping[str, Act] | None = None, stdin: str = "") -> Run:
        """Start the operator's command; progress comes as lines, because nothing is a terminal."""
        process = subprocess.Popen(
            [*GAUSSCERT, *arguments],
            cwd=self.root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert process.stdin is not None
        with process.stdin:
            process.stdin.write(stdin)
        return Run(process, on or {})

    def run(self, *arguments: str, on: Mapping[str, Act] | None = None, stdin: str = "") -> Done:
        """Run the operator's command to its end."""
        return self.launch(*arguments, on=on, stdin=stdin).done()

    def new_bundle(self, name: str) -> str:
        """A fresh bundle, made by the command itself."""
        done = self.run("bundle", "new", name, "--key-type", "ec-p256", *self.passwords)
        assert done.code == 0, done.err
        return name

    def picture(self) -> Picture:
        """How everything is now."""
        conf = {
            f"{node.name}/{name}": (node.data_path / name / f"{name}.conf").read_text()
            for node in self.nodes
            for name in ("cm_server", "cm_agent")
        }
        beside = {node.name: sorted(os.listdir(node.set_directory.parent)) for node in self.nodes}
        return Picture(demo_claims.disks(self.nodes), demo_claims.served(self.nodes), conf, beside)

    def node(self, name: str) -> Any:
        """A simulated node."""
        return next(node for node in self.nodes if node.name == name)

    def script(self, name: str, faults: Faults | None = None) -> None:
        """Make a node fail, or mend it."""
        self.node(name).faults = faults or Faults()

    def mend(self) -> None:
        """Take every scripted failure away."""
        for node in self.nodes:
            self.script(node.name)

    def end_agent(self, name: str, number: int = signal.SIGTERM) -> int:
        """Stop or kill an agent; answers its exit code."""
        agent = self._agents[name]
        agent.send_signal(number)
        return agent.wait(30)

    def start_agent(self, name: str) -> None:
        """Start an agent again, with its old state."""
        node = self.node(name)
        log = os.open(self.root / f"agent-{name}.log", os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            self._agents[name] = self.launch_agent(self.root / f"agent-{name}.toml", log)
        finally:
            os.close(log)
        self._await_agent(node)

    def power_off(self, name: str) -> None:
        """A dead machine: neither CM nor its agent."""
        self.end_agent(name, signal.SIGKILL)
        self.simulated.power_off(self.node(name))

    def power_on(self, name: str) -> None:
        """It is back: CM starts by itself, and so does the agent."""
        self.simulated.power_on(self.node(name))
        self.start_agent(name)

    def in_flight(self) -> list[str]:
        """Which nodes take part in a transaction, by what they have written down."""
        journals = {node.name: Journal(self.root / f"agent-{node.name}") for node in self.nodes}
        return [name for name, journal in journals.items() if journal.load().transaction is not None]

    def agent_log(self, name: str) -> str:
        """All that an agent has logged."""
        return (self.root / f"agent-{name}.log").read_text()


def on_each_node(*faults: Any) -> list[Any]:
    """Every kind of failure on one node; the first kind on the others, too, as `EACH_NODE`. What becomes
    of them is one and the same: all kinds but the first are among the faults."""
    first, *others = faults
    more = [pytest.param(fault, NODES[1], marks=pytest.mark.faults) for fault in others]
    acting = pytest.param(first, NODES[0], marks=pytest.mark.faults)
    last = pytest.param(first, NODES[2], marks=pytest.mark.soak)
    return [(first, NODES[1]), *more, acting, last]


def wait_until(holds: Callable[[], bool], within_s: float = 20.0) -> None:
    """Wait for something that comes by itself."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)


__all__ = ["NODES", "Done", "LocalCluster", "Picture", "Run", "on_each_node", "wait_until"]
