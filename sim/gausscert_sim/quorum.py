"""Who is primary and how the cluster is, from who can reach whom. Pure.

Real DCC elects by raft; here the lowest node id of a linked majority is the primary. What counts for
a test is the same: servers that do not accept each other's certificates elect nobody (facts section 17).
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet


class Role(StrEnum):
    """What a cm_server is."""

    PRIMARY = "Primary"
    STANDBY = "Standby"


class ClusterState(StrEnum):
    """Those of CM's words that this simulation can come to (cm_misc.cpp:645-655)."""

    NORMAL = "Normal"
    DEGRADED = "Degraded"
    UNAVAILABLE = "Unavailable"


def role(own: int, linked: AbstractSet[int], total: int) -> Role:
    """The role of one cm_server.

    Args:
        own: Its node id.
        linked: Peers with which it has a link both ways.
        total: Number of cm_servers in the cluster.
    """
    together = {own, *linked}
    if _is_majority(len(together), total) and own == min(together):
        return Role.PRIMARY
    return Role.STANDBY


def cluster_state(own: int, linked: AbstractSet[int], agents: AbstractSet[int], total: int) -> ClusterState:
    """The state of the cluster as one cm_server sees it.

    Args:
        own: Its node id.
        linked: Peers with which it has a link both ways.
        agents: Nodes whose cm_agent reports to it: without it a node counts as lost.
        total: Number of nodes.
    """
    up = {own, *linked} & agents
    if len(up) == total:
        return ClusterState.NORMAL
    if _is_majority(len(up), total) and role(own, linked, total) is Role.PRIMARY:
        return ClusterState.DEGRADED
    return ClusterState.UNAVAILABLE


def _is_majority(count: int, total: int) -> bool:
    return count > total // 2
