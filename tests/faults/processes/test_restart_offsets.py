"""An agent is killed while its cm_ctl stops or starts CM, at offsets all through it. The child dies with it;
or, where there is no setpriv, lives on, acts when nobody expects it any more, and must be ended before
anything else.

One offset again:
GAUSSCERT_SEED=stop-3-survives make faults ARGS='tests/faults/processes/test_restart_offsets.py -n0'
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field

import pytest
from gausscert_agent.drivers.process_list import read_stat
from gausscert_common.protocol.state import Operation
from support import local_cluster, outside
from support.fault_cluster import FaultCluster
from support.fault_run import MOST_TRIES, FaultRun, asked_for, replay_command
from support.local_cluster import NODES, wait_until

STEPS = 10
SPAN_S = {"stop": 0.45, "start": 0.6}
"""How long cm_ctl takes for it here, about."""
BACK_S = (0.0, 0.4, None)
"""When the agent comes back; None: when its coordinator has given up."""


@dataclass(frozen=True)
class Offset:
    """Where in a Stop or a Start."""

    verb: str
    step: int
    survives: bool

    def __str__(self) -> str:
        return f"{self.verb}-{self.step}-{'survives' if self.survives else 'dies'}"

    @property
    def restart(self) -> str:
        return ("cluster", "node")[self.step % 2]

    @property
    def victim(self) -> str:
        """Whoever runs cm_ctl: one node for all, or each for itself."""
        return NODES[0] if self.restart == "cluster" else NODES[self.step % len(NODES)]

    @property
    def freezes(self) -> bool:
        """Whether the child is held up when its agent dies: then it has not ended when the next one comes."""
        return self.survives and self.step % 4 in (0, 1)

    @property
    def back_s(self) -> float | None:
        return BACK_S[self.step % len(BACK_S)]


@dataclass
class Strike:
    """Waits for the child, kills its agent, and looks what became of the child."""

    run: FaultRun
    offset: Offset
    delay_s: float
    child: Operation | None = field(default=None)

    def __call__(self, process: local_cluster.Run) -> None:
        wait_until(lambda: self._find_child() or process.process.poll() is not None)
        time.sleep(self.delay_s)
        if self.child is None or not runs(self.child):
            return
        if self.offset.freezes:
            os.kill(self.child.pid, signal.SIGSTOP)
        self.run.cluster.signal_agent(self.offset.victim, signal.SIGKILL)
        if not self.offset.survives:
            wait_until(lambda: self.child is None or not runs(self.child))
        elif not runs(self.child):
            return
        left = outside.journal(self.run.cluster, self.offset.victim).operation
        if left == self.child:
            self.run.note_hit(f"{self.offset.victim} {self.delay_s:.3f} s into {self.offset.verb}")
        if self.offset.back_s is not None:
            time.sleep(self.offset.back_s)
            self.bring_back()

    def bring_back(self) -> None:
        """Once it serves, nothing of its predecessor acts any more."""
        self.run.cluster.ensure_agents()
        assert self.child is None or not runs(self.child), "the orphan was not ended"

    def _find_child(self) -> bool:
        found = outside.journal(self.run.cluster, self.offset.victim).operation
        if found is None or found.kind != self.offset.verb or not is_cm_ctl(found.pid):
            return False
        self.child = found
        return True


def runs(child: Operation) -> bool:
    found = read_stat(child.pid)
    return found is not None and found.runs and found.start_ticks == child.start_ticks


def is_cm_ctl(pid: int) -> bool:
    """Whether the gate before it has opened."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as opened:
            return b"/bin/cm_ctl" in opened.read().split(b"\0")[1]
    except (OSError, IndexError):
        return False


def kill_within(cluster: FaultCluster, offset: Offset) -> None:
    replay = replay_command("test_restart_offsets", offset)
    frail = frozenset({offset.victim} if offset.survives else ())
    for attempt in range(MOST_TRIES):
        # A try that came too late is made again a little earlier.
        delay_s = SPAN_S[offset.verb] * offset.step / STEPS * 0.8**attempt
        with FaultRun.upon(cluster, replay, frail=frail) as run:
            strike = Strike(run, offset, delay_s)
            on = {f"{offset.verb} started": run.act(strike)}
            done = run.ended(run.launch("--restart", offset.restart, on=on))
            strike.bring_back()
            run.finish(done)
        if run.hits:
            return
    pytest.fail(f"{offset}: cm_ctl had always ended before")


SAMPLE = [Offset("start", 3, survives=True)]
"""Those of `make test`."""
SURVIVING = [Offset(verb, step, survives=True) for verb in SPAN_S for step in range(STEPS)]
DYING = [Offset(verb, step, survives=False) for verb in SPAN_S for step in (2, 7)]
MORE = [Offset(verb, step, survives=False) for verb in SPAN_S for step in range(STEPS)]
"""Those of `make soak`, with `SURVIVING` once more."""


@pytest.mark.xdist_group("processes")
@pytest.mark.parametrize("offset", asked_for(SAMPLE), ids=str)
def test_some_children_outlive_their_agent(cluster: FaultCluster, offset: Offset):
    kill_within(cluster, offset)


@pytest.mark.faults
@pytest.mark.parametrize("offset", asked_for(SURVIVING), ids=str)
def test_a_child_that_outlives_its_agent_is_ended_before_anything_else(cluster: FaultCluster, offset: Offset):
    kill_within(cluster, offset)


@pytest.mark.faults
@pytest.mark.parametrize("offset", asked_for(DYING), ids=str)
def test_a_child_that_dies_with_its_agent_leaves_half_a_stop_or_start(cluster: FaultCluster, offset: Offset):
    kill_within(cluster, offset)


@pytest.mark.soak
@pytest.mark.parametrize("offset", asked_for([*SURVIVING, *MORE]), ids=str)
def test_every_offset(cluster: FaultCluster, offset: Offset):
    kill_within(cluster, offset)
