"""Whose set a node holds that is in no transaction, by what those hold that are in one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gausscert_common.model import CertificateKind, CertificateSet, NodeReport, SetState, TransactionReport
from gausscert_common.protocol.words import Fence, LiveState, Outcome, Phase, Tombstone
from gausscert_coordinator import live_sets, recovery_view
from support.fake_node import bundle, server_certificate

T = "20261102t120000z-abc123"


def held(node: str, label: str) -> CertificateSet:
    """The digest differs from node to node, the bundle's does not."""
    return CertificateSet(SetState.WHOLE, f"{label} on {node}", label) if label else CertificateSet()


def node(
    name: str, phase: Phase, live: str, stage: str = "", *, was: str = "old", ended: bool = False
) -> NodeReport:
    known = phase not in (Phase.NONE, Phase.PREPARING)
    told = TransactionReport(
        transaction_id="" if phase is Phase.NONE else T,
        phase=phase,
        fence=Fence(1),
        old_digest="" if phase is Phase.NONE else f"{was} on {name}",
        new_digest=f"new on {name}" if known else "",
        live_state=None if phase is Phase.NONE else LiveState.OLD,
        tombstones=(Tombstone(T, Outcome.ABORTED),) if ended else (),
    )
    return NodeReport(
        "prod", name, "1", None, transaction=told, live=held(name, live), stage=held(name, stage)
    )


def seen(*reports: NodeReport, outside: bool = False) -> LiveState | None:
    """What is made of the last one."""
    told = {report.name: report for report in reports}
    return recovery_view.answers(told, T, outside=outside)[reports[-1].name].live


@pytest.mark.parametrize(
    "other",
    [
        node("a", Phase.PREPARING, "old"),
        node("a", Phase.PREPARED, "old", "new"),
        node("a", Phase.SWAPPED, "new", "old"),
        node("a", Phase.COMMITTED, "new", "old"),
        node("a", Phase.ABORTED, "old", "new"),
    ],
    ids=lambda report: report.transaction.phase.value,
)
def test_it_is_compared_with_both_sets_of_the_others(other):
    knows_new = other.transaction.phase is not Phase.PREPARING

    assert seen(other, node("b", Phase.NONE, "old")) is LiveState.OLD
    assert seen(other, node("b", Phase.NONE, "new")) is (LiveState.NEW if knows_new else LiveState.FOREIGN)
    assert seen(other, node("b", Phase.NONE, "third")) is LiveState.FOREIGN
    assert seen(other, node("b", Phase.NONE, "")) is LiveState.FOREIGN


def test_where_nodes_had_different_sets_a_further_one_shows_nothing():
    others = (node("a", Phase.PREPARED, "old", "new"), node("b", Phase.PREPARED, "older", "new", was="older"))

    assert seen(*others, node("c", Phase.NONE, "third")) is None
    assert seen(*others, node("c", Phase.NONE, "older")) is LiveState.OLD


def test_nor_does_it_on_nodes_that_were_left_out_or_are_through():
    other = node("a", Phase.PREPARED, "old", "new")

    assert seen(other, node("b", Phase.NONE, "third"), outside=True) is None
    assert seen(other, node("b", Phase.NONE, "third", ended=True)) is None


def test_who_is_alike():
    reports = {name: node(name, Phase.NONE, label) for name, label in (("a", "x"), ("b", "y"), ("c", "x"))}

    assert live_sets.groups(reports) == (("a", "c"), ("b",))
    assert "alike are: a and c; b" in live_sets.finding(reports).cause
    assert live_sets.finding({"a": reports["a"], "c": reports["c"]}) is None
    assert live_sets.finding({**reports, "d": node("d", Phase.PREPARED, "x", "new")}) is None


def test_a_crl_of_its_own_makes_no_other_set():
    """A replacement carries it over, and one node may have fetched a newer one than the others."""
    server = server_certificate(bundle("new"))
    crl = replace(server, file="server.crl", kind=CertificateKind.CRL)
    reports = {
        name: replace(
            node(name, Phase.NONE, f"new of {name}"),
            live=CertificateSet(
                SetState.WHOLE,
                f"new on {name}",
                f"bundle of {name}",
                certificates=(server, replace(crl, fingerprint=name)),
            ),
        )
        for name in ("a", "b")
    }
    assert not live_sets.differ(reports)
    assert live_sets.finding(reports) is None
    other = replace(
        reports["b"], live=replace(reports["b"].live, certificates=(replace(server, fingerprint="x"),))
    )
    assert live_sets.differ({**reports, "b": other})
