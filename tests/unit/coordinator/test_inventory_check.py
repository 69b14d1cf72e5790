"""`inventory check`: what is made of what a node shows, and that all nodes are looked at side by side."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from gausscert_common.errors import Denied, InvalidInput, Reason, Unreachable
from gausscert_common.findings import Finding, Severity
from gausscert_common.model import Capabilities, NodeReport
from gausscert_coordinator import inventory_check, node_check
from gausscert_coordinator.diagnosis import Looked, Reached
from gausscert_coordinator.node_check import Answer, Mark, Subject
from support.fake_cluster import FakeCluster

NOW = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
THERE = Looked(Reached.AGENT)
LOST = Unreachable(Reason.UNREACHABLE, "it does not answer", remedy="look at the network")
WRONG = InvalidInput(Reason.CREDENTIAL_INVALID, "at h:1 answers n2 instead", remedy="mend the address")
DENIED = Denied(Reason.UNAUTHENTICATED, "the agent does not accept our credential", remedy="look at it")
REPORT = NodeReport("prod", "n1", "1.4.2", NOW, capabilities=Capabilities(cm_ctl=True))


def judged(looked=THERE, answer=None, version="1.4.2", **changes):
    report = replace(REPORT, **changes)
    answer = answer or (Answer(report, NOW, NOW + timedelta(seconds=0.2)) if looked.error is None else None)
    return node_check.judge("n1", "h:1", looked, answer, version)


def marks(check) -> str:
    """The first letter of each mark, in order."""
    assert [each.subject for each in check.checks] == list(Subject)
    return "".join(each.mark.value[0] for each in check.checks)


def trouble(check):
    (found,) = check.troubles
    return found


def test_a_node_that_is_there_and_fit():
    check = judged()

    assert marks(check) == "oooooo"
    assert check.troubles == ()
    assert (check.clock_offset_s, check.round_trip_s) == (0, 0.2)


@pytest.mark.parametrize(
    ("looked", "expected", "subject"),
    [
        (Looked(Reached.NOTHING, LOST), "fuuuuu", Subject.ADDRESS),
        (Looked(Reached.ADDRESS, LOST), "ofuuuu", Subject.TLS),
        (Looked(Reached.TLS, WRONG), "oofuuu", Subject.IDENTITY),
        (Looked(Reached.PEER, DENIED), "ofouuu", Subject.TLS),
    ],
)
def test_what_stops_a_look_is_named_and_nothing_is_said_of_the_rest(looked, expected, subject):
    check = judged(looked)

    assert marks(check) == expected
    found = trouble(check)
    assert (found.subject, found.cause, found.remedy) == (
        subject,
        looked.error.message,
        looked.error.remedy,
    )
    assert found.code == looked.error.reason.value


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (LOST, "ooofuu"),
        (Denied(Reason.PERMISSION_DENIED, "a node may not ask"), "ooofuu"),
        (InvalidInput(Reason.CONFIG_INVALID, "the agent calls itself n2"), "oofuuu"),
    ],
)
def test_an_agent_that_does_not_answer_well(error, expected):
    assert marks(judged(answer=error)) == expected


@pytest.mark.parametrize(
    ("theirs", "ours", "mark"),
    [
        ("1.4.2", "1.4.2", Mark.OK),
        ("1.4.2", "1.9.0", Mark.WARNING),
        ("1.4.2", "2.0.0", Mark.FAILED),
        ("0.1.0", "0.1.7", Mark.WARNING),
        ("0.1.0", "0.2.0", Mark.FAILED),
        ("0.1.0.dev3", "0.1.0", Mark.WARNING),
        ("", "0.1.0", Mark.FAILED),
        ("nonsense", "0.1.0", Mark.FAILED),
    ],
)
def test_versions_of_one_line_work_together(theirs, ours, mark):
    check = judged(agent_version=theirs, version=ours)

    assert check.checks[3].mark is mark
    if mark is not Mark.OK:
        assert ours in trouble(check).cause
        assert trouble(check).remedy


@pytest.mark.parametrize(
    ("ahead_s", "offset_s", "mark"),
    [
        (0.1, 0, Mark.OK),
        (-59, -59, Mark.OK),
        (60.2, 60, Mark.OK),
        (90.2, 90, Mark.WARNING),
        (-90, -90, Mark.WARNING),
        (301.2, 301, Mark.FAILED),
        (-301, -301, Mark.FAILED),
    ],
)
def test_the_offset_of_a_clock_is_what_the_answer_allows(ahead_s, offset_s, mark):
    check = judged(clock=NOW + timedelta(seconds=ahead_s))

    assert check.clock_offset_s == pytest.approx(offset_s)
    assert check.checks[4].mark is mark
    if mark is not Mark.OK:
        assert trouble(check).code == "CLOCK_SKEW"
        assert ("ahead of" if offset_s > 0 else "behind") in trouble(check).cause


def test_cm_ctl_that_does_not_work_is_told_with_what_the_node_says_of_it():
    said = Finding("NODE_CM_CTL_FAILS", Severity.ERROR, "cm_ctl: no GAUSSHOME", "set cm.home", "n1")

    silent = judged(capabilities=Capabilities())
    telling = judged(capabilities=Capabilities(), findings=(said,))

    assert marks(silent) == marks(telling) == "ooooof"
    assert "`cm_ctl view` tells the agent nothing" in trouble(silent).cause
    assert trouble(silent).remedy
    assert (trouble(telling).cause, trouble(telling).remedy) == ("cm_ctl: no GAUSSHOME", "set cm.home")


# ---- all of them together


async def check(cluster: FakeCluster, inspect=lambda dialled: THERE):
    return await inventory_check.check(
        cluster.inventory(),
        connect=lambda inventory: cluster.connect(inventory, lambda notice: None),
        inspect=inspect,
        now=cluster.now,
    )


@pytest.fixture
def cluster():
    return FakeCluster()


async def test_all_nodes_are_looked_at_at_once(cluster):
    together = threading.Barrier(3, timeout=20)

    def inspect(dialled):
        together.wait()  # breaks, if they come one after another
        return THERE

    found = await check(cluster, inspect)

    assert [node.node for node in found.nodes] == ["node-a", "node-b", "node-c"]
    assert (found.unreachable, found.findings) == ((), ())
    assert [marks(node) for node in found.nodes] == ["ooooof"] * 3  # the fakes have no cm_ctl


async def test_each_node_is_dialled_at_its_address_with_the_callers_credential(cluster):
    dialled = []

    await check(cluster, lambda one: dialled.append(one) or THERE)

    inventory = cluster.inventory()
    assert {(one.cluster, one.node, one.address) for one in dialled} == {
        (inventory.cluster, node.name, node.address) for node in inventory.nodes
    }
    assert {one.credentials for one in dialled} == {inventory.credentials}


async def test_a_node_that_is_not_there_hides_nothing_of_the_others(cluster):
    def inspect(dialled):
        return Looked(Reached.NOTHING, LOST) if dialled.node == "node-b" else THERE

    found = await check(cluster, inspect)

    assert found.unreachable == ("node-b",)
    assert [marks(node)[0] for node in found.nodes] == ["o", "f", "o"]
    assert found.nodes[0].report is not None


async def test_a_look_that_fails_by_itself_is_told_of_its_node_alone(cluster):
    def inspect(dialled):
        if dialled.node == "node-b":
            raise ZeroDivisionError
        return THERE

    found = await check(cluster, inspect)

    assert found.failed
    assert trouble(found.nodes[1]).code == "INTERNAL"
    assert found.nodes[2].report is not None


async def test_a_node_that_cm_lists_and_the_inventory_lacks_is_told(cluster):
    inventory = cluster.inventory()
    short = replace(inventory, nodes=inventory.nodes[:2])
    clients = cluster.connect(inventory, lambda notice: None)

    found = await inventory_check.check(
        short,
        connect=lambda _: {node.name: clients[node.name] for node in short.nodes},
        inspect=lambda dialled: THERE,
        now=cluster.now,
    )

    assert [finding.code for finding in found.findings] == ["NODE_NOT_IN_INVENTORY"]
    assert found.failed


async def test_our_own_credential_is_an_error_of_its_own():
    def connect(inventory):
        raise InvalidInput(Reason.CREDENTIAL_INVALID, "it has expired")

    with pytest.raises(InvalidInput, match="it has expired"):
        await inventory_check.check(FakeCluster().inventory(), connect=connect)
