"""No kind of call, and nobody who may do less, can lock out those who may do more."""

from __future__ import annotations

import logging
import threading
import time

import grpc
import pytest
from gausscert.v1 import agent_service_pb2_grpc
from gausscert_agent import server
from gausscert_agent.admission import HEALTH_WATCHERS, WATCHERS
from gausscert_agent.call_log import REFUSED
from gausscert_agent.pools import COMMANDS_EACH, HEALTH_EACH, LOOKS_EACH, WATCHES_EACH
from gausscert_common.errors import Reason
from gausscert_common.identity import Role
from gausscert_common.model import ProbeReport
from gausscert_coordinator.inventory import Credentials
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.audit_lines import event_of
from support.edge_calls import GOOD, edge, operator, refusal, stub
from support.edges import Edge, no_threads_are_left

__all__ = ["edge", "no_threads_are_left", "operator", "stub"]

CONNECTIONS, EACH = 5, 16
"""One connection takes 16 calls at once."""


def connections(edge, name: str = "eve") -> list[grpc.Channel]:
    """Of an observer."""
    eve = edge.person(Role.OBSERVER, name)
    return [edge.channel(eve, **{"grpc.use_local_subchannel_pool": 1}) for _ in range(CONNECTIONS)]


@pytest.fixture
def probes(edge, monkeypatch):
    """A crowd of calls to Probe that last until `edge.node.gate` is opened."""

    def probe(*, query, timeout_s):
        edge.node.inside.release()
        assert edge.node.gate.wait(30)
        return ProbeReport()

    monkeypatch.setattr(edge.node, "probe", probe)
    edge.node.gate.clear()
    stubs = [agent_service_pb2_grpc.AgentServiceStub(channel) for channel in connections(edge)]
    calls = [each.Probe.future(GOOD["Probe"], timeout=20) for each in stubs for _ in range(EACH)]
    assert all(edge.node.inside.acquire(timeout=5) for _ in range(LOOKS_EACH))
    time.sleep(0.5)  # until the others have come, too
    yield calls
    for call in calls:
        call.cancel()
    edge.node.gate.set()


@pytest.mark.usefixtures("probes")
def test_a_crowd_of_probes_keeps_no_command_and_no_health_check_out(edge, operator, stub):
    began = time.monotonic()
    abort = stub.Abort.future(GOOD["Abort"], timeout=5)
    assert edge.node.inside.acquire(timeout=5)
    health = health_pb2_grpc.HealthStub(edge.channel(operator))
    answer = health.Check(health_pb2.HealthCheckRequest(), timeout=5)

    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    assert time.monotonic() - began < 2
    edge.node.gate.set()
    abort.result(timeout=5)


@pytest.mark.usefixtures("probes")
def test_a_crowd_of_one_caller_leaves_room_for_others_to_look(edge, stub):
    """Its calls beyond its share are turned away: they held all threads and slots for looking before."""
    stub.GetNode(GOOD["GetNode"], timeout=5)

    assert [name for name, _ in edge.node.seen] == ["report"]


@pytest.mark.usefixtures("probes")
def test_whoever_has_had_his_share_is_told_busy_and_to_repeat(edge):
    here = edge.root / "observer-eve"
    eve = Credentials(edge.issued.ca, here / "observer-eve.crt", here / "observer-eve.key")
    channel = edge.channel(eve, **{"grpc.use_local_subchannel_pool": 1})

    error = refusal(agent_service_pb2_grpc.AgentServiceStub(channel).GetNode, GOOD["GetNode"])

    assert error.reason is Reason.BUSY
    assert "again" in error.remedy
    assert edge.node.seen == []


def test_whoever_finds_no_slot_is_told_busy_and_to_repeat(edge, probes, monkeypatch):
    """All observers together, when there are enough of them; an operator finds his own."""
    monkeypatch.setattr(edge.server._pools._observe, "_slots", LOOKS_EACH)
    mallory = agent_service_pb2_grpc.AgentServiceStub(edge.channel(edge.person(Role.OBSERVER, "mallory")))

    error = refusal(mallory.GetNode, GOOD["GetNode"])

    assert error.reason is Reason.BUSY
    assert "again" in error.remedy


def test_slots_come_back_when_callers_hang_up(edge, stub, probes):
    for probe in probes:
        probe.cancel()
    edge.node.gate.set()

    def code() -> grpc.StatusCode:
        return stub.GetNode.future(GOOD["GetNode"], timeout=5).code()

    deadline = time.monotonic() + 5
    while code() is not grpc.StatusCode.OK:
        assert time.monotonic() < deadline, "no slot came back"
        time.sleep(0.05)


def test_calls_without_a_request_hold_no_slot_of_those_who_may_make_them(edge, stub):
    """An observer may not Abort; that is known before any request has come."""

    over = threading.Event()

    def never():
        over.wait(20)
        yield from ()

    aborts = [channel.stream_unary("/gausscert.v1.AgentService/Abort") for channel in connections(edge)]
    calls = [abort.future(never(), timeout=20) for abort in aborts for _ in range(EACH)]
    codes = {call.exception(timeout=5).code() for call in calls}

    assert codes <= {grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAVAILABLE}
    stub.Abort(GOOD["Abort"], timeout=5)
    assert [name for name, _ in edge.node.seen] == ["move"]
    over.set()


def test_a_call_that_ends_without_a_request_is_refused_and_reaches_nobody(edge, operator):
    call = edge.channel(operator).stream_unary("/gausscert.v1.AgentService/Abort")

    error = refusal(call, iter(()))

    assert error.reason is Reason.ARGUMENT_INVALID
    assert edge.node.seen == []


def test_a_probe_asks_for_no_longer_than_a_slot_may_be_held(edge, stub):
    request = GOOD["Probe"].__class__()
    request.timeout.FromMilliseconds(15_001)

    error = refusal(stub.Probe, request)

    assert error.reason is Reason.ARGUMENT_INVALID
    assert edge.node.seen == []


def test_a_disk_on_which_the_audit_log_hangs_holds_up_nobody_who_only_looks(edge, stub, monkeypatch):
    """Whoever is turned away is told so by one thread, which waits for no disk."""
    stub.Commit(GOOD["Commit"], timeout=5)
    entered, mended = threading.Event(), threading.Event()

    def hangs(_):
        entered.set()
        mended.wait(20)

    monkeypatch.setattr(edge.server.control.audit._disk, "sync_data", hangs)
    inside = [stub.Commit.future(GOOD["Commit"], timeout=20) for _ in range(8)]
    try:
        assert entered.wait(5)
        deadline = time.monotonic() + 5
        while edge.server._pools.work._taken < len(inside):
            assert time.monotonic() < deadline
            time.sleep(0.01)

        assert refusal(stub.Commit, GOOD["Commit"]).reason is Reason.BUSY
        stub.GetNode(GOOD["GetNode"], timeout=5)
    finally:
        mended.set()
    assert [call.code() for call in inside] == [grpc.StatusCode.OK] * 8


def test_calls_are_bounded_as_a_whole_too(tmp_path, monkeypatch):
    """Those that are being turned away count, or they would be what fills the memory."""
    monkeypatch.setattr(server, "MAX_CONCURRENT_RPCS", 2)
    with Edge(tmp_path) as edge:
        channel = edge.channel(edge.person(Role.OPERATOR, "alice"))
        stub = agent_service_pb2_grpc.AgentServiceStub(channel)
        edge.node.gate.clear()
        inside = [stub.Commit.future(GOOD["Commit"], timeout=20) for _ in range(2)]
        assert all(edge.node.inside.acquire(timeout=5) for _ in inside)

        one_more = stub.GetNode.future(GOOD["GetNode"], timeout=10)

        assert one_more.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        edge.node.gate.set()
        assert [call.code() for call in inside] == [grpc.StatusCode.OK] * 2


def test_whoever_has_a_slot_gets_in_however_crowded_the_door_is(edge, stub, probes, monkeypatch):
    """gRPC refuses all alike as soon as it counts too many."""
    monkeypatch.setattr(edge.server._pools._observe, "_share", 1)
    monkeypatch.setattr(edge.server._pools._door, "_room", 2)
    monkeypatch.setattr(edge.server._pools._door, "_pause_s", 20.0)
    others = [agent_service_pb2_grpc.AgentServiceStub(each) for each in connections(edge, "mallory")]
    crowd = [each.Probe.future(GOOD["Probe"], timeout=20) for each in others for _ in range(EACH)]
    assert edge.node.inside.acquire(timeout=5)

    stub.GetNode(GOOD["GetNode"], timeout=5)

    deadline = time.monotonic() + 5
    while sum(call.done() for call in crowd) < len(crowd) - 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert {call.code() for call in crowd if call.done()} == {grpc.StatusCode.UNAVAILABLE}
    for call in crowd:
        call.cancel()


def test_a_machine_that_has_no_thread_left_gets_its_callers_turned_away_and_no_agent_stopped(
    tmp_path, monkeypatch
):
    """It went on listening, and never answered anybody again."""
    with Edge(tmp_path) as edge:
        channel = edge.channel(edge.person(Role.OPERATOR, "alice"))
        stub = agent_service_pb2_grpc.AgentServiceStub(channel)
        stub.Commit(GOOD["Commit"], timeout=5)
        ends = time.monotonic() + 5
        while not edge.server._pools.work._idle_semaphore._value:  # its thread has answered, and not ended it
            assert time.monotonic() < ends
            time.sleep(0.01)
        real = threading.Thread.start

        def start(thread: threading.Thread) -> None:
            if thread.name.startswith("gausscert"):
                raise RuntimeError("can't start new thread")
            real(thread)

        with monkeypatch.context() as busy:
            busy.setattr(threading.Thread, "start", start)
            assert refusal(stub.GetNode, GOOD["GetNode"]).reason is Reason.BUSY
            stub.Commit(GOOD["Commit"], timeout=5)  # its thread is there
        stub.GetNode(GOOD["GetNode"], timeout=5)


@pytest.fixture
def no_slot(edge, stub, monkeypatch):
    """For any command; `edge` has everything loaded."""
    stub.Commit(GOOD["Commit"], timeout=5)
    monkeypatch.setattr(edge.server._pools.work, "_slots", 0)


@pytest.mark.usefixtures("no_slot")
def test_whoever_is_turned_away_is_told_however_slow_the_disk_is_and_written_down(edge, stub, monkeypatch):
    """The door's thread wrote the line itself, and hung there for everybody who came after."""
    mended, write = threading.Event(), edge.server.control.audit._disk.write

    def hangs(*line):
        assert mended.wait(20)
        return write(*line)

    monkeypatch.setattr(edge.server.control.audit._disk, "write", hangs)
    for _ in range(3):
        assert refusal(stub.Commit, GOOD["Commit"]).reason is Reason.BUSY
    mended.set()
    edge.server._outermost.close()

    lines, _ = edge.server.control.audit.lines(0, 100_000)
    assert [event_of(line).outcome for line in lines] == ["OK"] + ["BUSY"] * 3


@pytest.mark.usefixtures("no_slot")
def test_whoever_is_turned_away_is_told_however_slowly_the_log_is_read(edge, stub):
    read = threading.Event()

    class Unread(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            assert read.wait(20)

    logger, handler = logging.getLogger("gausscert_agent.call_log"), Unread()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        for _ in range(3):
            assert refusal(stub.Commit, GOOD["Commit"]).reason is Reason.BUSY
    finally:
        read.set()
        edge.server._outermost.close()
        logger.removeHandler(handler)
        logger.setLevel(before)


def test_a_flood_for_which_there_is_no_slot_hides_nobody_who_may_not_call(edge, stub, monkeypatch, caplog):
    """Both had one allowance, in the log and in the audit log."""
    caplog.set_level(logging.INFO)
    eve = agent_service_pb2_grpc.AgentServiceStub(edge.channel(edge.person(Role.OBSERVER, "eve")))
    with monkeypatch.context() as full:
        full.setattr(edge.server._pools.work, "_slots", 0)
        full.setattr(edge.server._pools._door, "_pause_s", 0.0)
        told = 0
        while told < 2 * REFUSED:  # a connection takes no more at once than it has forgotten
            call = stub.Commit.future(GOOD["Commit"], timeout=20)
            assert call.code() is grpc.StatusCode.UNAVAILABLE
            told += "too many calls" in call.details()

    assert refusal(eve.Abort, GOOD["Abort"]).reason is Reason.PERMISSION_DENIED
    edge.server._outermost.close()

    lines, _ = edge.server.control.audit.lines(0, 100_000)
    assert "PERMISSION_DENIED" in [event_of(line).outcome for line in lines]
    refused = [record.result for record in caplog.records if record.getMessage() == "call refused"]
    assert REFUSED <= refused.count("BUSY") < 2 * REFUSED
    assert "PERMISSION_DENIED" in refused


@pytest.mark.parametrize("slots", [0, 10])
def test_what_nobody_foresaw_in_writing_a_call_down_is_told_to_nobody(edge, stub, monkeypatch, slots):
    def fails(*_, **__):
        raise ValueError("canary-secret")

    monkeypatch.setattr(edge.server._pools.work, "_slots", slots)
    monkeypatch.setattr(edge.server.control.audit, "_append", fails)
    call = stub.Commit.future(GOOD["Commit"], timeout=5)

    assert call.code() is (grpc.StatusCode.OK if slots else grpc.StatusCode.UNAVAILABLE)
    assert "canary" not in call.details()


def test_however_many_observers_look_an_operator_finds_room(edge, stub, probes):
    """Four of them had all slots, and all threads."""
    crowd = [
        agent_service_pb2_grpc.AgentServiceStub(channel).Probe.future(GOOD["Probe"], timeout=20)
        for name in ("mallory", "trudy", "oscar")
        for channel in connections(edge, name)[:1]
        for _ in range(EACH)
    ]
    pool = edge.server._pools._observe
    deadline = time.monotonic() + 5
    while pool._taken < pool._slots:
        assert time.monotonic() < deadline
        time.sleep(0.01)

    stub.GetNode(GOOD["GetNode"], timeout=5)

    for call in crowd:
        call.cancel()


@pytest.fixture
def held_open(edge):
    """Opens calls without ever sending a request."""
    over, calls = threading.Event(), []

    def never():
        over.wait(20)
        yield from ()

    def hold(channel: grpc.Channel, rpc: str, times: int) -> None:
        calls.extend(channel.stream_unary(rpc).future(never(), timeout=20) for _ in range(times))

    yield hold
    for call in calls:
        call.cancel()
    over.set()


def test_calls_of_an_observer_that_never_send_a_request_keep_nobody_from_health(edge, operator, held_open):
    """Four of them had all slots for it, for as long as they liked."""
    held_open(connections(edge)[0], "/grpc.health.v1.Health/Check", EACH)
    pool = edge.server._pools._monitor
    deadline = time.monotonic() + 5
    while pool._taken < HEALTH_EACH:
        assert time.monotonic() < deadline
        time.sleep(0.01)

    for person in (operator, edge.person(Role.OBSERVER, "mallory")):
        health = health_pb2_grpc.HealthStub(edge.channel(person))
        assert health.Check(health_pb2.HealthCheckRequest(), timeout=5).status


def test_observers_who_watch_keep_no_operator_from_watching(edge, stub):
    """One of them could take all there were, for as long as he liked."""
    request = GOOD["WatchTransaction"]
    streams = [
        agent_service_pb2_grpc.AgentServiceStub(channel).WatchTransaction(request, timeout=20)
        for name in ("eve", "mallory", "trudy")
        for channel in connections(edge, name)[:1]
        for _ in range(EACH)
    ]
    pool = edge.server._pools._overlook
    deadline = time.monotonic() + 5
    while pool._taken < pool._slots:
        assert time.monotonic() < deadline
        time.sleep(0.01)

    assert next(stub.WatchTransaction(request, timeout=5)).activity == "waiting"
    assert WATCHES_EACH < pool._slots < HEALTH_WATCHERS < WATCHERS
    for stream in streams:
        stream.cancel()


def test_whoever_is_only_to_hear_that_he_may_not_call_takes_no_slot_of_a_command(edge, stub, monkeypatch):
    """Two of five commands of an operator's found none beside a thousand of an observer's."""
    stub.Commit(GOOD["Commit"], timeout=5)
    gate, check = threading.Event(), edge.server._outermost._check
    inside = threading.Semaphore(0)

    def slow(rpc, context):
        if "observer" in str(context.auth_context()["peer_uri"]):
            inside.release()
            assert gate.wait(20)
        return check(rpc, context)

    monkeypatch.setattr(edge.server._outermost, "_check", slow)
    eve = [agent_service_pb2_grpc.AgentServiceStub(channel) for channel in connections(edge)]
    crowd = [each.Commit.future(GOOD["Commit"], timeout=20) for each in eve for _ in range(EACH)]
    try:
        assert inside.acquire(timeout=5)
        stub.Commit(GOOD["Commit"], timeout=5)
    finally:
        gate.set()
    assert {call.code() for call in crowd} <= {grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAVAILABLE}


def test_nobody_has_all_slots_for_commands(edge, stub):
    edge.node.gate.clear()
    alice = [stub.Commit.future(GOOD["Commit"], timeout=20) for _ in range(EACH)]
    pool = edge.server._pools.work
    deadline = time.monotonic() + 5
    while pool._taken < COMMANDS_EACH:
        assert time.monotonic() < deadline
        time.sleep(0.01)

    bob = agent_service_pb2_grpc.AgentServiceStub(edge.channel(edge.person(Role.RECOVERER, "bob")))
    his = bob.Commit.future(GOOD["Commit"], timeout=20)
    while pool._taken < COMMANDS_EACH + 1:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    edge.node.gate.set()
    his.result(timeout=10)
    assert [call.code() for call in alice].count(grpc.StatusCode.OK) == COMMANDS_EACH
