"""Watchers and the lease."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest
from gausscert_agent.lease import Lease
from gausscert_agent.watch import EVENTS_KEPT, WATCHERS, Hub
from gausscert_common.errors import NodeRefusal, Reason
from gausscert_common.model import WatchEvent
from gausscert_common.protocol.words import Fence, Phase
from support.agent_core import Clock


def event(text: str) -> WatchEvent:
    return WatchEvent("", Phase.NONE, Fence(), text, datetime(2026, 1, 1, tzinfo=UTC))


def test_every_watcher_gets_every_event_in_order():
    hub = Hub()
    with hub.subscribe() as one, hub.subscribe() as other:
        hub.publish(event("a"))
        hub.publish(event("b"))
        for watcher in (one, other):
            assert [watcher.get(0).activity, watcher.get(0).activity] == ["a", "b"]
            assert watcher.get(0) is None


def test_a_new_watcher_is_told_what_the_node_is_about():
    hub = Hub()
    hub.publish(event("starting CM"))
    hub.publish(event(""))  # a phase has changed; it is still about that
    with hub.subscribe() as watcher:
        assert watcher.get(0).activity == "starting CM"
        assert watcher.get(0) is None


def test_a_slow_watcher_loses_the_oldest_and_holds_up_nobody():
    hub = Hub()
    with hub.subscribe() as watcher:
        for number in range(EVENTS_KEPT + 5):
            hub.publish(event(str(number)))
        got = []
        while found := watcher.get(0):
            got.append(found.activity)
    assert got == [str(number) for number in range(5, EVENTS_KEPT + 5)]


def test_too_many_watchers_are_refused_until_one_leaves():
    hub = Hub()
    watchers = [hub.subscribe() for _ in range(WATCHERS)]
    with pytest.raises(NodeRefusal) as caught:
        hub.subscribe()
    assert caught.value.reason is Reason.BUSY
    watchers[0].close()
    watchers[0].close()
    hub.subscribe()


def test_closing_wakes_whoever_waits():
    hub = Hub()
    watcher = hub.subscribe()
    got = []
    waiting = threading.Thread(target=lambda: got.append(watcher.get(60)))
    waiting.start()
    hub.close()
    waiting.join(30)
    assert got == [None]
    assert watcher.closed


def test_a_watcher_that_waits_gets_the_event_at_once():
    hub = Hub()
    got = []
    with hub.subscribe() as watcher:
        waiting = threading.Thread(target=lambda: got.append(watcher.get(60)))
        waiting.start()
        hub.publish(event("a"))
        waiting.join(30)
    assert got[0].activity == "a"


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def lease(clock):
    return Lease(clock.read, lambda: clock.now + 1_000_000)


def test_a_lease_runs_out(lease, clock):
    assert (lease.holder, lease.left_s, lease.held_since) == ("", 0.0, None)
    lease.grant("alice", 30.0)
    assert (lease.holder, lease.left_s, lease.held_since) == ("alice", 30.0, clock.now + 1_000_000)
    clock.sleep(29.9)
    assert lease.holder == "alice"
    clock.sleep(0.1)
    assert (lease.holder, lease.left_s, lease.held_since) == ("", 0.0, None)


def test_only_its_holder_renews_it(lease, clock):
    lease.grant("alice", 30.0)
    clock.sleep(20)
    lease.renew("bob")
    assert lease.left_s == 10.0
    lease.renew("alice")
    assert lease.left_s == 30.0


def test_a_free_lease_is_not_renewed(lease):
    lease.grant("alice", 30.0)
    lease.release()
    lease.renew("alice")
    lease.renew("")
    assert lease.holder == ""
