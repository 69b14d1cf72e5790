"""`make bench-node`: see bench/README.md."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from gausscert_common.model import Layout
from gausscert_coordinator.issue import KeyType

from bench import machine, report
from bench.measure import Findings
from bench.node import footprint, over_grpc, parts, stall, syncs
from bench.node.processes import Credentials

NAME = "bench-node"
ROUNDS = 15
KEYS = (KeyType.RSA_3072, KeyType.EC_P256)
STARTS_PER_ROUND = 3
"""Memory hardly differs from start to start, so a third of the rounds will do."""


def main() -> int:
    """Measure, print, and answer 1 when a goal is missed."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="gausscert-bench-", dir=options.directory) as made:
        root = Path(made)
        facts = machine.describe(root)
        found = _measure(root, options.rounds)
    if options.output == "json":
        print(report.document(NAME, facts, options.rounds, found))
    else:
        report.show(NAME, facts, options.rounds, found)
    return 1 if found.failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-node", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often each thing is measured")
    parser.add_argument("--output", choices=["text", "json"], default="text")
    parser.add_argument(
        "--directory", type=Path, default=machine.disk_directory(), help="where to write; on a disk"
    )
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds: at least 1")
    return options


def _measure(root: Path, rounds: int) -> Findings:
    found = Findings()
    # What runs in this process comes first: gRPC brings threads.
    for key_type in KEYS:
        found.add(*parts.measure(_new(root), rounds, key_type, Layout.EXCHANGE))
    found.add(*parts.measure(_new(root), rounds, KEYS[0], Layout.DATA_LINK))
    for layout in (Layout.EXCHANGE, Layout.DATA_LINK):
        found.add(*syncs.measure(_new(root), KEYS[0], layout))
    found.add(*stall.measure(_new(root), rounds, KEYS[0], Layout.EXCHANGE))
    credentials = Credentials(root)
    for key_type in KEYS:
        found.add(*over_grpc.measure(_new(root), rounds, key_type, credentials))
    found.add(*footprint.measure(_new(root), -(-rounds // STARTS_PER_ROUND), credentials))
    return found


def _new(root: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=root))


if __name__ == "__main__":
    sys.exit(main())
