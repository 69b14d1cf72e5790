"""What the process lists of the nodes say: none may run while sets are exchanged, and none that ran before
may run afterwards. Pure.

A handshake cannot tell a process that was never restarted from a new one that shows the same certificate.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from gausscert_common import boots
from gausscert_common.errors import NodeFailure, Reason

from gausscert_coordinator.recovery_view import CM_PROCESSES

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from gausscert_common.model import CmProcess, NodeReport

    Processes = Mapping[str, tuple[CmProcess, ...]]

_SAME: Final = timedelta(seconds=5)
"""Only of an agent that does not tell start ticks. The start of a process is then told by when the machine
booted, which a corrected clock moves; no pid is given out again so soon."""


def running(reports: Mapping[str, NodeReport]) -> Processes:
    """The processes that hold a set in memory, by node."""
    return {node: _daemons(report) for node, report in reports.items()}


def still_there(reports: Mapping[str, NodeReport], when: str) -> list[NodeFailure]:
    """Nodes on which CM runs although it was stopped; one that comes back loads whatever is live."""
    return [
        NodeFailure(
            Reason.CM_NOT_STOPPED,
            f"CM runs {when}: {_named(found)}",
            node=node,
            remedy="find out who starts CM there, then try again",
        )
        for node, found in sorted(running(reports).items())
        if found
    ]


def where(reports: Mapping[str, NodeReport]) -> str:
    """Where CM runs, for a person; "" for nowhere."""
    found = [f"{node}: {_named(each)}" for node, each in sorted(running(reports).items()) if each]
    return f"CM still runs on {'; '.join(found)}" if found else ""


def not_restarted(reports: Mapping[str, NodeReport], before: Processes) -> list[NodeFailure]:
    """Processes that ran before CM was stopped. Waiting mends none of them."""
    found = []
    for node, now in sorted(running(reports).items()):
        old = [process for process in now if any(_is_same(process, each) for each in before.get(node, ()))]
        if old:
            since = "; ".join(f"{one.name} (pid {one.pid}) since {one.started_at:%H:%M:%S}" for one in old)
            found.append(
                NodeFailure(
                    Reason.NOT_PROVEN,
                    f"was not restarted: {since}; it holds the set that it loaded then",
                    node=node,
                    remedy="end that process; see why `cm_ctl stop` does not reach it",
                )
            )
    return found


def told_to_stop(reports: Mapping[str, NodeReport], *, but: Collection[str] = ()) -> list[NodeFailure]:
    """Nodes on which CM was started and is to stop all the same: cm_agent goes by the file, and om_monitor
    starts nothing while it is there (facts section 14).

    Args:
        reports: By node.
        but: Nodes on which that was so before.
    """
    return [
        NodeFailure(
            Reason.NOT_PROVEN,
            "CM does not stay up: bin/cluster_manual_start is there, although CM was started",
            node=node,
            remedy="see why `cm_ctl start` has left it there, then run gausscert recover",
        )
        for node, report in sorted(reports.items())
        if report.manually_stopped and node not in but
    ]


def absent(reports: Mapping[str, NodeReport]) -> list[NodeFailure]:
    """Nodes that must have a cm_server, on which none runs."""
    return [_absent(node, report) for node, report in sorted(reports.items()) if _lacks_server(report)]


def held_down(reports: Mapping[str, NodeReport]) -> frozenset[int]:
    """cm_servers, by CM node id, that do not run and that nothing starts: CM is told to stop there (facts
    section 14)."""
    return frozenset(
        report.topology.local_node_id
        for report in reports.values()
        if report.manually_stopped and _lacks_server(report)
    )


def _lacks_server(report: NodeReport) -> bool:
    local = report.topology.local
    belongs = local is not None and bool(local.server_address)
    return belongs and not any(process.name == "cm_server" for process in report.processes)


def _absent(node: str, report: NodeReport) -> NodeFailure:
    message = f"no cm_server runs here; there is: {_named(_daemons(report)) or 'nothing of CM'}"
    remedy = "look at cm_server's log there: $GAUSSLOG/cm/cm_server"
    if report.manually_stopped:  # then cm_server has not even begun
        message += "; and bin/cluster_manual_start is there, so that nothing starts it"
        remedy = "see why `cm_ctl start` has left that file there: $GAUSSLOG/cm/cm_ctl"
    return NodeFailure(Reason.NOT_PROVEN, message, node=node, remedy=remedy)


def _daemons(report: NodeReport) -> tuple[CmProcess, ...]:
    return tuple(process for process in report.processes if process.name in CM_PROCESSES)


def _is_same(one: CmProcess, other: CmProcess) -> bool:
    """By pid, start ticks and boot, which no clock that is set can change."""
    if (one.name, one.pid) != (other.name, other.pid):
        return False
    if one.start_ticks and other.start_ticks:
        return one.start_ticks == other.start_ticks and boots.is_same(one.boot, other.boot)
    return abs(one.started_at - other.started_at) < _SAME


def _named(processes: tuple[CmProcess, ...]) -> str:
    return ", ".join(f"{process.name} (pid {process.pid})" for process in processes)
