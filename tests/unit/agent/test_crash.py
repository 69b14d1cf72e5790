"""An agent dies before each of its changes to the disk; a new one recovers, and both legal decisions
are carried out. Never a mix, never a set lost, never something left behind.

The full harness, which kills at every system call, is in tests/faults.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from gausscert_common.protocol.words import Outcome, Phase, Step
from support.agent_core import (
    BACKWARD,
    FORWARD,
    NEW,
    OLD,
    TX,
    FakeCm,
    Fault,
    HookedDisk,
    Node,
    live_files,
    snapshot,
)
from support.agent_crash_child import DIED

TESTS = Path(__file__).parents[2]
CHILD = TESTS / "support" / "agent_crash_child.py"

FINISH_FROM = {
    Phase.PREPARED: (Step.SWAP, Step.START, Step.COMMIT, Step.PURGE),
    Phase.SWAPPED: (Step.START, Step.COMMIT, Step.PURGE),
    Phase.COMMITTED: (Step.COMMIT, Step.PURGE, Step.ROLLBACK_START),
}


def die(root: Path, at: int, path: str, *torn: str) -> bool:
    """Run the agent until its n-th change; False if it came to its end before."""
    environment = dict(os.environ, PYTHONPATH=str(TESTS))
    command = [sys.executable, "-W", "error", str(CHILD), str(root), str(at), path, *torn]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode in (0, DIED), ended.stderr
    return ended.returncode == DIED


def stopped_cm() -> FakeCm:
    return FakeCm(running=set(), manual=True)


def recovered(root: Path) -> Node:
    node = Node(root, fresh=False, cm=stopped_cm(), retired=1, disk=HookedDisk(lambda name: None))
    node.start()
    node.epoch = max(2, node.state.fence.epoch + 1)
    return node


def assert_private(root: Path) -> None:
    for directory in (root / "home" / "share" / "sslcert", root / "state"):
        for path in directory.rglob("*"):
            assert not stat.S_IMODE(path.lstat().st_mode) & 0o077, path


def finish(node: Node) -> None:
    """As a recovering coordinator does, from the row of the table that fits."""
    node.run(Step.ACQUIRE, holder="bob@host:2")
    node.run_all(FINISH_FROM[node.state.phase])
    assert live_files(node.sslcert) == NEW
    assert node.state.outcome_of(TX) is Outcome.COMMITTED
    (kept,) = node.store.retired()
    assert kept.contents.files == OLD
    assert sorted(path.name for path in node.sslcert.iterdir()) == [f".cm.retired.{TX}", "cm"]


def roll_back(node: Node, before) -> None:
    node.run(Step.ACQUIRE, holder="bob@host:2")
    node.run_all(BACKWARD)
    assert snapshot(node.sslcert) == before
    assert node.state.outcome_of(TX) is Outcome.ABORTED


def decide(root: Path, before, at: int) -> set[str]:
    """Carry out every decision that the recovered node still leaves open, each on its own copy."""
    carried_out = set()
    for decision in ("finish", "roll back"):
        copy = root.with_name(f"{root.name}-{decision.replace(' ', '-')}")
        shutil.copytree(root, copy, symlinks=True)
        node = recovered(copy)
        outcome = node.state.outcome_of(TX)
        committed = node.state.phase is Phase.COMMITTED or outcome is Outcome.COMMITTED
        aborted = node.state.phase in (Phase.NONE, Phase.ABORTED) and not committed
        if outcome is Outcome.COMMITTED:
            assert live_files(node.sslcert) == NEW, at
        elif decision == "finish" and not aborted:
            finish(node)
            carried_out.add(decision)
        elif decision == "roll back" and not committed:
            roll_back(node, before)
            carried_out.add(decision)
        assert_private(copy)
        node.stop()
        shutil.rmtree(copy)
    return carried_out


def changes_until_start(root: Path) -> int:
    """How many changes the two paths have in common."""
    fault = Fault()
    node = Node(root, disk=HookedDisk(fault))
    node.start()
    node.run_all(FORWARD[:5])
    node.stop()
    return fault.count


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["forward", "backward", "forward torn", "backward torn"])
def test_an_agent_that_dies_at_any_change_leaves_a_whole_set_and_every_decision_open(tmp_path, kind):
    template = tmp_path / "template"
    before = snapshot(Node(template).sslcert)
    at = first = changes_until_start(tmp_path / "counted") if kind == "backward" else 1
    seen, decisions = set(), set()
    while True:
        root = tmp_path / f"n{at}"
        shutil.copytree(template, root)
        died = die(root, at, *kind.split())
        live = live_files(root / "home" / "share" / "sslcert")
        assert live in (OLD, NEW), f"a mix at change {at}"
        assert_private(root)
        seen.add("old" if live == OLD else "new")
        if not died:
            break
        decisions |= decide(root, before, at)
        shutil.rmtree(root)
        at += 1
    assert at - first > (20 if "torn" in kind else 40)
    assert seen == {"old", "new"}
    assert decisions == {"finish", "roll back"}


@pytest.mark.timeout(300)
def test_a_recovery_that_dies_itself_is_recovered_from(tmp_path):
    """Three agents die one after another, each a few changes on."""
    template = tmp_path / "template"
    before = snapshot(Node(template).sslcert)
    for at in range(5, 95, 9):
        root = tmp_path / f"n{at}"
        shutil.copytree(template, root)
        assert die(root, at, "forward")
        for again in (1, 3):
            die(root, again, "forward")
            assert live_files(root / "home" / "share" / "sslcert") in (OLD, NEW)
        decide(root, before, at)
