"""What must hold of a node that died, and every legal decision about it, each carried out on a copy.

assert_whole(root)                    # seen from outside, without the agent's code
decide(root, scene, acked)            # recover, then finish and roll back wherever either is legal
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from gausscert_common import certset, factors
from gausscert_common.errors import InvalidInput, NodeRefusal, Reason
from gausscert_common.protocol.words import Fence, Outcome, Phase, Step
from support import disk_cm, workloads
from support.agent_core import BACKWARD, FORWARD, OLD, OTHER_TX, TX, Node, below, beside, live_files, snapshot

FINISH_FROM = {
    Phase.PREPARED: (Step.SWAP, Step.START, Step.COMMIT, Step.PURGE),
    Phase.SWAPPED: (Step.START, Step.COMMIT, Step.PURGE),
    Phase.COMMITTED: (Step.COMMIT, Step.PURGE, Step.ROLLBACK_START),
}

ENDED = {Outcome.COMMITTED: "committed", Outcome.ABORTED: "aborted"}
PROMISED: dict[str, set[str]] = {
    "PREPARE": {"PREPARED", "SWAPPED", "COMMITTED", "ABORTED", "committed", "aborted"},
    "STOP": {"PREPARED", "SWAPPED", "COMMITTED", "ABORTED", "committed", "aborted"},
    "SWAP": {"SWAPPED", "COMMITTED", "ABORTED", "committed", "aborted"},
    "START": {"SWAPPED", "COMMITTED", "ABORTED", "committed", "aborted"},
    "COMMIT": {"COMMITTED", "committed"},
    "PURGE": {"committed"},
    "ROLLBACK_STOP": {"SWAPPED", "ABORTED", "aborted"},
    "ABORT": {"ABORTED", "aborted"},
    "ROLLBACK_START": {"ABORTED", "aborted"},
    "CLEAN": {"aborted"},
}
"""By the last command that was answered: where the node may be."""


@dataclass(frozen=True)
class Scene:
    """How everything was before the transaction."""

    sslcert: dict[str, tuple[int, bytes]] = field(repr=False)
    confs: dict[str, bytes] = field(repr=False)

    @classmethod
    def of(cls, root: Path) -> Scene:
        return cls(seen(root), disk_cm.confs(root))


def seen(root: Path) -> dict[str, tuple[int, bytes]]:
    """Every entry of `share/sslcert` with mode and content. Where Prepare makes links of files, what is seen
    through these in place of links, and nothing of what is behind them."""
    found = snapshot(sslcert_of(root))
    data = found.get("cm/..data")
    if data is None or not workloads.is_plain(root):
        return found
    behind = f"cm/{data[1].decode()}"
    assert found[behind] == found["cm"], "the directory behind the links is not like the one with the links"
    resolved = {}
    for name, (mode, body) in found.items():
        if name in ("cm/..data", behind) or name.startswith(f"{behind}/"):
            continue
        file = name.removeprefix("cm/")
        is_ours = stat.S_ISLNK(mode) and body == f"..data/{file}".encode()
        resolved[name] = found.get(f"{behind}/{file}", (mode, body)) if is_ours else (mode, body)
    return resolved


def assert_promise(node: Node, acked: str) -> None:
    """What had been answered is still true."""
    if live_files(node.sslcert) == workloads.AFTER and node.state.phase in (Phase.PREPARED, Phase.SWAPPED):
        assert node.state.fence >= Fence(1, Step.SWAP), (
            "an effect without its fence: a delayed Stop would pass"
        )
    if acked in ("", "RECOVER"):
        return
    assert node.state.fence >= Fence(1, Step[acked]), f"the fence of {acked} is forgotten"
    outcome = node.state.outcome_of(TX)
    found = ENDED[outcome] if outcome else str(node.state.phase)
    if node.state.phase is not Phase.NONE:
        found = str(node.state.phase)
    assert found in PROMISED.get(acked, {found}), f"{found} after {acked} was answered"


def sslcert_of(root: Path) -> Path:
    return root / "home" / "share" / "sslcert"


def which_is_live(root: Path) -> str:
    """ "old", "new" or "encrypted"; anything else is an AssertionError."""
    live = live_files(sslcert_of(root))
    if is_encrypted(live):
        return "encrypted"
    assert live in (workloads.BEFORE, workloads.AFTER), f"a mix, or none: {sorted(live)}"
    return "old" if live == workloads.BEFORE else "new"


def is_encrypted(live: dict[str, bytes]) -> bool:
    """Whether it is the old set with the request's factor files: all four, and nothing else is new."""
    others = {name: body for name, body in live.items() if name not in certset.FACTOR_NAMES}
    if others | {name: OLD[name] for name in certset.FACTOR_NAMES} != workloads.BEFORE:
        return False
    try:
        pairs = [(live[f"{role}.key.cipher"], live[f"{role}.key.rand"]) for role in ("server", "client")]
        return [factors.read(*pair) for pair in pairs] == list(workloads.PASSWORDS.values())
    except (InvalidInput, KeyError):
        return False


def assert_private(root: Path) -> None:
    """I11: nothing of a set or of the agent is ever for others; a link has no mode of its own."""
    for directory in (sslcert_of(root), root / "state"):
        for entry in below(directory):
            mode = entry.stat(follow_symlinks=False).st_mode
            assert stat.S_ISLNK(mode) or not stat.S_IMODE(mode) & 0o077, entry.path


def assert_whole(root: Path) -> str:
    """Which set is live; nobody else may read any; the configuration files are whole."""
    assert_private(root)
    for component, body in disk_cm.confs(root).items():
        assert body.count(b"enable_ssl = ") == 1, component
        assert b"thread_count = 1000" in body, component
    return which_is_live(root)


def recovered(root: Path) -> Node:
    """A new agent, as quick as one that need not survive a power cut."""
    node = workloads.node_at(root, workloads.quick_disk_at(root), stopped=True)
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
    assert seen(node.root) == scene.sslcert
    assert disk_cm.confs(node.root) == scene.confs
    assert_nothing_left(node)


def assert_nothing_left(node: Node) -> None:
    assert sorted(os.listdir(node.state_dir)) == ["journal.json", "lock"]
    assert not list((node.root / "data").rglob("*.gausscert.new"))


def begin_anew(node: Node) -> None:
    """After a rollback nothing is in the way of another transaction."""
    node.transaction_id, node.epoch = OTHER_TX, node.epoch + 1
    for step in FORWARD:
        workloads.run(node, step)
    assert live_files(node.sslcert) == workloads.AFTER
    assert node.state.outcome_of(OTHER_TX) is Outcome.COMMITTED
    assert beside(node.sslcert) == [f".cm.retired.{OTHER_TX}"]
    assert_nothing_left(node)


def assert_committed_for_ever(node: Node) -> None:
    """No coordinator may turn back what one node has committed, whatever it believes."""
    with pytest.raises(NodeRefusal) as caught:
        node.run(Step.ABORT, epoch=node.state.fence.epoch + 1)
    assert caught.value.reason is not Reason.FENCED


def decide(root: Path, scene: Scene, acked: str = "") -> set[str]:
    """Carry out every decision that the recovered node still leaves open; answers which these were.

    Args:
        root: The node.
        scene: How everything was before.
        acked: The last command that it had answered.
    """
    carried_out = set()
    for decision in ("finish", "roll back"):
        with recovered_copy(root, decision) as node:
            assert_promise(node, acked)
            if carry_out(node, scene, decision):
                carried_out.add(decision)
    return carried_out


@contextmanager
def recovered_copy(root: Path, decision: str) -> Iterator[Node]:
    """A new agent on a copy of a node."""
    copy = root.with_name(f"{root.name}-{decision.replace(' ', '-')}")
    shutil.copytree(root, copy, symlinks=True)
    node = recovered(copy)
    try:
        yield node
        assert_private(copy)
    finally:
        node.stop()
    shutil.rmtree(copy)


def decide_request(root: Path, acked: str) -> set[str]:
    """As `decide`, after a request outside of a transaction: it is repeated, or a transaction begins."""
    for decision in ("repeat", "begin anew"):
        with recovered_copy(root, decision) as node:
            assert node.journalled().request_in_flight == ""
            if acked == "ENCRYPT":
                assert is_encrypted(live_files(node.sslcert)), "the request is forgotten"
            assert beside(node.sslcert) == [f".cm.retired.{workloads.FORMER_TX}"]
            if decision == "begin anew":
                begin_anew(node)
                continue
            workloads.encrypt(node)
            assert is_encrypted(live_files(node.sslcert))
            assert beside(node.sslcert) == [f".cm.retired.{workloads.FORMER_TX}"]
            assert_nothing_left(node)
    return {"repeat", "begin anew"}


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
    if decision == "roll back" and committed:
        assert_committed_for_ever(node)
        return False
    if decision == "roll back":
        cut_short = node.state.phase is Phase.NONE
        roll_back(node, scene)
        if cut_short and workloads.is_plain(node.root):
            begin_anew(node)  # whatever of its links there is
        return True
    return False
