"""`make bench-abuse`: see bench/README.md."""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gausscert_common import identity
from gausscert_common.identity import Role
from gausscert_coordinator import Coordinator, Inventory, InventoryNode, pki
from gausscert_coordinator.inventory import Credentials as Mine
from gausscert_coordinator.inventory import Timeouts
from gausscert_coordinator.issue import KeyType
from gausscert_sim.cluster import SimulatedCluster

from bench import machine, report
from bench.abuse.attack import ATTACKS
from bench.measure import Count, Findings, Row
from bench.node import material
from bench.node.processes import CLUSTER, NAME, Agent, Credentials

if TYPE_CHECKING:
    from collections.abc import Sequence

BENCH: Final = "bench-abuse"
ROUNDS: Final = 5
STATUSES: Final = 40
"""Per round; all of a kind are put together for the percentiles that are shown."""
LIMIT_MS: Final = 250.0
GOAL: Final = 2.0
"""Where a quiet status takes long, too: at most twice that."""


def main() -> int:
    """Measure, print, and answer 1 when a goal is missed."""
    parser = argparse.ArgumentParser(prog="make bench-abuse", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often each thing is measured")
    parser.add_argument("--statuses", type=int, default=STATUSES, help="how many per round")
    parser.add_argument("--kinds", choices=ATTACKS, nargs="+", default=list(ATTACKS), help="of abuse")
    parser.add_argument("--output", choices=["text", "json"], default="text")
    parser.add_argument("--directory", type=Path, default=machine.disk_directory(), help="where to write")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gausscert-bench-", dir=options.directory) as made:
        root = Path(made)
        facts = machine.describe(root)
        found = asyncio.run(_measure(root, options.kinds, options.rounds, options.statuses))
    if options.output == "json":
        print(report.document(BENCH, facts, options.rounds, found))
    else:
        report.show(BENCH, facts, options.rounds, found)
    return 1 if found.failed else 0


async def _measure(root: Path, kinds: Sequence[str], rounds: int, statuses: int) -> Findings:
    pair = material.pair(KeyType.EC_P256)
    control = Credentials(root)
    homes = root / "simulated"
    homes.mkdir()
    found = Findings()
    with SimulatedCluster.create(homes, 1) as cluster:
        cluster.nodes[0].install(pair[0].files)
        cluster.start()
        place = root / "agent"
        place.mkdir()
        with Agent(place, pair, control, cluster.nodes[0]) as agent:
            async with Coordinator(_inventory(control, agent.address)) as coordinator:
                await _statuses(coordinator, statuses)
                for kind in kinds:
                    found.add(*await _beside(kind, coordinator, control, agent.address, rounds, statuses))
    return found


async def _beside(
    kind: str, coordinator: Coordinator, control: Credentials, address: str, rounds: int, statuses: int
) -> list[Row | Count]:
    quiet: list[list[float]] = []
    abused: list[list[float]] = []
    failed = 0
    met: Counter[str] = Counter()
    for _ in range(rounds):
        quiet.append((await _statuses(coordinator, statuses))[0])
        attacker = _begin(kind, control, address)
        try:
            taken, missed = await _statuses(coordinator, statuses)
            abused.append(taken)
            failed += missed
        finally:
            met.update(_end(attacker))
    told = ", ".join(f"{name} {count}" for name, count in sorted(met.items()))
    rows: list[Row | Count] = []
    for share, limit in ((50, None), (99, LIMIT_MS)):
        rows.append(
            Row(
                f"status beside {kind}, p{share}",
                "wall ms",
                [_percentile(each, share) for each in abused],
                [_percentile(each, share) for each in quiet],
                f"a quiet one; met: {told}",
                goal=GOAL if limit else None,
                limit=limit,
                why="an operator waits while somebody abuses the agent",
            )
        )
    rows.append(Count(f"statuses that failed beside {kind}", failed, 0))
    return rows


async def _statuses(coordinator: Coordinator, count: int) -> tuple[list[float], int]:
    """How long each took, and how many failed."""
    taken, failed = [], 0
    for _ in range(count):
        begin = time.perf_counter()
        status = await coordinator.status()
        taken.append((time.perf_counter() - begin) * 1000)
        failed += sum(each.error is not None for each in status.nodes)
    return taken, failed


def _percentile(values: Sequence[float], share: int) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * share // 100)]


def _begin(kind: str, control: Credentials, address: str) -> subprocess.Popen[str]:
    """As the weakest who gets in at all."""
    eve = control.path / "observer-eve.key"
    if not eve.exists():
        pki.issue(control.path, Role.OBSERVER, "eve")
    name = identity.node_dns_name(CLUSTER, NAME)
    paths = (control.path / "ca.crt", eve.with_suffix(".crt"), eve)
    attacker = subprocess.Popen(
        [sys.executable, "-m", "bench.abuse.attack", kind, address, name, *map(str, paths)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert attacker.stdout is not None
    assert attacker.stdout.readline() == "ready\n"
    return attacker


def _end(attacker: subprocess.Popen[str]) -> dict[str, int]:
    said, _ = attacker.communicate(timeout=90)
    met: dict[str, int] = json.loads(said)
    return met


def _inventory(control: Credentials, address: str) -> Inventory:
    mine = Mine(
        control.path / "ca.crt", control.path / "operator-bench.crt", control.path / "operator-bench.key"
    )
    return Inventory(CLUSTER, (InventoryNode(NAME, address),), mine, Timeouts())


if __name__ == "__main__":
    sys.exit(main())
