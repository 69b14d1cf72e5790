"""How well a cluster stands: CM's words for it in their order, what an operator may accept, and "as good as
before". Pure.

Without --accept-state a transaction begins on a Normal cluster only and ends on a Normal one (Degraded will
do while nodes are left out, `query.WORKING`). With it the cluster as it was found is what "as good as before"
is measured by: better is waited for, no worse is enough.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from gausscert_common.errors import NodeFailure, NodeRefusal, Reason
from gausscert_common.findings import Finding, Severity

from gausscert_coordinator import query

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from gausscert_common.model import ClusterState, NodeReport, ProbeReport

    from gausscert_coordinator.baseline import Baseline
    from gausscert_coordinator.expectation import Expectation

WORST_FIRST: Final = (
    "Unknown",
    "Unavailable",
    "Starting",
    "Redistributing",
    "Degraded",
    "NormalCNDeleted",
    query.NORMAL,
)
"""CM's words for a cluster (cm_misc.cpp:645-655)."""

_WORKS: Final = frozenset(WORST_FIRST[WORST_FIRST.index(query.DEGRADED) :])
"""Those of one that works, if not with all nodes."""

ACCEPTABLE: Final = frozenset({"CLUSTER_NOT_NORMAL", "MANUALLY_STOPPED", "NODE_UPGRADING", "NODE_PAUSED"})
"""Findings about the state of the cluster, which --accept-state turns into warnings; no other ones."""

FLAG: Final = "--accept-state"


def accepted(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """All findings, of which those about the state of the cluster refuse no more, and say so."""
    return tuple(
        replace(each, severity=Severity.WARNING, cause=f"accepted ({FLAG}): {each.cause}", remedy="")
        if each.code in ACCEPTABLE and each.severity is Severity.ERROR
        else each
        for each in findings
    )


def was_accepted(finding: Finding) -> bool:
    """Whether `accepted` has made it a warning."""
    return finding.code in ACCEPTABLE and finding.cause.startswith(f"accepted ({FLAG}): ")


def words(probes: Mapping[str, ProbeReport]) -> frozenset[str]:
    """What `cm_ctl query` said of the cluster, wherever it said anything."""
    states = (report.cluster for report in probes.values())
    return frozenset(state.cluster_state for state in states if state is not None and state.cluster_state)


def told(probes: Mapping[str, ProbeReport]) -> str:
    """State and roles, for a person."""
    state = query.cluster_state(probes)
    if state is None or not state.cluster_state:
        return "cm_ctl query does not tell how the cluster is"
    roles = roles_text(state)
    return f"{state.cluster_state}; cm_server {roles}" if roles else state.cluster_state


def roles_text(state: ClusterState | None) -> str:
    """The role of each cm_server by CM node id, as "1 Primary, 2 Standby"; "" where none is known."""
    roles = state.server_roles if state is not None else {}
    return ", ".join(f"{node} {role}" for node, role in sorted(roles.items()))


def roles_moved(before: ClusterState | None, now: ClusterState | None) -> Finding | None:
    """A restart may make another cm_server primary. That is no failure, but worth a word."""
    then, later = roles_text(before), roles_text(now)
    if not then or not later or then == later:
        return None
    from gausscert_coordinator.plan_catalogue import PLAN  # which loads cryptography

    return PLAN["ROLES_MOVED"].finding(f"cm_server before: {then}; now: {later}")


def as_good_as(before: Collection[str]) -> frozenset[str]:
    """Every word that is no worse than the worst of these; all of them where there is none."""
    return frozenset(WORST_FIRST[min((_rank(word) for word in before), default=0) :]) | frozenset(before)


def least(
    expectation: Expectation,
    before: Baseline,
    *,
    anyway: frozenset[int] = frozenset(),
    owners: Mapping[str, int] | None = None,
) -> Expectation:
    """What is as good as before, of what is hoped for.

    Where no cm_server served before there is nothing to be as good as: all must serve. Where `cm_ctl query`
    was answered nowhere, because certificates had expired or nothing ran, it must be answered afterwards,
    with a word of a cluster that works: that shows that the client certificates are accepted, and is asked of
    every node whose cm_server must serve. It is asked of none where those that must serve are no majority,
    for then none of them can become primary, whatever their certificates are.

    Args:
        expectation: What is hoped for.
        before: How the cluster was.
        anyway: cm_servers, by CM node id, that must serve whatever they did before: that they do is what the
            transaction is for.
        owners: CM's number of each node.
    """
    kept = {
        each: want for each, want in expectation.servers.items() if before.served_by(each) or each in anyway
    }
    if not before.sound:
        kept = dict(expectation.servers)
    spared = {each: want for each, want in expectation.servers.items() if each not in kept}
    asked, good = before.answered, as_good_as(before.words)
    if not before.words:
        voters = len(expectation.servers) + len(expectation.absent)
        mute = {node for node, number in (owners or {}).items() if number in spared}
        asked = expectation.normal - mute if 2 * len(kept) > voters else frozenset()
        good = _WORKS
    return replace(expectation, servers=kept, normal=asked, words=good, spared=spared)


def exempt(
    before: Baseline, probes: Mapping[str, ProbeReport], anyway: frozenset[int] = frozenset()
) -> list[NodeFailure]:
    """A word for each cm_server that need not serve afterwards, because it did not before.

    Args:
        before: How the cluster was.
        probes: What it was summed up from last.
        anyway: As for `least`.
    """
    if not before.sound:
        return []
    seen = {served.cm_node_id: served for report in probes.values() for served in report.served}
    return [
        NodeFailure(
            Reason.NOT_PROVEN,
            f"cm_server {number} at {served.target} does not serve before CM is stopped ({served.state}:"
            f" {served.cause or 'no answer'}): whether it does afterwards does not count",
            remedy="if it should serve, interrupt, mend it, and plan again",
        )
        for number, served in sorted(seen.items())
        if not before.served_by(number) and number not in anyway
    ]


def worse_than_planned(
    plan: ClusterState | None, before: Baseline, probes: Mapping[str, ProbeReport]
) -> list[NodeRefusal]:
    """Between the plan that the operator accepted and now anything may have happened.

    Args:
        plan: What `query` said then; None, or without a word, where it said nothing.
        before: The cluster now.
        probes: What it is summed up from.
    """
    planned = plan.cluster_state if plan is not None else ""
    if not planned or before.normal or before.words & as_good_as((planned,)):
        return []
    return [
        NodeRefusal(
            Reason.NODE_UNFIT,
            f"the cluster is worse than planned: cm_ctl query says {query.state_text(report.cluster)},"
            f" it said {planned}",
            node=node,
            remedy="find out what has happened to it since the plan was made, then plan again",
        )
        for node, report in sorted(probes.items())
    ]


def stopped(reports: Mapping[str, NodeReport]) -> frozenset[str]:
    """Nodes on which CM was stopped on purpose."""
    return frozenset(node for node, report in reports.items() if report.manually_stopped)


def _rank(word: str) -> int:
    return WORST_FIRST.index(word) if word in WORST_FIRST else 0
