"""SIGKILL while a machine is dead and left out, and again while it is brought over: the coordinator, an agent
of those that go on, the agent of the one that is back.

One seed again:  GAUSSCERT_SEED=2 make faults ARGS='tests/faults/processes/test_left_out.py -n0'
"""

from __future__ import annotations

import random
import signal
import time
from dataclasses import dataclass

import pytest
from support import local_cluster
from support.fault_cluster import FaultCluster
from support.fault_run import FaultRun, replay_command, seeds
from support.local_cluster import Act, Done, wait_until

SEEDS = (0, 5, 8)
MORE = range(100, 140)
"""Those of `make soak`."""

COORDINATOR = "coordinator"
DEAD, LEFT = "n3", ("n1", "n2")

FIRST = {
    "stop n1 done": 0.4,
    "swap started": 0.03,
    "start done": 0.02,
    "verify done": 0.01,
    "commit started": 0.01,
}
JOIN = {
    "prepare started": 0.1,
    "stop started": 0.6,
    "swap started": 0.02,
    "start started": 0.6,
    "verify started": 0.2,
    "commit started": 0.01,
}
"""Lines of progress, and within how many seconds of them the kill comes."""
_RECOVERIES = 3


@dataclass(frozen=True)
class Plan:
    """What a seed means."""

    first: str
    first_victims: tuple[str, ...]
    join: str
    join_victims: tuple[str, ...]
    delays_s: tuple[float, float]
    recovered_without: bool
    """Somebody finishes it before the machine is back. Else, if nobody has committed, CM, which starts there
    with the old set, lets no proof succeed, and all is rolled back."""

    @classmethod
    def of(cls, seed: int) -> Plan:
        chance = random.Random(seed)  # noqa: S311 - a schedule
        first, join = chance.choice(list(FIRST)), chance.choice(list(JOIN))
        return cls(
            first=first,
            first_victims=chance.choice([(COORDINATOR,), (COORDINATOR, "n1")]),
            join=join,
            join_victims=chance.choice([(COORDINATOR,), (DEAD,), (COORDINATOR, DEAD), (COORDINATOR, "n1")]),
            delays_s=(chance.uniform(0, FIRST[first]), chance.uniform(0, JOIN[join])),
            recovered_without=chance.random() < 0.7,
        )


def strike(run: FaultRun, victims: tuple[str, ...], delay_s: float) -> Act:
    def act(process: local_cluster.Run) -> None:
        time.sleep(delay_s)
        going_on = process.process.poll() is None
        for victim in victims:
            if victim == COORDINATOR:
                process.process.kill()
            else:
                run.cluster.signal_agent(victim, signal.SIGKILL)
        if going_on:
            run.note_hit(f"{', '.join(victims)}, {delay_s:.3f} s")

    return run.act(act)


def recover(run: FaultRun, on: dict[str, Act] | None = None) -> Done:
    """From the second machine, by somebody who may order everything."""
    bundle = str(run.cluster.root / run.known.bundle)
    arguments = ("recover", "--take-over", "--finish", "--output", "json", "--inventory", "operator.toml")
    return run.ended(run.cluster.launch_at(run.cluster.second, *arguments, "--bundle", bundle, on=on))


def leave_out(cluster: FaultCluster, seed: int) -> None:
    plan = Plan.of(seed)
    with FaultRun.upon(cluster, replay_command("test_left_out", seed), left_out=frozenset({DEAD})) as run:
        cluster.power_off(DEAD)
        cluster.simulated.wait_for("Degraded")
        on = {plan.first: strike(run, plan.first_victims, plan.delays_s[0])}
        done = run.ended(run.launch("--exclude", DEAD, "--restart", "node", on=on))
        assert done.code in (0, 1, 3, -signal.SIGKILL), f"{done.code}\n{done.err}"
        cluster.ensure_agents(LEFT)
        run.look()
        if plan.recovered_without:
            finished = recover(run)
            assert finished.code in (0, 4), f"{finished.code}\n{finished.out}\n{finished.err}"
            run.look()

        cluster.power_on(DEAD)
        again = {plan.join: strike(run, plan.join_victims, plan.delays_s[1])}
        ended = recover(run, on=again)
        for _ in range(_RECOVERIES):
            cluster.ensure_agents()
            run.look()
            if ended.code == 0:
                break
            ended = recover(run)
        assert ended.code == 0, f"{ended.code}\n{ended.out}\n{ended.err}"
        wait_until(lambda: cluster.in_flight() == [])
        end = run.end()
        assert end == "new" or not plan.recovered_without
        assert run.hits, f"seed {seed}: nothing was hit"


@pytest.mark.faults
@pytest.mark.parametrize("seed", seeds(SEEDS))
def test_killed_without_a_machine_and_while_it_joins_it_ends_whole(cluster: FaultCluster, seed: int):
    leave_out(cluster, seed)


@pytest.mark.soak
@pytest.mark.parametrize("seed", seeds(MORE))
def test_many_more_machines_that_are_left_out(cluster: FaultCluster, seed: int):
    leave_out(cluster, seed)


def test_the_seeds_kill_coordinators_and_agents_on_both_ways():
    plans = [Plan.of(seed) for seed in SEEDS]
    assert {COORDINATOR, "n1"} == {victim for plan in plans for victim in plan.first_victims}
    assert {COORDINATOR, DEAD} <= {victim for plan in plans for victim in plan.join_victims}
    assert sum(plan.recovered_without for plan in plans) >= 2
