"""SIGKILL at random moments of a replacement, of a rollback, of a switch of SSL: agents, the coordinator, and
whoever recovers afterwards.

One seed again:  GAUSSCERT_SEED=17 make faults ARGS='tests/faults/processes/test_random_kills.py -n0'

The seed decides who is killed, after which line of progress and how much later; where exactly that is, the
machine decides.
"""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from dataclasses import dataclass

import pytest
from support import local_cluster
from support.fault_cluster import FaultCluster
from support.fault_run import MOST_TRIES, FaultRun, replay_command, seeds
from support.local_cluster import NODES, Act

SEEDS = range(60)
MORE = range(100, 400)
"""Those of `make soak`."""
SAMPLE = range(1000, 1002)
"""Those of `make test`."""

COORDINATOR = "coordinator"

REPLACE, ROLLBACK, SSL = "replace", "rollback", "ssl"
ERRANDS = (REPLACE,) * 7 + (ROLLBACK,) * 2 + (SSL,)
"""A rollback is a replacement where no former sets are left."""

MOMENTS = {
    "acquire started": 0.02,
    "acquire n3 done": 0.3,
    "prepare started": 0.3,
    "prepare n1 done": 0.3,
    "prepare done": 0.1,
    "stop started": 0.9,
    "stop n1 done": 0.6,
    "stop done": 0.03,
    "swap started": 0.03,
    "swap n2 done": 0.02,
    "swap done": 0.05,
    "start n3 done": 0.6,
    "start done": 0.02,
    "verify started": 0.45,
    "verify done": 0.005,
    "commit started": 0.005,
}
"""Lines of progress, and within how many seconds of them the kill comes. Commit and Purge together take some
hundredths of a second: what is to hit them is chosen after the lines before."""


@dataclass(frozen=True)
class Plan:
    """What a seed means."""

    victims: tuple[str, ...]
    words: str
    """The line of progress that is waited for."""
    delay_s: float
    back_s: float | None
    """When killed agents are started again; None: only when the command has ended."""
    again: str
    """A line of progress of the recovery at which that is killed, too; "" for none."""
    finish: bool
    ready: bool
    restart: str
    ssl_wish: str
    errand: str

    @classmethod
    def of(cls, seed: int, attempt: int = 0) -> Plan:
        chance = random.Random(f"{seed}/{attempt}")  # noqa: S311 - a schedule
        words = chance.choice(list(MOMENTS))
        node = chance.choice(NODES)
        others = [other for other in NODES if other != node]
        victims = chance.choice([(COORDINATOR,), (COORDINATOR,), (node,), (node,), (COORDINATOR, node)])
        return cls(
            victims=victims if chance.random() > 0.1 else (*victims, chance.choice(others)),
            words=words,
            delay_s=chance.uniform(0, MOMENTS[words]),
            back_s=chance.choice([0.0, chance.uniform(0.1, 1.0), None]),
            again=chance.choice(["", "", "", "acquire done", "rollback stop started", "abort started"]),
            finish=chance.random() < 0.4,
            ready=chance.random() < 0.75,
            restart=chance.choice(["cluster", "cluster", "node"]),
            ssl_wish="off" if chance.random() < 0.08 else "keep",
            errand=chance.choice(ERRANDS),
        )


def wish(cluster: FaultCluster, plan: Plan) -> str:
    """Whoever has switched TLS off before us gets it back."""
    off = "enable_ssl = off" in cluster.nodes[0].record.conf("cm_server").read_text()
    if plan.errand == SSL:
        return "on" if off else "off"
    return "on" if off else plan.ssl_wish


def carry_out(run: FaultRun, plan: Plan) -> None:
    """One replacement with what the plan does to it."""
    restart, switch = ("--restart", plan.restart), ("--enable-ssl", run.ssl_wish)
    instead: tuple[str, ...] = ()
    if plan.errand == SSL:
        instead = ("ssl", run.ssl_wish, "--yes", "--take-over", "--output", "json", *restart)
    elif plan.errand == ROLLBACK:
        instead = run.cluster.way_back(run.known.bundle, *restart, *switch)
    process = run.launch(*restart, *switch, on={plan.words: run.act(blow(run, plan))}, instead=instead)
    done = run.ended(process)
    run.cluster.ensure_agents()
    if done.code == -signal.SIGKILL and plan.again:
        run.recover(
            finish=plan.finish, may_die=True, on={plan.again: lambda recovery: recovery.process.kill()}
        )
        run.look()
    run.finish(done, finish=plan.finish)


def blow(run: FaultRun, plan: Plan) -> Act:
    def strike(process: local_cluster.Run) -> None:
        time.sleep(plan.delay_s)
        going_on = process.process.poll() is None
        for victim in plan.victims:
            if victim == COORDINATOR:
                process.process.kill()
            else:
                run.cluster.signal_agent(victim, signal.SIGKILL)
        if going_on:
            run.note_hit(f"{', '.join(plan.victims)} {plan.delay_s:.3f} s after {plan.words}")
        if plan.back_s is not None and any(victim in NODES for victim in plan.victims):
            time.sleep(plan.back_s)
            run.cluster.ensure_agents()

    return strike


def kill(cluster: FaultCluster, seed: int) -> None:
    missed = []
    for attempt in range(MOST_TRIES):
        plan = Plan.of(seed, attempt)
        with FaultRun.upon(
            cluster,
            replay_command("test_random_kills", seed),
            ready=plan.ready and plan.errand == REPLACE,
            only_ssl=plan.errand == SSL,
        ) as run:
            run.ssl_wish = wish(cluster, plan)
            carry_out(run, plan)
        if run.hits:
            return
        missed.append(plan)
    pytest.fail(f"seed {seed}: nothing was hit in {missed}")


@pytest.mark.xdist_group("processes")
@pytest.mark.parametrize("seed", seeds(SAMPLE))
def test_some_kills_at_random_moments_end_whole(cluster: FaultCluster, seed: int):
    kill(cluster, seed)


@pytest.mark.faults
@pytest.mark.parametrize("seed", seeds(SEEDS))
def test_killed_at_a_random_moment_it_ends_whole(cluster: FaultCluster, seed: int):
    kill(cluster, seed)


@pytest.mark.soak
@pytest.mark.parametrize("seed", seeds(MORE))
def test_many_more_kills(cluster: FaultCluster, seed: int):
    kill(cluster, seed)


def test_the_seeds_kill_everybody_in_every_stage_and_the_recovery_too():
    plans = [Plan.of(seed) for seed in SEEDS]
    assert len(plans) >= 60
    assert {victim for plan in plans for victim in plan.victims} == {COORDINATOR, *NODES}
    assert {plan.words for plan in plans} == set(MOMENTS)
    assert any(len(plan.victims) > 2 for plan in plans)
    assert any(plan.again and COORDINATOR in plan.victims for plan in plans)
    assert {plan.restart for plan in plans} == {"cluster", "node"}
    assert {plan.finish for plan in plans} == {plan.ready for plan in plans} == {True, False}
    assert {plan.ssl_wish for plan in plans} == {"off", "keep"}
    counted = Counter(plan.errand for plan in plans)
    assert counted[REPLACE] > 30
    assert min(counted[ROLLBACK], counted[SSL]) >= 8
