"""`gausscert version`."""

from __future__ import annotations

import platform

import click
from gausscert_common import VERSION

from gausscert_coordinator.cli.group import Verb, pass_invocation
from gausscert_coordinator.cli.settings import Invocation
from gausscert_coordinator.cli.verbs import ROOT
from gausscert_coordinator.exit_codes import ExitCode


@click.command(
    "version",
    cls=Verb,
    short_help=ROOT["version"].short_help,
    examples=(
        ("For a bug report:", "gausscert version"),
        ("For a program:", "gausscert version --output json"),
    ),
    exits={ExitCode.DONE: "done"},
)
@pass_invocation
def command(invocation: Invocation) -> int:
    """Print the version of gausscert and of the Python it runs on."""
    document = {"version": VERSION, "python": platform.python_version()}
    invocation.render.result(
        "version", document, lambda: [f"gausscert {VERSION} (Python {platform.python_version()})"]
    )
    return ExitCode.DONE
