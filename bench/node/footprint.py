"""What an agent weighs and how long it takes to serve, against a minimal grpcio server with mutual TLS."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gausscert_sim.cluster import SimulatedCluster

from bench.measure import Row
from bench.node import material
from bench.node.processes import CALLS, LOOKS, Agent, Credentials, Minimal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gausscert_common.protocol.words import Step
    from gausscert_coordinator.issue import KeyType
    from gausscert_sim.node import SimulatedNode

    from bench.node.material import Material
    from bench.node.processes import Serving

MEMORY_GOAL = 1.25
START_GOAL = 1.4
SETTLE_S = 0.8
"""Until the first look at the certificates, which runs in a child, has ended."""


@dataclass(slots=True)
class _Seen:
    """One column of figures per thing that is looked at, round by round."""

    ready_wall: list[float] = field(default_factory=list)
    ready_cpu: list[float] = field(default_factory=list)
    idle: list[float] = field(default_factory=list)
    looked: list[float] = field(default_factory=list)
    replaced: list[float] = field(default_factory=list)
    loaded: list[float] = field(default_factory=list)
    settled_cpu: list[float] = field(default_factory=list)
    first_cpu: list[float] = field(default_factory=list)


def measure(root: Path, rounds: int, key_type: KeyType, credentials: Credentials) -> list[Row]:
    """The rows; each round starts an agent and a minimal server anew."""
    pair = material.pair(key_type)
    agents, minimals = _Seen(), _Seen()
    _see_agent(root / "first", pair, credentials, _Seen())  # compiles the modules
    homes = root / "simulated"
    homes.mkdir()
    with SimulatedCluster.create(homes, 1) as cluster:
        node = cluster.nodes[0]
        node.install(pair[0].files)
        cluster.start()
        for number in range(rounds):
            turns: list[Callable[[], None]] = [
                lambda: _see_minimal(credentials, minimals),
                lambda: _see_agent(root, pair, credentials, agents),
                lambda: _see_status(root, pair, credentials, node, agents),
            ]
            for turn in turns if number % 2 == 0 else reversed(turns):
                turn()
    return _rows(agents, minimals)


def _rows(ours: _Seen, minimal: _Seen) -> list[Row]:
    against = "minimal grpcio server, mutual TLS"
    calls = f"{against}, as many calls"
    return [
        Row("memory, idle", "MiB", ours.idle, minimal.idle, against, goal=MEMORY_GOAL),
        Row(
            "memory, after a status",
            "MiB",
            ours.looked,
            minimal.looked,
            f"{calls}, with messages of protobuf",
            goal=MEMORY_GOAL,
        ),
        Row(
            "memory, after a transaction",
            "MiB",
            ours.replaced,
            minimal.loaded,
            f"{calls}, with protobuf and cryptography",
            goal=MEMORY_GOAL,
            why="the rules of Prepare, and what they have used",
        ),
        Row("memory, after a transaction", "MiB", ours.replaced, minimal.replaced, calls),
        Row("start, spawn to ready", "cpu ms", ours.ready_cpu, minimal.ready_cpu, against, goal=START_GOAL),
        Row(
            "start, spawn to ready",
            "wall ms",
            ours.ready_wall,
            minimal.ready_wall,
            against,
            goal=START_GOAL,
            gates=False,
        ),
        Row("start, all loaded and settled", "cpu ms", ours.settled_cpu, minimal.settled_cpu, against),
        Row(
            "first transaction of an agent's life",
            "cpu ms",
            ours.first_cpu,
            minimal.first_cpu,
            "as many null calls",
        ),
    ]


def _see_agent(root: Path, pair: tuple[Material, Material], credentials: Credentials, seen: _Seen) -> None:
    place = root / f"agent-{len(seen.idle)}"
    place.mkdir(parents=True)
    with Agent(place, pair, credentials) as agent:
        _see_start(agent, seen)
        begin = agent.cpu_ms
        agent.transaction(_just_do)
        seen.first_cpu.append(agent.cpu_ms - begin)
        seen.replaced.append(agent.rss_mib)


def _see_status(
    root: Path,
    pair: tuple[Material, Material],
    credentials: Credentials,
    node: SimulatedNode,
    seen: _Seen,
) -> None:
    place = root / f"status-{len(seen.looked)}"
    place.mkdir()
    with Agent(place, pair, credentials, node) as agent:
        time.sleep(SETTLE_S)
        agent.look()
        seen.looked.append(agent.rss_mib)


def _see_minimal(credentials: Credentials, seen: _Seen) -> None:
    with Minimal(credentials) as minimal:
        _see_start(minimal, seen)
        begin = minimal.cpu_ms
        for _ in range(CALLS):
            minimal.null()
        seen.first_cpu.append(minimal.cpu_ms - begin)
        seen.replaced.append(minimal.rss_mib)
    with Minimal(credentials) as minimal:
        time.sleep(SETTLE_S)
        for _ in range(LOOKS):
            minimal.tell()
        seen.looked.append(minimal.rss_mib)
        for _ in range(CALLS - LOOKS):
            minimal.tell()
        minimal.load()
        seen.loaded.append(minimal.rss_mib)


def _see_start(server: Serving, seen: _Seen) -> None:
    seen.ready_wall.append(server.ready_ms)
    seen.ready_cpu.append(server.ready_cpu_ms)
    time.sleep(SETTLE_S)
    seen.idle.append(server.rss_mib)
    seen.settled_cpu.append(server.cpu_ms)


def _just_do(step: Step, do: Callable[[], object]) -> None:
    del step
    do()
