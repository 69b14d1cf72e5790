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
    name: str, phase: Phase, live: str, stage: str = "", *, was: str = "old", ended: Outcome | None = None
) -> NodeReport:
    known = phase not in (Phase.NONE, Phase.PREPARING)
    told = TransactionReport(
        transaction_id="" if phase is Phase.NONE else T,
        phase=phase,
        fence=Fence(1),
        old_digest="" if phase is Phase.NONE else f"{was} on {name}",
        new_digest=f"new on {name}" if known else "",
        live_state=None if phase is Phase.NONE else LiveState.OLD,
        tombstones=(Tombstone(T, ended),) if ended is not None else (),
    )
    return NodeReport(
        "prod", name, "1", None, transaction=told, live=held(name, live), stage=held(name, stage)
    )


def seen(*reports: NodeReport, outside: bool = False) -> LiveState | None:
    """What is made of the last one."""
    told = {report.name: report for report in reports}
    return recovery_view.answers(told, T, outside=outside)[reports[-1].name].live


OTHERS = [
    node("a", Phase.PREPARING, "old"),
    node("a", Phase.PREPARED, "old", "new"),
    node("a", Phase.SWAPPED, "new", "old"),
    node("a", Phase.COMMITTED, "new", "old"),
    node("a", Phase.ABORTED, "old", "new"),
]


@pytest.mark.parametrize("other", OTHERS, ids=lambda report: report.transaction.phase.value)
@pytest.mark.parametrize("label", ["old", "new", "third", ""])
@pytest.mark.parametrize("ended", [None, Outcome.ABORTED])
def test_who_remembers_nothing_or_an_abort_may_have_had_any_set_before(other, label, ended):
    assert seen(other, node("b", Phase.NONE, label, ended=ended)) is None


@pytest.mark.parametrize("other", OTHERS[1:], ids=lambda report: report.transaction.phase.value)
@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("new", LiveState.NEW),
        ("old", LiveState.FOREIGN),
        ("third", LiveState.FOREIGN),
        ("", LiveState.FOREIGN),
    ],
)
def test_who_remembers_a_commit_must_have_the_new_set(other, label, expected):
    committed = node("b", Phase.NONE, label, ended=Outcome.COMMITTED)

    assert seen(other, committed) is expected
    assert seen(OTHERS[0], committed) is None, "nobody knows the new set"
    later = replace(
        committed.transaction,
        tombstones=(Tombstone("later-0001", Outcome.ABORTED), *committed.transaction.tombstones),
    )
    assert seen(other, replace(committed, transaction=later)) is None


def test_nothing_is_claimed_of_nodes_that_were_left_out():
    committed = node("b", Phase.NONE, "third", ended=Outcome.COMMITTED)
    assert seen(OTHERS[1], committed, outside=True) is None


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
