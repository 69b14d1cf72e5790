"""A playground: a cluster of three nodes on a SIMULATED CM, laid out for agents that others start.

    python playground.py DIRECTORY

Makes simulated homes with a first set, the control plane's identities, the inventory and one agent.toml for
each node, in a directory that is empty or was a playground. Then runs the simulated CM until SIGTERM.
It is no openGauss, but takes the time that one would, so that on slow machines nothing is turned back.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path

from gausscert_coordinator.cli import demo_files
from gausscert_sim.cluster import SimulatedCluster

NODES = 3
BASE_PORT = 17_000
MARK = ".playground"
SLOWEST_S = 300.0
"""Until the simulated CM is Normal, on a machine that has much else to do; compose.yml waits as long."""
READY = "ready"
"""A file that is there while the simulated CM is Normal."""


def lay_out(root: Path) -> SimulatedCluster:
    """Everything anew: a playground forgets. Nothing else is ever removed."""
    if any(root.iterdir()) and not (root / MARK).exists():
        raise SystemExit(f"{root} is not empty, and was no playground")
    for left in root.iterdir():
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink()
    (root / MARK).touch()
    homes = root / "nodes"
    homes.mkdir(mode=0o700)
    cluster = SimulatedCluster.create(homes, NODES, base_port=BASE_PORT, time_scale=1.0)
    first = demo_files.first_set()
    demo_files.issue_credentials(root, [node.name for node in cluster.nodes])
    demo_files.write_inventory(root, cluster.nodes, tenfold=False)
    for node in cluster.nodes:
        node.install(first)
        demo_files.write_agent_config(root, node)
        (root / f"agent-{node.name}").mkdir(mode=0o700)
    return cluster


def main() -> int:
    """Until SIGTERM or SIGINT."""
    root = Path(sys.argv[1])
    os.umask(0o077)
    stops = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, stops)
    with lay_out(root) as cluster:
        cluster.start(timeout_s=SLOWEST_S)
        (root / READY).touch()
        print("a SIMULATED CM of three nodes runs; try: gausscert status", flush=True)  # noqa: T201
        signal.sigwait(stops)
        (root / READY).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
