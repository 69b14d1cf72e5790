"""From everything the nodes said to a plan. Two rules bind this file: it asks nobody anything, and every
objection to a replacement is in its answer, not only the first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gausscert_common.errors import GausscertError, InvalidInput, Reason
from gausscert_common.model import CertificateKind, CertificateSet, Served, ServedState
from gausscert_common.protocol.words import RestartScope

from gausscert_coordinator import (
    exclusion_rules,
    generations,
    meeting,
    objections,
    proof,
    query,
    recovery_view,
    standing,
)
from gausscert_coordinator.merging import merge, worst_first
from gausscert_coordinator.plan_rules import RULES, Evidence, Rollback
from gausscert_coordinator.report import Plan, PlannedNode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gausscert_common.findings import Finding
    from gausscert_common.model import Certificate, CmNode

    from gausscert_coordinator.inventory import Timeouts
    from gausscert_coordinator.report import InFlight

__all__ = ["Evidence", "Rollback", "make"]


REPLACING: Final = (*RULES, *generations.RULES, *exclusion_rules.RULES)


def make(
    seen: Evidence,
    rules: Sequence[Callable[[Evidence], Iterator[Finding]]] = REPLACING,
) -> Plan:
    """What `replace` or `rollback` would do, and everything that speaks against it.

    Args:
        seen: What the nodes answered.
        rules: What is looked at when all nodes are seen together.
    """
    options = seen.options
    found = tuple(_findings(seen, rules))
    inventory = [node.name for node in seen.inventory.nodes]
    in_flight = recovery_view.flights(seen.reports, seen.gone, inventory)
    return Plan(
        cluster=seen.inventory.cluster,
        bundle_digest=seen.bundle_digest,
        options=options,
        nodes=tuple(_planned(seen, node) for node in seen.reports),
        findings=worst_first(standing.accepted(found) if options.accept_state else found),
        unreachable=tuple(seen.errors.values()),
        blocked=tuple(_blocked(seen, in_flight)),
        served=_served(seen),
        cluster_state=query.cluster_state(seen.probes),
        outage=outage(options.restart, seen.inventory.timeouts),
        overlap=meeting.verdict(seen),
        in_flight=in_flight,
        generation=seen.rollback.generation if seen.rollback is not None else None,
        stopped=standing.stopped(seen.reports),
        only_ssl=seen.only_ssl,
        excluded=tuple(seen.excluded.values()),
        absent=proof.unowned(seen.reports.values()) if seen.excluded else frozenset(),
        topology=_topology(seen),
    )


def objections_to(plan: Plan) -> list[GausscertError]:
    """Everything that speaks against it, as errors; [] if it is feasible."""
    if plan.in_flight:  # what else is found comes from it
        return list(plan.blocked)
    found: list[GausscertError] = [*plan.unreachable, *plan.blocked]
    if plan.errors:
        found.append(
            InvalidInput(
                Reason.BUNDLE_INVALID,
                "it cannot be carried out",
                remedy="mend them, then plan again",
                findings=plan.errors,
            )
        )
    return found


def outage(restart: RestartScope, timeouts: Timeouts) -> str:
    """For a person: what will be down, and for how long at most."""
    if restart is RestartScope.NONE:
        return (
            "none by gausscert: CM must be stopped before and started after by you;"
            " what it serves then is not proven"
        )
    who = "one node for all" if restart is RestartScope.CLUSTER else "each node for itself"
    longest = timeouts.stop_s + timeouts.start_s + timeouts.verify_s
    return (
        f"CM and the database of all nodes, from stop to start ({who}): usually under a minute,"
        f" at most {longest:.0f} s before it is turned back; turning back takes as long again at most, in all"
        f" {2 * longest:.0f} s (stop, start and proof, twice)"
    )


def _findings(seen: Evidence, rules: Sequence[Callable[[Evidence], Iterator[Finding]]]) -> Iterator[Finding]:
    yield from seen.inventory.findings
    yield from merge({node: judged.findings for node, judged in seen.judged.items()})
    for node, report in seen.reports.items():
        yield from (finding.at_node(node) for finding in report.findings)
    for rule in rules:
        yield from rule(seen)


def _planned(seen: Evidence, node: str) -> PlannedNode:
    report = seen.reports[node]
    new = report.live if seen.only_ssl else seen.judged[node].set if node in seen.judged else CertificateSet()
    told = seen.only_ssl or seen.rollback is not None
    return PlannedNode(
        node=node,
        old_server=_server_of(report.live),
        new_server=_server_of(new),
        old_digest=report.live.digest,
        enable_ssl=report.enable_ssl,
        promised_epoch=report.transaction.fence.epoch,
        new_digest=new.digest if told else "",
        cm_node_id=report.topology.local_node_id,
    )


def _topology(seen: Evidence) -> tuple[CmNode, ...]:
    listed = {node for report in seen.reports.values() for node in report.topology.nodes}
    return tuple(
        sorted(listed, key=lambda node: (node.id, node.name, node.server_address, node.agent_address))
    )


def _server_of(held: CertificateSet) -> Certificate | None:
    return next((each for each in held.certificates if each.kind is CertificateKind.SERVER), None)


def _blocked(seen: Evidence, in_flight: tuple[InFlight, ...]) -> Iterator[GausscertError]:
    begun = {node: flight for flight in in_flight for node, _ in flight.phases}
    busy = {flight.holder for flight in in_flight}
    for node, report in seen.reports.items():
        told = report.transaction
        if node in begun:
            yield objections.not_over(node, told.phase, begun[node])
        elif told.lease_left_s > 0 and told.holder not in busy and not seen.options.take_over:
            yield objections.leased(node, told)


def _served(seen: Evidence) -> tuple[Served, ...]:
    """As seen from the first node that could look."""
    views = [report.served for report in seen.probes.values() if report.served]
    for served in views:
        if any(each.state is not ServedState.UNREACHABLE for each in served):
            return served
    return views[0] if views else ()
