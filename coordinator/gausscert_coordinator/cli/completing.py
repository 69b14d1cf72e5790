"""What a shell is offered for names of clusters and nodes: those of the inventory, read and not asked.

A shell that completes wants words, never a message: without a usable inventory there are none.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gausscert_common.errors import GausscertError

from gausscert_coordinator.cli.settings import Invocation

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import click


def clusters(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001 - click's
    """The clusters of the inventory."""
    from gausscert_coordinator import inventory_file

    return _beginning(incomplete, lambda path, _: inventory_file.clusters(path), ctx)


def nodes(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001 - click's
    """The nodes of the cluster."""

    def read(path: Path, cluster: str | None) -> tuple[str, ...]:
        from gausscert_coordinator import inventory_file

        found = inventory_file.load(path, cluster=cluster, require_credentials=False)
        return tuple(node.name for node in found.nodes)

    return _beginning(incomplete, read, ctx)


def _beginning(
    incomplete: str, read: Callable[[Path, str | None], tuple[str, ...]], ctx: click.Context
) -> list[str]:
    from gausscert_coordinator import inventory_clusters, inventory_file

    invocation = ctx.find_object(Invocation)
    settings = invocation.settings if invocation is not None else None
    named = settings.inventory if settings is not None else None
    cluster = settings.cluster if settings is not None else None
    try:
        path = inventory_file.find(named)
        found = read(path, cluster or os.environ.get(inventory_clusters.VARIABLE) or None)
    except GausscertError:
        return []
    return [name for name in found if name.startswith(incomplete)]
