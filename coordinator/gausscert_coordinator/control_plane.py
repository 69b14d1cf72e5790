"""The control plane of a cluster: renews the credentials of its agents, and tells them who is revoked.

async with ControlPlane(inventory) as control:
    renewed = await control.renew(("n1", "n2"), signer)
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from gausscert_common import auditing
from gausscert_common.errors import (
    GausscertError,
    InternalError,
    InvalidInput,
    NodeFailure,
    NodeRefusal,
    Reason,
)

from gausscert_coordinator import diagnosis
from gausscert_coordinator.diagnosis import Dialled
from gausscert_coordinator.fanout import ask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

    from gausscert_common.model import Certificate

    from gausscert_coordinator.inventory import Inventory
    from gausscert_coordinator.pki_requests import Signer
    from gausscert_coordinator.ports import ControlPlaneClient

    Connect = Callable[[Inventory], Mapping[str, ControlPlaneClient]]

AT_ONCE = 8
"""Agents that are renewed at the same time: each costs a signature here, and none is in a hurry."""
LONGEST_AUDIT = 64 * 1024 * 1024
"""Characters of an audit log that are read; an agent keeps some twenty million."""
AUDIT_READS = 3
"""So often it is read at most; an agent begins a new file once in many thousands of calls."""


def _connect(inventory: Inventory) -> Mapping[str, ControlPlaneClient]:
    from gausscert_coordinator import agents

    return agents.connect(inventory)


@dataclass(frozen=True, slots=True)
class Renewed:
    """What became of one agent's credential."""

    node: str
    credential: Certificate | None
    """The new one; None where it was not renewed."""
    error: GausscertError | None


@dataclass(frozen=True, slots=True)
class Held:
    """The credentials of one agent."""

    node: str
    certificates: tuple[Certificate, ...]
    """Its own, then the CAs that it trusts; () where it did not answer."""
    error: GausscertError | None


@dataclass(frozen=True, slots=True)
class Denial:
    """What one agent made of a deny list."""

    node: str
    added: int
    """How many it did not have."""
    total: int
    """How many it has now."""
    error: GausscertError | None


@dataclass(frozen=True, slots=True)
class Audited:
    """What came of one agent's audit log."""

    node: str
    verified: auditing.Verified | None
    """None where it could not be read."""
    error: GausscertError | None


def require_same_cluster(cluster: str, inventory: Inventory) -> None:
    """Refuse a CA whose identities nobody in the inventory's cluster knows.

    Args:
        cluster: The CA's.
        inventory: Whose agents are asked.

    Raises:
        InvalidInput: ARGUMENT_INVALID.
    """
    if cluster != inventory.cluster:
        raise InvalidInput(
            Reason.ARGUMENT_INVALID,
            f"the CA is that of cluster {cluster}, the inventory of {inventory.cluster}",
            remedy="name the CA of this cluster with --dir, or another --inventory",
        )


async def _audit(client: ControlPlaneClient, heads: Mapping[int, str]) -> auditing.Verified:
    """An agent that begins a new file meanwhile gives its oldest one up: what was read of that no longer
    leads to the rest, and all is read anew. A gap that stays is one of the log."""
    for _ in range(AUDIT_READS - 1):
        lines, torn = await _read_audit(client)
        if not torn:
            break
    else:
        lines, _ = await _read_audit(client)
    return await asyncio.to_thread(auditing.verify, lines, heads)


async def _read_audit(client: ControlPlaneClient) -> tuple[list[str], bool]:
    """All lines, and whether some are missing between two pages. What answers may be in the wrong hands: it
    is read to an end, whatever it sends."""
    lines: list[str] = []
    after, left, torn = 0, LONGEST_AUDIT, False
    while True:
        page, reached = await client.read_audit(after)
        if not page:
            return lines, torn
        left -= sum(len(text) + 1 for text in page)
        if left < 0 or reached <= after:
            raise NodeFailure(
                Reason.AUDIT_BROKEN,
                f"its audit log has no end: more than {LONGEST_AUDIT} characters, or the same lines again",
                node=client.name,
                remedy="verify it on the node: gausscert-agent verify-audit; find out what answers there",
            )
        torn = torn or (bool(lines) and reached - len(page) != after)
        lines += page
        after = reached


class ControlPlane:
    """See the module. An async context manager.

    Args:
        inventory: The cluster.
        connect: Makes the clients; the default speaks gRPC.
        served: What a new connection to a node meets; blocks.
        make_id: Makes ids of requests.
    """

    def __init__(
        self,
        inventory: Inventory,
        *,
        connect: Connect = _connect,
        served: Callable[[Dialled], str] = diagnosis.served_fingerprint,
        make_id: Callable[[], str] = lambda: f"renewal-{secrets.token_hex(8)}",
    ) -> None:
        self._inventory = inventory
        self._connect = connect
        self._served = served
        self._make_id = make_id
        self._clients: Mapping[str, ControlPlaneClient] = {}

    async def __aenter__(self) -> Self:
        self._clients = self._connect(self._inventory)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        clients, self._clients = self._clients, {}
        await ask(clients.values(), lambda client: client.close())

    async def held(self) -> tuple[Held, ...]:
        """What every agent has, in the order of the inventory. Raises nothing that nodes do."""
        answers = await ask(self._open(), lambda client: client.get_expiry())
        return tuple(
            Held(
                node.name,
                answers.good[node.name].control_plane if node.name in answers.good else (),
                answers.bad.get(node.name),
            )
            for node in self._inventory.nodes
        )

    async def renew(self, nodes: Iterable[str], signer: Signer) -> tuple[Renewed, ...]:
        """Give agents new credentials: each makes its key by itself, and is seen to serve the certificate
        afterwards. What fails at one keeps no other from it; raises nothing that nodes do.

        Whatever breaks off, the register says which certificates were seen in use and which were only signed,
        and renewing once more puts it right.

        Args:
            nodes: By name.
            signer: Of the CA.

        Raises:
            InvalidInput: ARGUMENT_INVALID: a name is not in the inventory, or the CA is another cluster's.
        """
        wanted = tuple(dict.fromkeys(nodes))
        self._check(wanted, signer)
        chosen = [client for client in self._open() if client.name in wanted]
        answers = await ask(chosen, lambda client: self._renew(client, signer), concurrency=AT_ONCE)
        return tuple(Renewed(node, answers.good.get(node), answers.bad.get(node)) for node in wanted)

    async def deny(self, entries: bytes, cluster: str) -> tuple[Denial, ...]:
        """Have every agent let certificates in no more. Raises nothing that nodes do; harmless to repeat.

        Args:
            entries: Lines of a deny list.
            cluster: Whose CA has issued what they deny; the lines themselves do not say.

        Raises:
            InvalidInput: ARGUMENT_INVALID: it is another cluster's.
        """
        require_same_cluster(cluster, self._inventory)
        answers = await ask(self._open(), lambda client: client.extend_deny_list(entries))
        return tuple(
            Denial(node.name, *answers.good.get(node.name, (0, 0)), answers.bad.get(node.name))
            for node in self._inventory.nodes
        )

    async def audits(self, heads: Mapping[str, Mapping[int, str]]) -> tuple[Audited, ...]:
        """Verify every agent's audit log here: what an agent says of its own would prove nothing. Raises
        nothing that nodes do.

        Args:
            heads: What was seen of them before, by node: hashes by number.
        """
        answers = await ask(
            self._open(), lambda client: _audit(client, heads.get(client.name, {})), concurrency=AT_ONCE
        )
        return tuple(
            Audited(node.name, answers.good.get(node.name), answers.bad.get(node.name))
            for node in self._inventory.nodes
        )

    async def _renew(self, client: ControlPlaneClient, signer: Signer) -> Certificate:
        try:
            return await self._renew_once(client, signer)
        except NodeRefusal as refusal:
            if refusal.reason is not Reason.RENEWAL_UNKNOWN:
                raise
            # It was restarted between the halves, or somebody else renews it: both pass.
            return await self._renew_once(client, signer)

    async def _renew_once(self, client: ControlPlaneClient, signer: Signer) -> Certificate:
        request_id = self._make_id()
        asked = await client.begin_renewal(request_id)
        signed = await asyncio.to_thread(signer.sign, client.name, asked.request, asked.certificate)
        now = await client.finish_renewal(request_id, signed.pem)
        await self._prove(client.name, signed.fingerprint)
        await asyncio.to_thread(signer.confirm, signed, client.name)
        return now

    async def _prove(self, node: str, fingerprint: str) -> None:
        """The agent has said so; what counts is what the next connection meets."""
        (address,) = (each.address for each in self._inventory.nodes if each.name == node)
        dialled = Dialled(self._inventory.cluster, node, address, self._inventory.credentials)
        try:
            found = await asyncio.to_thread(self._served, dialled)
        except OSError as error:
            found = f"nothing that can be used: {error.strerror or type(error).__name__}"
        if found != fingerprint:
            raise NodeFailure(
                Reason.NOT_PROVEN,
                f"the agent has taken the new credential, but serves {found[:60]}",
                node=node,
                remedy="look into the agent's log, and at gausscert pki list",
            )

    def _check(self, nodes: tuple[str, ...], signer: Signer) -> None:
        known = {node.name for node in self._inventory.nodes}
        unknown = [name for name in nodes if name not in known]
        if unknown:
            raise InvalidInput(
                Reason.ARGUMENT_INVALID,
                f"the inventory has no node {', '.join(unknown)}",
                remedy=f"it has {', '.join(sorted(known))}",
            )
        require_same_cluster(signer.cluster, self._inventory)

    def _open(self) -> tuple[ControlPlaneClient, ...]:
        if not self._clients:
            raise InternalError(Reason.INTERNAL, "the control plane is used outside of `async with`")
        return tuple(self._clients.values())
