"""An operator who rolls out agents: inventory, settings, identities, and the command in this process."""

from __future__ import annotations

import io
import re
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gausscert_common.identity import Role
from gausscert_coordinator import pki
from gausscert_coordinator.cli.main import run as run_command
from gausscert_sim.node import SimulatedNode
from support.lone_agent import Ended

CLUSTER = "rolled"


@dataclass(frozen=True)
class Place:
    """One node as the operator writes it down."""

    name: str
    address: str
    directory: str
    settings: str
    """The text of its settings."""
    listen: str = ""
    """Where its agent listens, if that is not its address."""


def simulated_place(node: SimulatedNode, port: int, directory: Path) -> Place:
    """A node of a simulated cluster."""
    environment = node.environment()
    variables = "".join(f'{key} = "{environment[key]}"\n' for key in ("PATH", "USER", "HOME", "PGHOST"))
    settings = (
        f'[agent]\ndrain_s = 5.0\n[cm]\nhome = "{node.home}"\ndata_path = "{node.data_path}"\n'
        f'log_path = "{node.log_path}"\ncommand_timeout_s = 20.0\nstopped_for_s = 0.5\n'
        f"[cm.environment]\n{variables}"
    )
    return Place(node.name, f"{node.address}:{port}", str(directory), settings)


def bare_place(root: Path, name: str, address: str, directory: str = "") -> Place:
    """A node without CM, but with what an agent looks for."""
    home = root / f"home-{name}"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "cm_ctl").write_text("#!/bin/sh\nexit 1\n")
    (home / "bin" / "cm_ctl").chmod(0o755)
    (home / "share" / "sslcert").mkdir(parents=True)
    return Place(
        name, address, directory, f'[agent]\ndrain_s = 5.0\n[cm]\nhome = "{home}"\nstopped_for_s = 0.5\n'
    )


class Operator:
    """One who has nothing but ssh to the nodes.

    Args:
        root: An empty directory.
        places: The nodes.
        port: Of sshd.
        options: Of ssh.
        python: On the nodes.
        user: [agent] user, or "".
    """

    def __init__(
        self,
        root: Path,
        places: Sequence[Place],
        port: int,
        options: Sequence[str],
        python: str = "",
        user: str = "",
    ) -> None:
        self.root = root
        self.options = tuple(options)
        self.address = places[0].address
        self.inventory = root / "gausscert.toml"
        pki.init(root / "pki", CLUSTER, None)
        pki.issue(root / "pki", Role.OPERATOR, "alice")
        text = (
            f'[cluster]\nname = "{CLUSTER}"\n[history]\nfile = "{root / "history.db"}"\n'
            '[credentials]\nca = "pki/ca.crt"\ncert = "pki/operator-alice.crt"\n'
            'key = "pki/operator-alice.key"\n'
            f'[ssh]\nhost = "127.0.0.1"\nport = {port}\n'
            f"options = [{', '.join(repr(option) for option in options)}]\n"
        )
        text += f'python = "{python}"\n' if python else ""
        text += f'[agent]\nuser = "{user}"\n' if user else ""
        for place in places:
            (root / f"{place.name}.toml").write_text(place.settings)
            text += f'[[node]]\nname = "{place.name}"\naddress = "{place.address}"\n'
            text += (
                f'agent.settings = "{place.name}.toml"\nagent.listen = "{place.listen or place.address}"\n'
            )
            text += f'agent.directory = "{place.directory}"\n' if place.directory else ""
        self.inventory.write_text(text)

    def log_in_as(self, user: str) -> None:
        """From now on; the options name somebody already."""
        text = self.inventory.read_text()
        self.inventory.write_text(re.sub(r"'User=[^']*'", f"'User={user}'", text))

    def gausscert(self, *arguments: str) -> Ended:
        """Run the operator's command, in this process; its result is a document."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = run_command([*arguments, "--output", "json", "--inventory", str(self.inventory)])
        return Ended(code, out.getvalue(), err.getvalue())

    def revoke(self, name: str) -> None:
        """Issue somebody an operator's credential, and write down that it is revoked; no node is told."""
        pki.issue(self.root / "pki", Role.OPERATOR, name)
        told = self.gausscert("pki", "revoke", name, "--dir", str(self.root / "pki"), "--no-send")
        assert told.code == 0, told.err

    def status_as(self, name: str) -> Ended:
        """`gausscert status` with somebody else's credential."""
        inventory = self.inventory.with_name(f"as-{name}.toml")
        inventory.write_text(self.inventory.read_text().replace("operator-alice", f"operator-{name}"))
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = run_command(["status", "--output", "json", "--inventory", str(inventory)])
        return Ended(code, out.getvalue(), err.getvalue())

    def agents(self, verb: str, *arguments: str) -> Ended:
        """`gausscert agents VERB --ssh`."""
        return self.gausscert("agents", verb, "--ssh", *arguments)


class Supervisor:
    """Somebody else than systemd who starts agents, as he was told to."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, node: str, command: str) -> None:
        """Start what a finding says; "as USER: COMMAND"."""
        with (self._root / f"{node}.log").open("ab") as log:
            self._running[node] = subprocess.Popen(
                shlex.split(command.partition(": ")[2]), stdout=log, stderr=log, start_new_session=True
            )

    def stop(self, node: str) -> int:
        """End it; answers its exit code."""
        process = self._running.pop(node)
        process.send_signal(signal.SIGTERM)
        return process.wait(60)

    def ended(self, node: str) -> int:
        """Its exit code, where somebody else has ended it."""
        return self._running.pop(node).wait(60)

    def stop_all(self) -> None:
        """End all of them."""
        for node in list(self._running):
            self.stop(node)

    def log(self, node: str) -> str:
        """What an agent said."""
        return (self._root / f"{node}.log").read_text()


def by_node(ended: Ended) -> Mapping[str, Any]:
    """What a document says of each node."""
    return {each["node"]: each for each in ended.document["nodes"]}


def refused(status: Ended) -> dict[str, str]:
    """By node, why."""
    errors = {each["node"]: each["error"] for each in status.document["nodes"]}
    return {node: error["reason"] for node, error in errors.items() if error is not None}


def findings(ended: Ended, code: str) -> dict[str, str]:
    """The causes of one kind of finding, by node."""
    return {each["node"]: each["cause"] for each in ended.document["findings"] if each["code"] == code}
