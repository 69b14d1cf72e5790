"""kill -9 at every system call with which the agent changes its disk; then every legal decision, and again a
kill within the recovery. Never a mix, never a set lost, never anything left behind.

One point again:  GAUSSCERT_POINT='exchange/forward/117' make test ARGS='tests/faults/test_kill.py -n0'
"""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest
from gausscert_common.model import Layout
from support import strace, workloads
from support.recovering import Scene, assert_whole, decide, recovered, roll_back
from support.strace import Call
from support.zygote import Zygote

CHUNKS = 6
SEED = 20_251_125
"""Of the points of the second kill."""
AGAIN = 4
"""Every fourth kill is followed by one in the recovery."""

SHARED = dict.fromkeys(("backward", "turned back", *workloads.STAGE_ONLY), "forward")
"""Workloads that begin as another one; what they have in common is killed there."""

WORKLOADS = ("forward", *SHARED)


@pytest.fixture(scope="module")
def bench(quick_place):
    strace.require()
    with Zygote() as zygote:
        yield Bench(quick_place, zygote)


class Bench:
    """What tests of one process share: templates and recordings."""

    def __init__(self, place: Path, zygote: Zygote) -> None:
        self.place = place
        self.zygote = zygote
        self._recorded: dict[tuple[Layout, str], list[Call]] = {}

    def template(self, layout: Layout) -> Path:
        root = self.place / layout.name
        if not root.exists():
            workloads.lay_out(root, layout)
        return root

    def copy(self, of: Path, name: str) -> Path:
        root = self.place / name
        shutil.copytree(of, root, symlinks=True)
        return root

    def record(self, of: Path, workload: str) -> list[Call]:
        root = self.copy(of, "recorded")
        calls = strace.record(self.zygote.work(root, workload), root)
        shutil.rmtree(root)
        return [call for call in calls if not call.flags.startswith("1<")]

    def calls(self, layout: Layout, workload: str) -> list[Call]:
        if (layout, workload) not in self._recorded:
            self._recorded[layout, workload] = self.record(self.template(layout), workload)
        return self._recorded[layout, workload]

    def points(self, layout: Layout, workload: str) -> range:
        calls = self.calls(layout, workload)
        first = 0
        if workload in SHARED:
            others = self.calls(layout, SHARED[workload])
            while first < len(calls) and str(calls[first]) == str(others[first]):
                first += 1
        return range(first, len(calls))

    def kill_and_decide(self, layout: Layout, workload: str, index: int) -> tuple[str, set[str]]:
        """Kill at one point; which set was live then, and what could be decided."""
        call = self.calls(layout, workload)[index]
        where = f"{layout.name.lower()}/{workload}/{index} at {call}"
        root = self.copy(self.template(layout), f"killed-{index}")
        scene = Scene.of(root)
        try:
            assert strace.kill_at(call, self.zygote.work(root, workload)), "it was not killed"
            live = assert_whole(root)
            only_staged = workload in workloads.STAGE_ONLY
            decisions = roll_back_only(root, scene) if only_staged else decide(root, scene)
            if index % AGAIN == 0:
                self.kill_again(root, scene, random.Random(f"{SEED} {where}"))  # noqa: S311 - a sample
        except BaseException as error:
            error.add_note(f"GAUSSCERT_POINT='{where}'")
            raise
        shutil.rmtree(root)
        return live, decisions

    def kill_again(self, root: Path, scene: Scene, chance: random.Random) -> None:
        """The recovery dies, too."""
        call = chance.choice(self.record(root, "start"))
        again = self.copy(root, f"{root.name}-again")
        killed = strace.kill_at(call, self.zygote.work(again, "start"))
        assert killed, f"the recovery was not killed at {call}"
        assert_whole(again)
        decide(again, scene)
        shutil.rmtree(again)

    def kill_chunk(self, layout: Layout, workload: str, chunk: int) -> set[str]:
        """Every so-manyth point; which decisions there were."""
        chosen = self.points(layout, workload)[chunk::CHUNKS]
        assert chosen, "nothing to kill"
        seen = [self.kill_and_decide(layout, workload, index) for index in chosen]
        return set().union(*(decisions for _, decisions in seen))


def roll_back_only(root: Path, scene: Scene) -> set[str]:
    """The new set is not the one that the scene knows."""
    node = recovered(root)
    roll_back(node, scene)
    node.stop()
    return {"roll back"}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("chunk", range(CHUNKS))
@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize("layout", list(Layout))
def test_killed_at_any_system_call_a_node_is_whole_and_every_decision_can_be_carried_out(
    bench, layout, workload, chunk
):
    decisions = bench.kill_chunk(layout, workload, chunk)
    assert decisions >= ({"finish", "roll back"} if workload == "forward" else {"roll back"})


@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize("layout", list(Layout))
def test_there_are_many_points(bench, layout, workload):
    # A record of the journal is two calls: one write over a slot, one sync.
    assert len(bench.calls(layout, workload)) > 60
    assert len(bench.points(layout, workload)) > 10


@pytest.mark.skipif("GAUSSCERT_POINT" not in os.environ, reason="no point asked for")
def test_the_point_asked_for(bench):
    layout, workload, index = os.environ["GAUSSCERT_POINT"].split(" at ")[0].split("/")
    bench.kill_and_decide(Layout[layout.upper()], workload, int(index))
