"""`gausscert history [ID]`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click
from gausscert_common.errors import InvalidInput, Reason

from gausscert_coordinator.cli import completing_history
from gausscert_coordinator.cli.group import Verb, pass_invocation
from gausscert_coordinator.cli.settings import Invocation
from gausscert_coordinator.cli.verbs import ROOT
from gausscert_coordinator.exit_codes import ExitCode

if TYPE_CHECKING:
    from pathlib import Path

    from gausscert_coordinator.inventory import Inventory

_AGO = re.compile(r"(\d{1,5})([dh])")


def _moment(_: click.Context, __: click.Parameter, value: str | None) -> datetime | None:
    """A moment in ISO 8601, in UTC unless it says otherwise, or how long ago."""
    if value is None:
        return None
    try:
        if ago := _AGO.fullmatch(value):
            count = int(ago[1])
            return datetime.now(UTC) - (timedelta(days=count) if ago[2] == "d" else timedelta(hours=count))
        given = datetime.fromisoformat(value)
        return given.astimezone(UTC) if given.tzinfo is not None else given.replace(tzinfo=UTC)
    except (ValueError, OverflowError):  # also what UTC has no year for
        raise click.BadParameter(
            f"{value!r} is no time: write 2026-11-01, 2026-11-01T12:30Z, 7d or 12h"
        ) from None


@click.command(
    "history",
    cls=Verb,
    short_help=ROOT["history"].short_help,
    examples=(
        ("The newest first:", "gausscert history"),
        ("Of the last week:", "gausscert history --since 7d"),
        ("Everything about one transaction, by the beginning of its id:", "gausscert history 20261102t12"),
        (
            "Whether it, or an agent's audit log, was tampered with:",
            "gausscert history --verify",
        ),
        (
            "For a program:",
            "gausscert history --output json | jq '.runs[] | [.transaction_id, .verdict]'",
        ),
    ),
    exits={
        ExitCode.DONE: "shown, also when nothing was recorded yet",
        ExitCode.REFUSED: "no such transaction, no usable inventory, or a file that cannot be read; with"
        " --verify, something was altered",
        ExitCode.UNREACHABLE: "with --verify, some node did not answer; what did is in order",
    },
)
@click.argument("beginning", metavar="[ID]", required=False, shell_complete=completing_history.transactions)
@click.option(
    "--limit", type=click.IntRange(1, 100_000), default=20, show_default=True, help="How many at most."
)
@click.option(
    "--since",
    callback=_moment,
    metavar="TIME",
    help="Only those begun since: 2026-11-01, 2026-11-01T12:30Z, 7d, 12h.",
)
@click.option("--verify", is_flag=True, help="Follow the chains of hashes and name what does not fit.")
@click.option("--no-nodes", is_flag=True, help="With --verify: this machine's history alone.")
@click.option(
    "--head",
    metavar="NUMBER:HASH",
    help="With --verify: the end of the history that it told before, kept elsewhere.",
)
@pass_invocation
def command(
    invocation: Invocation,
    beginning: str | None,
    limit: int,
    since: datetime | None,
    verify: bool,
    no_nodes: bool,
    head: str | None,
) -> int:
    """Show what this machine's gausscert did to the cluster, roll-outs of agents included: when, who, how it
    ended. With the ID of a transaction or roll-out, or a beginning of it that fits no other, all that is
    known of it: every command to every node and its answer, what was served and who saw it, findings and
    failures.

    With --verify it is not shown but verified: each thing that was ever written has the hash of the one
    before it, and all of it done once more must make the very same rows. Every agent has such a log, too, of
    whatever was asked of it, which is read and verified here; its last line is recorded with each
    transaction, so a log that was cut short or made anew is found. The first line or row that does not fit is
    named.

    The history is a record for people. No node is asked, and nothing depends on it: `gausscert status` and
    `gausscert recover` ask the nodes.
    """
    from gausscert_coordinator import history_file

    inventory = invocation.inventory()
    path = history_file.place(inventory)
    if verify:
        from gausscert_coordinator.cli import history_verifying

        _refuse_besides(beginning)
        return history_verifying.verify(invocation, inventory, path, head, ask_nodes=not no_nodes)
    if no_nodes or head is not None:
        raise InvalidInput(Reason.USAGE, "--no-nodes and --head go with --verify", remedy="add --verify")
    if beginning is None:
        return _list(invocation, inventory, path, limit, since)
    return _one(invocation, inventory, path, beginning)


def _refuse_besides(beginning: str | None) -> None:
    if beginning is not None:
        raise InvalidInput(
            Reason.USAGE, "a chain can only be verified as a whole", remedy="leave the ID away"
        )


def _list(
    invocation: Invocation, inventory: Inventory, path: Path, limit: int, since: datetime | None
) -> int:
    from gausscert_coordinator import history_reader
    from gausscert_coordinator.cli import documents_history, tables_history

    found = history_reader.runs(path, inventory.cluster, limit=limit, since=since)
    render = invocation.render
    render.result(
        "history",
        documents_history.runs(inventory.cluster, path, found),
        lambda: tables_history.runs(inventory.cluster, path, found, render.width),
    )
    return ExitCode.DONE


def _one(invocation: Invocation, inventory: Inventory, path: Path, beginning: str) -> int:
    from gausscert_coordinator import history_reader
    from gausscert_coordinator.cli import documents_history, tables_history

    found = history_reader.transaction(path, inventory.cluster, beginning)
    render = invocation.render
    render.result(
        "history transaction",
        documents_history.transaction(inventory.cluster, path, found),
        lambda: tables_history.transaction(found, render.width),
    )
    return ExitCode.DONE
