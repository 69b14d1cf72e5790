"""kill -9 at every system call with which the agent changes its disk; then every legal decision, and again a
kill within the recovery. Never a mix, never a set lost, no promise broken, never anything left behind.

Of what takes longest `make test` has every so-manyth point, and `make faults` the others. One point again:

    GAUSSCERT_POINT='exchange/forward/117' make test ARGS='tests/faults/test_kill.py -n0'
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from support import strace, workloads
from support.killing import AGAIN, Bench, Start
from support.workloads import Ground
from support.zygote import Zygote

CHUNKS = 6
SAMPLED = {Ground.EXCHANGE: CHUNKS, Ground.DATA_LINK: 1, Ground.PLAIN: 1}
"""Chunks in `make test`."""

SHARED = dict.fromkeys(("backward", "turned back", *workloads.STAGE_ONLY), "forward")
"""Workloads that begin as another one; what they have in common is killed there."""

WORKLOADS = ("forward", *SHARED, workloads.REQUEST)
DECISIONS = {"forward": {"finish", "roll back"}, workloads.REQUEST: {"repeat", "begin anew"}}
"""By workload; else there is only one."""


def chunks() -> Iterator[object]:
    """By ground, workload and chunk."""
    for ground in Ground:
        for workload in WORKLOADS:
            sampled = SAMPLED[ground]
            if workload == workloads.REQUEST:
                sampled = int(ground is Ground.EXCHANGE)
            for chunk in range(CHUNKS):
                marks = () if chunk < sampled else (pytest.mark.faults,)
                yield pytest.param(ground, workload, chunk, marks=marks)


@pytest.fixture(scope="module")
def bench(quick_place):
    strace.require()
    with Zygote() as zygote:
        yield Bench(quick_place, zygote)


def points(bench: Bench, ground: Ground, workload: str) -> range:
    """What is killed: every call of its own."""
    calls = bench.calls(Start(ground, workload))
    first = 0
    if workload in SHARED:
        others = bench.calls(Start(ground, SHARED[workload]))
        while first < len(calls) and str(calls[first]) == str(others[first]):
            first += 1
    return range(first, len(calls))


def kill_chunk(bench: Bench, ground: Ground, workload: str, chunk: int) -> set[str]:
    """Every so-manyth point; which decisions there were."""
    chosen = points(bench, ground, workload)[chunk::CHUNKS]
    assert chosen, "nothing to kill"
    start = Start(ground, workload)
    seen = [bench.kill_and_decide(start, index, again=index % AGAIN == 0) for index in chosen]
    return set().union(*(decisions for _, decisions in seen))


@pytest.mark.timeout(400)
@pytest.mark.parametrize(("ground", "workload", "chunk"), list(chunks()))
def test_killed_at_any_system_call_a_node_is_whole_and_every_decision_can_be_carried_out(
    bench, ground, workload, chunk
):
    assert kill_chunk(bench, ground, workload, chunk) >= DECISIONS.get(workload, {"roll back"})


@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize("ground", list(Ground))
def test_there_are_many_points(bench, ground, workload):
    # A record of the journal is two calls: one write over a slot, one sync.
    assert len(bench.calls(Start(ground, workload))) > 60
    assert len(points(bench, ground, workload)) > 10


@pytest.mark.skipif("GAUSSCERT_POINT" not in os.environ, reason="no point asked for")
def test_the_point_asked_for(bench):
    ground, workload, index = os.environ["GAUSSCERT_POINT"].split(" at ")[0].split("/")
    bench.kill_and_decide(Start(Ground(ground), workload), int(index), again=True)
