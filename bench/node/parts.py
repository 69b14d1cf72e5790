"""Prepare, Swap and the validation of the core, each against its bare part; no RPC, one thread."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gausscert_agent.drivers.rehearsal import rehearse
from gausscert_agent.judging import judge_set
from gausscert_common import certset
from gausscert_common.findings import errors
from gausscert_common.model import FactorBuild, Layout
from gausscert_common.protocol.words import Step

from bench.measure import Row, interleave
from bench.node import bare, material
from bench.node.core import CoreNode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gausscert_coordinator.issue import KeyType

    from bench.measure import Sample
    from bench.node.material import Material


def cpu_ms(do: Callable[[], object]) -> float:
    """CPU time of this thread."""
    begin = time.thread_time()
    do()
    return (time.thread_time() - begin) * 1000


def wall_ms(do: Callable[[], object]) -> float:
    """Time that passes meanwhile."""
    begin = time.perf_counter()
    do()
    return (time.perf_counter() - begin) * 1000


def measure(root: Path, rounds: int, key_type: KeyType, layout: Layout) -> list[Row]:
    """The rows of one kind of keys and one layout."""
    pair = material.pair(key_type)
    node = CoreNode(root, pair, layout)
    sets = bare.Sets(root, pair[0].files)
    try:
        found = interleave(rounds, _samples(node, sets, pair[0]))
    finally:
        sets.close()
        node.close()
    return _rows(found, f"[{key_type}, {layout}]", layout)


def _rows(found: dict[str, list[float]], kind: str, layout: Layout) -> list[Row]:
    swapped = "exchange" if layout is Layout.EXCHANGE else "rename of ..data"
    return [
        Row(f"Prepare {kind}", "cpu ms", found["prepare"], found["write"], "9 files written and fsynced"),
        Row(f"Swap {kind}", "wall ms", found["swap"], found["exchange"], f"{swapped} + 1 fsync"),
        Row(f"validation {kind}", "cpu ms", found["validate"], found["handshake"], "1 handshake in memory"),
    ]


def _samples(node: CoreNode, sets: bare.Sets, one: Material) -> dict[str, Sample]:
    """A transaction is one sample for Prepare and for Swap: the second one answers what the first took."""
    took: dict[Step, float] = {}

    def around(step: Step, do: Callable[[], object]) -> None:
        took[step] = cpu_ms(do) if step is Step.PREPARE else wall_ms(do)

    def prepare() -> float:
        node.transaction(around)
        return took[Step.PREPARE]

    def write() -> float:
        sets.remove("stage")
        return cpu_ms(lambda: sets.write("stage"))

    def swap() -> float:
        node.transaction(around)
        return took[Step.SWAP]

    move = sets.exchange if node.layout is Layout.EXCHANGE else sets.point
    return {
        "prepare": prepare,
        "write": write,
        "swap": swap,
        "exchange": lambda: wall_ms(move),
        "validate": lambda: cpu_ms(lambda: _validate(one)),
        "handshake": lambda: cpu_ms(lambda: bare.handshake(sets.path / "live")),
    }


def _validate(one: Material) -> None:
    modes = dict.fromkeys(one.files, certset.FILE_MODE)
    found = judge_set(one.files, modes, now=datetime.now(UTC), build=FactorBuild.RELEASED)
    assert not errors((*found, *rehearse(one.files)))
