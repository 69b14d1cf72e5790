"""A cluster for many faults in a row: three real agents, the simulated CM, and two machines that know nothing
of each other.

    with FaultCluster.started(root) as cluster:
        run = cluster.launch_at(cluster.first, *cluster.replacement(), on={"swap started": act})
        ...
        cluster.run_at(cluster.second, "recover", "--take-over")

`first` is the operator's machine. `second` has its own home, its own operator, its own credentials, no
history of what the first one did; its name for itself differs, so that no process list tells it who has
ended.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from gausscert_common import certset, factors
from gausscert_common.identity import Role
from gausscert_coordinator import pki
from gausscert_coordinator.cli import demo_files
from gausscert_coordinator.cli.demo_cluster import GAUSSCERT
from gausscert_sim.cluster import SimulatedCluster
from support.bad_line import BadLine
from support.local_cluster import NODES, Act, Done, LocalCluster, Run

TIME_SCALE = 0.1
"""The simulated CM runs ten times as fast as a real one; its cm_ctl waits a tenth of what it is told."""

BUNDLES = ("one", "two")
READY = "-ready"
"""Behind the name of a bundle: the same with ready factor files, which Prepare need not encrypt."""

SUPPORT = Path(__file__).parent
COORDINATOR_CHILD = (sys.executable, str(SUPPORT / "coordinator_child.py"))
FRAIL_AGENT = (sys.executable, str(SUPPORT / "agent_without_setpriv.py"))

_TIMEOUTS = """
[timeouts]
connect_s = 3.0
call_s = {call_s}
prepare_s = 15.0
stop_s = 40.0
start_s = 60.0
verify_s = 10.0
retry_s = {retry_s}
"""
_INVENTORY = """\
[cluster]
name = "{cluster}"

[credentials]
ca = "{pki}/ca.crt"
cert = "{pki}/{identity}.crt"
key = "{pki}/{identity}.key"
"""
_NODE = """
[[node]]
name = "{name}"
address = "{address}"
"""


@dataclass(frozen=True)
class Machine:
    """From where `gausscert` is run."""

    place: Path
    operator: str

    @property
    def environment(self) -> dict[str, str]:
        """Its user's; `LOGNAME` is what `getpass.getuser` believes first."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
        support = os.pathsep.join((str(SUPPORT.parent), kept.get("PYTHONPATH", ""))).strip(os.pathsep)
        return kept | {"HOME": str(self.place), "LOGNAME": self.operator, "PYTHONPATH": support}


class FaultCluster(LocalCluster):
    """See the module."""

    agent_port = 7444
    """It lives as long as its test process, in which clusters of other tests come and go."""
    spoilt = False
    """A run upon it failed: nobody knows any more what state it is in."""

    @classmethod
    def started(cls, root: Path, nodes: int = 3) -> Self:
        """A running cluster that serves its first set, with two bundles to replace it by in turn."""
        homes = root / "nodes"
        homes.mkdir(mode=0o700)
        simulated = SimulatedCluster.create(homes, nodes, time_scale=TIME_SCALE)
        made = cls(root, simulated, show=False)
        try:
            made.start()
            made._furnish()
        except BaseException:
            made.stop()
            raise
        return made

    def _furnish(self) -> None:
        self.first = Machine(self.root, "alice")
        self.second = Machine(self.root / "second", "bob")
        self.second.place.mkdir(mode=0o700)
        self.frail: set[str] = set()
        """Agents that were started where there is no setpriv: their children outlive them."""
        self._lines: dict[str, BadLine] = {}
        there = self.second.place / "pki"
        pki.issue(self.root / "pki", Role.RECOVERER, "second", out=there)
        pki.issue(self.root / "pki", Role.OPERATOR, "second", out=there)
        direct = {node.name: f"{node.address}:{self.agent_port}" for node in self.nodes}
        (self.root / "gausscert.toml").unlink()
        self._write_inventory(self.first.place / "gausscert.toml", "operator-demo", direct, patient=False)
        # Whoever recovers has time.
        self._write_inventory(self.second.place / "gausscert.toml", "recoverer-second", direct, patient=True)
        self._write_inventory(self.second.place / "operator.toml", "operator-second", direct, patient=True)
        for name in BUNDLES:
            self.new_bundle(name)
            self._make_ready(name)

    def _write_inventory(
        self, path: Path, identity: str, addresses: Mapping[str, str], *, patient: bool
    ) -> None:
        text = _INVENTORY.format(cluster=demo_files.CLUSTER, pki=path.parent / "pki", identity=identity)
        text += _TIMEOUTS.format(call_s=20.0 if patient else 4.0, retry_s=20.0 if patient else 3.0)
        text += "".join(_NODE.format(name=name, address=address) for name, address in addresses.items())
        demo_files.write_private(path, text)

    def _make_ready(self, name: str) -> None:
        ready = self.root / f"{name}{READY}"
        shutil.copytree(self.root / name, ready)
        for role, password in (("server", self.server_password), ("client", self.client_password)):
            for kind, body in zip(("cipher", "rand"), factors.write(password), strict=True):
                path = ready / f"{role}.key.{kind}"
                path.write_bytes(body)
                path.chmod(0o600)

    # What is replaced by what

    def other_bundle(self) -> str:
        """The bundle that is not live."""
        live = (self.nodes[0].set_directory / "server.crt").read_bytes()
        return BUNDLES[1] if live == (self.root / BUNDLES[0] / "server.crt").read_bytes() else BUNDLES[0]

    def replacement(self, bundle: str, *options: str) -> tuple[str, ...]:
        """Arguments of a `replace`; whoever held a lease before is dead."""
        passwords = () if bundle.endswith(READY) else self.passwords
        return ("replace", bundle, "--yes", "--take-over", "--output", "json", *passwords, *options)

    def way_back(self, bundle: str, *options: str) -> tuple[str, ...]:
        """Arguments of a `rollback` to the sets of that bundle; () where not every node has retired them."""
        wanted = (self.root / bundle / "server.crt").read_bytes()
        held = [
            {
                path.name
                for path in node.set_directory.parent.glob(".cm.retired.*")
                if (path / "server.crt").read_bytes() == wanted
            }
            for node in self.nodes
        ]
        common = sorted(set.intersection(*held))
        if not common:
            return ()
        generation = common[-1].removeprefix(".cm.retired.")
        return ("rollback", "--to", generation, "--yes", "--take-over", "--output", "json", *options)

    def bundle_files(self, bundle: str) -> dict[str, bytes]:
        """The files of a bundle that are among the nine."""
        directory = self.root / bundle
        return {
            name: (directory / name).read_bytes() for name in certset.NAMES if (directory / name).exists()
        }

    # Commands

    def launch_at(
        self,
        machine: Machine,
        *arguments: str,
        on: Mapping[str, Act] | None = None,
        program: Sequence[str] = GAUSSCERT,
    ) -> Run:
        """Start the operator's command on one of the machines."""
        process = subprocess.Popen(
            [*program, *arguments],
            cwd=machine.place,
            env=machine.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        return Run(process, on or {})

    def run_at(self, machine: Machine, *arguments: str, on: Mapping[str, Act] | None = None) -> Done:
        """Run the operator's command there to its end."""
        return self.launch_at(machine, *arguments, on=on).done()

    def lines(self) -> dict[str, BadLine]:
        """A line to every agent that can be made bad; `--inventory lines.toml` goes through them."""
        if not self._lines:
            self._lines = {node.name: BadLine((node.address, self.agent_port)).start() for node in self.nodes}
            addresses = {name: line.address for name, line in self._lines.items()}
            self._write_inventory(self.root / "lines.toml", "operator-demo", addresses, patient=False)
        return self._lines

    # Agents

    def launch_agent(self, config: Path, log: int) -> subprocess.Popen[bytes]:
        """As the demo, or as where there is no setpriv."""
        if config.stem.removeprefix("agent-") not in getattr(self, "frail", ()):
            return super().launch_agent(config, log)
        return subprocess.Popen(
            [*FRAIL_AGENT, "serve", "--config", str(config)],
            env=self.first.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def agent_pid(self, name: str) -> int:
        """The process of an agent."""
        return self._agents[name].pid

    def signal_agent(self, name: str, number: signal.Signals) -> bool:
        """Send a signal to an agent; whether it was alive."""
        agent = self._agents[name]
        if agent.poll() is not None:
            return False
        agent.send_signal(number)
        if number is signal.SIGKILL:
            agent.wait(30)
        return True

    def ensure_agents(self, names: Sequence[str] = NODES) -> None:
        """Start those again that have died, wake those that were paused."""
        for name in names:
            with suppress(ProcessLookupError):
                self._agents[name].send_signal(signal.SIGCONT)
            if self._agents[name].poll() is not None:
                self.start_agent(name)

    def make_frail(self, names: set[str]) -> None:
        """From now on exactly these agents run where there is no setpriv."""
        for name in names ^ self.frail:
            self.end_agent(name)
        self.frail = set(names)
        self.ensure_agents()

    def stop(self) -> None:
        """End everything."""
        for line in getattr(self, "_lines", {}).values():
            line.stop()
        for agent in self._agents.values():
            with suppress(ProcessLookupError):
                agent.send_signal(signal.SIGCONT)
        super().stop()
