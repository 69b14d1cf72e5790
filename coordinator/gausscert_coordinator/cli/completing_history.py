"""What a shell is offered for transactions and generations: what this machine has recorded, nobody is asked.

A shell that completes wants words, never a message: without a usable history there are none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click
from click.shell_completion import CompletionItem
from gausscert_common.errors import GausscertError

from gausscert_coordinator.cli.settings import Invocation

if TYPE_CHECKING:
    from gausscert_coordinator.history_reader import Run

NEWEST: Final = 100
_RETIRES: Final = frozenset({"replace", "rollback"})
"""Kinds of transactions after which the sets that were live are generations, named by the transaction."""


def transactions(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001 - click's
    """Those of the history, newest first."""
    return _offered(_runs(ctx), incomplete)


def generations(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001 - click's
    """Those that this machine's transactions have left behind; nodes may have given some up since."""
    left = [run for run in _runs(ctx) if run.kind in _RETIRES and run.verdict == "committed"]
    return _offered(left, incomplete)


def _runs(ctx: click.Context) -> tuple[Run, ...]:
    from gausscert_coordinator import history_file, history_reader

    invocation = ctx.find_object(Invocation) or Invocation()
    try:
        inventory = invocation.inventory()
        return history_reader.runs(history_file.place(inventory), inventory.cluster, limit=NEWEST)
    except (GausscertError, OSError):
        return ()


def _offered(runs: tuple[Run, ...] | list[Run], incomplete: str) -> list[CompletionItem]:
    items: dict[str, CompletionItem] = {}
    for run in runs:
        if run.transaction_id.startswith(incomplete):
            # click's script for fish shows no more than what is before a comma.
            said = f"{run.kind} {run.verdict or 'not ended'} {run.begun_at:%Y-%m-%d %H:%M} UTC"
            items.setdefault(run.transaction_id, CompletionItem(run.transaction_id, help=said))
    return list(items.values())
