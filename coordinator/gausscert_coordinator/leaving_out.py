"""Whether nodes that do not answer may be left out of a recovery: by the rules of `replace --exclude`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gausscert_common.errors import InvalidInput, Reason, Unreachable
from gausscert_common.findings import errors
from gausscert_common.protocol.words import RestartScope

from gausscert_coordinator import exclusion_rules
from gausscert_coordinator.fanout import ask
from gausscert_coordinator.hands import PROBE_TIMEOUT_S
from gausscert_coordinator.plan_rules import Evidence
from gausscert_coordinator.recovery_refusals import refused
from gausscert_coordinator.report import ReplaceOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gausscert_common.model import NodeReport

    from gausscert_coordinator.fanout import Answers
    from gausscert_coordinator.inventory import Inventory
    from gausscert_coordinator.ports import AgentClient
    from gausscert_coordinator.report import Result


async def refusal(
    inventory: Inventory,
    clients: Mapping[str, AgentClient],
    read: Answers[NodeReport],
    exclude: tuple[str, ...],
    restart: RestartScope | None,
) -> Result | None:
    """Everything that speaks against leaving these nodes out, as a result; None if nothing does. All that
    answer are asked what cm_servers they see.

    Args:
        inventory: The cluster.
        clients: All nodes of the inventory.
        read: What the nodes said.
        exclude: Whom the operator leaves out.
        restart: How CM is to be restarted, where the operator has said so.
    """
    probes = await ask(
        (clients[node] for node in read.good),
        lambda client: client.probe(query=False, timeout_s=PROBE_TIMEOUT_S),
    )
    left_out = {node: each for node, each in read.bad.items() if node in exclude}
    excluded = {node: each for node, each in left_out.items() if isinstance(each, Unreachable)}
    seen = Evidence(
        inventory=inventory,
        options=ReplaceOptions(exclude=exclude, restart=restart or RestartScope.NODE),
        bundle_digest="",
        reports=read.good,
        errors={node: each for node, each in left_out.items() if node not in excluded},
        probes=probes.good,
        excluded=excluded,
    )
    found = errors(finding for rule in exclusion_rules.LEAVING for finding in rule(seen))
    if not found and probes.complete:
        return None
    wrong = InvalidInput(
        Reason.ARGUMENT_INVALID,
        f"{', '.join(exclude)} cannot be left out",
        remedy="mend them, then recover again; without --exclude for a node that is back",
        findings=found,
    )
    why = "who is left out must be dead: it would run beside the others with another set"
    result = refused("", [*([wrong] if found else []), *probes.bad.values()], why)
    return replace(result, findings=found)
