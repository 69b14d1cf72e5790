"""Looks at every node of an inventory at once: is it there, who is it, and is it fit? Changes nothing."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from gausscert_common import VERSION
from gausscert_common.errors import GausscertError

from gausscert_coordinator import diagnosis, node_check, plan_rules
from gausscert_coordinator.diagnosis import Dialled, Looked
from gausscert_coordinator.fanout import ask
from gausscert_coordinator.node_check import Answer, Mark, NodeCheck
from gausscert_coordinator.report import ReplaceOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gausscert_common.findings import Finding

    from gausscert_coordinator.inventory import Inventory
    from gausscert_coordinator.ports import AgentClient

MOST_THREADS: Final = 64
"""Looks at once; each waits, and none computes for long."""


@dataclass(frozen=True, slots=True)
class InventoryCheck:
    """All nodes, in the order of the inventory."""

    cluster: str
    nodes: tuple[NodeCheck, ...]
    findings: tuple[Finding, ...] = ()
    """What only all nodes together show: that inventory and CM name the same nodes."""

    @property
    def failed(self) -> bool:
        """Whether something is to be mended, beside nodes that do not answer."""
        broken = (each for node in self.nodes for each in node.troubles if each.mark is Mark.FAILED)
        refused = any(finding.severity.value == "error" for finding in self.findings)
        return refused or any(not check.unreachable for check in broken)

    @property
    def unreachable(self) -> tuple[str, ...]:
        """Nodes that do not answer."""
        return tuple(node.node for node in self.nodes if any(check.unreachable for check in node.troubles))


def _connect(inventory: Inventory) -> Mapping[str, AgentClient]:
    from gausscert_coordinator import agents

    return agents.connect(inventory)


async def check(
    inventory: Inventory,
    *,
    connect: Callable[[Inventory], Mapping[str, AgentClient]] = _connect,
    inspect: Callable[[Dialled], Looked] = diagnosis.inspect,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> InventoryCheck:
    """Look at all nodes side by side. Raises nothing that nodes do.

    Args:
        inventory: The cluster.
        connect: Makes the clients; the default speaks gRPC.
        inspect: Dials one node by itself; it blocks, so each has a thread.
        now: The present in UTC.

    Raises:
        InvalidInput: CREDENTIAL_INVALID: the caller's own credential cannot be used.
    """
    clients = connect(inventory)
    threads = ThreadPoolExecutor(min(len(inventory.nodes), MOST_THREADS), thread_name_prefix="look")
    loop = asyncio.get_running_loop()

    async def one(client: AgentClient) -> NodeCheck:
        address = addresses[client.name]
        dialled = Dialled(inventory.cluster, client.name, address, inventory.credentials)
        looked = await loop.run_in_executor(threads, inspect, dialled)
        answer = await _asked(client, now) if looked.error is None else None
        return node_check.judge(client.name, address, looked, answer, VERSION)

    addresses = {node.name: node.address for node in inventory.nodes}
    try:
        answers = await ask(clients.values(), one)
    finally:
        threads.shutdown()
        await ask(clients.values(), lambda client: client.close())
    nodes = tuple(
        answers.good.get(node.name) or _bug(node.name, node.address, answers.bad[node.name])
        for node in inventory.nodes
    )
    return InventoryCheck(inventory.cluster, nodes, _together(inventory, nodes))


async def _asked(client: AgentClient, now: Callable[[], datetime]) -> Answer | GausscertError:
    """The first answer pays for a handshake; the offset of a clock is known better from the second."""
    try:
        await client.get_node()
        sent = now()
        report = await client.get_node()
    except GausscertError as error:
        return error
    return Answer(report, sent, now())


def _bug(node: str, address: str, error: GausscertError) -> NodeCheck:
    return node_check.judge(node, address, Looked(diagnosis.Reached.AGENT, error), None, VERSION)


def _together(inventory: Inventory, nodes: tuple[NodeCheck, ...]) -> tuple[Finding, ...]:
    """Nothing, while some node does not answer: it may be any of those that CM lists."""
    reports = {node.node: node.report for node in nodes if node.report is not None}
    if len(reports) < len(nodes):
        return ()
    return tuple(plan_rules.topology(plan_rules.Evidence(inventory, ReplaceOptions(), "", reports)))
