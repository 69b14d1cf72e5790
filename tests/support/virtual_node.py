"""A node of a cluster on a machine under qemu: a simulated CM that starts at boot, and an operator outside.

The simulated CM has one node: its nodes reach each other's homes, which machines do not. What starts it at
boot is a unit here; cron does it on a real node.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from support import software
from support.lone_agent import Ended, free_port
from support.rolling import Operator, Place
from support.virtual_image import image
from support.virtual_machine import VirtualMachine

DEBIAN: Final = {(3, 11): "bookworm", (3, 13): "trixie"}
"""Whose Python is this one: the wheels in the bundle are for that."""
CM: Final = "/home/omm/cm"
_LAY_OUT: Final = """\
import json, os, sys
from pathlib import Path
from gausscert_coordinator.cli import demo_files
from gausscert_sim.cluster import SimulatedCluster
os.umask(0o077)
root = Path(sys.argv[1])
root.mkdir()
(node,) = SimulatedCluster.create(root, 1, base_port=17000).nodes
node.install(demo_files.first_set())
paths = {"home": node.home, "data_path": node.data_path, "log_path": node.log_path}
print(json.dumps({"paths": paths, "environment": node.environment()}, default=str))
"""
_AT_BOOT: Final = """\
[Unit]
Description=om_monitor of a simulated CM
[Service]
User=omm
Group=dbgrp
{environment}
ExecStart={home}/bin/om_monitor
Restart=always
[Install]
WantedBy=multi-user.target
"""
_WATCH: Final = """\
import pathlib, sys, time
seen = set()
while not pathlib.Path("/run/watched").exists():
    try:
        pids = pathlib.Path(sys.argv[1]).read_text().split()
    except OSError:
        pids = []
    for pid in pids:
        try:
            words = pathlib.Path("/proc", pid, "cmdline").read_bytes().decode().split("\\0")
        except OSError:
            continue
        line = " ".join(words).strip()
        if line and line not in seen:
            seen.add(line)
            print(line, flush=True)
    time.sleep(0.01)
"""


@dataclass(frozen=True)
class Laid:
    """What the simulated CM on the machine is."""

    home: str
    settings: str
    """For agent.toml."""


class VirtualNode:
    """See the module; a machine that runs, with an operator who has not done anything yet.

    Args:
        root: An empty directory.
        machine: Fresh.
        agent_port: Of this machine's, that leads to 7443 there.
    """

    def __init__(self, root: Path, machine: VirtualMachine, agent_port: int) -> None:
        self.machine = machine
        self.bundle = software.make(root / "bundle")
        self.laid = self._simulate()
        place = Place("n1", f"127.0.0.1:{agent_port}", "", self.laid.settings, listen="0.0.0.0:7443")
        options = machine.ssh_options("root")
        self.root = root / "operator"
        self.root.mkdir(mode=0o700)
        self.operator = Operator(self.root, [place], machine.ssh_port, options, "/usr/bin/python3")
        self.password = self.root / "password"
        self.password.write_text("Virtual-9\n")
        self.password.chmod(0o400)

    def _simulate(self) -> Laid:
        machine = self.machine
        machine.send(self.bundle, "/root/bundle")
        machine.write("/root/bundle/install.sh", (software.ROOT / "deploy/bundle/install.sh").read_bytes())
        machine.sh("sh /root/bundle/install.sh /opt/simulated")
        (packages,) = machine.sh("ls -d /opt/simulated/releases/*/lib/python3*/site-packages").split()
        machine.send(software.ROOT / "sim", packages)
        said = machine.sh(f"/opt/simulated/current/bin/python - {CM}", user="omm", stdin=_LAY_OUT.encode())
        laid = json.loads(said)
        home, environment = laid["paths"]["home"], laid["environment"]
        lines = "\n".join(f"Environment={key}={value}" for key, value in environment.items())
        machine.write("/etc/systemd/system/om-monitor.service", _AT_BOOT.format(environment=lines, home=home))
        machine.sh("systemctl daemon-reload; systemctl enable --now om-monitor")
        settings = "".join(f'{key} = "{value}"\n' for key, value in laid["paths"].items())
        kept = "".join(f'{key} = "{environment[key]}"\n' for key in ("PATH", "USER", "HOME", "PGHOST"))
        text = (
            f"[agent]\ndrain_s = 5.0\n[cm]\n{settings}command_timeout_s = 60.0\nstopped_for_s = 1.0\n"
            f"[cm.environment]\n{kept}"
        )
        return Laid(home, text)

    def status(self) -> Any:
        """The node, as `gausscert status` tells it.

        Raises:
            AssertionError: It tells nothing.
        """
        ended = self.operator.gausscert("status")
        assert ended.code == 0, ended.out + ended.err
        (node,) = ended.document["nodes"]
        return node

    def live(self) -> str:
        """The fingerprint of the server certificate on the disk."""
        (found,) = [
            each for each in self.status()["report"]["live"]["certificates"] if each["kind"] == "server"
        ]
        return str(found["fingerprint"])

    def settled(self) -> bool:
        """Whether CM serves what is on the disk, and no transaction is left."""
        node = self.operator.gausscert("status").document["nodes"][0]
        report = node["report"]
        return (
            report is not None and report["transaction"] is None and node["drift_known"] and not node["drift"]
        )

    def new_bundle(self, name: str) -> Path:
        """One that suits."""
        made = self.operator.gausscert(
            *("bundle", "new", str(self.root / name), "--key-type", "ec-p256"), *self.passwords()
        )
        assert made.code == 0, made.err
        return self.root / name

    def passwords(self) -> tuple[str, ...]:
        """Where a command finds them."""
        return "--server-password-file", str(self.password), "--client-password-file", str(self.password)

    def replace(self, bundle: Path) -> Ended:
        """The transaction; again where nothing was done: an emulated cm_ctl may take too long."""
        for _ in range(3):
            done = self.operator.gausscert("replace", str(bundle), "--yes", *self.passwords())
            if done.code == 0 or done.document.get("result", {}).get("verdict") != "nothing done":
                break
        return done

    def launch_replace(self, bundle: Path) -> subprocess.Popen[str]:
        """The same in a process of its own; its progress is on standard error."""
        command = [sys.executable, "-m", "gausscert_coordinator.cli.entry", "replace", str(bundle), "--yes"]
        return subprocess.Popen(
            [*command, *self.passwords(), "--inventory", str(self.operator.inventory)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    @contextmanager
    def watched(self) -> Iterator[set[str]]:
        """Whoever is in the agent's control group meanwhile, by command line; complete at the end."""
        group = self.machine.sh("systemctl show -P ControlGroup gausscert-agent").strip()
        seen = set[str]()
        self.machine.write("/root/watch.py", _WATCH)
        words = [word for option in self.machine.ssh_options("root") for word in ("-o", option)]
        watcher = subprocess.Popen(
            [
                *("ssh", "-T", "-p", str(self.machine.ssh_port), *words, "127.0.0.1"),
                f"rm -f /run/watched; python3 -u /root/watch.py /sys/fs/cgroup{group}/cgroup.procs",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert watcher.stdout is not None
        seen.add(watcher.stdout.readline().strip())  # the agent itself: it looks
        try:
            yield seen
        finally:
            self.machine.sh("touch /run/watched")
            seen.update(map(str.strip, watcher.communicate(timeout=60)[0].splitlines()))


def until(progress: subprocess.Popen[str], phase: str) -> None:
    """Read a command's progress until a phase begins.

    Raises:
        AssertionError: It ended before that.
    """
    assert progress.stderr is not None
    told = ""
    for line in progress.stderr:
        told += line
        if re.search(rf"\b{phase} started$", line.strip()):
            return
    raise AssertionError(told)


@contextmanager
def virtual_node(root: Path) -> Iterator[VirtualNode]:
    """A machine with a simulated CM; the agent is not there yet.

    Raises:
        KeyError: No Debian has this Python.
    """
    port = free_port()
    (root / "machine").mkdir()
    with VirtualMachine(image(DEBIAN[sys.version_info[:2]]), root / "machine", {7443: port}) as machine:
        yield VirtualNode(root, machine, port)
