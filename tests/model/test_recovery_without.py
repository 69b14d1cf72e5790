"""Recovery without nodes that are dead: the table row by row, and every state that coordinators and late
commands can lead to, searched for one in which commit and abort meet."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import pytest
from gausscert_common.errors import GausscertError, InvalidInput, Reason
from gausscert_common.protocol import exclusion, recovery_without
from gausscert_common.protocol.commands import AcquireCommand, Command, PrepareCommand, PurgeCommand
from gausscert_common.protocol.coordinator import Course, Stage, Verdict, begin
from gausscert_common.protocol.exclusion import Part
from gausscert_common.protocol.node import accept, complete
from gausscert_common.protocol.recovery import Answer, Choice, decide
from gausscert_common.protocol.recovery_without import Way, Without
from gausscert_common.protocol.rules import Effect, StageFacts
from gausscert_common.protocol.state import NodeState, SslSetting, Transaction, View, live_state
from gausscert_common.protocol.words import Fence, LiveState, Outcome, Phase, RestartScope, SslWish, Step

T = "transaction-1"
OLD, NEW = "digest-old", "digest-new"
NODE = RestartScope.NODE

NONE = Answer(Phase.NONE)
PREPARED = Answer(Phase.PREPARED, T, LiveState.OLD, reached=Fence(1, Step.PREPARE))
COMMITTED = Answer(Phase.COMMITTED, T, LiveState.NEW, voted=True, reached=Fence(1, Step.COMMIT))
ABORTED = Answer(Phase.ABORTED, T, LiveState.OLD, reached=Fence(1, Step.ABORT))
TOMB_COMMIT = Answer(Phase.NONE, outcome=Outcome.COMMITTED)
TOMB_ABORT = Answer(Phase.NONE, outcome=Outcome.ABORTED)


def swapped(epoch: int, step: Step) -> Answer:
    return Answer(Phase.SWAPPED, T, LiveState.NEW, voted=True, reached=Fence(epoch, step))


def way(*answers: Answer, missing: tuple[str, ...] = ("c",)) -> Way:
    return recovery_without.decide(dict(zip("ab", answers, strict=False)), missing).way


# The table.

SWAP, START = swapped(1, Step.SWAP), swapped(1, Step.START)
BACK = swapped(1, Step.ROLLBACK_STOP)
PUT_BACK = Answer(Phase.PREPARED, T, LiveState.OLD, voted=True, reached=Fence(1, Step.START))
UNKNOWN = Answer(Phase.SWAPPED, T, LiveState.NEW, voted=True)


@pytest.mark.parametrize("other", [SWAP, START, BACK, COMMITTED, TOMB_COMMIT, PUT_BACK, UNKNOWN])
@pytest.mark.parametrize("knows", [COMMITTED, TOMB_COMMIT])
def test_who_knows_of_the_commit_decides(knows, other):
    assert way(knows, other) is way(other, knows) is Way.FINISH


@pytest.mark.parametrize("other", [NONE, PREPARED, SWAP, START, BACK, ABORTED, TOMB_ABORT, PUT_BACK, UNKNOWN])
@pytest.mark.parametrize("knows", [ABORTED, TOMB_ABORT])
def test_who_knows_of_the_abort_decides(knows, other):
    if NONE in (knows, other) and knows is TOMB_ABORT:
        return  # nobody is in it
    assert way(knows, other) is way(other, knows) is Way.ROLL_BACK


@pytest.mark.parametrize("other", [NONE, PREPARED, SWAP, PUT_BACK, UNKNOWN])
def test_who_has_not_voted_shows_that_nobody_has_committed(other):
    assert way(PREPARED, other) is way(other, PREPARED) is Way.ROLL_BACK


@pytest.mark.parametrize(
    ("one", "other", "wanted"),
    [
        (START, START, Way.FINISH),
        (START, SWAP, Way.ROLL_BACK),
        (SWAP, SWAP, Way.ROLL_BACK),
        (START, BACK, Way.ROLL_BACK),
        (BACK, BACK, Way.ROLL_BACK),
        (START, swapped(1, Step.COMMIT), Way.FINISH),
        (START, swapped(2, Step.START), Way.ROLL_BACK),
        (START, swapped(2, Step.STOP), Way.ROLL_BACK),
        (swapped(2, Step.START), swapped(2, Step.START), Way.FINISH),
        (START, swapped(2, Step.COMMIT), Way.FINISH),
        (START, swapped(2, Step.ROLLBACK_STOP), Way.ROLL_BACK),
        (swapped(1, Step.COMMIT), swapped(2, Step.ROLLBACK_STOP), Way.ROLL_BACK),
        (START, UNKNOWN, Way.NEITHER),
        (UNKNOWN, UNKNOWN, Way.NEITHER),
        (START, PUT_BACK, Way.NEITHER),
        (BACK, PUT_BACK, Way.ROLL_BACK),
    ],
)
def test_where_all_have_voted_it_is_how_far_the_last_coordinator_had_come(one, other, wanted):
    assert way(one, other) is way(other, one) is wanted


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [(START, Way.NEITHER), (PREPARED, Way.NEITHER), (COMMITTED, Way.FINISH), (ABORTED, Way.ROLL_BACK)],
)
def test_a_minority_follows_a_decision_and_makes_none(answer, wanted):
    assert way(answer, missing=("b", "c")) is wanted
    assert way(answer, missing=("b",)) is not Way.NEITHER


def test_who_was_left_out_before_does_not_tell_how_far_the_last_coordinator_had_come():
    """Somebody recovered without b, decided by what a says, and may have sent Commit to c before it died."""
    told = replace(START, left_out=("b",))

    for back in (SWAP, BACK, swapped(2, Step.ROLLBACK_STOP)):
        assert way(told, back) is Way.FINISH
    assert way(replace(SWAP, left_out=("b",)), START) is Way.ROLL_BACK
    assert way(replace(BACK, left_out=("b",)), START) is Way.ROLL_BACK


def test_where_all_that_answer_were_left_out_at_some_time_nobody_is_left_who_tells():
    decision = recovery_without.decide(
        {"a": replace(START, left_out=("b",)), "b": replace(START, left_out=("a",))}, ("c",)
    )

    assert decision.way is Way.NEITHER
    assert "a, b were left out before" in decision.why


def test_neither_touches_nothing_and_says_what_each_said():
    answers = {"a": START, "b": UNKNOWN}

    decision = decide(answers, NODE, Choice.FINISH, missing=("c",))

    assert decision.course is None
    assert decision.said.keys() == answers.keys()
    assert "bring them back" in decision.remedy


@pytest.mark.parametrize("prefer", list(Choice))
def test_nothing_is_left_to_choose(prefer):
    finish = decide({"a": START, "b": START}, NODE, prefer, missing=("c",), waits=True).course
    back = decide({"a": SWAP, "b": PREPARED}, NODE, prefer, missing=("c",), waits=True).course

    assert (finish.now, finish.may_turn_back, finish.waits) == (Stage.COMMIT, False, True)
    assert back.now is Stage.ROLLBACK_STOP


def test_with_nobody_in_it_nothing_is_in_doubt():
    assert decide({"a": NONE, "b": NONE}, NODE, missing=("c",)).course.now is Verdict.NOTHING_DONE


# The node.


def at(phase: Phase, fence: Fence, **changes: object) -> NodeState:
    told = Transaction(T, ("a", "b", "c"), OLD, SslWish.KEEP, NODE, 0.0, new_digest=NEW)
    return NodeState(fence, owner=T, holder="one", phase=phase, transaction=replace(told, **changes))


def acquired(before: NodeState, epoch: int, *excluded: str) -> NodeState:
    command = AcquireCommand(T, epoch, Step.ACQUIRE, f"coordinator-{epoch}", True, excluded)
    return complete(accept(before, View(NEW, cm_running=True), command).intent, command)


def test_acquire_keeps_how_far_it_had_come_and_who_is_left_out():
    first = acquired(at(Phase.SWAPPED, Fence(1, Step.START)), 2, "c")
    second = acquired(first, 3, "b")

    assert first.reached == second.reached == Fence(1, Step.START)
    assert first.transaction.excluded == ("c",)
    assert second.transaction.excluded == ("b", "c")
    assert (second.fence, second.phase) == (Fence(3), Phase.SWAPPED)


def test_the_last_command_counts_whoever_sent_it():
    assert at(Phase.SWAPPED, Fence(2, Step.STOP), reached=Fence(1, Step.START)).reached == Fence(2, Step.STOP)
    assert NodeState(Fence(4, Step.CLEAN)).reached == Fence()


def test_a_node_that_is_no_part_of_it_cannot_be_left_out():
    before = at(Phase.SWAPPED, Fence(1, Step.START))

    with pytest.raises(InvalidInput) as caught:
        acquired(before, 2, "x")

    assert caught.value.reason is Reason.ARGUMENT_INVALID
    assert acquired(NodeState(Fence(1)), 2, "x").transaction is None


# Whose it is.


def part(phase: Phase, *excluded: str) -> Part:
    return Part(T, phase, ("a", "b", "c"), excluded)


def test_who_is_left_out_is_not_commanded_and_need_not_answer():
    found = exclusion.subject({"a": part(Phase.SWAPPED), "b": part(Phase.SWAPPED)}, leaving=("c",))

    assert (found.nodes, found.missing, found.excluded) == (("a", "b"), ("c",), ("c",))
    assert (found.may_miss, found.stands, found.unrecorded) == ({"c"}, False, True)


def test_who_is_remembered_as_left_out_needs_no_word_of_the_operator():
    found = exclusion.subject({"a": part(Phase.COMMITTED, "c"), "b": part(Phase.COMMITTED, "c")})

    assert (found.nodes, found.missing, found.stands, found.unrecorded) == (("a", "b"), ("c",), True, False)


def test_one_that_is_back_in_it_is_commanded_again():
    parts = {"a": part(Phase.COMMITTED, "c"), "b": part(Phase.COMMITTED, "c"), "c": part(Phase.SWAPPED)}
    found = exclusion.subject(parts)

    assert (found.nodes, found.missing, found.excluded) == (("a", "b", "c"), (), ("c",))
    assert (found.stands, found.may_miss) == (False, frozenset())


def test_one_that_is_back_and_through_with_it_is_commanded_like_others_that_are():
    found = exclusion.subject({"a": part(Phase.COMMITTED, "c"), "b": part(Phase.COMMITTED, "c"), "c": None})
    ended = exclusion.with_ended(found, ("c",))

    assert (ended.nodes, ended.missing, ended.stands) == (("a", "b", "c"), (), False)
    assert exclusion.with_ended(found, ()) == found


# Every state.


@dataclass(frozen=True)
class Machine:
    """One node: what is durable, and its disk."""

    state: NodeState
    live: str = OLD

    def carried_out(self, command: Command) -> Machine | None:
        """None: refused."""
        try:
            accepted = accept(self.state, View(self.live, cm_running=False), command)
        except GausscertError:
            return None
        staged = StageFacts(NEW, "b", SslSetting()) if Effect.BUILD_STAGE in accepted.effects else None
        live = self.live
        for effect in accepted.effects:
            live = {Effect.MAKE_NEW_LIVE: NEW, Effect.MAKE_OLD_LIVE: OLD}.get(effect, live)
        return Machine(complete(accepted.intent, command, staged), live)

    def answer(self) -> Answer:
        state, told = self.state, self.state.transaction
        if told is None:
            return Answer(Phase.NONE, outcome=state.outcome_of(T))
        return Answer(
            state.phase,
            T,
            live_state(told, self.live),
            outcome=state.outcome_of(T),
            voted=state.phase in (Phase.SWAPPED, Phase.COMMITTED),
            reached=state.reached,
            left_out=told.excluded,
        )

    @property
    def ends(self) -> set[Outcome]:
        at_end = {Phase.COMMITTED: Outcome.COMMITTED, Phase.ABORTED: Outcome.ABORTED}
        found = {stone.outcome for stone in self.state.tombstones}
        return found | ({at_end[self.state.phase]} if self.state.phase in at_end else set())


@dataclass(frozen=True)
class Coordinator:
    """One run, alive until it is over; the stage before the course is Acquire."""

    epoch: int
    to: tuple[str, ...]
    course: Course | None
    acked: frozenset[str] = frozenset()

    @property
    def step(self) -> Step | None:
        return Step.ACQUIRE if self.course is None else self.course.step


@dataclass(frozen=True)
class World:
    machines: tuple[Machine, ...]
    coordinators: tuple[Coordinator, ...]
    sent: frozenset[tuple[int, Step]]
    """Whatever was sent may arrive for ever."""


Decide = Callable[[Mapping[str, Answer], tuple[str, ...]], Without]


class Search:
    """Breadth-first: one begins, others recover with all nodes or without the last one, and nobody ever dies:
    whoever is silent for ever is as good as dead, and may still wake up."""

    def __init__(self, nodes: int, epochs: int) -> None:
        self.names = tuple("abcd"[:nodes])
        self.epochs = epochs
        self.silent: dict[int, tuple[str, ...]] = {}
        """Who is left out by the coordinator of an epoch, where that is not open."""
        self.seen: set[World] = set()
        self.decided: set[tuple[Way, Phase]] = set()

    def run(self) -> str:
        """How commit and abort can meet, "" if they cannot."""
        first = Coordinator(1, self.names, begin(NODE))
        machines = tuple(Machine(NodeState()) for _ in self.names)
        return self.search(World(machines, (first,), self._with(frozenset(), first)))

    def search(self, world: World) -> str:
        """As `run`, from there on."""
        frontier = [world]
        self.seen = {world}
        while frontier:
            found = []
            for each in frontier:
                for after in self._next(each):
                    if after in self.seen:
                        continue
                    ends = set().union(*(machine.ends for machine in after.machines))
                    if len(ends) > 1:
                        return "; ".join(
                            f"{name} {machine.state.phase} {sorted(machine.ends)}"
                            for name, machine in zip(self.names, after.machines, strict=True)
                        )
                    self.seen.add(after)
                    found.append(after)
            frontier = found
        return ""

    def _next(self, world: World) -> Iterator[World]:
        for (epoch, step), number in itertools.product(world.sent, range(len(self.names))):
            yield from self._delivered(world, epoch, step, number)
        for coordinator in world.coordinators:
            yield from self._moved(world, coordinator)
        newest = world.coordinators[-1].epoch
        if newest < self.epochs:
            out = self.silent.get(newest + 1)
            answering = tuple(name for name in self.names if name not in (out or ()))
            for to in (self.names, self.names[:-1]) if out is None else (answering,):
                yield self._put(world, Coordinator(newest + 1, to, None))

    def _delivered(self, world: World, epoch: int, step: Step, number: int) -> Iterator[World]:
        coordinator = world.coordinators[epoch - 1]
        name = self.names[number]
        if name not in coordinator.to:
            return
        after = world.machines[number].carried_out(self._command(coordinator, step))
        if after is None:
            return
        machines = (*world.machines[:number], after, *world.machines[number + 1 :])
        if coordinator.step is step:
            coordinator = replace(coordinator, acked=coordinator.acked | {name})
        yield self._put(replace(world, machines=machines), coordinator)

    def _moved(self, world: World, coordinator: Coordinator) -> Iterator[World]:
        course = coordinator.course
        complete_now = coordinator.acked == set(coordinator.to)
        if course is None:
            if complete_now:
                for after in self._decisions(world, coordinator):
                    yield self._put(world, replace(coordinator, course=after, acked=frozenset()))
            return
        if course.over:
            return
        if complete_now or course.step is None:
            yield self._put(world, replace(coordinator, course=course.succeeded(), acked=frozenset()))
        if not course.failed().over:
            yield self._put(world, replace(coordinator, course=course.failed(), acked=frozenset()))

    def _decisions(self, world: World, coordinator: Coordinator) -> Iterator[Course]:
        answers = {
            name: machine.answer()
            for name, machine in zip(self.names, world.machines, strict=True)
            if name in coordinator.to
        }
        missing = tuple(set(self.names) - set(coordinator.to))
        found = {
            decide(answers, NODE, prefer, waits=bool(missing), missing=missing).course for prefer in Choice
        }
        assert self.silent or None not in found, answers
        if missing and not self.silent:
            (course,) = found
            silent = world.machines[-1].state.phase
            self.decided.add((Way.FINISH if course.now is Stage.COMMIT else Way.ROLL_BACK, silent))
        yield from (each for each in found if each is not None)

    def _command(self, coordinator: Coordinator, step: Step) -> Command:
        epoch = coordinator.epoch
        if step is Step.ACQUIRE:
            out = tuple(sorted(set(self.names) - set(coordinator.to)))
            return AcquireCommand(T, epoch, step, f"coordinator-{epoch}", True, out)
        if step is Step.PREPARE:
            return PrepareCommand(T, epoch, step, self.names, OLD, SslWish.KEEP, NODE, 0.0)
        if step is Step.PURGE:
            return PurgeCommand(T, epoch, step, self.names[-1:])
        return Command(T, epoch, step)

    def _put(self, world: World, coordinator: Coordinator) -> World:
        others = [each for each in world.coordinators if each.epoch != coordinator.epoch]
        ordered = tuple(sorted([*others, coordinator], key=lambda each: each.epoch))
        return replace(world, coordinators=ordered, sent=self._with(world.sent, coordinator))

    @staticmethod
    def _with(sent: frozenset[tuple[int, Step]], coordinator: Coordinator) -> frozenset[tuple[int, Step]]:
        step = coordinator.step
        return sent if step is None else sent | {(coordinator.epoch, step)}


def test_commit_and_abort_never_meet_whenever_a_node_is_silent_and_whenever_it_speaks_again():
    search = Search(2, epochs=2)

    assert search.run() == ""
    assert len(search.seen) > 5000
    silent = {way: {phase for each, phase in search.decided if each is way} for way in Way}
    assert silent[Way.FINISH] == {Phase.SWAPPED, Phase.COMMITTED, Phase.NONE}
    assert silent[Way.ROLL_BACK] == {Phase.NONE, Phase.PREPARED, Phase.SWAPPED, Phase.ABORTED}


def _one_after_the_other() -> Search:
    """All three have swapped, and Start is sent. c is left out, then it is back and b is left out."""
    search = Search(3, epochs=3)
    search.silent = {2: ("c",), 3: ("b",)}
    return search


def _all_swapped(search: Search) -> World:
    first = Coordinator(1, search.names, Course(Stage.START, NODE, touched_cm=True))
    told = Transaction(T, search.names, OLD, SslWish.KEEP, NODE, 0.0, new_digest=NEW)
    state = NodeState(Fence(1, Step.SWAP), T, "coordinator-1", Phase.SWAPPED, told)
    sent = frozenset({(1, Step.START)})
    return World(tuple(Machine(state, NEW) for _ in search.names), (first,), sent)


def test_nor_do_they_when_one_node_after_the_other_is_silent():
    search = _one_after_the_other()

    assert search.search(_all_swapped(search)) == ""
    assert len(search.seen) > 20_000


def test_they_would_if_a_node_that_was_left_out_had_a_say_when_it_is_back(monkeypatch):
    """It has not started; the one that is silent now may have committed, and the third one has no trace."""
    real = recovery_without.decide

    def decide_by_all(answers: Mapping[str, Answer], missing: tuple[str, ...]) -> Without:
        return real({name: replace(each, left_out=()) for name, each in answers.items()}, missing)

    monkeypatch.setattr(recovery_without, "decide", decide_by_all)
    search = _one_after_the_other()

    assert "ABORTED" in search.search(_all_swapped(search))


def _by_phases(way_of_all_swapped: Way) -> Decide:
    real = recovery_without.decide

    def decide_by_phases(answers: Mapping[str, Answer], missing: tuple[str, ...]) -> Without:
        if {answer.phase for answer in answers.values()} == {Phase.SWAPPED}:
            return Without(way_of_all_swapped, "by phases alone")
        return real(answers, missing)

    return decide_by_phases


@pytest.mark.parametrize("way_of_all_swapped", [Way.FINISH, Way.ROLL_BACK])
def test_phases_alone_would_not_tell(monkeypatch, way_of_all_swapped):
    """All that answer have voted: to finish is wrong beside ABORTED, to roll back beside COMMITTED."""
    monkeypatch.setattr(recovery_without, "decide", _by_phases(way_of_all_swapped))

    assert "ABORTED" in Search(2, epochs=2).run()


def test_nor_would_a_fence_that_forgets_how_far_it_had_come(monkeypatch):
    """After a first Acquire there would be nothing to go by any more."""
    monkeypatch.setattr(NodeState, "reached", property(lambda state: state.fence))

    with pytest.raises(AssertionError):
        Search(2, epochs=2).run()
