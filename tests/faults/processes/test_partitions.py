"""Nodes and coordinators that are only away: paused, cut off, or slow. What was held back arrives afterwards.

One seed again:  GAUSSCERT_SEED=17 make faults ARGS='tests/faults/processes/test_partitions.py -n0'
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from support import local_cluster
from support.bad_line import Way
from support.fault_cluster import FaultCluster
from support.fault_run import MOST_TRIES, FaultRun, replay_command, seeds
from support.local_cluster import NODES

SEEDS = range(20)
MORE = range(100, 200)
"""Those of `make soak`."""
SAMPLE = (1000,)
"""Those of `make test`."""

MOMENTS = {
    "acquire started": 0.02,
    "prepare started": 0.3,
    "prepare done": 0.1,
    "stop started": 0.5,
    "stop done": 0.02,
    "swap started": 0.02,
    "swap done": 0.02,
    "start n3 done": 0.5,
    "verify started": 0.4,
    "verify done": 0.003,
}
"""Lines of progress, and within how many seconds of them it begins."""

PAUSED_AGENT = "agent paused"
PAUSED_COORDINATOR = "coordinator paused"
KINDS: dict[str, tuple[float, ...]] = {
    PAUSED_AGENT: (0.5, 2.0, 5.0),
    PAUSED_COORDINATOR: (0.0,),
    Way.HOLD: (0.5, 2.0, 5.0),
    Way.RESET: (0.2, 1.5, 4.5),
    Way.LATE: (3.0,),
}
"""How long each may last. Four seconds are the deadline of a quick call, three the patience with a node that
is not there; a paused coordinator wakes when another one has recovered."""


@dataclass(frozen=True)
class Plan:
    """What a seed means."""

    kind: str
    nodes: tuple[str, ...]
    words: str
    delay_s: float
    lasts_s: float
    late_s: float
    finish: bool
    restart: str

    @classmethod
    def of(cls, seed: int, attempt: int = 0) -> Plan:
        chance = random.Random(f"{seed}/{attempt}")  # noqa: S311 - a schedule
        kind = list(KINDS)[seed % len(KINDS)]
        words = chance.choice(list(MOMENTS))
        return cls(
            kind=kind,
            nodes=tuple(chance.sample(NODES, 1 if kind == PAUSED_AGENT else chance.choice([1, 1, 2, 3]))),
            words=words,
            delay_s=chance.uniform(0, MOMENTS[words]),
            lasts_s=chance.choice(KINDS[kind]),
            late_s=chance.uniform(0.05, 0.4),
            finish=chance.random() < 0.4,
            restart=chance.choice(["cluster", "cluster", "node"]),
        )

    @property
    def on_the_line(self) -> bool:
        return self.kind in list(Way)


def trouble(run: FaultRun, plan: Plan) -> Callable[[local_cluster.Run], None]:
    def pause_agents(_: local_cluster.Run) -> None:
        for node in plan.nodes:
            run.cluster.signal_agent(node, signal.SIGSTOP)
        run.note_hit(str(plan))
        time.sleep(plan.lasts_s)
        run.cluster.ensure_agents()

    def pause_coordinator(process: local_cluster.Run) -> None:
        process.process.send_signal(signal.SIGSTOP)
        run.note_hit(str(plan))
        try:
            run.recover(finish=plan.finish)
            run.look()
        finally:
            process.process.send_signal(signal.SIGCONT)

    def worsen_lines(_: local_cluster.Run) -> None:
        lines = [run.cluster.lines()[node] for node in plan.nodes]
        over = run.is_over()
        for line in lines:
            line.turn(Way(plan.kind), plan.late_s)
        time.sleep(plan.lasts_s)
        if not over and any(line.affected for line in lines):
            run.hits.append(str(plan))
        run.look()
        for line in lines:
            line.turn(Way.PASS)

    acts = {PAUSED_AGENT: pause_agents, PAUSED_COORDINATOR: pause_coordinator}
    act = acts.get(plan.kind, worsen_lines)

    def begin(process: local_cluster.Run) -> None:
        time.sleep(plan.delay_s)
        if process.process.poll() is None:
            act(process)

    return begin


def carry_out(run: FaultRun, plan: Plan) -> None:
    run.cluster.lines()
    inventory = ("--inventory", "lines.toml") if plan.on_the_line else ()
    try:
        done = run.ended(
            run.launch("--restart", plan.restart, *inventory, on={plan.words: run.act(trouble(run, plan))})
        )
    finally:
        for line in run.cluster.lines().values():
            line.hang_up()
    if plan.kind == PAUSED_COORDINATOR and done.code not in (0, 1) and not run.cluster.in_flight():
        run.end()  # it was told that somebody else has acquired, and that one has ended it
    else:
        run.finish(done, finish=plan.finish)


def cut_off(cluster: FaultCluster, seed: int) -> None:
    for attempt in range(MOST_TRIES):
        plan = Plan.of(seed, attempt)
        with FaultRun.upon(cluster, replay_command("test_partitions", seed)) as run:
            carry_out(run, plan)
        if run.hits:
            return
    pytest.fail(f"seed {seed}: it was never away while it mattered")


@pytest.mark.xdist_group("processes")
@pytest.mark.parametrize("seed", seeds(SAMPLE))
def test_some_that_are_away_for_a_while(cluster: FaultCluster, seed: int):
    cut_off(cluster, seed)


@pytest.mark.faults
@pytest.mark.parametrize("seed", seeds(SEEDS))
def test_away_for_a_while_it_ends_whole(cluster: FaultCluster, seed: int):
    cut_off(cluster, seed)


@pytest.mark.soak
@pytest.mark.parametrize("seed", seeds(MORE))
def test_many_more_that_are_away(cluster: FaultCluster, seed: int):
    cut_off(cluster, seed)


def test_the_seeds_have_every_kind_and_every_node():
    plans = [Plan.of(seed) for seed in SEEDS]
    assert len(plans) >= 20
    assert {plan.kind for plan in plans} == set(KINDS)
    assert {node for plan in plans for node in plan.nodes} == set(NODES)
    assert {plan.restart for plan in plans} == {"cluster", "node"}
    assert len({plan.words for plan in plans}) >= 8
