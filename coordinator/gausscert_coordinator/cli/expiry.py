"""`gausscert expiry`."""

from __future__ import annotations

import click

from gausscert_coordinator.cli.group import Verb, pass_invocation
from gausscert_coordinator.cli.settings import Invocation
from gausscert_coordinator.cli.verbs import ROOT
from gausscert_coordinator.exit_codes import ExitCode


@click.command(
    "expiry",
    cls=Verb,
    short_help=ROOT["expiry"].short_help,
    examples=(
        ("What expires first:", "gausscert expiry"),
        (
            "The days left on every node, for a program:",
            "gausscert expiry --output json | jq '.certificates[] | [.node, .file, .days_left]'",
        ),
    ),
    exits={
        ExitCode.DONE: "every node answered, whatever has expired",
        ExitCode.REFUSED: "no usable inventory or credential",
        ExitCode.UNREACHABLE: "some node did not answer",
    },
)
@pass_invocation
def command(invocation: Invocation) -> int:
    """List every certificate on every node, soonest first.

    Expiring means: within the node's alert threshold. The node's own clock counts.
    """
    from gausscert_coordinator.cli import documents, tables
    from gausscert_coordinator.cli.session import Session

    with Session(invocation) as session:
        found = session.ask(lambda cluster: cluster.expiry())
    render = invocation.render
    render.result("expiry", documents.expiry(found), lambda: tables.expiry(found, render.width))
    return ExitCode.UNREACHABLE if any(node.report is None for node in found) else ExitCode.DONE
