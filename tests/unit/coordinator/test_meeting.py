"""Whether old and new nodes could talk: the nodes' answers as one verdict, and what it means."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gausscert_common.errors import Reason, Unreachable
from gausscert_common.model import CertificateKind, CertificateSet, JudgedSet, Overlap, SslSwitch, SslValue
from gausscert_common.protocol.words import RestartScope
from gausscert_coordinator import meeting
from gausscert_coordinator.plan_rules import Evidence
from gausscert_coordinator.report import Meeting, ReplaceOptions
from support.fake_cluster import FakeCluster
from support.fake_node import bundle, server_certificate

TALK = Overlap((), "")
REFUSED = Overlap(("from the new set to the former one: unknown CA",), "")
NOT_KNOWN = Overlap(unknown="there is no former set")


def holding(*cas: tuple[str, str]) -> CertificateSet:
    """A set with CAs of these subjects and fingerprints."""
    base = server_certificate(bundle("any"))
    made = (
        replace(base, file="cacert.pem", kind=CertificateKind.CA, subject=subject, fingerprint=fingerprint)
        for subject, fingerprint in cas
    )
    return CertificateSet(certificates=(base, *made))


OLD = holding(("CN=old", "01"))
NEW = holding(("CN=new", "02"))


def seen(*overlaps: Overlap, old=OLD, new=NEW, options: ReplaceOptions | None = None, **changes) -> Evidence:
    cluster = FakeCluster()
    reports = {name: replace(agent.report(), live=old) for name, agent in cluster.agents.items()}
    judged = {name: JudgedSet(new, (), overlap) for name, overlap in zip(reports, overlaps, strict=True)}
    evidence = Evidence(cluster.inventory(), options or ReplaceOptions(), "d", reports, judged=judged)
    return replace(evidence, **changes)


@pytest.mark.parametrize(
    ("overlaps", "expected"),
    [
        ((TALK, TALK, TALK), Meeting.OVERLAPPING_CAS),
        ((TALK, REFUSED, TALK), Meeting.REFUSED),
        ((NOT_KNOWN, REFUSED, TALK), Meeting.REFUSED),
        ((NOT_KNOWN, TALK, TALK), Meeting.UNKNOWN),
    ],
)
def test_the_worst_answer_counts(overlaps, expected):
    assert meeting.verdict(seen(*overlaps)).meeting is expected


def test_with_one_ca_that_is_said():
    assert meeting.verdict(seen(TALK, TALK, TALK, new=OLD)).meeting is Meeting.SAME_CA


def test_what_all_nodes_say_is_said_once_and_else_with_the_node():
    everywhere = meeting.verdict(seen(REFUSED, REFUSED, REFUSED))
    assert everywhere.refusals == REFUSED.refusals
    assert meeting.verdict(seen(TALK, REFUSED, TALK)).refusals == (f"node-b: {REFUSED.refusals[0]}",)
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
    ("overlap", "said"), [(TALK, "could talk"), (REFUSED, "is cut off"), (NOT_KNOWN, "may be cut off")]
)
def test_what_becomes_of_a_node_that_is_left_out_is_said(overlap, said):
    away = {"node-d": Unreachable(Reason.UNREACHABLE, "no route", node="node-d")}
    meaning = meeting.verdict(seen(overlap, overlap, overlap, excluded=away)).meaning
    assert f"node-d: {said}" in meaning


def test_a_new_ca_with_the_name_of_the_old_one_is_a_trap_and_named_once():
    again = holding(("CN=old", "09"), ("CN=new", "02"))
    (found,) = meeting.same_name(seen(REFUSED, REFUSED, REFUSED, new=again))
    assert (found.code, found.cause) == ("CA_SAME_NAME", "both are CN=old")
    assert found.remedy


@pytest.mark.parametrize("new", [OLD, NEW, holding(("CN=old", "01"), ("CN=old", "09"))])
def test_the_same_ca_another_name_or_both_of_them_are_no_such_trap(new):
    """Two of one name in one file are CA_DN_AMBIGUOUS already."""
    assert list(meeting.same_name(seen(TALK, TALK, TALK, new=new))) == []
