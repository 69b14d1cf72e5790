"""The node's table: what each command does in each phase, and that a refusal changes nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gausscert_common.errors import InvalidInput, NodeRefusal, Reason
from gausscert_common.protocol.commands import AcquireCommand, Command, PrepareCommand
from gausscert_common.protocol.node import EPOCH_LEAP, TOMBSTONES_KEPT, accept, complete, reconcile
from gausscert_common.protocol.rules import RULES, Effect, StageFacts
from gausscert_common.protocol.state import NodeState, SslSetting, Transaction, View, live_state
from gausscert_common.protocol.words import (
    Fence,
    LiveState,
    Outcome,
    Phase,
    RestartScope,
    SslWish,
    Step,
    Tombstone,
)

T, OTHER = "transaction-1", "transaction-2"
OLD, NEW, FOREIGN = "digest-old", "digest-new", "digest-foreign"
AFTER_PREPARE = [step for step in Step if step > Step.PREPARE]


def transaction(**changes: object) -> Transaction:
    whole = Transaction(
        T, ("a", "b"), OLD, SslWish.KEEP, RestartScope.CLUSTER, 0.0, new_digest=NEW, bundle_digest="b"
    )
    return replace(whole, **changes)


def state(phase: Phase, *, step: Step = Step.ACQUIRE, **changes: object) -> NodeState:
    told = None if phase is Phase.NONE else transaction()
    if phase is Phase.PREPARING:
        told = transaction(new_digest="")
    if phase is Phase.ABORTED:
        told = transaction(abort_ended=True)
    whole = NodeState(Fence(1, step), owner=T, holder="op", phase=phase, transaction=told)
    return replace(whole, **changes)


def view(live: str | None = OLD, *, running: bool = False, lease: str = "") -> View:
    return View(live, running, lease)


def command(step: Step, epoch: int = 1, transaction_id: str = T) -> Command:
    return Command(transaction_id, epoch, step)


def acquire(epoch: int, transaction_id: str = T, holder: str = "op", *, take_over: bool = False) -> Command:
    return AcquireCommand(transaction_id, epoch, Step.ACQUIRE, holder, take_over)


def prepare(live: str = OLD, transaction_id: str = T) -> Command:
    return PrepareCommand(
        transaction_id, 1, Step.PREPARE, ("a", "b"), live, SslWish.KEEP, RestartScope.CLUSTER, 0.0
    )


def refused(before: NodeState, seen: View, asked: Command) -> Reason:
    kept = replace(before)
    with pytest.raises(NodeRefusal) as caught:
        accept(before, seen, asked)
    assert before == kept
    return caught.value.reason


def carried_out(before: NodeState, seen: View, asked: Command, facts: StageFacts | None = None) -> NodeState:
    return complete(accept(before, seen, asked).intent, asked, facts)


# --- the rows: step, phase -> phase after, effects

ROWS = [
    (Step.SWAP, Phase.PREPARED, OLD, Phase.SWAPPED),
    (Step.SWAP, Phase.SWAPPED, NEW, Phase.SWAPPED),
    (Step.COMMIT, Phase.SWAPPED, NEW, Phase.COMMITTED),
    (Step.COMMIT, Phase.COMMITTED, NEW, Phase.COMMITTED),
    (Step.PURGE, Phase.COMMITTED, NEW, Phase.NONE),
    (Step.ABORT, Phase.PREPARING, OLD, Phase.ABORTED),
    (Step.ABORT, Phase.PREPARED, OLD, Phase.ABORTED),
    (Step.ABORT, Phase.SWAPPED, NEW, Phase.ABORTED),
    (Step.ABORT, Phase.ABORTED, OLD, Phase.ABORTED),
    (Step.CLEAN, Phase.ABORTED, OLD, Phase.NONE),
]


@pytest.mark.parametrize(("step", "phase", "live", "after"), ROWS)
def test_a_row_leads_to_its_phase_and_takes_the_fence(step, phase, live, after):
    result = carried_out(state(phase), view(live), command(step))

    assert result.phase is after
    assert result.fence == Fence(1, step)


OUTSIDE = [
    (step, phase)
    for step in (Step.SWAP, Step.COMMIT, Step.PURGE, Step.ABORT, Step.CLEAN)
    for phase in Phase
    if phase not in RULES[step].phases
]


@pytest.mark.parametrize(("step", "phase"), OUTSIDE)
def test_a_command_outside_of_its_rows_is_refused_and_changes_nothing(step, phase):
    live = NEW if phase in (Phase.SWAPPED, Phase.COMMITTED) else OLD

    assert refused(state(phase), view(live), command(step)) is Reason.WRONG_PHASE


def test_only_these_rows_are_refused_outright():
    refused_phases = {step: {phase for each, phase in OUTSIDE if each is step} for step, _ in OUTSIDE}

    assert refused_phases == {
        Step.SWAP: set(Phase) - {Phase.PREPARED, Phase.SWAPPED},
        Step.COMMIT: set(Phase) - {Phase.SWAPPED, Phase.COMMITTED},
        Step.PURGE: set(Phase) - {Phase.COMMITTED},
        Step.ABORT: {Phase.COMMITTED},
        Step.CLEAN: set(Phase) - {Phase.ABORTED},
    }


@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize(
    ("step", "effect"),
    [
        (Step.STOP, Effect.STOP_CM),
        (Step.ROLLBACK_STOP, Effect.STOP_CM),
        (Step.START, Effect.START_CM),
        (Step.ROLLBACK_START, Effect.START_CM),
    ],
)
def test_stop_and_start_work_in_every_phase_and_on_any_live_set(step, effect, phase):
    before = state(phase)

    accepted = accept(before, view(FOREIGN, running=True), command(step))

    assert accepted.effects == (effect,)
    assert replace(accepted.intent, fence=before.fence) == before


def test_prepare_journals_preparing_before_it_stages_and_prepared_after():
    before = state(Phase.NONE)
    facts = StageFacts(NEW, "bundle", SslSetting(True, None))

    accepted = accept(before, view(), prepare())
    after = complete(accepted.intent, prepare(), facts)

    assert accepted.intent.phase is Phase.PREPARING
    assert accepted.effects == (Effect.BUILD_STAGE,)
    assert after.phase is Phase.PREPARED
    assert after.transaction is not None
    assert (after.transaction.old_digest, after.transaction.new_digest) == (OLD, NEW)
    assert after.transaction.previous_ssl == SslSetting(True, None)


def test_a_repeated_prepare_stages_nothing_again():
    before = state(Phase.PREPARED, step=Step.PREPARE)

    assert accept(before, view(), prepare()).effects == ()
    assert carried_out(before, view(), prepare()) == before


def test_prepare_is_refused_when_somebody_changed_the_live_set():
    assert refused(state(Phase.NONE), view(FOREIGN), prepare()) is Reason.LIVE_CHANGED


def test_prepare_of_an_ended_transaction_is_refused():
    ended = state(Phase.NONE, tombstones=(Tombstone(T, Outcome.ABORTED),))

    assert refused(ended, view(), prepare()) is Reason.TRANSACTION_ENDED


@pytest.mark.parametrize("phase", [Phase.SWAPPED, Phase.COMMITTED, Phase.ABORTED])
def test_prepare_after_the_vote_is_refused(phase):
    assert refused(state(phase), view(), prepare()) is Reason.WRONG_PHASE


# --- a live set that cannot be read


@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize("step", [Step.STOP, Step.START, Step.ROLLBACK_STOP, Step.ROLLBACK_START])
def test_stop_and_start_do_without_a_live_set_that_can_be_read(step, phase):
    assert accept(state(phase), view(None), command(step)) == accept(state(phase), view(), command(step))


@pytest.mark.parametrize("phase", list(Phase))
def test_the_fence_is_taken_at_a_node_whose_live_set_cannot_be_read(phase):
    assert accept(state(phase), view(None), acquire(2)).intent.fence == Fence(2, Step.ACQUIRE)


@pytest.mark.parametrize(
    ("step", "phase"),
    [(step, phase) for step, phase, _, _ in ROWS]
    + [(Step.ABORT, Phase.SWAPPED), (Step.ABORT, Phase.PREPARED)],
)
def test_nothing_that_depends_on_a_live_set_is_done_when_it_cannot_be_read(step, phase):
    assert refused(state(phase), view(None), command(step)) is Reason.NODE_UNFIT


def test_nothing_is_prepared_beside_a_live_set_that_cannot_be_read():
    unread = View(None, False, unreadable="cm: is a link")
    with pytest.raises(NodeRefusal, match="cm: is a link"):
        accept(state(Phase.NONE), unread, prepare())
    assert refused(state(Phase.PREPARED), unread, prepare()) is Reason.NODE_UNFIT


@pytest.mark.parametrize("phase", sorted(set(Phase) - {Phase.PREPARING}))
def test_a_restart_beside_a_live_set_that_cannot_be_read_keeps_the_phase(phase):
    assert reconcile(state(phase), None) == state(phase)


def test_a_live_set_that_cannot_be_read_is_neither_the_old_nor_the_new_one():
    assert live_state(transaction(old_digest=""), None) is LiveState.FOREIGN


# --- fence


@pytest.mark.parametrize("step", AFTER_PREPARE)
def test_below_the_fence_nothing_is_carried_out(step):
    later = state(Phase.PREPARED, fence=Fence(2, Step.ACQUIRE))

    assert refused(later, view(), command(step, epoch=1)) is Reason.FENCED


def test_an_earlier_step_of_the_same_epoch_is_fenced():
    rolling_back = state(Phase.ABORTED, step=Step.ABORT)

    assert refused(rolling_back, view(), command(Step.START)) is Reason.FENCED


@pytest.mark.parametrize("step", AFTER_PREPARE)
def test_an_epoch_that_was_never_acquired_is_refused(step):
    assert refused(state(Phase.PREPARED), view(), command(step, epoch=2)) is Reason.NOT_ACQUIRED


def test_another_transaction_cannot_use_the_fence():
    assert refused(state(Phase.PREPARED), view(), command(Step.SWAP, 1, OTHER)) is Reason.NOT_ACQUIRED


# --- acquire


def test_acquire_takes_the_fence_and_nothing_else():
    before = state(Phase.PREPARED)

    after = carried_out(before, view(), acquire(2, holder="someone else"))

    assert after == replace(before, fence=Fence(2, Step.ACQUIRE), holder="someone else")


def test_a_repeated_acquire_of_the_same_coordinator_is_granted():
    once = carried_out(state(Phase.NONE), view(), acquire(2))

    assert carried_out(once, view(lease="op"), acquire(2)) == once


@pytest.mark.parametrize("epoch", [0, 1])
def test_acquire_of_a_promised_epoch_by_another_is_fenced(epoch):
    assert refused(state(Phase.NONE), view(), acquire(epoch, holder="other")) is Reason.FENCED


@pytest.mark.parametrize("epoch", [2 + EPOCH_LEAP, 2**62, 2**63 - 1])
@pytest.mark.parametrize("take_over", [False, True])
def test_an_epoch_out_of_all_proportion_is_refused_so_that_it_uses_up_no_numbers(epoch, take_over):
    before = state(Phase.SWAPPED)
    with pytest.raises(InvalidInput) as caught:
        accept(before, view(NEW), acquire(epoch, take_over=take_over))
    assert caught.value.reason is Reason.ARGUMENT_INVALID
    assert caught.value.remedy
    assert before == state(Phase.SWAPPED)


def test_a_node_that_lags_far_behind_the_others_takes_their_epoch():
    assert accept(NodeState(), view(), acquire(EPOCH_LEAP)).intent.fence.epoch == EPOCH_LEAP
    assert accept(state(Phase.NONE), view(), acquire(1 + EPOCH_LEAP)).intent.fence.epoch == 1 + EPOCH_LEAP


def test_acquire_again_after_further_steps_is_fenced():
    assert refused(state(Phase.PREPARED, step=Step.STOP), view(), acquire(1)) is Reason.FENCED


def test_acquire_under_another_lease_is_refused_unless_taken_over():
    held, by_other = state(Phase.NONE), view(lease="other")

    assert refused(held, by_other, acquire(2)) is Reason.LOCKED
    assert carried_out(held, by_other, acquire(2, take_over=True)).fence == Fence(2, Step.ACQUIRE)


def test_acquire_for_another_transaction_than_the_one_in_flight_is_refused():
    assert refused(state(Phase.SWAPPED), view(NEW), acquire(2, OTHER)) is Reason.OTHER_TRANSACTION


# --- sets


@pytest.mark.parametrize(
    ("step", "phase"),
    [
        (Step.SWAP, Phase.PREPARED),
        (Step.SWAP, Phase.SWAPPED),
        (Step.COMMIT, Phase.SWAPPED),
        (Step.PURGE, Phase.COMMITTED),
        (Step.ABORT, Phase.PREPARED),
        (Step.ABORT, Phase.SWAPPED),
        (Step.CLEAN, Phase.ABORTED),
    ],
)
def test_a_foreign_live_set_is_never_touched(step, phase):
    assert refused(state(phase), view(FOREIGN), command(step)) is Reason.FOREIGN_SET


@pytest.mark.parametrize(
    ("step", "phase", "live"),
    [(Step.SWAP, Phase.PREPARED, OLD), (Step.ABORT, Phase.SWAPPED, NEW), (Step.ABORT, Phase.ABORTED, NEW)],
)
def test_no_set_is_exchanged_while_cm_runs(step, phase, live):
    assert refused(state(phase), view(live, running=True), command(step)) is Reason.NOT_STOPPED


@pytest.mark.parametrize("phase", [Phase.PREPARING, Phase.PREPARED, Phase.ABORTED])
def test_abort_needs_no_stop_where_the_old_set_is_live(phase):
    accepted = accept(state(phase), view(OLD, running=True), command(Step.ABORT))

    assert Effect.REQUIRE_STOPPED not in accepted.effects
    assert accepted.intent.phase is Phase.ABORTED


@pytest.mark.parametrize("phase", [Phase.PREPARING, Phase.PREPARED])
def test_abort_where_nothing_was_swapped_leaves_the_configuration_alone(phase):
    accepted = accept(state(phase), view(OLD, running=True), command(Step.ABORT))

    assert accepted.effects == (Effect.MAKE_OLD_LIVE,)


def test_abort_of_a_swap_cut_short_restores_the_configuration():
    assert Effect.RESTORE_SSL in accept(state(Phase.PREPARED), view(NEW), command(Step.ABORT)).effects


def test_abort_cut_short_after_it_exchanged_back_restores_the_configuration():
    before = accept(state(Phase.SWAPPED), view(NEW), command(Step.ABORT)).intent

    assert Effect.RESTORE_SSL in accept(before, view(OLD), command(Step.ABORT)).effects


@pytest.mark.parametrize("phase", [Phase.PREPARED, Phase.SWAPPED, Phase.ABORTED])
def test_abort_restores_the_configuration_where_equal_sets_do_not_show_whether_a_swap_began(phase):
    equal = state(phase, transaction=transaction(new_digest=OLD))

    assert Effect.RESTORE_SSL in accept(equal, view(OLD), command(Step.ABORT)).effects


def test_abort_looks_for_processes_before_and_after_it_exchanges():
    effects = accept(state(Phase.SWAPPED), view(NEW), command(Step.ABORT)).effects

    exchange = effects.index(Effect.MAKE_OLD_LIVE)
    assert effects[exchange - 1] is effects[exchange + 1] is Effect.REQUIRE_STOPPED


@pytest.mark.parametrize(("step", "phase"), [(Step.COMMIT, Phase.SWAPPED), (Step.PURGE, Phase.COMMITTED)])
def test_commit_and_purge_need_the_new_set_live(step, phase):
    assert refused(state(phase), view(OLD), command(step)) is Reason.WRONG_PHASE


def test_clean_needs_the_old_set_live():
    assert refused(state(Phase.ABORTED), view(NEW), command(Step.CLEAN)) is Reason.WRONG_PHASE


def test_a_new_set_that_equals_the_old_one_can_be_committed():
    # Ready factor files of this very node: byte for byte what it has, while other nodes need it.
    same = state(Phase.SWAPPED, transaction=transaction(new_digest=OLD))

    committed = carried_out(same, view(OLD), command(Step.COMMIT))
    ended = carried_out(committed, view(OLD), command(Step.PURGE))

    assert committed.phase is Phase.COMMITTED
    assert ended.outcome_of(T) is Outcome.COMMITTED


def test_a_new_set_that_equals_the_old_one_can_be_aborted():
    same = state(Phase.SWAPPED, transaction=transaction(new_digest=OLD))

    aborted = carried_out(same, view(OLD, running=True), command(Step.ABORT))
    ended = carried_out(aborted, view(OLD), command(Step.CLEAN))

    assert ended.outcome_of(T) is Outcome.ABORTED


def test_commit_is_never_aborted():
    assert refused(state(Phase.COMMITTED), view(NEW), command(Step.ABORT)) is Reason.WRONG_PHASE


@pytest.mark.parametrize(
    ("old", "live", "expected"),
    [
        (OLD, OLD, LiveState.OLD),
        (OLD, NEW, LiveState.NEW),
        (OLD, FOREIGN, LiveState.FOREIGN),
        ("", "", LiveState.OLD),
    ],
)
def test_the_live_set_is_told_by_digest(old, live, expected):
    assert live_state(transaction(old_digest=old), live) is expected


def test_a_missing_live_set_is_not_taken_for_a_set_that_is_not_staged_yet():
    assert live_state(transaction(new_digest=""), "") is LiveState.FOREIGN


# --- ends


def test_abort_at_a_node_without_the_transaction_leaves_a_tombstone_and_nothing_else():
    before = state(Phase.NONE)

    after = carried_out(before, view(), command(Step.ABORT))

    assert after == replace(before, fence=Fence(1, Step.ABORT), tombstones=(Tombstone(T, Outcome.ABORTED),))


@pytest.mark.parametrize(
    ("outcome", "steps"),
    [(Outcome.COMMITTED, (Step.COMMIT, Step.PURGE)), (Outcome.ABORTED, (Step.ABORT, Step.CLEAN))],
)
def test_commands_of_an_ended_transaction_are_answered_as_done(outcome, steps):
    ended = state(Phase.NONE, tombstones=(Tombstone(T, outcome),))

    for step in steps:
        accepted = accept(ended, view(), command(step))
        assert accepted.effects == ()
        assert complete(accepted.intent, command(step)) == replace(ended, fence=Fence(1, step))


@pytest.mark.parametrize(
    ("outcome", "steps"),
    [(Outcome.COMMITTED, (Step.ABORT, Step.CLEAN)), (Outcome.ABORTED, (Step.COMMIT, Step.PURGE))],
)
def test_an_end_is_never_turned_into_the_other(outcome, steps):
    ended = state(Phase.NONE, tombstones=(Tombstone(T, outcome),))

    for step in steps:
        assert refused(ended, view(), command(step)) is Reason.TRANSACTION_ENDED


def test_the_newest_tombstones_are_kept():
    many = tuple(Tombstone(f"transaction-{n}", Outcome.ABORTED) for n in range(100, 100 + TOMBSTONES_KEPT))

    after = carried_out(state(Phase.ABORTED, tombstones=many), view(), command(Step.CLEAN))

    assert TOMBSTONES_KEPT >= 32
    assert after.tombstones == (Tombstone(T, Outcome.ABORTED), *many[:-1])


@pytest.mark.parametrize(("step", "phase", "live", "after"), ROWS)
def test_every_command_repeated_under_its_own_fence_changes_nothing_more(step, phase, live, after):
    once = carried_out(state(phase), view(live), command(step))
    live_now = {Step.SWAP: NEW, Step.ABORT: OLD}.get(step, live)

    assert carried_out(once, view(live_now), command(step)) == once


# --- restart of the agent


def test_a_torn_preparing_is_forgotten():
    after = reconcile(state(Phase.PREPARING), OLD)

    assert (after.phase, after.transaction) == (Phase.NONE, None)


def test_a_swap_that_was_not_journalled_is_the_vote_it_was():
    assert reconcile(state(Phase.PREPARED), NEW).phase is Phase.SWAPPED


@pytest.mark.parametrize("live", [OLD, FOREIGN])
def test_prepared_without_a_swap_stays_prepared(live):
    assert reconcile(state(Phase.PREPARED), live) == state(Phase.PREPARED)


@pytest.mark.parametrize("phase", [Phase.SWAPPED, Phase.COMMITTED, Phase.ABORTED])
def test_other_phases_survive_a_restart(phase):
    assert reconcile(state(phase), NEW) == state(phase)


def test_clean_is_refused_until_abort_has_ended():
    """ABORTED is journalled before the old set and enable_ssl are restored: a Clean that comes after an Abort
    that failed in between would forget what they were."""
    began = accept(state(Phase.SWAPPED), view(NEW), command(Step.ABORT)).intent
    assert began.phase is Phase.ABORTED
    assert refused(began, view(OLD), command(Step.CLEAN)) is Reason.WRONG_PHASE

    ended = carried_out(began, view(OLD), command(Step.ABORT))

    assert accept(ended, view(OLD), command(Step.CLEAN)).effects == (Effect.REMOVE_STAGE,)


def test_the_first_holder_is_remembered_as_who_began_it():
    acquired = carried_out(NodeState(), view(), acquire(1, holder="alice"))
    prepared = carried_out(acquired, view(), prepare(), StageFacts(NEW, "b", SslSetting()))
    taken = carried_out(prepared, view(), acquire(2, holder="bob"))

    assert (taken.holder, taken.transaction.begun_by) == ("bob", "alice")
