"""A plan as it is kept in a file: what was seen, chosen and accepted when it was made. Pure.

A record holds names, digests, fingerprints and addresses; no key, no password, and nothing they follow from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gausscert_common.findings import Severity
from gausscert_common.model import CmNode, SslSwitch

from gausscert_coordinator.report import ReplaceOptions

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from gausscert_common.model import Certificate

    from gausscert_coordinator.report import Plan, PlannedNode

VALID_DAYS: Final = 7
"""How long a plan may wait to be carried out, if nobody says otherwise."""
LONGEST_DAYS: Final = 31
DRIFTED: Final = "PLAN_DRIFTED"
"""The code of every finding about a plan on file that no longer fits."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a plan comes from."""

    directory: str
    """Of the bundle, absolute."""
    made_at: datetime
    made_by: str
    """ "user@host"."""
    valid_until: datetime


@dataclass(frozen=True, slots=True)
class RecordedNode:
    """One node, when the plan was made."""

    node: str
    cm_node_id: int
    old_digest: str
    """Of the live set; "" where there was none."""
    old_server: str
    """Fingerprint; "" for none."""
    new_server: str
    enable_ssl: SslSwitch
    stopped: bool
    """CM was stopped on purpose."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A warning that the plan had, and whoever carries it out has seen."""

    code: str
    node: str
    file: str
    cause: str
    remedy: str

    @property
    def what(self) -> tuple[str, str, str]:
        """What makes it the same warning later: the cause may count days."""
        return self.code, self.node, self.file


@dataclass(frozen=True, slots=True)
class PlanRecord:
    """All that a plan file says."""

    origin: Origin
    cluster: str
    bundle_digest: str
    options: ReplaceOptions
    """Without `take_over`: who holds the nodes is a matter of the moment."""
    nodes: tuple[RecordedNode, ...]
    topology: tuple[CmNode, ...]
    cluster_state: str
    """CM's word; "" where it was not known."""
    server_roles: Mapping[int, str]
    accepted: tuple[Accepted, ...]
    outage: str = ""
    """What will be down, and for how long; "" in a file of before that was kept."""


def record(plan: Plan, origin: Origin) -> PlanRecord:
    """What is kept of a feasible plan of a replacement."""
    state = plan.cluster_state
    return PlanRecord(
        origin=origin,
        cluster=plan.cluster,
        bundle_digest=plan.bundle_digest,
        options=lasting(plan.options),
        nodes=tuple(_node(each, plan) for each in plan.nodes),
        topology=plan.topology,
        cluster_state=state.cluster_state if state is not None else "",
        server_roles=dict(state.server_roles) if state is not None else {},
        accepted=accepted(plan),
        outage=plan.outage,
    )


def lasting(options: ReplaceOptions) -> ReplaceOptions:
    """Those that are part of a plan, in an order that means nothing."""
    return ReplaceOptions(
        ssl_wish=options.ssl_wish,
        restart=options.restart,
        drop_crls=options.drop_crls,
        accept_state=options.accept_state,
        exclude=tuple(sorted(options.exclude)),
    )


def accepted(plan: Plan) -> tuple[Accepted, ...]:
    """Its warnings."""
    return tuple(
        Accepted(each.code, each.node, each.file, each.cause, each.remedy)
        for each in plan.findings
        if each.severity is Severity.WARNING
    )


def _node(planned: PlannedNode, plan: Plan) -> RecordedNode:
    return RecordedNode(
        node=planned.node,
        cm_node_id=planned.cm_node_id,
        old_digest=planned.old_digest,
        old_server=fingerprint(planned.old_server),
        new_server=fingerprint(planned.new_server),
        enable_ssl=planned.enable_ssl,
        stopped=planned.node in plan.stopped,
    )


def fingerprint(of: Certificate | None) -> str:
    """Or ""."""
    return of.fingerprint if of is not None else ""
