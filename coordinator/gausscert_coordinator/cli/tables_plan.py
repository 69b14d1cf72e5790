"""What people see of a plan, and of transactions that are not over. Values in, renderables out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gausscert_coordinator import objections
from gausscert_coordinator.cli import tables, tables_errors
from gausscert_coordinator.cli.layout import BAD, DOUBTFUL, FAINT, STRONG, cell, fitted, short
from gausscert_coordinator.cli.overlap_text import overlap_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gausscert_common.model import ClusterState
    from rich.console import RenderableType
    from rich.text import Text

    from gausscert_coordinator.report import InFlight, Plan, PlannedNode


def plan(shown: Plan, width: int) -> list[RenderableType]:
    """What would happen, and what speaks against it."""
    headings = ("node", "old", "new", "valid from (UTC)", "until (UTC)", "enable_ssl")
    wish = shown.options.ssl_wish.value
    answered = {node.node for node in shown.nodes}
    lost = {error.node for error in (*shown.unreachable, *shown.excluded)} - answered
    parts: list[RenderableType] = [tables.heading(shown.cluster, len(answered | lost), len(lost))]
    if shown.in_flight:
        return [*parts, *in_flight(shown.in_flight), *tables_errors.failures(shown.unreachable)]
    if shown.generation:
        parts.append(cell(f"back to generation {shown.generation}"))
    if shown.only_ssl:
        parts.append(cell(f"enable_ssl becomes {wish}; the sets stay as they are"))
    if shown.nodes:
        parts.append(fitted(headings, [_planned_row(node, wish) for node in shown.nodes], width))
    parts.extend(cell(f"without {error.node}: {error.message}", DOUBTFUL) for error in shown.excluded)
    parts.append(cell(f"restart: {shown.options.restart.value}"))
    if shown.outage:
        parts.append(cell(f"outage: {shown.outage}"))
    if shown.overlap is not None:
        parts.extend(cell(line) for line in overlap_text(shown.overlap))
        parts.append(cell(f"that means: {shown.overlap.meaning}"))
    if shown.cluster_state is not None:
        now = shown.cluster_state.cluster_state or "unknown: `cm_ctl query` works on no node"
        parts.append(cell(f"cluster now: {now}{roles(shown.cluster_state)}"))
    if shown.options.accept_state:
        parts.append(cell("its state is accepted: afterwards it must be no worse", DOUBTFUL))
    if shown.findings:
        about = "bundle" if shown.generation is None else "generation"
        parts.append(tables.findings(shown.findings, width, about))
    parts.extend(tables_errors.failures([*shown.unreachable, *shown.blocked]))
    return parts


def roles(state: ClusterState) -> str:
    """What each cm_server is, behind the word for the cluster; "" where nothing is known."""
    told = ", ".join(f"{node} {role}" for node, role in sorted(state.server_roles.items()))
    return f"; cm_server {told}" if told else ""


def in_flight(flights: Iterable[InFlight], *, recovering: bool = False) -> list[RenderableType]:
    """Transactions that are not over, and how each is ended. Whatever else is found while there is one
    describes a cluster in the middle of a replacement; to act on that would be wrong.

    Args:
        flights: The transactions.
        recovering: What ends one in doubt is what the operator is about to do.
    """
    parts: list[RenderableType] = []
    for flight in flights:
        phases = ", ".join(f"{node} {phase.value}" for node, phase in flight.phases)
        since = f" since {flight.since:%Y-%m-%d %H:%M:%S %Z}" if flight.since is not None else ""
        state = objections.waiting_text(flight) if flight.waits else "in doubt"
        if not flight.waits and flight.lease_left_s > 0:
            who = flight.held_by or "its coordinator"
            state = f"not over; {who} holds the nodes for at most {flight.lease_left_s:.0f} s more"
        parts.append(
            cell(f"transaction {flight.transaction_id} of {flight.holder or 'nobody known'}{since}: {phases}")
        )
        if flight.held_by and flight.lease_left_s <= 0:
            parts.append(cell(f"{flight.held_by} has taken it over", DOUBTFUL))
        bad = flight.lease_left_s <= 0 and not flight.waits
        parts.append(cell(f"it is {state}", BAD if bad else DOUBTFUL))
        if not (recovering and bad):
            parts.append(cell(f"  do: {objections.end_of(flight)}", FAINT))
    return parts


def _planned_row(node: PlannedNode, wish: str) -> list[Text]:
    now = tables.switches(node.enable_ssl)
    new = node.new_server
    return [
        cell(node.node),
        cell(short(node.old_server.fingerprint) if node.old_server is not None else "none"),
        cell(f"-> {short(new.fingerprint)}" if new is not None else "-> ?", STRONG),
        cell(f"{new.not_before:%Y-%m-%d %H:%M}" if new is not None else ""),
        cell(f"{new.not_after:%Y-%m-%d %H:%M}" if new is not None else ""),
        cell(now if wish in ("keep", now) else f"{now} -> {wish}"),
    ]
