"""The last word on an agent is its own, over mTLS, as operators will reach it; not that of its supervisor."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

import grpc
import grpc.aio
from gausscert_common import credentials, identity
from gausscert_common.errors import GausscertError, NodeFailure, Reason
from gausscert_common.findings import errors
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped] # ships no stubs

from gausscert_coordinator import agents

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gausscert_common.findings import Finding
    from gausscert_common.model import NodeReport

    from gausscert_coordinator.inventory import Inventory, InventoryNode

WITHIN_S: Final = 45.0
"""From READY to a first healthy answer; an agent settles before that, and looks at its node after it."""
_AGAIN_S: Final = 0.5
_CALL_S: Final = 5.0


class Doctor(Protocol):
    """Asks agents."""

    async def in_flight(self, node: InventoryNode) -> str:
        """What an agent that runs is in the middle of; "" for nothing, and where it cannot be asked."""

    async def healthy(self, node: InventoryNode) -> None:
        """Wait until the agent says SERVING.

        Raises:
            GausscertError: It does not, with what it says of itself; or it cannot be reached.
        """

    async def deny(self, node: InventoryNode, entries: bytes) -> None:
        """Have an agent let certificates in no more.

        Args:
            node: Whose agent.
            entries: Lines of a deny list.

        Raises:
            GausscertError: It refuses, or cannot be reached.
        """


@dataclass(frozen=True, slots=True)
class GrpcDoctor:
    """The real one.

    Args:
        inventory: The cluster, with the operator's credential.
        within_s: How long an agent gets.
    """

    inventory: Inventory
    within_s: float = WITHIN_S

    async def in_flight(self, node: InventoryNode) -> str:
        """See `Doctor`."""
        try:
            report = await self._report(node)
        except GausscertError:
            return ""  # the journal has been asked, too
        transaction = report.transaction
        if not transaction.transaction_id:
            return ""
        return f"transaction {transaction.transaction_id}, phase {transaction.phase}"

    async def healthy(self, node: InventoryNode) -> None:
        """See `Doctor`."""
        deadline = time.monotonic() + self.within_s
        while not await self._serving(node):
            if time.monotonic() > deadline:
                raise await self._why(node)
            await asyncio.sleep(_AGAIN_S)

    async def deny(self, node: InventoryNode, entries: bytes) -> None:
        """See `Doctor`."""
        async with self._client(node) as client:
            await client.extend_deny_list(entries)

    async def _serving(self, node: InventoryNode) -> bool:
        own = credentials.load_person(
            self.inventory.credentials, cluster=self.inventory.cluster, now=datetime.now(UTC)
        )
        tls = grpc.ssl_channel_credentials(own.ca_pem, own.key_pem, own.cert_pem)
        name = identity.node_dns_name(self.inventory.cluster, node.name)
        options: tuple[tuple[str, Any], ...] = (
            *agents.CHANNEL_OPTIONS,
            ("grpc.ssl_target_name_override", name),
        )
        async with grpc.aio.secure_channel(node.address, tls, options=options) as channel:
            check = health_pb2_grpc.HealthStub(channel).Check
            try:
                answer = await check(health_pb2.HealthCheckRequest(), timeout=_CALL_S)
            except grpc.aio.AioRpcError:
                return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    async def _why(self, node: InventoryNode) -> GausscertError:
        try:
            found = errors((await self._report(node, preflight=True)).findings)
        except GausscertError as error:
            return error
        return not_serving(node.name, found)

    async def _report(self, node: InventoryNode, *, preflight: bool = False) -> NodeReport:
        async with self._client(node) as client:
            return await client.get_node(preflight=preflight)

    @asynccontextmanager
    async def _client(self, node: InventoryNode) -> AsyncIterator[agents.GrpcAgent]:
        timeouts = replace(self.inventory.timeouts, connect_s=_CALL_S, retry_s=_CALL_S)
        alone = replace(self.inventory, nodes=(node,), timeouts=timeouts)
        client = agents.connect(alone)[node.name]
        try:
            yield client
        finally:
            await client.close()


def not_serving(node: str, found: tuple[Finding, ...]) -> NodeFailure:
    """An agent that answers and is not healthy."""
    causes = "; ".join(f"{each.file}: {each.cause}" if each.file else each.cause for each in found)
    return NodeFailure(
        Reason.ROLLOUT_FAILED,
        f"the agent answers, but is not healthy: {causes or 'it does not say why'}",
        node=node,
        remedy="; ".join(dict.fromkeys(each.remedy for each in found)) or "look at its log",
    )
