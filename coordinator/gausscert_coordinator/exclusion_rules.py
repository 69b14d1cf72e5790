"""What speaks against leaving nodes out, and what leaving them out means: one small function a rule. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gausscert_common.protocol.words import RestartScope

from gausscert_coordinator import proof
from gausscert_coordinator.plan_catalogue import PLAN
from gausscert_coordinator.recovery_view import cm_runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gausscert_common.findings import Finding

    from gausscert_coordinator.plan_rules import Evidence


def known(seen: Evidence) -> Iterator[Finding]:
    """Who is left out is in the inventory."""
    names = {node.name for node in seen.inventory.nodes}
    for node in _asked(seen):
        if node not in names:
            yield (
                PLAN["EXCLUDED_UNKNOWN"]
                .finding(f"the inventory has {', '.join(sorted(names))}")
                .at_node(node)
            )


def silent(seen: Evidence) -> Iterator[Finding]:
    """Who is left out does not answer, and no cm_server of it does."""
    for node in _asked(seen):
        if node in seen.reports or node in seen.errors:
            cause = (
                "its agent answers" if node in seen.reports else f"it answers: {seen.errors[node].message}"
            )
            yield PLAN["EXCLUDED_ANSWERS"].finding(cause).at_node(node)
    if not seen.excluded:
        return
    absent = proof.unowned(seen.reports.values())
    alive = {
        served.cm_node_id: f"its cm_server at {served.target} is there ({served.state}), seen from {viewer}"
        for viewer, report in seen.probes.items()
        for served in report.served
        if served.cm_node_id in absent and proof.is_alive(served)
    }
    for cm_node_id, cause in sorted(alive.items()):
        yield PLAN["EXCLUDED_RUNS"].finding(f"CM's node {cm_node_id}: {cause}")


def somebody_left(seen: Evidence) -> Iterator[Finding]:
    """A replacement on no node is none."""
    names = {node.name for node in seen.inventory.nodes}
    if names and names <= set(seen.options.exclude):
        yield PLAN["EXCLUDED_ALL"].finding("--exclude names every node of the inventory")


def restart(seen: Evidence) -> Iterator[Finding]:
    """Who is left out is not restarted."""
    if seen.options.exclude and seen.options.restart is RestartScope.CLUSTER:
        yield PLAN["EXCLUDED_RESTART"].finding("--restart cluster")


def consequences(seen: Evidence) -> Iterator[Finding]:
    """What is to be known before it is confirmed."""
    for node, error in seen.excluded.items():
        yield PLAN["NODE_EXCLUDED"].finding(error.message).at_node(node)
    servers = {
        node.id for report in seen.reports.values() for node in report.topology.nodes if node.server_address
    }
    left = servers - proof.unowned(seen.reports.values())
    if seen.excluded and 2 * len(left) <= len(servers):
        yield PLAN["EXCLUDED_QUORUM"].finding(f"{len(left)} of {len(servers)} cm_servers are left")


LEAVING: Final = (known, silent, somebody_left, restart)
"""What speaks against it, also in the middle of a transaction."""

RULES: Final = (*LEAVING, consequences)


def started(seen: Evidence) -> Iterator[Finding]:
    """om_monitor may have started CM, with the old set, before the node was brought over."""
    for node, report in seen.reports.items():
        if cm_runs(report):
            running = ", ".join(f"{process.name} ({process.pid})" for process in report.processes)
            yield PLAN["JOIN_RUNS_OLD"].finding(f"these run: {running}").at_node(node)


JOINING: Final = (started,)


def _asked(seen: Evidence) -> tuple[str, ...]:
    return tuple(dict.fromkeys(seen.options.exclude))
