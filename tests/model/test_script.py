"""The order of things at a node, move by move."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gausscert_common.errors import NodeFailure, NodeRefusal, Reason
from gausscert_common.protocol.commands import (
    AcquireCommand,
    Command,
    CommitCommand,
    PrepareCommand,
    PurgeCommand,
)
from gausscert_common.protocol.node import accept
from gausscert_common.protocol.rules import Effect, StageFacts, depends_on_processes
from gausscert_common.protocol.script import (
    CarryOut,
    Confirm,
    EndOrphan,
    ForgetChild,
    ForgetStage,
    Hold,
    Look,
    LookAtLive,
    Release,
    Save,
    SyncDisk,
    carry_out,
    is_last,
    perform,
    settle,
)
from gausscert_common.protocol.state import NodeState, Operation, SslSetting, Transaction, View
from gausscert_common.protocol.words import Fence, Outcome, Phase, RestartScope, SslWish, Step, Tombstone

T, OLD, NEW = "transaction-1", "digest-old", "digest-new"
TRANSACTION = Transaction(T, ("a", "b"), OLD, SslWish.KEEP, RestartScope.NODE, 0.0, NEW)
FACTS = StageFacts(NEW, "bundle", SslSetting())
FAILURE = NodeFailure(Reason.STORE_FAILED, "the disk is full")
SWAP = [Effect.REQUIRE_STOPPED, Effect.MAKE_NEW_LIVE, Effect.REQUIRE_STOPPED, Effect.APPLY_SSL]


class Hands:
    """Makes every move, and fails where it is told to."""

    def __init__(self, live: str = OLD, fails: object = None) -> None:
        self.live = live
        self.fails = fails
        self.made: list[object] = []
        self.saved: list[NodeState] = []

    def __call__(self, move):
        self.made.append(move.effect if isinstance(move, CarryOut) else type(move))
        if self.made[-1] == self.fails:
            raise FAILURE
        match move:
            case Save(state=state):
                self.saved.append(state)
            case Look():
                return View(self.live, cm_running=False)
            case LookAtLive():
                return self.live
            case CarryOut(effect=Effect.BUILD_STAGE):
                return FACTS
        return None


def state(phase: Phase, **changes: object) -> NodeState:
    told = None if phase is Phase.NONE else TRANSACTION
    return replace(NodeState(Fence(1), T, "holder", phase, told), **changes)


PREPARE = PrepareCommand(T, 1, Step.PREPARE, ("a", "b"), OLD, SslWish.KEEP, RestartScope.NODE, 0.0)


def test_the_intent_is_journalled_before_the_effects_and_the_vote_after_them():
    hands = Hands()
    done = perform(carry_out(state(Phase.PREPARED), Command(T, 1, Step.SWAP)), hands)

    assert hands.made == [Look, Confirm, Save, Hold, *SWAP, ForgetChild, Save, Hold]
    assert [saved.phase for saved in hands.saved] == [Phase.PREPARED, Phase.SWAPPED]
    assert [saved.fence for saved in hands.saved] == [Fence(1, Step.SWAP)] * 2
    assert done == hands.saved[-1]


@pytest.mark.parametrize("step", list(Step))
def test_processes_are_looked_at_for_commands_that_may_exchange_sets_and_only_for_these(step):
    assert depends_on_processes(step) is (step in (Step.SWAP, Step.ABORT))


@pytest.mark.parametrize("live", [OLD, NEW, "foreign"])
@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize("step", [step for step in Step if not depends_on_processes(step)])
def test_what_is_not_looked_at_decides_nothing(step, phase, live):
    command = {
        Step.ACQUIRE: AcquireCommand(T, 2, Step.ACQUIRE, holder="holder"),
        Step.PREPARE: PREPARE,
    }.get(step, Command(T, 1, step))

    def decided(running: bool) -> object:
        try:
            return accept(state(phase), View(live, cm_running=running), command)
        except NodeRefusal as refusal:
            return refusal.reason, refusal.message

    assert decided(running=True) == decided(running=False)


def test_housekeeping_comes_after_the_tombstone_and_before_the_reply():
    hands = Hands(NEW)
    done = perform(carry_out(state(Phase.COMMITTED), Command(T, 1, Step.PURGE)), hands)

    assert hands.made[4:] == [Effect.RETIRE_OLD, ForgetChild, Save, Effect.TIDY, Release]
    assert done.tombstones == (Tombstone(T, Outcome.COMMITTED),)


STANDS = replace(TRANSACTION, excluded=("c",))
ENDED = (Tombstone(T, Outcome.COMMITTED),)
UNDONE = (Tombstone(T, Outcome.ABORTED),)


@pytest.mark.parametrize(
    ("command", "after", "last"),
    [
        (Command(T, 1, Step.COMMIT), state(Phase.COMMITTED), False),
        (Command(T, 1, Step.COMMIT), state(Phase.COMMITTED, transaction=STANDS), True),
        (CommitCommand(T, 1, Step.COMMIT, True), state(Phase.COMMITTED, transaction=STANDS), False),
        (Command(T, 1, Step.PURGE), state(Phase.NONE, tombstones=ENDED), True),
        (PurgeCommand(T, 1, Step.PURGE), state(Phase.NONE, tombstones=ENDED), True),
        (PurgeCommand(T, 1, Step.PURGE, (), True), state(Phase.NONE, tombstones=ENDED), False),
        (Command(T, 1, Step.ROLLBACK_START), state(Phase.NONE, tombstones=ENDED), True),
        (Command(T, 1, Step.ROLLBACK_START), state(Phase.COMMITTED, transaction=STANDS), True),
        (Command(T, 1, Step.ROLLBACK_START), state(Phase.COMMITTED), False),
        (Command(T, 1, Step.ROLLBACK_START), state(Phase.NONE, tombstones=UNDONE), False),
        (Command(T, 1, Step.ROLLBACK_START), state(Phase.ABORTED), False),
        (Command(T, 1, Step.CLEAN), state(Phase.NONE, tombstones=UNDONE), True),
        (Command(T, 1, Step.START), state(Phase.SWAPPED), False),
    ],
)
def test_the_lease_ends_with_the_last_command(command, after, last):
    assert is_last(command, after) is last


def test_a_refused_command_does_nothing_but_look():
    hands = Hands()
    with pytest.raises(NodeRefusal):
        perform(carry_out(state(Phase.PREPARED), Command(T, 1, Step.CLEAN)), hands)

    assert hands.made == [Look]


def test_a_caller_that_has_gone_changes_nothing():
    hands = Hands(fails=Confirm)
    with pytest.raises(NodeFailure):
        perform(carry_out(state(Phase.PREPARED), Command(T, 1, Step.SWAP)), hands)

    assert hands.made == [Look, Confirm]


def test_a_failed_effect_ends_the_command_where_it_stands():
    hands = Hands(fails=Effect.MAKE_NEW_LIVE)
    with pytest.raises(NodeFailure) as caught:
        perform(carry_out(state(Phase.PREPARED), Command(T, 1, Step.SWAP)), hands)

    assert caught.value is FAILURE
    assert hands.made == [Look, Confirm, Save, Hold, *SWAP[:2], ForgetChild, Hold]


def test_a_failed_prepare_leaves_nothing_but_its_fence():
    hands = Hands(fails=Effect.BUILD_STAGE)
    with pytest.raises(NodeFailure):
        perform(carry_out(state(Phase.NONE), PREPARE), hands)

    assert hands.made[4:] == [Effect.BUILD_STAGE, ForgetChild, ForgetStage, Save, Hold]
    assert hands.saved[0].phase is Phase.PREPARING
    assert hands.saved[-1] == state(Phase.NONE, fence=Fence(1, Step.PREPARE))


def test_nothing_is_looked_at_before_the_orphan_has_ended_and_the_disk_is_durable():
    hands = Hands(NEW)
    before = state(Phase.PREPARED, operation=Operation("stop", 4711, 99))
    done = perform(settle(before), hands)

    assert hands.made == [EndOrphan, SyncDisk, LookAtLive, *SWAP, Save]
    assert done == state(Phase.SWAPPED)


def test_a_swap_that_cannot_be_finished_is_no_vote():
    hands = Hands(NEW, fails=Effect.APPLY_SSL)

    assert perform(settle(state(Phase.PREPARED)), hands).phase is Phase.PREPARED


def test_a_torn_prepare_is_forgotten():
    hands = Hands()
    done = perform(settle(state(Phase.PREPARING)), hands)

    assert hands.made == [SyncDisk, ForgetStage, LookAtLive, Save]
    assert done == state(Phase.NONE)
