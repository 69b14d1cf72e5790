"""Brings excluded nodes that are back to the set of the transaction that was carried out without them.

No node ever hands out a key, so the operator brings the bundle again; its digest says whether it is the one.
The nodes then go through a transaction of their own, judged beforehand as any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gausscert_common.errors import InvalidInput, Reason

from gausscert_coordinator import exclusion_rules, plan_rules, proof, recovery_view, standing
from gausscert_coordinator import plan as planning
from gausscert_coordinator.job import Job, Replacement
from gausscert_coordinator.report import ReplaceOptions
from gausscert_coordinator.survey import survey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from gausscert_common.bundle import Bundle
    from gausscert_common.errors import GausscertError
    from gausscert_common.model import NodeReport
    from gausscert_common.protocol.words import RestartScope

    from gausscert_coordinator.inventory import Inventory
    from gausscert_coordinator.ports import AgentClient
    from gausscert_coordinator.report import Plan


_DROP_CRLS: Final = True
"""The digest covers CRLs: the bundle has all that the others have."""

RULES: Final = (*plan_rules.JOINING, *exclusion_rules.JOINING)


@dataclass(frozen=True, slots=True)
class Joining:
    """What is to be done."""

    of: str
    """The transaction that stands."""
    nodes: tuple[str, ...]
    """Who is to join, sorted."""
    reports: Mapping[str, NodeReport]
    """Of all nodes that answer."""
    restart: RestartScope
    take_over: bool
    accept_state: bool = False


class Joiner:
    """Judges a join, and says what the engine is to do.

    Args:
        inventory: The cluster.
        now: The present in UTC.
    """

    def __init__(self, inventory: Inventory, now: Callable[[], datetime]) -> None:
        self._inventory = inventory
        self._now = now

    async def plan(self, what: Joining, bundle: Bundle, clients: Mapping[str, AgentClient]) -> Plan:
        """What speaks against it, as `Coordinator.plan`.

        Args:
            what: What is to be done.
            bundle: The one of the transaction that stands.
            clients: Of those that are to join.
        """
        asked = await survey(clients, self._now, bundle, drop_crls=_DROP_CRLS, probing=False)
        seen = planning.Evidence(
            inventory=self._inventory,
            options=ReplaceOptions(
                ssl_wish=recovery_view.ssl_wish(what.reports),
                restart=what.restart,
                drop_crls=_DROP_CRLS,
                take_over=what.take_over,
                accept_state=what.accept_state,
            ),
            bundle_digest=bundle.digest,
            reports=asked.reports.good,
            errors=asked.errors,
            judged=asked.judged.good,
            clock_offsets_s=asked.clock_offsets_s,
        )
        return planning.make(seen, RULES)

    def job(self, what: Joining, plan: Plan, bundle: Bundle, transaction_id: str, holder: str) -> Job:
        """The transaction of those that join. All others look on."""
        new_server = plan.nodes[0].new_server
        return Job(
            transaction_id=transaction_id,
            holder=holder,
            participants=what.nodes,
            restart=what.restart,
            timeouts=self._inventory.timeouts,
            take_over=what.take_over,
            accept_state=what.accept_state,
            replacement=Replacement(
                source=bundle,
                bundle_digest=plan.bundle_digest,
                ssl_wish=plan.options.ssl_wish,
                drop_crls=plan.options.drop_crls,
                old_digests={node.node: node.old_digest for node in plan.nodes},
                leaf=new_server.fingerprint if new_server is not None else "",
                accepted=tuple(found for found in plan.findings if standing.was_accepted(found)),
            ),
            joins=what.of,
            absent=proof.unowned(what.reports.values()),
            witnesses=tuple(sorted(what.reports.keys() - set(what.nodes))),
        )


def unfit(what: Joining, bundle: Bundle | None) -> list[GausscertError]:
    """Why it cannot begin with that bundle, or without one; [] if nothing speaks against it."""
    held = recovery_view.committed_digests(what.reports, what.of)
    if bundle is not None and bundle.digest in held:
        return []
    return list(_not_the_bundle(what, held, bundle))


def _not_the_bundle(what: Joining, held: frozenset[str], bundle: Bundle | None) -> Iterator[GausscertError]:
    committed = " or ".join(sorted(held))
    remedy = f"run gausscert recover --bundle DIR, with the bundle of transaction {what.of}"
    said = f"is excluded and not as the others are ({committed}), and no node hands out a key"
    if bundle is not None:
        said = f"the bundle is not that of {what.of}: its digest is {bundle.digest}, not {committed}"
        remedy = "give the very files; a server.crl or client.crl that the other nodes hold belongs to them"
    for node in what.nodes:
        yield InvalidInput(Reason.ARGUMENT_INVALID, said, node=node, remedy=remedy)
