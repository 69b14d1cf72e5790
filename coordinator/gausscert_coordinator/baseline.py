"""How the cluster was before CM was stopped: what "as good as before" is measured by. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gausscert_common.errors import NodeRefusal, Reason

from gausscert_coordinator import answers, query

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gausscert_common.model import ClusterState, CmProcess, ProbeReport, Served


@dataclass(frozen=True, slots=True)
class Baseline:
    """How the cluster was before CM was stopped."""

    served: Mapping[int, Served] = field(default_factory=dict)
    """By CM node id, the best that any node saw."""
    normal: frozenset[str] = frozenset()
    """Nodes on which `cm_ctl query` said Normal."""
    answered: frozenset[str] = frozenset()
    """Nodes on which it said anything of the cluster."""
    words: frozenset[str] = frozenset()
    """What it said there."""
    processes: Mapping[str, tuple[CmProcess, ...]] = field(default_factory=dict)
    """The processes that held a set in memory, by node."""
    state: ClusterState | None = None
    """What `query` said, and the roles, of the first node where it said anything."""

    def served_by(self, cm_node_id: int) -> bool:
        """Whether that cm_server did serve."""
        return answers.rank(self.served.get(cm_node_id)) > 0

    @property
    def sound(self) -> bool:
        """There was a working cluster, so that a rollback can be held to bring it back."""
        return any(answers.rank(served) > 0 for served in self.served.values())


def of(probes: Mapping[str, ProbeReport], words: frozenset[str] = query.WORKING[True]) -> Baseline:
    """Sum up what all nodes saw before anything was stopped.

    Args:
        probes: By node.
        words: Of `cm_ctl query` for a cluster that is as good as it can be.
    """
    best: dict[int, Served] = {}
    for report in probes.values():
        best = best_of(
            best, {served.cm_node_id: served for served in report.served if answers.speaks(served)}
        )
    states = {node: report.cluster for node, report in probes.items()}
    said = {node: state.cluster_state for node, state in states.items() if state is not None}
    normal = {node for node, word in said.items() if word in words}
    answered = {node for node, word in said.items() if word}
    return Baseline(
        best,
        normal=frozenset(normal),
        answered=frozenset(answered),
        words=frozenset(said.values()) - {""},
        state=query.cluster_state(probes),
    )


def best_of(one: Mapping[int, Served], other: Mapping[int, Served]) -> dict[int, Served]:
    """By CM node id, the best that was seen in either of two looks."""
    best = dict(one)
    for cm_node_id, served in other.items():
        if answers.rank(served) > answers.rank(best.get(cm_node_id)):
            best[cm_node_id] = served
    return best


def no_longer_normal(before: Baseline, probes: Mapping[str, ProbeReport]) -> list[NodeRefusal]:
    """The plan saw a Normal cluster; between it and now anything may have happened."""
    if before.normal:
        return []
    return [
        NodeRefusal(
            Reason.NODE_UNFIT,
            f"the cluster is no longer {query.NORMAL}: cm_ctl query says {query.state_text(report.cluster)}",
            node=node,
            remedy="find out what has happened to it since the plan was made, then plan again",
        )
        for node, report in sorted(probes.items())
    ]
