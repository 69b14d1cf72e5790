"""A restarted agent settles what its predecessor left, before it serves anything."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import pytest
from gausscert_agent.journal import Journal
from gausscert_common.errors import InvalidInput, NodeFailure, NodeRefusal, Reason
from gausscert_common.model import Layout, SslValue
from gausscert_common.protocol.state import Operation
from gausscert_common.protocol.words import Fence, Outcome, Phase, SslWish, Step
from support.agent_core import (
    BACKWARD,
    FORWARD,
    NEW,
    OLD,
    TX,
    HookedDisk,
    Node,
    live_files,
    snapshot,
    write_set,
)


@pytest.fixture(params=list(Layout))
def layout(request):
    return request.param


@pytest.fixture
def node(tmp_path, layout):
    made = Node(tmp_path, layout=layout)
    made.start()
    yield made
    made.stop()


def rewrite(node: Node, **changes) -> None:
    """What a predecessor journalled before it died."""
    node.stop()
    with Journal(node.state_dir) as journal:
        journal.lock()
        journal.save(replace(journal.load(), **changes))


@pytest.mark.parametrize("length", range(8))
@pytest.mark.parametrize("path", [FORWARD, FORWARD[:4] + BACKWARD], ids=["forward", "backward"])
def test_a_restart_after_any_step_changes_nothing(node, path, length):
    node.run_all(path[:length])
    before, state = node.everything(), node.state
    node.restart()
    assert node.state == state
    assert node.everything() == before


def test_a_fresh_node_serves_and_is_journalled(node):
    assert node.state.phase is Phase.NONE
    assert (node.state_dir / "journal.json").exists()


@pytest.mark.parametrize("what", ["nothing", "a torn stage", "a whole stage", "a scratch directory"])
def test_a_torn_prepare_is_forgotten_with_all_it_left(node, what):
    before = snapshot(node.sslcert)
    node.run_all(FORWARD[:2])
    if what == "nothing":
        node.store.remove_stage(TX)
    elif what == "a torn stage":
        (node.shelf / f".cm.{TX}" / "server.crt").unlink()
    elif what == "a scratch directory":
        write_set(node.shelf / f".cm.{TX}.encrypt", {"server.key.cipher": b"c"})
    transaction = replace(node.state.transaction, new_digest="")
    rewrite(node, phase=Phase.PREPARING, transaction=transaction)
    node.start()
    assert snapshot(node.sslcert) == before
    assert (node.state.phase, node.state.transaction) == (Phase.NONE, None)
    node.run(Step.PREPARE)
    assert node.state.phase is Phase.PREPARED


def exchanged_but_not_journalled(node: Node, wish: SslWish = SslWish.KEEP) -> None:
    """The predecessor died right after the exchange."""
    node.run(Step.ACQUIRE)
    node.prepare(wish=wish)
    node.run(Step.STOP)
    transaction = node.state.transaction
    node.store.ensure_live(TX, transaction.new_digest, transaction.old_digest)


def test_a_swap_that_was_not_journalled_is_the_vote_it_was(node):
    exchanged_but_not_journalled(node)
    node.restart()
    assert node.state.phase is Phase.SWAPPED
    assert Journal(node.state_dir).load() == node.state
    node.run_all(FORWARD[4:])
    assert live_files(node.sslcert) == NEW


def test_the_vote_comes_with_all_that_a_swap_does(node):
    """Else a recovering coordinator would take it for a whole vote and start CM with half of one."""
    exchanged_but_not_journalled(node, SslWish.OFF)
    assert node.cm.ssl["server"] is SslValue.ON
    node.restart()
    assert node.state.phase is Phase.SWAPPED
    assert node.cm.ssl == {"server": SslValue.OFF, "agent": SslValue.OFF}


@pytest.mark.parametrize("hindrance", ["CM runs", "enable_ssl fails"])
def test_a_swap_that_cannot_be_finished_is_no_vote_and_is_repeated(node, hindrance):
    exchanged_but_not_journalled(node, SslWish.OFF)
    if hindrance == "CM runs":
        node.cm.running = {"cm_server"}
    else:
        node.cm.fail["set_ssl agent False"] = NodeFailure(Reason.CONF_FAILED, "no")
    node.restart()
    assert node.state.phase is Phase.PREPARED
    assert live_files(node.sslcert) == NEW
    node.cm.running = set()
    node.run(Step.SWAP)
    assert node.state.phase is Phase.SWAPPED
    assert node.cm.ssl == {"server": SslValue.OFF, "agent": SslValue.OFF}
    node.run_all(BACKWARD)
    assert live_files(node.sslcert) == OLD


@pytest.mark.parametrize("phase", [Phase.PREPARED, Phase.ABORTED, Phase.COMMITTED])
def test_the_disk_is_durable_before_the_journal_says_what_it_shows(node, phase):
    exchanged_but_not_journalled(node)
    rewrite(node, phase=phase)
    order = []

    class Recording(HookedDisk):
        def sync(self, descriptor):
            import os

            order.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))

    node.restart(Recording(lambda name: None))
    assert order[0] == node.shelf.name
    assert order[-1] == "state"


@pytest.mark.parametrize("live", ["old", "new"])
def test_an_abort_cut_short_stays_an_abort(node, live):
    node.run_all(FORWARD[:4])
    if live == "old":
        transaction = node.state.transaction
        node.store.ensure_live(TX, transaction.old_digest, transaction.new_digest)
    rewrite(node, phase=Phase.ABORTED)
    node.start()
    assert node.state.phase is Phase.ABORTED
    node.run(Step.ACQUIRE, epoch=2)
    node.epoch = 2
    node.run_all(BACKWARD)
    assert live_files(node.sslcert) == OLD
    assert node.state.outcome_of(TX) is Outcome.ABORTED


def test_an_orphan_is_ended_before_anything_is_looked_at(node):
    node.run_all(FORWARD[:3])
    rewrite(node, operation=Operation("start", 4711, 99))
    looked = []
    node.cm.end_orphan = lambda pid, ticks: looked.append(
        (pid, ticks, snapshot(node.state_dir)["journal.json"])
    )
    node.start()
    ((pid, ticks, (_, journal)),) = looked
    assert (pid, ticks) == (4711, 99)
    assert json.loads(journal)["record"]["operation"]["pid"] == 4711
    assert node.state.operation is None
    assert Journal(node.state_dir).load().operation is None


@pytest.mark.parametrize("boot", ["boot-2 pid:[1] 7", "boot-1 pid:[2] 7", "boot-1 pid:[1] 8"])
def test_after_a_reboot_no_stranger_with_the_same_pid_is_ended(node, boot):
    seen = []
    node.cm.during = lambda: seen.append(node.state.operation)
    node.run_all(FORWARD[:3])
    assert seen == [Operation("stop", 4711, 99, "boot-1 pid:[1] 7")]
    rewrite(node, operation=seen[0])
    node.boot = boot
    node.start()
    assert node.cm.orphans_ended == []
    assert node.state.operation is None
    assert Journal(node.state_dir).load().operation is None


@pytest.mark.parametrize("boot", ["boot-1 pid:[1] 7", "boot-1 - 7", ""])
def test_an_orphan_is_ended_unless_it_is_known_that_the_machine_has_booted(node, boot):
    rewrite(node, operation=Operation("stop", 4711, 99, "boot-1 pid:[1] 7"))
    node.boot = boot
    node.start()
    assert node.cm.orphans_ended == [(4711, 99)]


def test_an_orphan_that_does_not_end_keeps_the_agent_from_serving(node):
    node.run_all(FORWARD[:3])
    rewrite(node, operation=Operation("start", 4711, 99))
    before = node.everything()

    def stays(pid, ticks):
        raise NodeFailure(Reason.CM_CTL_FAILED, "does not go away")

    node.cm.end_orphan = stays
    with pytest.raises(NodeFailure):
        node.start()
    assert node.everything() == before
    with pytest.raises(RuntimeError):
        node.run(Step.SWAP)


def test_a_damaged_journal_keeps_the_agent_from_serving(node):
    node.run_all(FORWARD[:4])
    node.stop()
    path = node.state_dir / "journal.json"
    path.write_bytes(path.read_bytes()[:-40])
    before = node.everything()
    with pytest.raises(NodeFailure) as caught:
        node.start()
    assert caught.value.reason is Reason.JOURNAL_FAILED
    assert node.everything() == before


def test_a_second_agent_does_not_touch_what_the_first_one_serves(node):
    node.run_all(FORWARD[:4])
    before = node.everything()
    other = Node(node.root, fresh=False)
    with pytest.raises(InvalidInput) as caught:
        other.start()
    assert caught.value.reason is Reason.CONFIG_INVALID
    assert node.everything() == before


def test_a_foreign_live_set_is_served_as_such_and_refused(node):
    node.run_all(FORWARD[:3])
    (node.sslcert / "cm" / "planted").write_text("by somebody")
    node.restart()
    assert node.state.phase is Phase.PREPARED
    before = node.everything()
    with pytest.raises(NodeRefusal) as caught:
        node.run(Step.SWAP)
    assert caught.value.reason is Reason.FOREIGN_SET
    assert node.everything() == before


def failing_syncs(node, *which: int) -> None:
    """From now on the first, second, ... sync fails, as numbered."""
    count = itertools.count(1)

    def hook(name: str) -> None:
        if name == "sync" and next(count) in which:
            raise OSError(5, "Input/output error")

    node.disk._hook = hook


def ready_to_commit(node) -> None:
    node.stop()
    node.disk = HookedDisk(lambda name: None)
    node.start()
    node.run_all(FORWARD[:4])
    node.run(Step.START)


def test_after_a_failed_write_the_next_command_settles_first(node):
    """The failed write may have reached the disk or not; memory is not believed."""
    ready_to_commit(node)
    # File and directory of the fence, then file and directory of COMMITTED; then the agent cannot settle.
    failing_syncs(node, 4, 5)
    with pytest.raises(NodeFailure):
        node.run(Step.COMMIT)
    assert Journal(node.state_dir).load().phase is Phase.COMMITTED
    assert node.runner._ledger.suspect
    with pytest.raises(NodeRefusal) as caught:
        node.run(Step.ABORT)
    assert caught.value.reason is Reason.WRONG_PHASE
    assert not node.runner._ledger.suspect
    assert node.state.phase is Phase.COMMITTED
    node.run_all((Step.ACQUIRE, Step.COMMIT, Step.PURGE), epoch=2)
    assert live_files(node.sslcert) == NEW


def test_a_node_whose_record_failed_reports_at_once_what_it_has_promised(node):
    """It reported the fence before, the next coordinator took an epoch that was taken, and was FENCED by a
    coordinator that had given up."""
    ready_to_commit(node)
    failing_syncs(node, 2)
    with pytest.raises(NodeFailure) as caught:
        node.run(Step.ACQUIRE, epoch=2)
    assert caught.value.reason is Reason.JOURNAL_FAILED
    assert node.state == Journal(node.state_dir).load()
    assert node.state.fence == Fence(2, Step.ACQUIRE)
