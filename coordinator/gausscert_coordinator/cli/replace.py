"""`gausscert replace DIR`."""

from __future__ import annotations

from pathlib import Path

import click
from gausscert_common.protocol.words import RestartScope, SslWish

from gausscert_coordinator.cli import transacting
from gausscert_coordinator.cli.group import Verb, pass_invocation
from gausscert_coordinator.cli.replacing import (
    bundle_argument,
    options_of,
    read_bundle,
    replace_options,
    with_findings_of,
    yes_option,
)
from gausscert_coordinator.cli.settings import Invocation
from gausscert_coordinator.cli.transacting import Errand
from gausscert_coordinator.cli.verbs import ROOT
from gausscert_coordinator.exit_codes import MEANING


@click.command(
    "replace",
    cls=Verb,
    short_help=ROOT["replace"].short_help,
    examples=(
        ("Plan, ask, replace, prove:", "gausscert replace new-bundle"),
        (
            "Each node stops and starts its own CM (no ssh trust):",
            "gausscert replace new-bundle --restart node",
        ),
        (
            "Without a node that is dead; bring it over later with gausscert recover --bundle new-bundle:",
            "gausscert replace new-bundle --exclude n3",
        ),
        (
            "From a script:",
            "gausscert replace new-bundle --yes --server-password-file s.pw --client-password-file c.pw",
        ),
        ("With one document for a program:", "gausscert replace new-bundle --yes --output json ..."),
    ),
    exits=MEANING,
)
@bundle_argument
@replace_options
@yes_option
@pass_invocation
def command(
    invocation: Invocation,
    directory: Path,
    enable_ssl: SslWish,
    restart: RestartScope | None,
    exclude: tuple[str, ...],
    drop_crls: bool,
    take_over: bool,
    accept_state: bool,
    server_password_file: Path | None,
    client_password_file: Path | None,
    yes: bool,
) -> int:
    """Replace the certificates of every node with the bundle in DIR, or of none.

    First the plan, as `gausscert plan` shows it; anything that speaks against it refuses here, before
    anything changed. Then CM is stopped, all nodes exchange their sets, CM starts, and every cm_server is
    asked what it serves. Any failure until then puts every node back as it was.

    A node that does not answer refuses it, too. With --exclude it is done without that node; what that means
    is in the plan and in docs/runbook.md.

    Ctrl-C and SIGTERM turn back as long as that is possible. A closed terminal does not stop it.
    """
    transacting.require_somebody(invocation, yes)
    from gausscert_coordinator.cli.session import Session

    given = read_bundle(invocation, directory, server_password_file, client_password_file)
    options = options_of(enable_ssl, restart, drop_crls, take_over, accept_state, exclude)
    with Session(invocation) as session:
        plan = with_findings_of(given, session.ask(lambda cluster: cluster.plan(given.bundle, options)))
        return transacting.go(
            invocation,
            session,
            plan,
            Errand(
                "replace",
                "Replace the certificates",
                lambda cluster, watch, interrupt: cluster.replace(
                    plan, given.bundle, watch=watch, interrupt=interrupt
                ),
            ),
            confirmed=yes,
        )
