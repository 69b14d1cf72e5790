"""A request that was sent long ago arrives when another coordinator has acquired. It looks as fresh as ever:
its connection is open, its sender was let in. It must be FENCED and change nothing.

One case again:
GAUSSCERT_SEED='SWAP-n2-over' make faults ARGS='tests/faults/processes/test_delayed_requests.py -n0'
"""

from __future__ import annotations

import re
import signal
from typing import Any

import pytest
from support import local_cluster, outside
from support.bad_line import BadLine, Way
from support.coordinator_child import Moment
from support.fault_cluster import FaultCluster
from support.fault_run import FaultRun, asked_for, child, replay_command
from support.local_cluster import NODES, wait_until

TURN = {"rpc": "START", "node": "n1", "moment": Moment.AFTER_REPLY, "act": "turn back"}

HELD = {
    "PREPARE": "n2",
    "STOP": "n1",
    "SWAP": "n2",
    "START": "n1",
    "COMMIT": "n2",
    "PURGE": "n3",
    "ABORT": "n3",
    "CLEAN": "n1",
}
"""Which request is held back, and before which node."""

OVER, ACQUIRED = "over", "acquired"
"""When it arrives: after the recovery, or right in the middle of it."""

EVERY = [(rpc, node, when) for when in (OVER, ACQUIRED) for rpc, node in HELD.items()]
"""Those of `make soak`."""
CASES = [
    *((rpc, HELD[rpc], OVER) for rpc in ("STOP", "SWAP", "START", "COMMIT", "ABORT")),
    *((rpc, HELD[rpc], ACQUIRED) for rpc in ("PREPARE", "SWAP", "COMMIT", "PURGE", "ABORT")),
]
SAMPLE = [("SWAP", "n2", OVER)]
"""Those of `make test`."""


def everything(cluster: FaultCluster) -> Any:
    """All that a request could change."""
    return (
        cluster.picture(),
        {name: outside.journal(cluster, name) for name in NODES},
        {node.name: node.processes() for node in cluster.nodes},
    )


def refusals(cluster: FaultCluster, node: str, rpc: str) -> int:
    """How often the node has said FENCED to such a request of the first operator."""
    method = {"ROLLBACK_STOP": "Stop", "ROLLBACK_START": "Start"}.get(rpc, rpc.capitalize())
    said = re.compile(rf"call refused .*rpc={method} .*/operator/demo.* result=FENCED")
    return sum(1 for line in cluster.agent_log(node).splitlines() if said.search(line))


def send_and_die(run: FaultRun, line: BadLine) -> local_cluster.Act:
    """Have the request sent into a line that holds it back; then its sender is gone."""

    def act(process: local_cluster.Run) -> None:
        wait_until(lambda: _is_stopped(process.process.pid))
        line.turn(Way.HOLD_REQUESTS)
        process.process.send_signal(signal.SIGCONT)
        wait_until(lambda: line.held_requests > 0)
        process.process.kill()

    return run.act(act)


def _is_stopped(pid: int) -> bool:
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as opened:
        return opened.read().rpartition(")")[2].split()[0] == "T"


def arrive_late(cluster: FaultCluster, rpc: str, node: str, when: str) -> None:
    line = cluster.lines()[node]
    pause = {"rpc": rpc, "node": node, "moment": Moment.BEFORE_SEND, "act": "pause"}
    turn = [TURN] if rpc in ("ABORT", "CLEAN") else []
    before = refusals(cluster, node, rpc)

    def deliver(_: local_cluster.Run) -> None:
        assert line.held_requests > 0, "nothing was held back"
        line.turn(Way.PASS)
        run.note_hit("delivered")

    try:
        with FaultRun.upon(cluster, replay_command("test_delayed_requests", f"'{rpc}-{node}-{when}'")) as run:
            launched = run.launch(
                "--inventory",
                "lines.toml",
                on={f"boundary {rpc} {node}": send_and_die(run, line)},
                program=child(cluster, pause, *turn),
            )
            done = run.ended(launched)
            assert done.code == -signal.SIGKILL, done.err
            run.look()
            if when == ACQUIRED:
                run.recover(on={"acquire done": run.act(deliver)})
                wait_until(lambda: refusals(cluster, node, rpc) == before + 1)
                assert run.hits == ["delivered"], "the recovery had ended before"
            else:
                run.recover()
                run.end()
                settled = everything(cluster)
                assert line.held_requests > 0, "nothing was held back"
                line.turn(Way.PASS)
                wait_until(lambda: refusals(cluster, node, rpc) == before + 1)
                assert everything(cluster) == settled
            run.end()
    finally:
        line.hang_up()


@pytest.mark.xdist_group("processes")
@pytest.mark.parametrize(("rpc", "node", "when"), asked_for(SAMPLE, "-".join))
def test_some_requests_that_arrive_too_late_are_fenced(cluster: FaultCluster, rpc: str, node: str, when: str):
    arrive_late(cluster, rpc, node, when)


@pytest.mark.faults
@pytest.mark.parametrize(("rpc", "node", "when"), asked_for(CASES, "-".join))
def test_a_request_that_arrives_after_another_has_acquired_is_fenced(
    cluster: FaultCluster, rpc: str, node: str, when: str
):
    arrive_late(cluster, rpc, node, when)


@pytest.mark.soak
@pytest.mark.parametrize(("rpc", "node", "when"), asked_for(EVERY, "-".join))
def test_every_request_that_arrives_too_late_is_fenced(cluster: FaultCluster, rpc: str, node: str, when: str):
    arrive_late(cluster, rpc, node, when)
