"""`make bench-node`: see bench/README.md."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from gausscert_common.model import Layout
from gausscert_coordinator.issue import KeyType

from bench import machine, report
from bench.measure import Findings
from bench.node import footprint, over_grpc, parts, stall, syncs
from bench.node.processes import Credentials

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "bench-node"
ROUNDS = 15
KEYS = (KeyType.RSA_3072, KeyType.EC_P256)
"""What openGauss documents, and what is quickest. Where it hardly matters the first one stands for all."""
ROUNDS_PER_START = 3
"""Memory hardly differs from start to start, so a third of the rounds will do."""


def main() -> int:
    """Measure, print, and answer 1 when a goal is missed."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="gausscert-bench-", dir=options.directory) as made:
        root = Path(made)
        facts = machine.describe(root)
        found = _measure(root, options.rounds, options.keys)
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
    parser.add_argument(
        "--keys", type=KeyType, choices=list(KeyType), nargs="+", default=KEYS, help="of the certificates"
    )
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds: at least 1")
    return options


def _measure(root: Path, rounds: int, keys: Sequence[KeyType]) -> Findings:
    found = Findings()
    # What runs in this process comes first: gRPC brings threads.
    for key_type in keys:
        found.add(*parts.measure(_new(root), rounds, key_type, Layout.EXCHANGE))
    found.add(*parts.measure(_new(root), rounds, keys[0], Layout.DATA_LINK))
    for layout in (Layout.EXCHANGE, Layout.DATA_LINK):
        found.add(*syncs.measure(_new(root), keys[0], layout))
    found.add(*stall.measure(_new(root), rounds, keys[0], Layout.EXCHANGE))
    credentials = Credentials(root)
    for key_type in keys:
        found.add(*over_grpc.measure(_new(root), rounds, key_type, credentials))
    found.add(*footprint.measure(_new(root), -(-rounds // ROUNDS_PER_START), keys[0], credentials))
    return found


def _new(root: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=root))


if __name__ == "__main__":
    sys.exit(main())
