"""What every verb is given: the global options, and the ways to the outside that tests replace."""

from __future__ import annotations

import io
import os
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

from gausscert_coordinator.cli.streams import Enduring

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from gausscert_common.errors import GausscertError

    from gausscert_coordinator.cli.ports import Cluster
    from gausscert_coordinator.cli.render import Renderer
    from gausscert_coordinator.cli.terminal import Terminal
    from gausscert_coordinator.control_plane import ControlPlane
    from gausscert_coordinator.inventory import Inventory
    from gausscert_coordinator.inventory_check import InventoryCheck
    from gausscert_coordinator.rollout.doctor import Doctor
    from gausscert_coordinator.rollout.ssh import Ssh


class OutputFormat(StrEnum):
    """How results are written."""

    TEXT = "text"
    JSON = "json"


@dataclass(slots=True)
class Settings:
    """The global options; click fills them in as it meets them, before or after the verb."""

    inventory: Path | None = None
    cluster: str | None = None
    output: OutputFormat = OutputFormat.TEXT
    quiet: bool = False
    verbose: bool = False


def _open_cluster(inventory: Inventory) -> AbstractAsyncContextManager[Cluster]:
    from gausscert_coordinator import history
    from gausscert_coordinator.coordinator import Coordinator

    return Coordinator(inventory, recorder=history.of(inventory))


def _open_control_plane(inventory: Inventory) -> AbstractAsyncContextManager[ControlPlane]:
    from gausscert_coordinator.control_plane import ControlPlane

    return ControlPlane(inventory)


async def _check_inventory(inventory: Inventory) -> InventoryCheck:
    from gausscert_coordinator import inventory_check

    return await inventory_check.check(inventory)


def _load_inventory(path: Path | None, cluster: str | None) -> Inventory:
    from gausscert_coordinator import inventory_clusters, inventory_file

    named = cluster or os.environ.get(inventory_clusters.VARIABLE) or None
    return inventory_file.load(inventory_file.find(path, os.environ), cluster=named)


def _system_ssh() -> Ssh:
    from gausscert_coordinator.rollout.ssh import SystemSsh

    return SystemSsh()


def _doctor(inventory: Inventory) -> Doctor:
    from gausscert_coordinator.rollout.doctor import GrpcDoctor

    return GrpcDoctor(inventory)


def _controlling_terminal() -> Terminal:
    from gausscert_coordinator.cli.terminal import Terminal

    return Terminal(sys.stdin or io.TextIOWrapper(io.BytesIO()), sys.stderr or io.StringIO())


@dataclass
class Invocation:
    """One run of the command."""

    settings: Settings = field(default_factory=Settings)
    open_cluster: Callable[[Inventory], AbstractAsyncContextManager[Cluster]] = _open_cluster
    load_inventory: Callable[[Path | None, str | None], Inventory] = _load_inventory
    check_inventory: Callable[[Inventory], Coroutine[Any, Any, InventoryCheck]] = _check_inventory
    open_control_plane: Callable[[Inventory], AbstractAsyncContextManager[ControlPlane]] = _open_control_plane
    open_terminal: Callable[[], Terminal] = _controlling_terminal
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    clock: Callable[[], float] = time.monotonic
    """Seconds, for what lies between two moments."""
    open_ssh: Callable[[], Ssh] = _system_ssh
    open_doctor: Callable[[Inventory], Doctor] = _doctor
    transaction_begun: bool = False
    """From here on nobody may say any more that nothing was changed."""
    stopped: GausscertError | None = None
    """What a Ctrl-C is told as from here on, by a verb that is no transaction and may have changed something
    (`cli.stopped`); None where nothing was changed yet."""

    @cached_property
    def render(self) -> Renderer:
        """The one that prints; made when the global options are known."""
        from gausscert_coordinator.cli.render import Renderer

        return Renderer(self.settings, self.out, self.err)

    @cached_property
    def out(self) -> Enduring:
        """Standard output; Python sets it to None where the caller has closed it."""
        return Enduring(sys.stdout or io.StringIO())

    @cached_property
    def err(self) -> Enduring:
        """Standard error, likewise."""
        return Enduring(sys.stderr or io.StringIO())

    @property
    def wants_json(self) -> bool:
        """Whether results are for a program."""
        return self.settings.output is OutputFormat.JSON

    @cached_property
    def terminal(self) -> Terminal:
        """The operator, if there is one."""
        return self.open_terminal()

    def inventory(self) -> Inventory:
        """The cluster that `--inventory` or the default order, and `--cluster` where needed, name.

        Raises:
            InvalidInput: There is none, or it cannot be read.
        """
        return self.load_inventory(self.settings.inventory, self.settings.cluster)
