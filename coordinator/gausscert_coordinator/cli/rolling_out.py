"""What the verbs of `gausscert agents` have in common: options, nodes, settings, progress."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from gausscert_common.errors import InvalidInput, NodeFailure, Reason, Unreachable

from gausscert_coordinator.cli import completing

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from gausscert_common.errors import GausscertError
    from gausscert_common.findings import Finding

    from gausscert_coordinator.cli.settings import Invocation
    from gausscert_coordinator.history_rollouts import Change
    from gausscert_coordinator.inventory import Inventory, InventoryNode
    from gausscert_coordinator.rollout.deploying import Rollout, Told

SETTINGS = "agent.toml"
"""Beside the inventory: what every agent.toml says."""


def ssh_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """--ssh, --sudo, --node and --settings."""
    for option in (
        click.option(
            "--settings",
            "settings_file",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="What every agent.toml says, as deploy/config/agent.toml."
            " [default: as the inventory says, else agent.toml beside it]",
        ),
        click.option(
            "--node",
            "only",
            multiple=True,
            metavar="NAME",
            shell_complete=completing.nodes,
            help="This node alone; repeatable. [default: all]",
        ),
        click.option(
            "--sudo",
            is_flag=True,
            help="Who logs in works as root on the nodes, by sudo -n, which asks nobody: as sudo = true under"
            " [ssh] does. deploy/README.md has the line for sudoers.",
        ),
        click.option(
            "--ssh",
            is_flag=True,
            required=True,
            help="Over ssh, with the keys and the configuration that ssh itself uses; the only way so far.",
        ),
    ):
        function = option(function)
    return function


@dataclass(frozen=True, slots=True)
class Opened:
    """What a verb works with."""

    inventory: Inventory
    nodes: tuple[InventoryNode, ...]
    settings: dict[str, dict[str, Any]]
    """By node."""
    rollout: Rollout


def open_rollout(
    invocation: Invocation, only: tuple[str, ...], settings_file: Path | None, *, sudo: bool
) -> Opened:
    """Read everything on this machine that a roll-out needs; nothing is connected.

    Args:
        invocation: Of the verb.
        only: Names of nodes; () for all.
        settings_file: Instead of those that the inventory names.
        sudo: As root by sudo on all of them; else where the inventory says so.

    Raises:
        InvalidInput: With all that is wrong with the settings of any node.
    """
    from gausscert_coordinator.rollout import agent_toml
    from gausscert_coordinator.rollout.deploying import Rollout

    inventory = invocation.inventory()
    nodes = _chosen(inventory, only)
    if sudo:
        nodes = tuple(replace(node, ssh=replace(node.ssh, sudo=True)) for node in nodes)
    usual = settings_file or _beside_inventory(invocation)
    files = {node.name: settings_file or node.install.settings or usual for node in nodes}
    read = agent_toml.load_all(files.values())
    settings = {name: read[path] for name, path in files.items()}
    rollout = Rollout(
        nodes,
        invocation.open_ssh(),
        invocation.open_doctor(inventory),
        lambda node: agent_toml.cm_home(settings[node.name]),
        teller(invocation),
    )
    return Opened(inventory, nodes, settings, rollout)


def _chosen(inventory: Inventory, only: tuple[str, ...]) -> tuple[InventoryNode, ...]:
    known = {node.name for node in inventory.nodes}
    unknown = [name for name in only if name not in known]
    if unknown:
        raise InvalidInput(
            Reason.USAGE,
            f"--node {', '.join(unknown)}: the inventory has no such node",
            remedy=f"choose from {', '.join(sorted(known))}",
        )
    return tuple(node for node in inventory.nodes if not only or node.name in only)


def _beside_inventory(invocation: Invocation) -> Path:
    from gausscert_coordinator import inventory_file

    try:
        return inventory_file.find(invocation.settings.inventory, os.environ).parent / SETTINGS
    except InvalidInput:
        return Path(SETTINGS)


class Recording:
    """What a verb does to the nodes, written to the history: before it begins, and when it has ended.

    Args:
        runner: Of the verb.
        inventory: The cluster.
        kind: The verb.
    """

    def __init__(self, runner: asyncio.Runner, inventory: Inventory, kind: str) -> None:
        from gausscert_coordinator import history_file, history_rollouts

        self._runner = runner
        self._cluster = inventory.cluster
        self._kind = history_rollouts.Kind(kind)
        self._record = history_rollouts.Record(lambda: history_file.place(inventory))
        self._changes: tuple[Change, ...] = ()

    def begin(self, changes: Iterable[Change]) -> None:
        """What is going to be done."""
        from datetime import UTC, datetime

        from gausscert_coordinator import naming

        self._changes = tuple(changes)
        name, holder = naming.transaction_id(datetime.now(UTC)), naming.holder()
        self._runner.run(self._record.begin(self._kind, self._cluster, name, holder, *self._changes))

    @contextmanager
    def half_done(self) -> Iterator[None]:
        """As the function, and recorded."""
        try:
            with half_done():
                yield
        except NodeFailure as stopped:
            self.end(self._changes, (), (stopped,), interrupted=True)
            raise

    def end(
        self,
        changes: Sequence[Change],
        found: Sequence[Finding],
        failures: Sequence[GausscertError],
        *,
        interrupted: bool = False,
    ) -> tuple[Finding, ...]:
        """What came of it; answers what kept any of it from being recorded."""
        return self._runner.run(self._record.end(changes, found, failures, interrupted=interrupted))


@contextmanager
def half_done() -> Iterator[None]:
    """A Ctrl-C from here on may have changed something, and must not be told as if it had not.

    Raises:
        NodeFailure: ROLLOUT_FAILED: stopped by the operator.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise stopped() from None


def stopped() -> NodeFailure:
    """What that Ctrl-C is told as, and one that comes while the result is told."""
    return NodeFailure(
        Reason.ROLLOUT_FAILED,
        "stopped by the operator; steps that were begun on nodes may have been done",
        remedy="run it again: what is done already is not done twice",
    )


def once_begun(error: GausscertError) -> GausscertError:
    """What a step failed with, for the exit code. Where ssh breaks off, or an agent does not answer, once
    something was changed, it is a step that failed: exit code 4 says that nothing was changed."""
    if isinstance(error, Unreachable):
        return NodeFailure(Reason.ROLLOUT_FAILED, error.message, node=error.node)
    return error


def teller(invocation: Invocation) -> Callable[[Told], None]:
    """One line for each step of each node, on standard error."""
    from gausscert_coordinator.cli.layout import harmless

    def tell(told: Told) -> None:
        if not told.ended or told.text:
            more = f": {told.text}" if told.text else ""
            invocation.render.note(harmless(f"{told.node}  {told.step.value}{more}"))

    return tell
