"""Stopped is what the process list shows and keeps showing, whatever cm_ctl says."""

from __future__ import annotations

import pytest
from gausscert_agent.alone import Alone
from gausscert_agent.restart import Restarter, RestartOrders
from gausscert_common.errors import NodeFailure, NodeRefusal, Reason
from gausscert_common.protocol.words import RestartScope
from support.agent_core import Clock, FakeCm

CLUSTER, NODE, NONE = RestartScope.CLUSTER, RestartScope.NODE, RestartScope.NONE
FAILED = NodeFailure(Reason.CM_CTL_FAILED, "cm_ctl failed")


class Timed(Clock):
    """Does things to a CM when their time has come."""

    def __init__(self) -> None:
        super().__init__(0.0)
        self.plan: list[tuple[float, dict[str, object]]] = []

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        while self.plan and self.plan[0][0] <= self.now:
            for name, value in self.plan.pop(0)[1].items():
                setattr(self.cm, name, value)


def restarter_of(cm, clock, activity):
    waits = {"monotonic": clock.read, "sleep": clock.sleep, "activity": activity}
    return Restarter(cm, stopped_for_s=2.0, alone=Alone(cm, **waits), **waits)


@pytest.fixture
def cm():
    return FakeCm()


@pytest.fixture
def clock(cm):
    made = Timed()
    made.cm = cm
    return made


@pytest.fixture
def activities():
    return []


@pytest.fixture
def restarter(cm, clock, activities):
    return restarter_of(cm, clock, activities.append)


def stop(restarter, scope, *, executor=False, timeout_s=60.0, on_start=lambda pid, ticks: None) -> None:
    restarter.stop(RestartOrders(scope, executor, timeout_s), on_start)


def start(restarter, scope, *, executor=False, way_back=False) -> None:
    restarter.start(RestartOrders(scope, executor, 60.0, way_back), lambda pid, ticks: None)


@pytest.mark.parametrize(("scope", "executor"), [(CLUSTER, True), (NODE, False), (NODE, True)])
def test_who_is_to_stop_stops_and_watches_for_a_while(restarter, cm, clock, scope, executor):
    stop(restarter, scope, executor=executor)
    assert cm.calls == [f"stop {scope}"]
    assert 2.0 <= clock.now < 2.5


def test_who_is_not_to_stop_waits_until_it_is(restarter, cm, clock):
    clock.plan = [(10.0, {"running": {"cm_server"}}), (20.0, {"running": set(), "manual": True})]
    stop(restarter, CLUSTER)
    assert cm.calls == []
    assert 22.0 <= clock.now < 22.5


def test_a_process_that_comes_back_starts_the_wait_anew(restarter, cm, clock):
    cm.running, cm.manual = set(), True
    clock.plan = [(1.5, {"running": {"cm_agent"}}), (5.0, {"running": set()})]
    stop(restarter, CLUSTER)
    assert 7.0 <= clock.now < 7.5


def test_other_processes_do_not_count(restarter, cm):
    cm.running, cm.manual = {"om_monitor", "cm_ctl"}, True
    stop(restarter, CLUSTER)
    restarter.require_stopped()


def test_what_is_still_running_is_named_with_its_pid(restarter, cm, clock):
    cm.stop_leaves = {"cm_server"}
    with pytest.raises(NodeFailure) as caught:
        stop(restarter, NODE, timeout_s=30.0)
    assert caught.value.reason is Reason.CM_NOT_STOPPED
    assert "cm_server (pid 100)" in caught.value.message
    assert 30.0 <= clock.now < 30.5


def test_without_the_file_that_holds_om_monitor_back_cm_has_not_stopped(restarter, cm):
    cm.running = set()
    with pytest.raises(NodeFailure) as caught:
        stop(restarter, CLUSTER, timeout_s=5.0)
    assert "cluster_manual_start" in caught.value.message


def test_a_node_that_has_stopped_already_is_not_stopped_again(restarter, cm, clock):
    cm.running, cm.manual = set(), True
    stop(restarter, NODE, executor=True)
    assert cm.calls == []
    assert clock.now >= 2.0


def test_the_executor_stops_the_others_even_if_its_own_cm_has_stopped(restarter, cm):
    """After a stop that was only partly successful a repeat must reach the rest."""
    cm.running, cm.manual = set(), True
    stop(restarter, CLUSTER, executor=True)
    assert cm.calls == ["stop cluster"]


def test_a_failure_of_cm_ctl_counts_only_if_cm_has_not_stopped(restarter, cm):
    class Stops(FakeCm):
        def _called(self, name):
            self.running, self.manual = set(), True
            super()._called(name)

    cm.fail["stop node"] = FAILED
    with pytest.raises(NodeFailure) as caught:
        stop(restarter, NODE)
    assert caught.value is FAILED
    other = Stops(fail={"stop node": FAILED})
    clock = Clock()
    stop(
        restarter_of(other, clock, lambda text: None),
        NODE,
    )
    assert other.calls == ["stop node"]


def test_a_cm_ctl_that_used_all_the_time_still_leaves_time_to_look(restarter, cm, clock):
    cm.during = lambda: clock.sleep(60.0)
    stop(restarter, NODE, timeout_s=60.0)
    assert clock.now >= 62.0


def test_the_child_is_told_of(restarter):
    told = []
    stop(restarter, NODE, on_start=lambda pid, ticks: told.append((pid, ticks)))
    assert told == [(4711, 99)]


def test_with_scope_none_it_is_only_looked(restarter, cm, clock):
    with pytest.raises(NodeRefusal) as caught:
        stop(restarter, NONE)
    assert caught.value.reason is Reason.NOT_STOPPED
    assert "cm_agent (pid 100), cm_server (pid 101)" in caught.value.message
    cm.running = set()
    stop(restarter, NONE)
    assert cm.calls == []
    assert clock.now >= 2.0


def test_with_scope_none_a_process_that_comes_back_is_seen(restarter, cm, clock):
    cm.running = set()
    clock.plan = [(1.0, {"running": {"cm_agent"}})]
    with pytest.raises(NodeRefusal):
        stop(restarter, NONE)


@pytest.mark.parametrize(
    ("scope", "executor", "calls"),
    [
        (CLUSTER, True, ["start cluster"]),
        (CLUSTER, False, []),
        (NODE, False, ["start node"]),
        (NONE, True, []),
    ],
)
def test_who_is_to_start_starts(restarter, cm, scope, executor, calls):
    cm.running, cm.manual = set(), True
    start(restarter, scope, executor=executor)
    assert cm.calls == calls


def test_what_runs_already_is_not_started_again(restarter, cm):
    start(restarter, NODE)
    assert cm.calls == []


def test_the_executor_starts_the_others_even_if_its_own_cm_runs(restarter, cm):
    start(restarter, CLUSTER, executor=True)
    assert cm.calls == ["start cluster"]


def test_a_cm_that_is_about_to_stop_does_not_count_as_running(restarter, cm):
    cm.manual = True
    start(restarter, NODE)
    assert cm.calls == ["start node"]


def test_a_failed_start_is_passed_on(restarter, cm):
    cm.running, cm.fail["start node"] = set(), FAILED
    with pytest.raises(NodeFailure):
        start(restarter, NODE)


PARTLY = NodeFailure(Reason.CM_CTL_FAILED, "stop partly successfully", remedy="look at node 3")


def failing_but_stopped(cm: FakeCm) -> None:
    cm.running, cm.manual = set(), True
    cm.fail["stop cluster"] = cm.fail["stop node"] = PARTLY


def test_a_failure_about_other_nodes_is_heard_though_this_one_has_stopped(
    restarter, cm, clock, activities, caplog
):
    failing_but_stopped(cm)
    stop(restarter, CLUSTER, executor=True)
    assert clock.now >= 2.0
    (record,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert (record.cause, record.remedy) == ("stop partly successfully", "look at node 3")
    assert "cm_ctl stop says: stop partly successfully" in activities


def test_a_failure_of_the_own_node_that_has_stopped_all_the_same_is_nothing_to_hear_of(
    restarter, cm, activities, caplog
):
    failing_but_stopped(cm)
    cm.manual = False

    def stopped():
        cm.manual = True

    cm.during = stopped
    stop(restarter, NODE)
    assert cm.calls == ["stop node"]
    assert caplog.records == []
    assert not [text for text in activities if "says" in text]


# somebody else's cm_ctl


def test_a_cm_ctl_of_somebody_else_is_waited_for(restarter, cm, clock, activities):
    cm.foreign = {815}
    clock.plan = [(3.0, {"foreign": set()})]
    stop(restarter, NODE)
    assert cm.calls == ["stop node"]
    assert "waiting for somebody else's cm_ctl: cm_ctl (pid 815)" in activities


@pytest.mark.parametrize("act", [stop, start])
@pytest.mark.parametrize(("scope", "executor"), [(CLUSTER, True), (NODE, False)])
def test_on_the_way_forward_one_that_stays_is_refused_before_anything_is_done(
    restarter, cm, clock, act, scope, executor
):
    cm.foreign = {815}
    if act is start:
        cm.running, cm.manual = set(), True
    with pytest.raises(NodeRefusal) as caught:
        act(restarter, scope, executor=executor)
    assert caught.value.reason is Reason.NODE_UNFIT
    assert "cm_ctl (pid 815)" in caught.value.message
    assert caught.value.remedy
    assert cm.calls == []
    assert clock.now < 15.0


def test_on_the_way_back_one_that_stays_holds_nothing_up(restarter, cm, clock, caplog):
    cm.foreign = {815}
    cm.running, cm.manual = set(), True
    start(restarter, NODE, way_back=True)
    assert cm.calls == ["start node"]
    assert clock.now >= 30.0
    assert "beside somebody else's cm_ctl" in caplog.text


def test_who_runs_no_cm_ctl_does_not_mind_one(restarter, cm):
    """With scope CLUSTER the executor's cm_ctl runs others on all nodes (facts section 8.1)."""
    cm.foreign = {815}
    cm.running, cm.manual = set(), True
    stop(restarter, CLUSTER)
    start(restarter, CLUSTER)
    assert cm.calls == []


@pytest.mark.parametrize(("scope", "executor"), [(CLUSTER, False), (CLUSTER, True), (NODE, False)])
def test_whoever_starts_cm_its_logs_are_looked_at_from_then_on(restarter, cm, scope, executor):
    start(restarter, scope, executor=executor)
    assert cm.marked_logs == 1


@pytest.mark.parametrize(
    ("scope", "executor"), [(CLUSTER, True), (CLUSTER, False), (NODE, False), (NONE, False)]
)
def test_nodes_that_lose_power_between_two_swaps_do_not_start_by_themselves(restarter, cm, scope, executor):
    """om_monitor of a node whose `cluster_manual_start` was lost started CM with the new set, and that of
    another one with the old set."""
    if scope is NONE or not executor:
        cm.running, cm.manual = set(), True
    stop(restarter, scope, executor=executor)
    assert cm.mark_durable


def test_a_mark_that_cannot_be_made_durable_is_no_stop(restarter, cm):
    cm.fail["sync_mark"] = NodeFailure(Reason.STORE_FAILED, "bin cannot be synced")
    with pytest.raises(NodeFailure, match="bin cannot be synced"):
        stop(restarter, NODE)


def test_the_mark_that_start_has_removed_is_not_back_after_a_power_cut(restarter, cm):
    stop(restarter, NODE)
    start(restarter, NODE)
    assert not cm.mark_durable
