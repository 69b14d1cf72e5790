"""What is written of those for whom there was no slot, and that nobody waits for it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator

import pytest
from gausscert_agent import turned_away
from gausscert_agent.audit import REFUSALS, AuditLog
from gausscert_agent.call_log import Call, CallLog
from gausscert_agent.turned_away import MOST, TurnedAway
from gausscert_common.errors import NodeRefusal, Reason
from support.audit_lines import event_of

WAIT_S = 20.0
ABORT, GET_NODE = "gausscert.v1.AgentService/Abort", "gausscert.v1.AgentService/GetNode"


class Context:
    """Of a call of alice's."""

    def auth_context(self) -> dict[str, list[bytes]]:
        return {"peer_uri": [b"gausscert://prod/operator/alice"]}

    def peer(self) -> str:
        return "ipv4:127.0.0.1:1"


class Held(logging.Handler):
    """A log that nobody reads before he is let."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.let = threading.Event(), threading.Event()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.begun.set()
        assert self.let.wait(WAIT_S)
        self.records.append(record)


class Bench:
    def __init__(self, root) -> None:
        self.audit, self.log = AuditLog(root), CallLog()
        refusal = NodeRefusal(Reason.BUSY, "too many", node="n1")
        self.turned_away = TurnedAway(self.log, self.audit, refusal)

    def note(self, rpc: str = ABORT) -> None:
        self.turned_away.note(Call(rpc, Context(), time.monotonic()))

    def lines(self):
        return [event_of(line) for line in self.audit.lines(0, 1_000_000)[0]]


@pytest.fixture
def bench(tmp_path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.turned_away.close()
    made.audit.close()


@pytest.fixture
def held() -> Iterator[Held]:
    logger, handler = logging.getLogger("gausscert_agent.call_log"), Held()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    handler.let.set()
    logger.removeHandler(handler)
    logger.setLevel(before)


def test_both_logs_say_who_asked_for_what(bench, held):
    held.let.set()

    bench.note()
    bench.note(GET_NODE)
    bench.turned_away.close()

    (line,) = bench.lines()
    assert (line.who, line.rpc, line.outcome) == ("gausscert://prod/operator/alice", "Abort", "BUSY")
    assert [(each.rpc, each.result) for each in held.records] == [("Abort", "BUSY"), ("GetNode", "BUSY")]


def test_nobody_waits_for_a_log_that_hangs_and_what_is_too_much_is_counted(bench, held, monkeypatch):
    monkeypatch.setattr(turned_away, "MOST", 2)
    bench.note()
    assert held.begun.wait(WAIT_S)

    for _ in range(5):
        bench.note()

    held.let.set()
    bench.turned_away.close()
    assert [getattr(each, "left_out", "0") for each in held.records] == ["0", "3", "0"]
    assert [each.skipped for each in bench.lines()] == [3, 0, 0]


def test_a_flood_costs_no_more_lines_than_are_told(bench, held):
    held.let.set()
    for _ in range(4 * REFUSALS):
        bench.note()
    bench.turned_away.close()

    assert len(held.records) == len(bench.lines()) == REFUSALS
    assert MOST >= 2 * REFUSALS  # nothing of a first flood is lost for want of room


def test_whoever_closes_does_not_wait_for_ever(bench, held, monkeypatch):
    monkeypatch.setattr(turned_away, "CLOSING_S", 0.05)
    bench.note()
    assert held.begun.wait(WAIT_S)

    bench.turned_away.close()
    bench.note()

    assert bench.log.turned_away.told() == 1


def test_without_a_thread_it_is_counted_and_later_written(bench, held, monkeypatch):
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    held.let.set()
    with monkeypatch.context() as busy:
        busy.setattr(threading.Thread, "start", refuse)
        bench.note()
    bench.note()
    bench.turned_away.close()

    (line,) = bench.lines()
    assert line.skipped == 1
    assert [each.left_out for each in held.records] == ["1"]


def test_what_nobody_foresaw_costs_one_line_and_its_text_is_told_to_nobody(bench, held, monkeypatch):
    held.let.set()
    real = bench.log.tell_turned_away

    def fails(*_: object) -> None:
        raise ValueError("canary-secret")

    monkeypatch.setattr(bench.log, "tell_turned_away", fails)
    bench.note()
    deadline = time.monotonic() + WAIT_S
    while not held.records:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    monkeypatch.setattr(bench.log, "tell_turned_away", real)
    bench.note()
    bench.turned_away.close()

    assert [each.getMessage() for each in held.records] == ["unexpected exception", "call refused"]
    assert "canary" not in str(vars(held.records[0]))


def test_those_who_only_looked_use_up_nothing_of_the_audit_log(bench, held):
    held.let.set()
    for _ in range(2 * REFUSALS):
        bench.note(GET_NODE)
    bench.note()
    bench.turned_away.close()

    assert [each.rpc for each in bench.lines()] == ["Abort"]


def test_once_it_is_closed_nothing_is_begun_any_more(bench):
    bench.turned_away.close()

    bench.note()

    assert bench.turned_away._attendant._thread is None
    assert bench.log.turned_away.told() == 1
