"""`gausscert schema [NAME]`."""

from __future__ import annotations

import json

import click
from gausscert_common.errors import InvalidInput, Reason

from gausscert_coordinator.cli.group import Verb, pass_invocation
from gausscert_coordinator.cli.settings import Invocation
from gausscert_coordinator.cli.verbs import ROOT
from gausscert_coordinator.exit_codes import ExitCode


def _names(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001 - click's
    from gausscert_coordinator.schemas import SCHEMAS

    return [name for name in SCHEMAS if name.startswith(incomplete)]


@click.command(
    "schema",
    cls=Verb,
    short_help=ROOT["schema"].short_help,
    examples=(
        ("Which documents there are:", "gausscert schema"),
        ("What `gausscert status --output json` writes:", "gausscert schema status"),
        ("What any verb writes when it could not be done:", "gausscert schema error"),
    ),
    exits={ExitCode.DONE: "done", ExitCode.REFUSED: "there is no such document"},
)
@click.argument("name", required=False, shell_complete=_names)
@pass_invocation
def command(invocation: Invocation, name: str | None) -> int:
    """Print the JSON Schema of a document that --output json writes.

    NAME is that of its field "schema": status of gausscert/status/v1, ssl-on of gausscert/ssl-on/v1. Fields
    may be added to a version, and none is taken away, renamed or given another meaning.
    """
    from gausscert_coordinator.schemas import SCHEMAS, published

    if name is not None and name not in SCHEMAS:
        raise InvalidInput(
            Reason.USAGE, f"there is no document {name[:80]!r}", remedy="gausscert schema lists all of them"
        )
    wanted = SCHEMAS if name is None else (name,)
    document = {"schemas": {each: published(each) for each in wanted}}
    lines = SCHEMAS if name is None else (json.dumps(published(name), indent=2),)
    invocation.render.result("schema", document, lambda: lines)
    return ExitCode.DONE
