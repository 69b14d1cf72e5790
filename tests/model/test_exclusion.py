"""Nodes left out: what a node refuses, how a course ends, and which transaction recovery settles first."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from gausscert_common.errors import NodeRefusal, Reason
from gausscert_common.protocol import exclusion
from gausscert_common.protocol.commands import Command, PrepareCommand, PurgeCommand
from gausscert_common.protocol.coordinator import Course, Stage, Verdict, begin
from gausscert_common.protocol.exclusion import Part, Return, Subject
from gausscert_common.protocol.node import accept, complete
from gausscert_common.protocol.recovery import Answer, Choice, decide
from gausscert_common.protocol.rules import StageFacts
from gausscert_common.protocol.script import Hold, Release, carry_out, perform
from gausscert_common.protocol.state import NodeState, SslSetting, Transaction, View
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

T, JOIN, LATE = "transaction-1", "transaction-2", "transaction-0"
OLD, NEW = "digest-old", "digest-new"
NODE = RestartScope.NODE


def committed(*excluded: str) -> NodeState:
    told = Transaction(T, ("a", "b"), OLD, SslWish.KEEP, NODE, 0.0, new_digest=NEW, excluded=excluded)
    return NodeState(Fence(1, Step.COMMIT), owner=T, holder="op", phase=Phase.COMMITTED, transaction=told)


def purge(*settled: str) -> PurgeCommand:
    return PurgeCommand(T, 1, Step.PURGE, settled)


# The node.


def test_prepare_remembers_who_is_left_out_and_whom_it_joins():
    command = PrepareCommand(T, 1, Step.PREPARE, ("a",), OLD, SslWish.KEEP, NODE, 0.0, ("c", "d"), LATE)
    before = NodeState(Fence(1), owner=T, holder="op")

    accepted = accept(before, View(OLD, cm_running=True), command)
    after = complete(accepted.intent, command, StageFacts(NEW, "b", SslSetting()))

    assert after.transaction.excluded == ("c", "d")
    assert after.transaction.joins == LATE


@pytest.mark.parametrize("asked", [Command(T, 1, Step.PURGE), purge(), purge("c"), purge("d", "e")])
def test_purge_is_refused_while_an_excluded_node_is_not_settled(asked):
    before = committed("c", "d")
    kept = replace(before)

    with pytest.raises(NodeRefusal) as caught:
        accept(before, View(NEW, cm_running=True), asked)

    assert caught.value.reason is Reason.NODES_EXCLUDED
    assert "d" in caught.value.message or "c" in caught.value.message
    assert "gausscert recover --bundle" in caught.value.remedy
    assert before == kept


@pytest.mark.parametrize(
    ("excluded", "asked"),
    [((), Command(T, 1, Step.PURGE)), ((), purge()), (("c",), purge("c")), (("c",), purge("b", "c", "d"))],
)
def test_purge_is_carried_out_once_all_are_settled(excluded, asked):
    before = committed(*excluded)

    after = complete(accept(before, View(NEW, cm_running=True), asked).intent, asked)

    assert after.phase is Phase.NONE
    assert after.outcome_of(T) is Outcome.COMMITTED


def rolled_back(before: NodeState, **changes: object) -> NodeState:
    """The present transaction, from ABORTED on."""
    told = Transaction(T, ("a", "b", "c"), OLD, SslWish.KEEP, NODE, 0.0, new_digest=NEW, abort_ended=True)
    state = replace(
        before,
        fence=Fence(1, Step.ABORT),
        owner=T,
        phase=Phase.ABORTED,
        transaction=replace(told, **changes),
    )
    clean = Command(T, 1, Step.CLEAN)
    return complete(accept(state, View(OLD, cm_running=True), clean).intent, clean)


def test_a_rollback_remembers_who_was_in_it_and_left_out():
    assert rolled_back(NodeState()).tombstones == (Tombstone(T, Outcome.ABORTED),)
    (stone,) = rolled_back(NodeState(), excluded=("b", "d")).tombstones
    assert stone.without == ("b",)  # d was never in it


def test_who_was_left_behind_stays_so_until_a_transaction_has_it_again():
    before = NodeState(tombstones=(Tombstone(LATE, Outcome.ABORTED, ("c",)),))

    without = rolled_back(before, participants=("a", "b"), excluded=("c",))
    with_it = rolled_back(before)

    assert without.tombstones[0].without == ("c",)
    assert with_it.tombstones[0].without == ()


def test_a_transaction_that_prepared_nothing_here_has_nobody_again():
    """Nor has a recovery that only starts CM: both leave a tombstone at nodes that are in no transaction."""
    before = NodeState(Fence(1), owner=T, tombstones=(Tombstone(LATE, Outcome.ABORTED, ("c",)),))
    abort = Command(T, 1, Step.ABORT)

    after = complete(accept(before, View(OLD, cm_running=True), abort).intent, abort)

    assert after.tombstones[0] == Tombstone(T, Outcome.ABORTED, ("c",))


def test_a_purge_that_is_repeated_needs_nobody():
    before = NodeState(Fence(1, Step.PURGE), owner=T, holder="op")
    ended = complete(accept(committed(), View(NEW, cm_running=True), purge()).intent, purge())

    assert accept(ended, View(NEW, cm_running=True), Command(T, 1, Step.PURGE)).effects == ()
    assert before.phase is Phase.NONE


@pytest.mark.parametrize(("excluded", "last"), [((), Hold), (("c",), Release)])
def test_the_lease_ends_with_commit_where_the_coordinator_does(excluded, last):
    moves = []

    def make(move):
        moves.append(move)
        return View(NEW, cm_running=True) if not moves[1:] else None

    before = replace(committed(*excluded), phase=Phase.SWAPPED, fence=Fence(1, Step.START))
    perform(carry_out(before, Command(T, 1, Step.COMMIT)), make)

    assert isinstance(moves[-1], last)


# The course.


def walk(course: Course) -> list[Stage | Verdict]:
    seen = [course.now]
    while not course.over:
        course = course.succeeded()
        seen.append(course.now)
    return seen


def test_a_transaction_without_a_node_ends_with_commit():
    ordinary = walk(begin(NODE))

    assert walk(begin(NODE, waits=True)) == [*ordinary[: ordinary.index(Stage.PURGE)], Verdict.COMMITTED]


def test_a_recovery_of_it_starts_cm_and_purges_nothing():
    answers = {"a": Answer(Phase.COMMITTED, T, LiveState.NEW), "b": Answer(Phase.SWAPPED, T, LiveState.NEW)}

    waiting = decide(answers, NODE, waits=True).course
    settled = decide(answers, NODE).course

    assert walk(waiting) == [Stage.COMMIT, Stage.ENSURE_UP, Verdict.COMMITTED]
    assert walk(settled) == [Stage.COMMIT, Stage.PURGE, Stage.ENSURE_UP, Verdict.COMMITTED]


@pytest.mark.parametrize(("prefer", "waits"), list(itertools.product(Choice, [True, False])))
def test_a_transaction_that_is_finished_waits_as_it_began(prefer, waits):
    answers = {node: Answer(Phase.SWAPPED, T, LiveState.NEW, running=False) for node in "ab"}

    ends = walk(decide(answers, NODE, prefer, waits=waits).course)

    assert (Stage.PURGE in ends) is (prefer is Choice.FINISH and not waits)
    assert ends[-1] is (Verdict.COMMITTED if prefer is Choice.FINISH else Verdict.ROLLED_BACK)


def test_a_join_that_is_turned_back_leaves_cm_down():
    course = begin(NODE, outside=True)
    while course.now is not Stage.START:
        course = course.succeeded()

    assert walk(course.failed()) == [Stage.ROLLBACK_STOP, Stage.ABORT, Stage.CLEAN, Verdict.ROLLED_BACK]


@pytest.mark.parametrize(("joins", "up"), [(True, True), (False, False)])
def test_cm_starts_on_an_excluded_node_with_the_set_of_the_others_only(joins, up):
    answers = {"c": Answer(Phase.COMMITTED, JOIN, LiveState.NEW)}

    course = decide(answers, NODE, outside=True, joins=joins).course

    assert (Stage.ENSURE_UP in walk(course)) is up


# What is settled first.


def standing(phase: Phase = Phase.COMMITTED, excluded: tuple[str, ...] = ("c",)) -> Part:
    return Part(T, phase, ("a", "b"), excluded)


def test_nobody_is_in_a_transaction():
    assert exclusion.subject({"b": None, "a": None}) == Subject(nodes=("a", "b"))


@pytest.mark.parametrize("back", [True, False])
def test_one_alone_is_settled_by_its_participants(back):
    parts = {"a": standing(), "b": standing(Phase.SWAPPED)} | ({"c": None} if back else {})

    found = exclusion.subject(parts)

    assert found == Subject(T, nodes=("a", "b"), excluded=("c",), may_miss=frozenset("c"))


@pytest.mark.parametrize(
    ("parts", "stands"),
    [
        ({"a": standing(), "b": standing()}, True),
        ({"a": standing(), "b": standing(Phase.SWAPPED)}, False),
        ({"a": standing(), "b": None}, False),
        ({"a": standing()}, False),
        ({"a": standing(excluded=()), "b": standing(excluded=())}, False),
    ],
)
def test_it_stands_when_it_is_committed_everywhere_and_somebody_was_left_out(parts, stands):
    assert exclusion.subject(parts).stands is stands


def test_a_join_beside_the_one_that_stands_is_settled_first():
    join = Part(JOIN, Phase.SWAPPED, ("c",), (), T)

    found = exclusion.subject({"a": standing(), "b": standing(), "c": join})

    assert found == Subject(JOIN, ("c",), may_miss=frozenset("c"), outside=True, joins=T)


@pytest.mark.parametrize("phase", [Phase.COMMITTED, Phase.SWAPPED, Phase.PREPARED])
def test_so_is_what_the_node_was_in_when_it_went_away(phase):
    """Its other participants are through with it: they count by what they remember, and are not commanded."""
    late = Part(LATE, Phase.PREPARED, ("a", "b", "c", "d"))
    parts = {"a": standing(phase, ("c", "d")), "b": standing(phase, ("c", "d")), "c": late}

    found = exclusion.subject(parts)

    assert (found.transaction_id, found.nodes, found.through) == (LATE, ("c",), ("a", "b"))
    assert (found.outside, found.joins, found.may_miss) == (True, "", {"c", "d"})


def test_several_of_them_are_settled_one_after_another():
    excluded = ("c", "d")
    parts = {"a": standing(excluded=excluded), "b": standing(excluded=excluded)}
    parts |= {"d": Part("x", Phase.ABORTED, ("d",)), "c": Part("y", Phase.ABORTED, ("c",))}

    assert exclusion.subject(parts).transaction_id == "x"
    assert exclusion.subject(parts | {"d": None}).transaction_id == "y"


@pytest.mark.parametrize(
    "parts",
    [
        {"a": standing(), "b": Part(LATE, Phase.PREPARED, ("a", "b"))},
        {"a": standing(excluded=()), "c": Part(LATE, Phase.PREPARED, ("c",))},
        {"a": standing(), "d": Part(LATE, Phase.PREPARED, ("c", "d"))},
        {"a": standing(), "b": Part(JOIN, Phase.SWAPPED, ("c",), (), T)},
    ],
)
def test_all_else_is_a_contradiction(parts):
    found = exclusion.subject(parts)

    assert "different transactions" in found.contradiction
    assert found.nodes == ()
    assert found.said.keys() == parts.keys()


def mutual(first: Phase, second: Phase) -> dict[str, Part | None]:
    """Each was begun without the nodes of the other."""
    parts = {node: Part(JOIN, second, ("b", "c"), ("a",)) for node in ("b", "c")}
    return {"a": Part(T, first, ("a",), ("b", "c")), **parts}


def test_two_that_are_committed_without_each_other_are_a_contradiction():
    found = exclusion.subject(mutual(Phase.COMMITTED, Phase.COMMITTED))

    assert "committed, each without the nodes of the other" in found.contradiction
    assert found.said == {
        "a": f"phase COMMITTED of transaction {T}, begun without b, c",
        "b": f"phase COMMITTED of transaction {JOIN}, begun without a",
        "c": f"phase COMMITTED of transaction {JOIN}, begun without a",
    }


@pytest.mark.parametrize("phase", [Phase.PREPARED, Phase.SWAPPED, Phase.ABORTED])
def test_of_two_without_each_other_the_one_that_is_committed_stands(phase):
    assert exclusion.subject(mutual(phase, Phase.COMMITTED)).transaction_id == T
    assert exclusion.subject(mutual(Phase.COMMITTED, phase)).transaction_id == JOIN


def test_a_leftover_is_rolled_back_because_the_others_are_through():
    answers = {
        "c": Answer(Phase.PREPARED, LATE, LiveState.OLD, running=False),
        "a": Answer(Phase.NONE),
        "b": Answer(Phase.NONE, outcome=Outcome.ABORTED),
    }

    assert walk(decide(answers, NODE, Choice.FINISH, outside=True).course) == [
        Stage.ABORT,
        Stage.CLEAN,
        Verdict.ROLLED_BACK,
    ]


def test_who_is_settled():
    returns = {"c": Return.AWAY, "f": Return.GONE, "d": Return.BACK, "e": Return.JOINED}

    assert exclusion.settled(returns) == ("e", "f")
    assert exclusion.having(returns, Return.BACK) == ("d",)
