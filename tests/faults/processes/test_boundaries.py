"""The coordinator dies at every boundary of every RPC of a transaction: before it is sent, after the node has
taken it up, after the reply. Whoever recovers is on another machine and knows nothing.

One boundary again:
GAUSSCERT_SEED='COMMIT-n2-after send' make faults ARGS='tests/faults/processes/test_boundaries.py -n0'
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from gausscert_common.protocol.words import Step
from support.coordinator_child import MISSED, Moment
from support.fault_cluster import FaultCluster
from support.fault_run import MOST_TRIES, FaultRun, asked_for, child, replay_command
from support.local_cluster import NODES, Done

FORWARD = ("ACQUIRE", "PREPARE", "STOP", "SWAP", "START", "COMMIT", "PURGE")
BACKWARD = ("ROLLBACK_STOP", "ABORT", "ROLLBACK_START", "CLEAN")
QUESTIONS = {"GET_NODE": (2, 3), "PROBE": (2, 3)}
"""Which calls of a kind belong to the transaction: the first one is the plan's. GET_NODE: before
Acquire, and for the proof. PROBE: after Prepare, and for the proof."""
TURN = {"rpc": "START", "node": "n1", "moment": Moment.AFTER_REPLY, "act": "turn back"}
"""Makes a coordinator roll back by itself."""


@dataclass(frozen=True)
class Boundary:
    """Where the coordinator dies."""

    rpc: str
    node: str
    moment: Moment
    nth: int = 1

    def __str__(self) -> str:
        which = f"{self.rpc}{self.nth}" if self.rpc in QUESTIONS else self.rpc
        return f"{which}-{self.node}-{self.moment}"

    @property
    def passed(self) -> int:
        """How many nodes have heard the command, when the calls go from node to node."""
        return order(self.rpc).index(self.node) + (self.moment is not Moment.BEFORE_SEND)

    @property
    def decides(self) -> bool:
        """Whether Commit has reached a node."""
        return self.rpc == "PURGE" or (self.rpc == "COMMIT" and self.passed > 0)

    @property
    def ended_everywhere(self) -> bool:
        """Whether nothing is in doubt any more, or not yet."""
        last = self.rpc in ("PURGE", "CLEAN") and self.passed == len(NODES)
        begun = self.rpc in ("ACQUIRE", "PREPARE") or (self.rpc, self.nth) == ("GET_NODE", 2)
        return last or (begun and not (self.rpc == "PREPARE" and self.passed > 0))


def order(rpc: str) -> tuple[str, ...]:
    """In which calls go to the nodes: with one node acting for all, it starts CM last."""
    return ("n2", "n3", "n1") if rpc in ("START", "ROLLBACK_START") else NODES


def boundaries() -> Iterator[Boundary]:
    """Every kind at every moment; over the moments each node has its turn."""
    for at, rpc in enumerate((*FORWARD, *BACKWARD)):
        for moment, mark in zip(Moment, range(at, at + 3), strict=True):
            yield Boundary(rpc, NODES[mark % 3], moment)
    for at, (rpc, calls) in enumerate(QUESTIONS.items()):
        for nth in calls:
            yield Boundary(rpc, NODES[(at + nth) % 3], list(Moment)[(at + nth) % 3], nth)


def every_boundary() -> Iterator[Boundary]:
    """Every kind at every moment on every node."""
    for rpc in (*FORWARD, *BACKWARD):
        for node in NODES:
            for moment in Moment:
                yield Boundary(rpc, node, moment)


SAMPLE = tuple(
    Boundary(rpc, node, moment)
    for rpc, node, moment in (
        ("SWAP", "n3", Moment.AFTER_SEND),
        ("COMMIT", "n1", Moment.AFTER_SEND),
    )
)
"""Those of `make test`."""


def die(cluster: FaultCluster, boundary: Boundary, *, finish: bool = False) -> str:
    """Kill the coordinator there, recover, and compare with what must come of it."""
    death = {
        "rpc": boundary.rpc,
        "node": boundary.node,
        "moment": boundary.moment,
        "nth": boundary.nth,
        "act": "die",
    }
    program = child(cluster, death, *([TURN] if boundary.rpc in BACKWARD else []))
    for _ in range(MOST_TRIES):
        with FaultRun.upon(cluster, replay_command("test_boundaries", f"'{boundary}'")) as run:
            done = run.ended(run.launch(program=program))
            if done.code != MISSED:
                return examine(run, boundary, done, finish=finish)
            run.recover()
            run.end()
    return pytest.fail(f"{boundary}: the answer was always there before")


def examine(run: FaultRun, boundary: Boundary, done: Done, *, finish: bool) -> str:
    """What has become of it; "old" or "new"."""
    assert done.code == -signal.SIGKILL, f"not killed, but ended with {done.code}\n{done.err}"
    assert f"boundary {boundary.rpc} {boundary.node} {boundary.moment}" in done.err
    run.note_hit(str(boundary))
    recovered = run.recover(finish=finish)
    end = run.end()
    if boundary.ended_everywhere:
        assert recovered.code == 0
        assert recovered.document["verdict"] == "nothing done"
    elif boundary.decides:
        assert (recovered.code, end) == (0, "new"), "the point of no return was passed"
    elif not finish:
        assert (recovered.code, end) == (1, "old")
    return end


@pytest.mark.xdist_group("processes")
@pytest.mark.parametrize("boundary", asked_for(SAMPLE), ids=str)
def test_dead_at_some_boundaries(cluster: FaultCluster, boundary: Boundary):
    die(cluster, boundary)


@pytest.mark.faults
@pytest.mark.parametrize("boundary", asked_for(boundaries()), ids=str)
def test_dead_at_a_boundary_it_is_recovered_from_another_machine(cluster: FaultCluster, boundary: Boundary):
    die(cluster, boundary)


@pytest.mark.faults
@pytest.mark.parametrize(
    "boundary",
    [Boundary("SWAP", "n1", Moment.AFTER_REPLY), Boundary("COMMIT", "n1", Moment.BEFORE_SEND)],
    ids=str,
)
def test_before_the_point_of_no_return_whoever_recovers_may_finish_instead(
    cluster: FaultCluster, boundary: Boundary
):
    assert die(cluster, boundary, finish=True) == "new"


@pytest.mark.soak
@pytest.mark.parametrize("boundary", asked_for(every_boundary()), ids=str)
def test_dead_at_every_boundary_on_every_node(cluster: FaultCluster, boundary: Boundary):
    die(cluster, boundary)


def test_every_kind_of_command_is_died_at_in_every_moment_and_at_every_node():
    found = {(each.rpc, each.moment) for each in boundaries()}
    assert {(step.name, moment) for step in Step for moment in Moment} <= found
    assert {each.node for each in boundaries()} == set(NODES)
