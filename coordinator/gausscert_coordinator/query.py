"""What `cm_ctl query` says of a cluster: its words, and which of them will do. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gausscert_common.model import ClusterState, ProbeReport

LONGEST_S: Final = 15.0
"""For one `cm_ctl query`: it answers within milliseconds, or in 91 s (facts section 17), but is a process
that must be started, and on a node that swaps that alone may take seconds. Agents allow no more."""

NORMAL: Final = "Normal"
"""Its word for a cluster in which all is well (facts section 8)."""

DEGRADED: Final = "Degraded"
"""Its word for a cluster that works without some node (facts section 8)."""

WORKING: Final = {True: frozenset({NORMAL}), False: frozenset({NORMAL, DEGRADED})}
"""The words that will do, by whether all nodes of the cluster are taken into account."""

_NO_PRIMARY: Final = (
    "no cm_server is primary: enable_ssl or the CA differs between them, or server.crt lacks a purpose"
)


def cluster_state(probes: Mapping[str, ProbeReport]) -> ClusterState | None:
    """What `cm_ctl query` said, of the first node where it said anything."""
    states = [report.cluster for _, report in sorted(probes.items()) if report.cluster is not None]
    return next((state for state in states if state.cluster_state), states[0] if states else None)


def state_text(state: ClusterState | None) -> str:
    """What `cm_ctl query` said, for a person; without a primary the usual reasons (facts section 12)."""
    if state is None:
        return "nothing"
    said = state.cluster_state or f"nothing ({state.cause})"
    roles = set(state.server_roles.values())
    return f"{said}; {_NO_PRIMARY}" if roles and "Primary" not in roles else said


def says(state: ClusterState | None, words: frozenset[str]) -> bool:
    """Whether it said one of these words."""
    return state is not None and state.cluster_state in words
