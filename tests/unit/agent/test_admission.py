"""Who is turned away, when, and by whom."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator

import pytest
from gausscert_agent.admission import ROOM, Caller, Door, Pool, is_turned_away
from gausscert_agent.pools import Pools
from gausscert_agent.server import MAX_CONCURRENT_RPCS
from gausscert_common.identity import AGENT_SERVICE, HEALTH_SERVICE

WAIT_S = 20.0
FOR_EVER_S = 3600.0


@pytest.fixture
def patient() -> Iterator[Door]:
    """Keeps two waiting, for as long as it takes."""
    door = Door(FOR_EVER_S, most=2)
    yield door
    door.close()


def test_whoever_is_turned_away_is_told_after_a_while_by_a_thread_that_does_nothing_else():
    door = Door(pause_s=0.05)

    told = door.submit(lambda: (is_turned_away(), threading.current_thread().name))

    assert told.result(WAIT_S) == (True, "gausscert-door")
    assert not is_turned_away()
    door.close()


def test_with_too_many_those_who_have_waited_longest_are_told_at_once(patient: Door):
    told = [patient.submit(lambda number=number: number) for number in range(5)]

    assert [each.result(WAIT_S) for each in told[:3]] == [0, 1, 2]
    assert not any(each.done() for each in told[3:])


def test_a_door_that_is_closed_tells_all_who_still_wait():
    door = Door(FOR_EVER_S, most=10)
    told = [door.submit(lambda number=number: number) for number in range(3)]

    door.close()

    assert [each.result(0) for each in told] == [0, 1, 2]


def test_a_pool_lets_in_as_many_as_it_has_slots_for_and_sends_the_others_to_the_door():
    gate, door = threading.Event(), Door(pause_s=0.0)
    pool = Pool("work", threads=1, slots=2, door=door)

    def work() -> str:
        if is_turned_away():
            return "turned away"
        gate.wait(WAIT_S)
        return "done"

    inside = [pool.submit(work) for _ in range(2)]
    assert pool.submit(work).result(WAIT_S) == "turned away"
    gate.set()
    assert [each.result(WAIT_S) for each in inside] == ["done", "done"]
    pool.shutdown()
    assert pool._taken == 0
    door.close()


def told_by() -> tuple[bool, str]:
    return is_turned_away(), threading.current_thread().name


@pytest.fixture
def no_thread_to_be_had(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """As where the user has as many as he may (RLIMIT_NPROC counts those of the database, too)."""

    monkeypatch.setattr(threading.Thread, "start", _no_thread)
    return monkeypatch


def _no_thread(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_whoever_finds_no_room_at_the_door_is_told_by_whoever_brings_him():
    door = Door(FOR_EVER_S, most=10, room=2)
    waiting = [door.submit(told_by) for _ in range(2)]

    assert door.submit(told_by).result(0) == (True, threading.current_thread().name)
    assert not is_turned_away()
    assert not any(each.done() for each in waiting)
    door.close()
    assert [each.result(0) for each in waiting] == [(True, "gausscert-door")] * 2


def test_there_is_room_again_once_some_have_been_told():
    door = Door(pause_s=0.0, most=1, room=1)

    for _ in range(3):
        assert door.submit(told_by).result(WAIT_S)[0]
    door.close()
    assert len(door._waiting) == 0


def test_whoever_comes_to_a_closed_door_is_told_at_once(patient: Door):
    patient.close()

    assert patient.submit(told_by).result(0) == (True, threading.current_thread().name)


def test_a_call_that_fails_in_an_unforeseen_way_is_logged_and_the_next_one_is_told(caplog):
    door = Door(pause_s=0.0)

    def fails() -> None:
        raise SystemExit("canary-secret")

    failed, told = door.submit(fails), door.submit(told_by)

    assert isinstance(failed.exception(WAIT_S), SystemExit)
    assert told.result(WAIT_S) == (True, "gausscert-door")
    assert [record.getMessage() for record in caplog.records] == ["a call has ended in an exception"]
    door.close()


def test_a_door_without_a_thread_tells_at_once_and_has_one_as_soon_as_there_is_one(no_thread_to_be_had):
    door = Door(pause_s=0.0)

    assert door.submit(told_by).result(0) == (True, threading.current_thread().name)
    no_thread_to_be_had.undo()
    assert door.submit(told_by).result(WAIT_S) == (True, "gausscert-door")
    door.close()


def test_a_pool_without_a_thread_turns_away_and_lets_in_as_soon_as_there_is_one(no_thread_to_be_had):
    """What a pool raises ends the thread in which gRPC takes all calls."""
    door = Door(pause_s=0.0)
    pool = Pool("work", threads=2, slots=4, door=door)

    assert pool.submit(told_by).result(0)[0]
    assert pool._taken == 0
    no_thread_to_be_had.undo()
    assert pool.submit(told_by).result(WAIT_S) == (False, "gausscert-work_0")
    pool.shutdown()
    door.close()


def test_a_pool_without_a_thread_holds_nothing_of_those_it_has_turned_away(no_thread_to_be_had):
    door = Door(pause_s=0.0)
    pool = Pool("work", threads=2, slots=4, door=door)
    call = threading.Event()
    held = weakref.ref(call)

    pool.submit(lambda _: None, call).result(0)
    del call
    gc.collect()

    assert held() is None
    pool.shutdown()
    door.close()


def test_whoever_was_turned_away_for_want_of_a_thread_is_not_answered_as_well(no_thread_to_be_had):
    no_thread_to_be_had.undo()
    door, gate, told = Door(pause_s=0.0), threading.Event(), []
    pool = Pool("work", threads=2, slots=4, door=door)
    inside = pool.submit(gate.wait, WAIT_S)
    no_thread_to_be_had.setattr(threading.Thread, "start", _no_thread)

    pool.submit(lambda: told.append(is_turned_away())).result(WAIT_S)

    gate.set()
    assert inside.result(WAIT_S)
    pool.shutdown()
    assert told == [True]
    assert pool._taken == 0
    door.close()


def test_grpc_never_has_to_count_who_is_inside():
    """It would refuse an operator for whom there is a slot like the crowd for whom there is none."""
    pools = Pools("prod")
    try:
        each = (getattr(pools, name) for name in vars(pools))
        slots = sum(pool._slots for pool in each if isinstance(pool, Pool))
        assert slots + ROOM < MAX_CONCURRENT_RPCS
    finally:
        pools.close()


def test_there_is_nobody_left_only_when_nobody_is_inside_or_at_the_door(patient: Door):
    pools, gate = Pools("prod"), threading.Event()
    pools._door.close()
    pools._door = patient
    assert pools.are_empty()

    inside = pools._observe.submit(gate.wait, WAIT_S)
    assert not pools.are_empty()
    gate.set()
    assert inside.result(WAIT_S)
    pools._observe.shutdown()
    assert pools.are_empty()

    patient.submit(told_by)
    assert not pools.are_empty()
    pools.close()
    assert pools.are_empty()


LOOK, COMMAND = f"{AGENT_SERVICE}/GetNode", f"{AGENT_SERVICE}/Abort"
CHECK, WATCH = f"{HEALTH_SERVICE}/Check", f"{AGENT_SERVICE}/WatchTransaction"
ALICE, EVE = b"gausscert://prod/operator/alice", b"gausscert://prod/observer/eve"
ROY, NODE = b"gausscert://prod/recoverer/roy", b"gausscert://prod/node/n1"


@pytest.mark.parametrize(
    ("rpc", "uris", "threads"),
    [
        (COMMAND, (ALICE,), "work"),
        (COMMAND, (ROY,), "work"),
        (COMMAND, (EVE,), "refused"),
        (f"{AGENT_SERVICE}/Prepare", (ROY,), "refused"),
        (LOOK, (ALICE,), "look"),
        (LOOK, (ROY,), "look"),
        (LOOK, (EVE,), "observe"),
        (LOOK, (NODE,), "refused"),
        (CHECK, (ALICE,), "health"),
        (CHECK, (NODE,), "monitor"),
        (WATCH, (ALICE,), "watch"),
        (WATCH, (EVE,), "overlook"),
        (f"{HEALTH_SERVICE}/Watch", (NODE,), "overlook"),
        (LOOK, (b"https://example.org/x", ALICE), "look"),
        (LOOK, (ALICE, EVE), "refused"),
        (LOOK, (b"gausscert://test/operator/alice",), "refused"),
        (LOOK, (b"gausscert://prod/operator/\xff",), "refused"),
        (LOOK, (), "refused"),
    ],
)
def test_whoever_may_do_less_waits_elsewhere(rpc, uris, threads):
    pools = Pools("prod")
    try:
        assert pools.of(rpc)._choose(Caller(uris))._thread_name_prefix == f"gausscert-{threads}"
    finally:
        pools.close()


def test_nobody_gets_more_than_his_share_and_all_together_no_more_than_there_is(patient: Door):
    gate = threading.Event()
    pool = Pool("look", threads=4, slots=3, door=patient, share=2)
    eve, mallory = Caller((EVE,)), Caller((b"gausscert://prod/observer/mallory",))
    let_in = [pool.admit(who, gate.wait, WAIT_S) for who in (eve, eve, mallory)]

    turned_away = [pool.admit(who, is_turned_away) for who in (eve, mallory)]

    patient.close()
    assert [each.result(0) for each in turned_away] == [True, True]
    gate.set()
    assert all(each.result(WAIT_S) for each in let_in)
    pool.shutdown()


def test_a_stolen_credential_shares_nothing_with_the_one_that_has_taken_its_place(patient: Door):
    gate = threading.Event()
    pool = Pool("work", threads=2, slots=3, door=patient, share=1)
    old, new = Caller((ALICE,), (b"old",)), Caller((ALICE,), (b"new",))
    inside = pool.admit(old, gate.wait, WAIT_S)

    turned_away = pool.admit(old, is_turned_away)

    assert pool.admit(new, is_turned_away).result(WAIT_S) is False
    patient.close()
    assert turned_away.result(0) is True
    gate.set()
    assert inside.result(WAIT_S)
    pool.shutdown()
    assert not pool._taken_by
