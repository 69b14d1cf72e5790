"""One visit to the control plane of a cluster: one question, and what is to be said of the caller first."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from gausscert_coordinator import own_credential
from gausscert_coordinator.cli import tables

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gausscert_coordinator.cli.settings import Invocation
    from gausscert_coordinator.control_plane import ControlPlane
    from gausscert_coordinator.inventory import Inventory

T = TypeVar("T")


def ask(invocation: Invocation, inventory: Inventory, question: Callable[[ControlPlane], Awaitable[T]]) -> T:
    """Ask the agents of an inventory something about themselves, and wait for the answer."""
    warnings = own_credential.findings(inventory)
    if warnings:
        render = invocation.render
        render.note(tables.findings(warnings, render.err_width, about="you"))
    return asyncio.run(_asked(invocation, inventory, question))


async def _asked(
    invocation: Invocation, inventory: Inventory, question: Callable[[ControlPlane], Awaitable[T]]
) -> T:
    async with invocation.open_control_plane(inventory) as control:
        return await question(control)
