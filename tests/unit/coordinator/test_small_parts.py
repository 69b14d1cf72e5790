"""Exit codes, names, merging, fan-out, interruptions: each small, each with its own rules."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from datetime import UTC, datetime

import gausscert_coordinator
import pytest
from gausscert_common.errors import (
    KIND_OF_REASON,
    GausscertError,
    InternalError,
    NodeRefusal,
    Reason,
    Unreachable,
)
from gausscert_common.findings import Finding, Severity
from gausscert_common.protocol.coordinator import Stage, Verdict
from gausscert_common.protocol.words import RestartScope
from gausscert_coordinator import naming
from gausscert_coordinator.exit_codes import MEANING, ExitCode, exit_code
from gausscert_coordinator.fanout import ask
from gausscert_coordinator.interrupt import Interrupt, unless
from gausscert_coordinator.inventory import Timeouts
from gausscert_coordinator.job import Job, waves
from gausscert_coordinator.merging import merge
from gausscert_coordinator.objections import told_together
from gausscert_coordinator.report import Progress, Result
from gausscert_coordinator.reporter import Reporter
from support.fake_cluster import FakeCluster

LOCKED = NodeRefusal(Reason.LOCKED, "locked", node="a")
INVALID = NodeRefusal(Reason.SET_INVALID, "bad set", node="b")
AWAY = Unreachable(Reason.DEADLINE, "away", node="c")


class TestExitCode:
    @pytest.mark.parametrize(
        ("verdict", "failures", "interrupted", "expected"),
        [
            (Verdict.COMMITTED, (), False, ExitCode.DONE),
            (Verdict.ROLLED_BACK, (AWAY,), False, ExitCode.ROLLED_BACK),
            (Verdict.IN_DOUBT, (AWAY,), False, ExitCode.IN_DOUBT),
            (Verdict.NOTHING_DONE, (), False, ExitCode.DONE),
            (Verdict.NOTHING_DONE, (), True, ExitCode.ROLLED_BACK),
            (Verdict.NOTHING_DONE, (AWAY,), False, ExitCode.UNREACHABLE),
            (Verdict.NOTHING_DONE, (LOCKED,), False, ExitCode.UNREACHABLE),
            (Verdict.NOTHING_DONE, (INVALID,), False, ExitCode.REFUSED),
            (Verdict.NOTHING_DONE, (AWAY, INVALID, LOCKED), False, ExitCode.REFUSED),
        ],
    )
    def test_of_results(self, verdict, failures, interrupted, expected):
        assert exit_code(Result("t", verdict, failures=failures, interrupted=interrupted)) is expected

    @pytest.mark.parametrize("reason", list(Reason))
    def test_every_reason_has_one(self, reason):
        code = exit_code(KIND_OF_REASON[reason](reason, "x"))

        assert code is not ExitCode.DONE
        assert (code is ExitCode.OWN_ERROR) == (reason is Reason.INTERNAL)

    def test_what_is_no_error_of_ours_is_our_own_error(self):
        assert exit_code(ValueError("x")) is ExitCode.OWN_ERROR

    def test_numbers_are_the_contract_and_all_are_explained(self):
        assert [code.value for code in ExitCode] == [0, 1, 2, 3, 4, 5]
        assert set(MEANING) == set(ExitCode)


def test_transaction_ids_are_accepted_by_agents_and_sort_by_time():
    first = naming.transaction_id(datetime(2025, 1, 31, 23, 59, 59, tzinfo=UTC))
    second = naming.transaction_id(datetime(2025, 2, 1, 0, 0, 0, tzinfo=UTC))

    assert naming.TRANSACTION_ID.fullmatch(first)
    assert first.startswith("20250131t235959z-")
    assert first < second
    assert naming.transaction_id(datetime(2025, 2, 1, tzinfo=UTC)) != second


def test_the_holder_names_user_host_and_process():
    user, _, rest = naming.holder().partition("@")

    assert user
    assert rest.rpartition(":")[2].isdigit()


def test_merging_says_once_what_all_say():
    one, two = (Finding(code, Severity.WARNING, "c") for code in ("ONE", "TWO"))

    assert merge({"a": (one, one), "b": (one, two)}) == (one, two.at_node("b"))
    assert merge({}) == ()


class TestWaves:
    NAMES = ("a", "b", "c")

    @pytest.mark.parametrize("stage", [Stage.STOP, Stage.ROLLBACK_STOP])
    def test_the_executor_stops_first(self, stage):
        assert waves(stage, RestartScope.CLUSTER, self.NAMES) == (("a",), ("b", "c"))

    @pytest.mark.parametrize("stage", [Stage.START, Stage.ROLLBACK_START, Stage.ENSURE_UP])
    def test_the_executor_starts_last(self, stage):
        assert waves(stage, RestartScope.CLUSTER, self.NAMES) == (("b", "c"), ("a",))

    @pytest.mark.parametrize("scope", [RestartScope.NODE, RestartScope.NONE])
    def test_without_an_executor_all_act_at_once(self, scope):
        assert waves(Stage.STOP, scope, self.NAMES) == (self.NAMES,)

    def test_a_single_node_is_one_wave(self):
        assert waves(Stage.START, RestartScope.CLUSTER, ("a",)) == (("a",),)


@pytest.mark.parametrize(
    ("timeouts", "expected"),
    [
        (Timeouts(call_s=1, prepare_s=10, stop_s=10, start_s=10, verify_s=10), 120),
        (Timeouts(prepare_s=10, stop_s=10, start_s=10, verify_s=100), 230),
        (Timeouts(), 540),
        (Timeouts(stop_s=5000), 3600),
    ],
)
def test_the_lease_outlasts_every_wait_but_not_the_wires_limit(timeouts, expected):
    job = Job("t", "op", ("a",), RestartScope.CLUSTER, timeouts)

    assert job.lease_s == expected


class TestFanOut:
    async def test_a_failure_at_one_node_cuts_off_no_other(self):
        cluster = FakeCluster()

        async def call(client):
            if client.name == "node-a":
                raise Unreachable(Reason.UNREACHABLE, "away")
            await asyncio.sleep(0)
            return client.name

        answers = await ask(cluster.agents.values(), call)

        assert answers.good == {"node-b": "node-b", "node-c": "node-c"}
        assert answers.bad["node-a"].node == "node-a"
        assert not answers.complete

    async def test_a_bug_is_an_error_of_its_node(self):
        async def call(client):
            raise KeyError("secret detail")

        answers = await ask(FakeCluster().agents.values(), call)

        assert all(isinstance(error, InternalError) for error in answers.bad.values())
        assert "secret" not in str(answers.bad["node-a"])

    async def test_concurrency_is_bounded(self):
        running = peak = 0

        async def call(client):
            nonlocal running, peak
            running += 1
            peak = max(peak, running)
            await asyncio.sleep(0)
            running -= 1

        cluster = FakeCluster(tuple(f"n{i}" for i in range(20)))
        await ask(cluster.agents.values(), call, concurrency=4)

        assert peak == 4


class TestInterrupt:
    def test_the_third_request_abandons(self):
        interrupt, counts = Interrupt(), []
        interrupt.listen(counts.append)

        states = []
        for _ in range(3):
            interrupt.request()
            states.append((interrupt.requested, interrupt.abandoned))

        assert states == [(True, False), (True, False), (True, True)]
        assert counts == [1, 2, 3]

    async def test_work_is_cancelled_and_awaited_when_the_event_comes_first(self):
        event, ended = asyncio.Event(), []

        async def work():
            try:
                await asyncio.sleep(3600)
            finally:
                ended.append(True)

        asyncio.get_running_loop().call_soon(event.set)

        assert await unless(event, work()) is None
        assert ended == [True]

    async def test_work_is_not_even_begun_when_the_event_came_before(self):
        event, begun = asyncio.Event(), []

        async def work():
            begun.append(True)

        event.set()

        assert await unless(event, work()) is None
        assert begun == []

    async def test_work_that_ends_first_is_the_result_and_its_error_is_raised(self):
        async def fails():
            raise GausscertError(Reason.INTERNAL, "x")

        assert await unless(asyncio.Event(), asyncio.sleep(0, 7)) == 7
        with pytest.raises(GausscertError):
            await unless(asyncio.Event(), fails())


def test_a_watcher_that_raises_is_told_nothing_more(caplog):
    told = []

    def watch(progress: Progress) -> None:
        told.append(progress)
        raise BrokenPipeError

    reporter = Reporter(watch, lambda: 0.0)
    from gausscert_coordinator.report import Mark

    reporter.tell(Mark.STARTED)
    reporter.tell(Mark.DONE)

    assert len(told) == 1
    assert "the watcher of progress failed" in caplog.text


def test_the_public_names_are_all_there_and_lazy_ones_resolve():
    for name in gausscert_coordinator.__all__:
        assert getattr(gausscert_coordinator, name) is not None
    assert sorted(gausscert_coordinator.__all__) == dir(gausscert_coordinator)
    with pytest.raises(AttributeError):
        _ = gausscert_coordinator.Nothing


def test_importing_the_package_loads_neither_grpc_nor_cryptography():
    import subprocess
    import sys

    code = (
        "import sys, gausscert_coordinator, gausscert_coordinator.engine;"
        " print(sorted({'grpc', 'cryptography', 'rich'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert out.stdout.strip() == "[]"


def test_a_coordinator_that_ended_here_is_known_to_be_gone_even_before_it_is_reaped():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    place = naming.holder().rpartition(":")[0]
    here = f"{place}:{child.pid}"
    alive = naming.is_gone(here)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    zombie = naming.is_gone(here)
    child.communicate()

    assert (alive, zombie, naming.is_gone(here)) == (False, True, True)


@pytest.mark.parametrize("holder", ["somebody@elsewhere:1", "no pid at all", "a@b:", "a@b:-1"])
def test_of_a_coordinator_elsewhere_nothing_is_known(holder):
    assert naming.is_gone(holder) is False


def test_the_remedy_of_nodes_that_fail_alike_is_said_once():
    errors = [NodeRefusal(Reason.LOCKED, "locked", node=node, remedy="wait") for node in ("a", "b")]

    assert told_together(errors) == "a: locked; b: locked (wait)"
