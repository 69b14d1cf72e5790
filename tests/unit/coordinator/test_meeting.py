"""Whether old and new nodes could talk: the nodes' answers as one verdict, and what it means."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gausscert_common.errors import Reason, Unreachable
from gausscert_common.model import (
    JudgedSet,
    Overlap,
    OverlapRefusal,
    Side,
    SslSwitch,
    SslValue,
)
from gausscert_common.protocol.words import RestartScope
from gausscert_coordinator import meeting
from gausscert_coordinator.plan_rules import Evidence
from gausscert_coordinator.report import Meeting, NodesRefusal, ReplaceOptions
from support.fake_cluster import FakeCluster

TALK = Overlap((), "")
NEW_REFUSES = OverlapRefusal(Side.NEW, Side.NEW, "unknown CA")
FORMER_REFUSES = OverlapRefusal(Side.FORMER, Side.FORMER, "unknown CA")
REFUSED = Overlap((NEW_REFUSES, FORMER_REFUSES), "")
FORMER_ONLY = Overlap((replace(FORMER_REFUSES, connecting=Side.NEW), FORMER_REFUSES), "")
NOT_KNOWN = Overlap(unknown="there is no former set")


def seen(*overlaps: Overlap, options: ReplaceOptions | None = None, **changes) -> Evidence:
    cluster = FakeCluster()
    reports = {name: agent.report() for name, agent in cluster.agents.items()}
    judged = {
        name: JudgedSet(findings=(), overlap=overlap) for name, overlap in zip(reports, overlaps, strict=True)
    }
    evidence = Evidence(cluster.inventory(), options or ReplaceOptions(), "d", reports, judged=judged)
    return replace(evidence, **changes)


@pytest.mark.parametrize(
    ("overlaps", "expected"),
    [
        ((TALK, TALK, TALK), Meeting.OVERLAPPING_CAS),
        ((TALK, REFUSED, TALK), Meeting.REFUSED),
        ((NOT_KNOWN, REFUSED, TALK), Meeting.REFUSED),
        ((NOT_KNOWN, TALK, TALK), Meeting.UNKNOWN),
        ((FORMER_ONLY, FORMER_ONLY, FORMER_ONLY), Meeting.ONE_WAY),
        ((FORMER_ONLY, REFUSED, TALK), Meeting.REFUSED),
    ],
)
def test_the_worst_answer_counts(overlaps, expected):
    assert meeting.verdict(seen(*overlaps)).meeting is expected


def test_with_one_ca_that_is_said():
    same = replace(TALK, same_ca=True)
    assert meeting.verdict(seen(same, same, same)).meeting is Meeting.SAME_CA
    assert meeting.verdict(seen(same, TALK, same)).meeting is Meeting.OVERLAPPING_CAS


def test_one_way_says_who_would_have_the_other():
    assert meeting.verdict(seen(FORMER_ONLY, FORMER_ONLY, FORMER_ONLY)).accepting is Side.NEW
    assert meeting.verdict(seen(REFUSED, REFUSED, REFUSED)).accepting is None


def test_what_all_nodes_say_is_said_once_and_else_with_the_node():
    everywhere = meeting.verdict(seen(REFUSED, REFUSED, REFUSED))
    assert everywhere.refusals == (NodesRefusal(NEW_REFUSES), NodesRefusal(FORMER_REFUSES))
    some = meeting.verdict(seen(TALK, REFUSED, TALK))
    assert [each.nodes for each in some.refusals] == [("node-b",), ("node-b",)]
    assert meeting.verdict(seen(NOT_KNOWN, TALK, TALK)).unknown == ("node-a: there is no former set",)


def test_there_is_no_verdict_where_no_set_changes_or_nobody_has_judged():
    assert meeting.verdict(seen(TALK, TALK, TALK, only_ssl=True)) is None
    assert meeting.verdict(seen(TALK, TALK, TALK, judged={})) is None


@pytest.mark.parametrize(
    ("restart", "said"),
    [
        (RestartScope.CLUSTER, "all nodes are stopped before the first starts"),
        (RestartScope.NODE, "all nodes are stopped before the first starts"),
        (RestartScope.NONE, "CM must be stopped on all nodes before"),
    ],
)
def test_what_it_means_depends_on_the_restart(restart, said):
    options = ReplaceOptions(restart=restart)
    assert said in meeting.verdict(seen(REFUSED, REFUSED, REFUSED, options=options)).meaning


@pytest.mark.parametrize("value", [SslValue.OFF, SslValue.MISSING, SslValue.COMMENTED, SslValue.ABSENT])
def test_where_ssl_is_off_nobody_uses_the_old_set(value):
    full = seen(TALK, TALK, TALK)
    switch = SslSwitch(value, SslValue.OFF)
    reports = {name: replace(report, enable_ssl=switch) for name, report in full.reports.items()}
    assert "SSL is off now" in meeting.verdict(replace(full, reports=reports)).meaning
    assert "SSL is off now" not in meeting.verdict(full).meaning


@pytest.mark.parametrize(
    ("overlap", "said"),
    [
        (TALK, "could talk"),
        (REFUSED, "is cut off"),
        (FORMER_ONLY, "is cut off"),
        (NOT_KNOWN, "may be cut off"),
    ],
)
def test_what_becomes_of_a_node_that_is_left_out_is_said(overlap, said):
    away = {"node-d": Unreachable(Reason.UNREACHABLE, "no route", node="node-d")}
    meaning = meeting.verdict(seen(overlap, overlap, overlap, excluded=away)).meaning
    assert f"node-d: {said}" in meaning
