"""Build, start and destroy a simulated cluster on loopback addresses.

    with SimulatedCluster.create(tmp_path, nodes=3) as cluster:
        for node in cluster.nodes:
            node.install(files)          # the nine files, as a mapping from name to bytes
        cluster.start(timeout_s=20)
        cluster.nodes[0].faults = Faults(stop=StopFault.LIE)

Everything lies below the given root: `<root>/n1/home`, `/data`, `/log`. Nothing of a cluster outlives
`destroy()`, which leaving the `with` block calls.
"""

from __future__ import annotations

import itertools
import os
import pwd
import signal
import socket
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

from gausscert_sim import client, layout, processes, settings, wire
from gausscert_sim.cm_agent import spawn
from gausscert_sim.node import SimulatedNode
from gausscert_sim.settings import NodeRecord, Settings

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

_PORTS_PER_CLUSTER: Final = 3
_LOWEST_PORT: Final = 17_000
_HIGHEST_PORT: Final = 31_000
"""Below the ephemeral range, so that no outgoing connection takes a port meanwhile."""
_MOST_NODES: Final = 9
"""CM's own limit (facts section 7)."""
_numbers = itertools.count()


class SimulatedCluster:
    """A simulated cluster; make one with `create`."""

    def __init__(self, nodes: tuple[SimulatedNode, ...], time_scale: float) -> None:
        self.nodes = nodes
        self.time_scale = time_scale
        self._monitors: dict[int, subprocess.Popen[bytes]] = {}

    @classmethod
    def create(
        cls,
        root: Path,
        nodes: int,
        *,
        base_port: int | None = None,
        time_scale: float = 0.1,
        enable_ssl: bool = True,
    ) -> Self:
        """Lay out homes and configuration; no certificate, no process yet.

        Args:
            root: An existing directory of the caller's; becomes the cluster's.
            nodes: How many, 1 to 9.
            base_port: cm_server's port, the same on every node; the two behind it are used too.
                None: the next free one.
            time_scale: Every delay of real CM is multiplied by this.
            enable_ssl: What both configuration files say.

        Raises:
            ValueError: There cannot be that many nodes.
            OSError: No port is free, or the root cannot be written to.
        """
        if not 1 <= nodes <= _MOST_NODES:
            raise ValueError(f"a cluster has 1 to {_MOST_NODES} nodes, not {nodes}")
        addresses = _addresses(nodes)
        port = base_port if base_port is not None else _free_port(addresses)
        records = tuple(
            _record(root.resolve(), number, address, port)
            for number, address in enumerate(addresses, start=1)
        )
        made = []
        for record in records:
            config = Settings(
                node_id=record.id,
                nodes=records,
                user=pwd.getpwuid(os.getuid()).pw_name,
                allow_root=os.getuid() == 0,
                time_scale=time_scale,
            )
            layout.build(config, interpreter=sys.executable, enable_ssl=enable_ssl)
            made.append(SimulatedNode(config))
        return cls(tuple(made), time_scale)

    def node(self, name: str) -> SimulatedNode:
        """One node by its name.

        Raises:
            KeyError: There is none.
        """
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)

    def start(self, timeout_s: float = 30.0) -> None:
        """Start every node and wait until the cluster is Normal.

        Raises:
            TimeoutError: It did not become Normal; the message says what it is instead.
        """
        self.launch()
        self.wait_for("Normal", timeout_s)

    def launch(self) -> None:
        """Start every om_monitor that does not run, without waiting; takes stop marks away."""
        for node in self.nodes:
            node.record.manual_stop.unlink(missing_ok=True)
            monitor = self._monitors.get(node.id)
            if monitor is None or monitor.poll() is not None:
                self._monitors[node.id] = spawn(node.record, "om_monitor", node.environment())

    def power_off(self, node: SimulatedNode) -> None:
        """End every process of a node at once, as a power cut does; its disk stays as it is."""
        monitor = self._monitors.pop(node.id, None)
        if monitor is not None:
            monitor.kill()
            monitor.wait()
        _kill(node.home, ("cm_ctl", "cm_agent", "cm_server"))

    def power_on(self, node: SimulatedNode) -> None:
        """What runs after a boot: om_monitor, which starts CM unless somebody has stopped it by hand."""
        self._monitors[node.id] = spawn(node.record, "om_monitor", node.environment())

    def state(self) -> str:
        """What the primary says of the cluster, or "" when none answers."""
        for node in self.nodes:
            with suppress(client.NotReached, client.SslFailed, client.RefusedLater):
                connection = client.connect(
                    node.settings, node.record, remote_type=wire.REMOTE_CTL, postmaster=False
                )
                with connection:
                    return str(client.ask(connection)["cluster_state"])
        return ""

    def wait_for(self, state: str, timeout_s: float = 30.0) -> None:
        """Wait until the cluster is in a state.

        Raises:
            TimeoutError: It did not get there.
        """
        deadline = time.monotonic() + timeout_s
        while (now := self.state()) != state:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the cluster is {now or 'without a primary'!r}, not {state!r}")
            time.sleep(0.05)

    def stop(self, timeout_s: float = 10.0) -> None:
        """Stop CM on every node as `cm_ctl stop` does; om_monitors stay.

        Raises:
            TimeoutError: A process did not go.
        """
        for node in self.nodes:
            settings.write_private(node.record.manual_stop, b"1\n1\n2\n")
        for node in self.nodes:
            if not processes.wait_gone(node.home, ("cm_agent", "cm_server"), timeout_s):
                raise TimeoutError(f"{node.name}: CM did not stop")

    def destroy(self) -> None:
        """Kill every process of every home; whatever state it is in."""
        for node in self.nodes:
            if node.home.is_dir():
                settings.write_private(node.record.manual_stop, b"")
        # om_monitor last: it collects the others, which are its children.
        for names in (("cm_ctl", "cm_agent", "cm_server"), processes.PROGRAMS):
            for node in self.nodes:
                _kill(node.home, names)
        for monitor in self._monitors.values():
            monitor.wait()
        self._monitors.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.destroy()


def _kill(home: Path, names: tuple[str, ...], rounds: int = 100) -> None:
    """Kill until nothing is left: a program killed a moment too late may have started another."""
    for _ in range(rounds):
        found = processes.running(home, names)
        if not found:
            return
        for process in found:
            processes.send(process.pid, signal.SIGKILL)
        time.sleep(0.02)


def _record(root: Path, number: int, address: str, port: int) -> NodeRecord:
    place = root / f"n{number}"
    return NodeRecord(
        id=number,
        name=f"n{number}",
        address=address,
        port=port,
        home=place / "home",
        data_path=place / "data" / "cm",
        log_path=place / "log",
    )


def _addresses(nodes: int) -> tuple[str, ...]:
    """Loopback addresses that no test run beside this one uses: they follow the process id."""
    low = os.getpid() & 0x7FFF
    return tuple(f"127.{64 + (low >> 8)}.{low & 0xFF}.{10 + number}" for number in range(nodes))


def _free_port(addresses: tuple[str, ...]) -> int:
    span = (_HIGHEST_PORT - _LOWEST_PORT) // _PORTS_PER_CLUSTER
    for _ in range(span):
        offset = (next(_numbers) + (os.getpid() >> 15)) % span
        port = _LOWEST_PORT + offset * _PORTS_PER_CLUSTER
        if all(_is_free(address, port + extra) for address in addresses for extra in range(3)):
            return port
    raise OSError("no port is free")


def _is_free(address: str, port: int) -> bool:
    try:
        with socket.create_server((address, port)):
            return True
    except OSError:
        return False
