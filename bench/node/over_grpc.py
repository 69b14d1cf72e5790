"""A real agent behind a real mutual TLS channel: the swap window, and the work of a whole transaction."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gausscert_common.protocol.words import Step

from bench.measure import Row, interleave
from bench.node import bare, material
from bench.node.core import STEPS
from bench.node.parts import cpu_ms, wall_ms
from bench.node.processes import Agent, Credentials

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gausscert_coordinator.issue import KeyType

    from bench.measure import Sample

WINDOW_GOAL = 2.0
WORK_GOAL = 1.5
_WORK = STEPS[STEPS.index(Step.PREPARE) :]
_LOOKS = 6
"""At the processes, before and after each of Stop, Swap and Start: what cm_ctl says is not believed."""
_NULLS = 20
"""Calls whose mean stands for one: a single one is shorter than the scheduler is fair."""


def measure(root: Path, rounds: int, key_type: KeyType, credentials: Credentials) -> list[Row]:
    """The window and the work with one kind of keys."""
    pair = material.pair(key_type)
    place = root / f"agent-{key_type}"
    place.mkdir()
    sets = bare.Sets(root, pair[0].files)
    try:
        with Agent(place, pair, credentials) as agent:
            _window(agent, sets)  # first calls load libraries
            windows = [_window(agent, sets) for _ in range(rounds)]
            former = root / f"former-{key_type}"
            material.install(former, pair[1])
            found = interleave(rounds, _samples(agent, sets, pair[0].files, former))
    finally:
        sets.close()
    return _rows(windows, found, f"[{key_type}, over gRPC]")


def _window(agent: Agent, sets: bare.Sets) -> tuple[float, float, float]:
    """How long Swap takes, and right before it its bare part, without and with what it is obliged to, in one
    transaction: an agent that has waited for something wakes up more slowly, whatever it is called for, and
    Swap comes after a Stop that waits."""
    took: dict[Step, float] = {}
    least = 0.0, 0.0

    def around(step: Step, do: Callable[[], object]) -> None:
        nonlocal least
        if step is Step.SWAP:
            exchange, call = wall_ms(sets.exchange), _mean_wall_ms(agent.null)
            least = exchange + call, exchange + call + wall_ms(lambda: _obliged(sets))
        took[step] = wall_ms(do)

    agent.transaction(around)
    return took[Step.SWAP], *least


def _obliged(sets: bare.Sets) -> None:
    """What the transaction obliges a node to beside the exchange: the fence durable before it and the vote
    after it; both sets known by their content (ensure, never toggle); no CM process before and after."""
    sets.record()
    sets.digest("live")
    sets.digest("stage")
    bare.look_at_processes()
    bare.look_at_processes()
    sets.record()


def _rows(windows: list[tuple[float, float, float]], found: dict[str, list[float]], kind: str) -> list[Row]:
    work = [
        ours - len(_WORK) * null for ours, null in zip(found["transaction"], found["null cpu"], strict=True)
    ]
    return [
        Row(
            f"Swap, the window {kind}",
            "wall ms",
            [ours for ours, _, _ in windows],
            [least for _, _, least in windows],
            "exchange + 1 fsync + what the transaction obliges to + 1 null RPC",
            goal=WINDOW_GOAL,
            why="beyond that it reads the live set again, compares attributes, and looks once more",
        ),
        Row(
            f"Swap, the window {kind}",
            "wall ms",
            [ours for ours, _, _ in windows],
            [least for _, least, _ in windows],
            "exchange + 1 fsync + 1 null RPC",
        ),
        Row(
            f"agent's work, Prepare to Purge {kind}",
            "cpu ms",
            work,
            found["bare"],
            "fast validation + 9 files fsynced + exchange + 2 digests + 3 rehearsals + 6 looks",
            goal=WORK_GOAL,
            why="most of it is Prepare: the rules, and the handshakes of the three rehearsals",
        ),
    ]


def _samples(agent: Agent, sets: bare.Sets, files: dict[str, bytes], former: Path) -> dict[str, Sample]:
    worked: dict[Step, float] = {}

    def transaction() -> float:
        agent.transaction(around)
        return sum(worked[step] for step in _WORK)

    def around(step: Step, do: Callable[[], object]) -> None:
        begin = agent.cpu_ms
        do()
        worked[step] = agent.cpu_ms - begin

    def bare_sum() -> float:
        sets.remove("stage")
        return cpu_ms(lambda: _bare(sets, files, former))

    return {
        "transaction": transaction,
        "null cpu": lambda: _mean_cpu_ms(agent),
        "bare": bare_sum,
    }


def _bare(sets: bare.Sets, files: dict[str, bytes], former: Path) -> None:
    bare.validate(files)
    sets.write("stage")
    bare.rehearse(sets.path / "stage", former, files["server.key.cipher"])
    sets.exchange()
    sets.digest("live")
    sets.digest("stage")
    for _ in range(_LOOKS):
        bare.look_at_processes()


def _mean_wall_ms(do: Callable[[], object]) -> float:
    begin = time.perf_counter()
    for _ in range(_NULLS):
        do()
    return (time.perf_counter() - begin) * 1000 / _NULLS


def _mean_cpu_ms(agent: Agent) -> float:
    begin = agent.cpu_ms
    for _ in range(_NULLS):
        agent.null()
    return (agent.cpu_ms - begin) / _NULLS
