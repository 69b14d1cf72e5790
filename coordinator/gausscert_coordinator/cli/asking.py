"""What is asked before a recovery: what is in doubt, what will come of it, and what will be down."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from gausscert_common.protocol.recovery import Choice
from gausscert_common.protocol.words import RestartScope

from gausscert_coordinator import plan as planning
from gausscert_coordinator.cli import judge, tables_plan
from gausscert_coordinator.cli.layout import counted, harmless

if TYPE_CHECKING:
    from gausscert_coordinator.cli.session import Session
    from gausscert_coordinator.cli.settings import Invocation
    from gausscert_coordinator.report import ClusterStatus, InFlight

_WISHED = {
    Choice.ROLL_BACK: "roll back where the nodes' answers leave the choice",
    Choice.FINISH: "finish where the nodes' answers leave the choice",
}
_OF_JOINING = "CM on the nodes that are brought over, and nowhere else"


def recovery_agreed(
    invocation: Invocation,
    session: Session,
    prefer: Choice,
    restart: RestartScope | None,
    exclude: tuple[str, ...] = (),
    *,
    joins: bool,
) -> bool:
    """Whether a recovery may begin: nobody is there to ask, nothing is in flight, or the operator says yes.

    Args:
        invocation: Has the terminal.
        session: The open cluster.
        prefer: What was asked for.
        restart: None for the transaction's own way.
        exclude: Nodes that are to be left out.
        joins: Excluded nodes that are back are brought over.
    """
    if not invocation.terminal.present:
        return True
    status = session.ask(lambda cluster: cluster.status())
    flights = tuple(each for each in judge.flights(status) if joins or not each.waits)
    if not flights:
        return True
    render = invocation.render
    render.important(*tables_plan.in_flight(flights, recovering=True))
    outage = _OF_JOINING
    if not all(each.waits for each in flights):
        outage = planning.outage(restart or _own_restart(status), invocation.inventory().timeouts)
    return invocation.terminal.confirmed(
        textwrap.fill(harmless(_question(status, flights, prefer, outage, exclude)), render.err_width)
    )


def _own_restart(status: ClusterStatus) -> RestartScope:
    """The way that the transaction began with, as far as a node tells."""
    told = (node.report.transaction for node in status.nodes if node.report is not None)
    return next((each.restart for each in told if each.restart is not None), RestartScope.CLUSTER)


def _question(
    status: ClusterStatus,
    flights: tuple[InFlight, ...],
    prefer: Choice,
    outage: str,
    exclude: tuple[str, ...],
) -> str:
    what = "it" if len(flights) == 1 else f"these {counted(len(flights), 'transaction')}"
    without = f", without {', '.join(exclude)}, which must not run CM until it is back" if exclude else ""
    return (
        f"Recover {what}, and {_WISHED[prefer]}, on cluster {status.cluster}{without}?"
        f" What may be down: {outage}. [y/N]"
    )
