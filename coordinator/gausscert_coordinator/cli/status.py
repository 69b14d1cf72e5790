"""`gausscert status`."""

from __future__ import annotations

import click

from gausscert_coordinator.cli.group import Verb, pass_invocation
from gausscert_coordinator.cli.settings import Invocation
from gausscert_coordinator.cli.verbs import ROOT
from gausscert_coordinator.exit_codes import ExitCode


@click.command(
    "status",
    cls=Verb,
    short_help=ROOT["status"].short_help,
    examples=(
        ("Look at the cluster of ./gausscert.toml:", "gausscert status"),
        ("Another cluster:", "gausscert status --inventory /etc/gausscert/staging.toml"),
        ("For a program, with whole fingerprints:", "gausscert status --output json"),
    ),
    exits={
        ExitCode.DONE: "every node answered",
        ExitCode.REFUSED: "no usable inventory or credential",
        ExitCode.IN_DOUBT: "a transaction is not over, or waits for nodes that are back; if nobody is at it"
        " any more, run gausscert recover; or a node's journal is damaged",
        ExitCode.UNREACHABLE: "some node did not answer",
    },
)
@pass_invocation
def command(invocation: Invocation) -> int:
    """Show every node: the certificate on disk and the one its cm_server serves, the days until the first
    certificate expires, file modes, enable_ssl, whether CM runs, and any transaction.

    Drift means that a cm_server serves another certificate than the one on its disk: it was not restarted.
    """
    from gausscert_coordinator.cli import documents, judge, tables_status
    from gausscert_coordinator.cli.session import Session

    with Session(invocation) as session:
        found = session.ask(lambda cluster: cluster.status())
    render = invocation.render
    verbose = invocation.settings.verbose
    render.result(
        "status", documents.status(found), lambda: tables_status.status(found, render.width, verbose=verbose)
    )
    return judge.status_code(found)
