"""gausscert for programs: typed, asynchronous, and without a word on any terminal.

    async with api.connect("gausscert.toml") as cluster:
        for node in (await cluster.status()).nodes:
            print(node.node, node.error or node.drift)

Public and stable are the names in `__all__` here and in `gausscert_coordinator`, with their fields and
methods; docs/python.md says what that means. Errors are those of `gausscert_common.errors`: what nodes do and
answer is in the results, what is raised is wrong with the call.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Self

from gausscert_common.bundle import Bundle
from gausscert_common.errors import InternalError, Reason
from gausscert_common.model import WatchEvent
from gausscert_common.protocol.recovery import Choice

from gausscert_coordinator import bundle_files, history, inventory_file
from gausscert_coordinator.coordinator import Coordinator
from gausscert_coordinator.inventory import Inventory
from gausscert_coordinator.inventory_check import InventoryCheck, check
from gausscert_coordinator.node_events import NodeEvent, follow
from gausscert_coordinator.recorder import NOBODY

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping
    from types import TracebackType

    from gausscert_common.protocol.words import RestartScope, SslWish

    from gausscert_coordinator.interrupt import Interrupt
    from gausscert_coordinator.ports import AgentClient, OnRetry
    from gausscert_coordinator.report import ClusterStatus, NodeExpiry, Plan, Progress, ReplaceOptions, Result

    Connect = Callable[[Inventory, OnRetry], Mapping[str, AgentClient]]

__all__ = ["connect", "read_bundle", "Cluster", "NodeEvent", "WatchEvent", "InventoryCheck"]

# Without a handler of its own, what a library logs ends on standard error.
logging.getLogger("gausscert_coordinator").addHandler(logging.NullHandler())


def connect(
    inventory: Inventory | Path | str | None = None, *, cluster: str | None = None, record: bool = True
) -> Cluster:
    """A cluster to be opened with `async with`. Nothing is connected yet.

    Args:
        inventory: A gausscert.toml, or what `inventory_file.load` makes of one; None for the one that the
            command would take: ./gausscert.toml, $GAUSSCERT_INVENTORY, /etc/gausscert/gausscert.toml.
        cluster: Which one, where the file has several.
        record: Write transactions down, as the command does; `gausscert history` shows them.

    Raises:
        InvalidInput: CONFIG_INVALID, with a finding for everything that is wrong with the file.
    """
    if not isinstance(inventory, Inventory):
        path = inventory_file.find(Path(inventory) if inventory is not None else None)
        inventory = inventory_file.load(path, cluster=cluster)
    return Cluster(inventory, record=record)


def read_bundle(
    directory: Path | str, *, server_password: str | None = None, client_password: str | None = None
) -> Bundle:
    """The bundle in a directory. What is in the files is judged by `Cluster.plan`.

    Args:
        directory: As for `gausscert replace`.
        server_password: Of server.key; None where the directory has factor files.
        client_password: Of client.key; None where the directory has factor files.

    Raises:
        InvalidInput: USAGE, the directory cannot be opened; BUNDLE_INVALID, with a finding for each file
            that cannot be read.
    """
    found = bundle_files.read_directory(Path(directory))
    bundle_files.require_readable(Path(directory), found.findings)
    given = server_password is not None or client_password is not None
    factor_files = None if given else found.factor_files
    return Bundle(found.pem, server_password, client_password, factor_files)


def _ignore(_: Progress) -> None:
    """Watch nothing."""


class Cluster:
    """One cluster. Questions may be asked side by side, transactions only one at a time.

    What nodes do is in the results, never raised. Cancelling a task in the middle of a transaction is as if
    the coordinator had died: use an `Interrupt`, or `recover` afterwards.
    """

    def __init__(
        self,
        inventory: Inventory,
        *,
        record: bool = True,
        connect: Connect | None = None,
        coordinator: Callable[..., Coordinator] = Coordinator,
    ) -> None:
        """See `connect`, which most callers want.

        Args:
            inventory: The cluster.
            record: Write transactions down.
            connect: Makes the clients; for tests. None for gRPC.
            coordinator: Makes what does the work; for tests.
        """
        self._inventory = inventory
        self._make = connect or _over_grpc
        self._clients: Mapping[str, AgentClient] = {}
        recorder = history.of(inventory) if record else NOBODY
        self._coordinator = coordinator(inventory, connect=self._connect, recorder=recorder)

    @property
    def name(self) -> str:
        """The cluster's name."""
        return self._inventory.cluster

    @property
    def nodes(self) -> tuple[str, ...]:
        """The names of all nodes, sorted."""
        return tuple(node.name for node in self._inventory.nodes)

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            InvalidInput: CREDENTIAL_INVALID: the caller's own credential cannot be used.
        """
        await self._coordinator.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Hang up."""
        self._clients = {}
        await self._coordinator.__aexit__(kind, raised, trace)

    async def status(self) -> ClusterStatus:
        """Every node's report and what its own cm_server serves, or why there is none."""
        return await self._coordinator.status()

    async def expiry(self) -> tuple[NodeExpiry, ...]:
        """Every certificate of every node, or why they are not known, in the order of the inventory."""
        return await self._coordinator.expiry()

    async def check(self) -> InventoryCheck:
        """As `gausscert inventory check`, over connections of its own."""
        return await check(self._inventory)

    def events(self) -> AsyncGenerator[NodeEvent, None]:
        """What all nodes do, as they do it, whoever has them do it. Endless: close it when you leave.

        Raises:
            InternalError: INTERNAL: outside of `async with`, where there would never be any.
        """
        if not self._clients:
            raise InternalError(Reason.INTERNAL, "the cluster is used outside of `async with`")
        return follow(self._clients.values())

    async def plan(self, bundle: Bundle, options: ReplaceOptions | None = None) -> Plan:
        """What `replace` would do, and all that speaks against it. Changes nothing."""
        return await self._coordinator.plan(bundle, options)

    async def replace(
        self,
        plan: Plan,
        bundle: Bundle,
        *,
        watch: Callable[[Progress], None] = _ignore,
        interrupt: Interrupt | None = None,
    ) -> Result:
        """The transaction: every node, or none. With a plan that is not feasible nothing is done.

        Args:
            plan: Of this bundle.
            bundle: What to put on every node.
            watch: Told what happens, on the event loop.
            interrupt: Turns it back, as Ctrl-C does at the command.

        Raises:
            InvalidInput: ARGUMENT_INVALID, the plan is for another bundle or another cluster.
        """
        return await self._coordinator.replace(plan, bundle, watch=watch, interrupt=interrupt)

    async def plan_rollback(
        self, generation: str | None = None, options: ReplaceOptions | None = None
    ) -> Plan:
        """What `rollback` would do; None for the newest generation that all nodes have. Changes nothing.

        Raises:
            InvalidInput: ARGUMENT_INVALID; that is no name of a generation, or nodes are to be left out.
        """
        return await self._coordinator.plan_rollback(generation, options)

    async def rollback(
        self,
        plan: Plan,
        *,
        watch: Callable[[Progress], None] = _ignore,
        interrupt: Interrupt | None = None,
    ) -> Result:
        """The transaction back to the generation of a plan; as `replace`."""
        return await self._coordinator.rollback(plan, watch=watch, interrupt=interrupt)

    async def plan_ssl(self, wish: SslWish, options: ReplaceOptions | None = None) -> Plan:
        """What `switch_ssl` would do. Changes nothing.

        Raises:
            InvalidInput: ARGUMENT_INVALID; the wish is to keep what is, or nodes are to be left out.
        """
        return await self._coordinator.plan_ssl(wish, options)

    async def switch_ssl(
        self,
        plan: Plan,
        *,
        watch: Callable[[Progress], None] = _ignore,
        interrupt: Interrupt | None = None,
    ) -> Result:
        """The transaction that changes enable_ssl on every node, or on none; as `replace`."""
        return await self._coordinator.switch_ssl(plan, watch=watch, interrupt=interrupt)

    async def recover(
        self,
        *,
        prefer: Choice = Choice.ROLL_BACK,
        take_over: bool = False,
        restart: RestartScope | None = None,
        bundle: Bundle | None = None,
        exclude: tuple[str, ...] = (),
        accept_state: bool = False,
        watch: Callable[[Progress], None] = _ignore,
        interrupt: Interrupt | None = None,
    ) -> Result:
        """Finish or roll back what is in doubt, and bring over nodes that were excluded; as the command.

        Args:
            prefer: What to do where both are possible.
            take_over: Also from a coordinator that still holds the nodes, which you know to be dead.
            restart: None for the transaction's own way.
            bundle: For excluded nodes that are back: that of the committed transaction.
            exclude: Nodes that died in the middle, left out where the others' answers make that safe.
            accept_state: Where the cluster cannot become Normal.
            watch: Told what happens, on the event loop.
            interrupt: Stops a finishing.
        """
        return await self._coordinator.recover(
            prefer,
            take_over,
            restart,
            bundle=bundle,
            exclude=exclude,
            accept_state=accept_state,
            watch=watch,
            interrupt=interrupt,
        )

    def _connect(self, inventory: Inventory, on_retry: OnRetry) -> Mapping[str, AgentClient]:
        self._clients = self._make(inventory, on_retry)
        return self._clients


def _over_grpc(inventory: Inventory, on_retry: OnRetry) -> Mapping[str, AgentClient]:
    from gausscert_coordinator import agents

    return agents.connect(inventory, on_retry)
