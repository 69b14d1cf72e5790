"""An agent dies in the middle of each of its writes; a new one recovers, and both legal decisions are carried
out. Never a mix, never a set lost, never something left behind.

Death at every system call is in tests/faults, which needs strace; half a write needs none.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import workloads
from support.agent_crash_child import DIED
from support.recovering import Scene, assert_whole, decide
from support.workloads import Ground

TESTS = Path(__file__).parents[2]
CHILD = TESTS / "support" / "agent_crash_child.py"


def die(root: Path, at: int, workload: str) -> bool:
    """Run the agent until its n-th write; False if it came to its end before."""
    environment = dict(os.environ, PYTHONPATH=str(TESTS))
    command = [sys.executable, "-W", "error", str(CHILD), str(root), str(at), workload]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode in (0, DIED), ended.stderr
    return ended.returncode == DIED


GROUNDS = [
    each if each is Ground.EXCHANGE else pytest.param(each, marks=pytest.mark.faults) for each in Ground
]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("ground", GROUNDS)
def test_an_agent_that_dies_in_any_write_leaves_a_whole_set_and_every_decision_open(tmp_path, ground):
    template = tmp_path / "template"
    workloads.lay_out(template, ground)
    scene = Scene.of(template)
    at, seen, decisions = 0, set(), set()
    while True:
        at += 1
        root = tmp_path / f"n{at}"
        shutil.copytree(template, root, symlinks=True)
        died = die(root, at, "forward")
        seen.add(assert_whole(root))
        if not died:
            break
        decisions |= decide(root, scene)
        shutil.rmtree(root)
    assert at > 20
    assert seen == {"old", "new"}
    assert decisions == {"finish", "roll back"}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("ground", GROUNDS)
def test_a_recovery_that_dies_itself_is_recovered_from(tmp_path, ground):
    """A second and a third agent die in their first write."""
    template = tmp_path / "template"
    workloads.lay_out(template, ground)
    scene = Scene.of(template)
    for at in range(3, 30, 5):
        root = tmp_path / f"n{at}"
        shutil.copytree(template, root, symlinks=True)
        assert die(root, at, "forward")
        for _ in range(2):
            assert die(root, 1, "start")
            assert_whole(root)
        decide(root, scene)
