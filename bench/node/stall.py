"""How long Prepare keeps other threads of the agent from running: a thread that ticks finds out.

`cryptography` holds the interpreter lock while it tests the primes of an RSA key, 36 to 111 ms in which the
agent answers nobody (performance section 5). That load is measured, too: an instrument that cannot see it
would find everything in order.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import serialization
from gausscert_common.protocol.words import Step

from bench.measure import Row, interleave
from bench.node import material
from bench.node.core import CoreNode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gausscert_common.model import Layout
    from gausscert_coordinator.issue import KeyType

TICK_S = 0.001
LIMIT_MS = 25.0
IDLE_X = 5.0
_IDLE_S = 0.1


def measure(root: Path, rounds: int, key_type: KeyType, layout: Layout) -> list[Row]:
    """The longest stall during Prepare, against that of a thread which ticks beside nothing."""
    node = CoreNode(root, material.pair(key_type), layout)
    key = node.pair[0].files["server.key"]
    stalls: dict[Step, float] = {}

    def around(step: Step, do: Callable[[], object]) -> None:
        stalls[step] = longest_stall_ms(do) if step is Step.PREPARE else float(do() is None)

    def prepare() -> float:
        node.transaction(around)
        return stalls[Step.PREPARE]

    try:
        found = interleave(
            rounds,
            {
                "prepare": prepare,
                "idle": lambda: longest_stall_ms(lambda: time.sleep(_IDLE_S)),
                "control": lambda: longest_stall_ms(lambda: _load_with_primality_test(key)),
            },
        )
    finally:
        node.close()
    kind = f"[{key_type}]"
    return [
        Row(
            f"longest stall of another thread in Prepare {kind}",
            "wall ms",
            found["prepare"],
            found["idle"],
            "a thread that ticks beside nothing",
            goal=IDLE_X,
            limit=LIMIT_MS,
            why="something in Prepare holds the interpreter lock",
        ),
        Row(
            f"the instrument: a key loaded with primality test {kind}",
            "wall ms",
            found["control"],
            found["idle"],
            "a thread that ticks beside nothing",
        ),
    ]


def longest_stall_ms(do: Callable[[], object]) -> float:
    """How much later than due the latest tick came while something was done."""
    over = threading.Event()
    ready = threading.Event()
    longest = 0.0

    def tick() -> None:
        nonlocal longest
        last = time.perf_counter()
        ready.set()
        while not over.is_set():
            time.sleep(TICK_S)
            now = time.perf_counter()
            longest = max(longest, now - last - TICK_S)
            last = now

    ticking = threading.Thread(target=tick)
    ticking.start()
    ready.wait()
    try:
        do()
    finally:
        over.set()
        ticking.join()
    return longest * 1000


def _load_with_primality_test(key: bytes) -> None:
    serialization.load_pem_private_key(key, material.PASSWORD.encode())
