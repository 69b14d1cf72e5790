"""An agent is upgraded: it settles what the release before the two slots has journalled, and carries on.

The files in `vectors/journal-version-1` are that release's own, byte for byte: written by its agent, at rest,
after Swap, while cm_ctl stopped CM, and while a request outside of a transaction staged a set. They are never
made anew.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from gausscert_agent import journal_codec
from gausscert_agent.journal_file import FILE
from gausscert_common.protocol.words import Fence, Outcome, Phase, Step
from support.agent_core import (
    BACKWARD,
    FORWARD,
    NEW,
    OLD,
    OTHER_TX,
    TX,
    FakeCm,
    Node,
    beside,
    live_files,
    write_set,
)

VECTORS = Path(__file__).parents[1] / "vectors" / "journal-version-1"


def upgraded(root: Path, vector: str, *, live: dict[str, bytes], cm: FakeCm | None = None) -> Node:
    """A node as that release has left it, before the new agent starts."""
    node = Node(root, live=live, cm=cm)
    node.state_dir.mkdir(mode=0o700)
    path = node.state_dir / FILE
    path.write_bytes((VECTORS / f"{vector}.json").read_bytes())
    path.chmod(0o600)
    return node


def stopped() -> FakeCm:
    return FakeCm(running=set(), manual=True)


def has_slots(node: Node) -> bool:
    return (node.state_dir / FILE).read_bytes()[:1] != b"{"


def stage(node: Node, files: dict[str, bytes], tx: str = TX) -> None:
    write_set(node.sslcert / f".cm.{tx}", files)


def test_at_rest_it_knows_what_was_committed_and_begins_another_transaction(tmp_path):
    node = upgraded(tmp_path, "idle", live=NEW)
    write_set(node.sslcert / f".cm.retired.{TX}", OLD)
    node.start()
    assert (node.state.phase, node.state.fence) == (Phase.NONE, Fence(1, Step.PURGE))
    assert node.state.outcome_of(TX) is Outcome.COMMITTED
    assert has_slots(node)
    node.transaction_id, node.epoch = OTHER_TX, 2
    node.run_all(FORWARD)
    assert node.state.outcome_of(OTHER_TX) is Outcome.COMMITTED
    assert node.state.outcome_of(TX) is Outcome.COMMITTED
    node.stop()


@pytest.mark.parametrize("decision", ["finish", "roll back"])
def test_a_vote_still_counts_and_both_decisions_can_be_carried_out(tmp_path, decision):
    node = upgraded(tmp_path, "swapped", live=NEW, cm=stopped())
    stage(node, OLD)
    node.start()
    assert (node.state.phase, node.state.fence) == (Phase.SWAPPED, Fence(1, Step.SWAP))
    assert node.state.transaction.participants == ("node1", "node2")
    assert has_slots(node)
    node.epoch = 2
    node.run(Step.ACQUIRE, holder="bob@host:2")
    node.run_all(FORWARD[4:] if decision == "finish" else BACKWARD)
    outcome = Outcome.COMMITTED if decision == "finish" else Outcome.ABORTED
    assert node.state.outcome_of(TX) is outcome
    assert live_files(node.sslcert) == (NEW if decision == "finish" else OLD)
    assert beside(node.sslcert) == ([f".cm.retired.{TX}"] if decision == "finish" else [])
    node.stop()


@pytest.mark.parametrize("decision", ["finish", "roll back"])
def test_its_cm_ctl_is_ended_before_anything_else(tmp_path, decision):
    node = upgraded(tmp_path, "stopping", live=OLD)
    stage(node, NEW)
    node.start()
    assert node.cm.orphans_ended == [(4711, 99)]
    assert (node.state.phase, node.state.operation) == (Phase.PREPARED, None)
    node.epoch = 2
    node.run(Step.ACQUIRE, holder="bob@host:2")
    node.run_all(FORWARD[2:] if decision == "finish" else BACKWARD)
    assert live_files(node.sslcert) == (NEW if decision == "finish" else OLD)
    node.stop()


def test_what_a_request_has_left_is_removed(tmp_path):
    node = upgraded(tmp_path, "request", live=OLD)
    stage(node, OLD | {"server.key.cipher": b"half"}, "request-0001")
    node.start()
    assert beside(node.sslcert) == []
    assert node.journalled().request_in_flight == ""
    assert has_slots(node)
    node.stop()


@pytest.mark.parametrize("vector", sorted(path.stem for path in VECTORS.iterdir()))
def test_a_change_of_any_byte_of_it_stops_the_agent_or_changes_nothing(tmp_path, vector):
    """Blanks and line ends around the values are not covered by its checksum."""
    node = upgraded(tmp_path, vector, live=OLD)
    path = node.state_dir / FILE
    whole, record = path.read_bytes(), journal_codec.encode(node.journalled())
    for at in range(0, len(whole), 5):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        found = node.journalled()
        assert isinstance(found, bytes) or journal_codec.encode(found) == record, at
