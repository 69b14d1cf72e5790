"""What must hold of a node that died, and every legal decision about it, each carried out on a copy.

assert_whole(root)                    # seen from outside, without the agent's code
decide(root, scene)                   # recover, then finish and roll back wherever either is legal
"""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import dataclass, field
from pathlib import Path

from gausscert_common.protocol.words import Outcome, Phase, Step
from support import disk_cm, workloads
from support.agent_core import BACKWARD, TX, HookedDisk, Node, beside, live_files, snapshot

FINISH_FROM = {
    Phase.PREPARED: (Step.SWAP, Step.START, Step.COMMIT, Step.PURGE),
    Phase.SWAPPED: (Step.START, Step.COMMIT, Step.PURGE),
    Phase.COMMITTED: (Step.COMMIT, Step.PURGE, Step.ROLLBACK_START),
}


@dataclass(frozen=True)
class Scene:
    """How everything was before the transaction."""

    sslcert: dict[str, tuple[int, bytes]] = field(repr=False)
    confs: dict[str, bytes] = field(repr=False)

    @classmethod
    def of(cls, root: Path) -> Scene:
        return cls(snapshot(root / "home" / "share" / "sslcert"), disk_cm.confs(root))


def sslcert_of(root: Path) -> Path:
    return root / "home" / "share" / "sslcert"


def which_is_live(root: Path) -> str:
    """ "old" or "new"; anything else is an AssertionError."""
    live = live_files(sslcert_of(root))
    assert live in (workloads.BEFORE, workloads.AFTER), f"a mix, or none: {sorted(live)}"
    return "old" if live == workloads.BEFORE else "new"


def assert_private(root: Path) -> None:
    """I11: nothing of a set or of the agent is ever for others; a link has no mode of its own."""
    for directory in (sslcert_of(root), root / "state"):
        for path in directory.rglob("*"):
            mode = path.lstat().st_mode
            assert stat.S_ISLNK(mode) or not stat.S_IMODE(mode) & 0o077, path


def assert_whole(root: Path) -> str:
    """Which set is live; nobody else may read any; the configuration files are whole."""
    assert_private(root)
    for component, body in disk_cm.confs(root).items():
        assert body.count(b"enable_ssl = ") == 1, component
        assert b"thread_count = 1000" in body, component
    return which_is_live(root)


def recovered(root: Path) -> Node:
    """A new agent, as quick as one that need not survive a power cut."""
    node = workloads.node_at(root, HookedDisk(lambda name: None), stopped=True)
    node.start()
    node.epoch = max(2, node.state.fence.epoch + 1)
    return node


def finish(node: Node) -> None:
    """As a recovering coordinator does, from the row of the table that fits."""
    node.run(Step.ACQUIRE, holder="bob@host:2")
    node.run_all(FINISH_FROM[node.state.phase])
    assert_finished(node)


def assert_finished(node: Node) -> None:
    assert live_files(node.sslcert) == workloads.AFTER
    assert node.state.outcome_of(TX) is Outcome.COMMITTED
    assert all(b"enable_ssl = off" in body for body in disk_cm.confs(node.root).values())
    assert [kept.contents.files for kept in node.store.retired()] == [workloads.BEFORE]
    assert beside(node.sslcert) == [f".cm.retired.{TX}"]
    assert_nothing_left(node)


def roll_back(node: Node, scene: Scene) -> None:
    node.run(Step.ACQUIRE, holder="bob@host:2")
    node.run_all(BACKWARD)
    assert_rolled_back(node, scene)


def assert_rolled_back(node: Node, scene: Scene) -> None:
    assert node.state.outcome_of(TX) is Outcome.ABORTED
    assert snapshot(node.sslcert) == scene.sslcert
    assert disk_cm.confs(node.root) == scene.confs
    assert_nothing_left(node)


def assert_nothing_left(node: Node) -> None:
    assert sorted(os.listdir(node.state_dir)) == ["journal.json", "lock"]
    assert not list((node.root / "data").rglob("*.gausscert.new"))


def decide(root: Path, scene: Scene) -> set[str]:
    """Carry out every decision that the recovered node still leaves open; answers which these were."""
    carried_out = set()
    for decision in ("finish", "roll back"):
        copy = root.with_name(f"{root.name}-{decision.replace(' ', '-')}")
        shutil.copytree(root, copy, symlinks=True)
        node = recovered(copy)
        try:
            if carry_out(node, scene, decision):
                carried_out.add(decision)
            assert_private(copy)
        finally:
            node.stop()
        shutil.rmtree(copy)
    return carried_out


def carry_out(node: Node, scene: Scene, decision: str) -> bool:
    """One decision, if it is legal still; whether it was."""
    outcome = node.state.outcome_of(TX)
    if outcome is Outcome.COMMITTED:
        assert_finished(node)
        return False
    if outcome is Outcome.ABORTED:
        assert_rolled_back(node, scene)
        return False
    committed = node.state.phase is Phase.COMMITTED
    may_finish = node.state.phase in FINISH_FROM
    if decision == "finish" and may_finish:
        finish(node)
        return True
    if decision == "roll back" and not committed:
        roll_back(node, scene)
        return True
    return False
