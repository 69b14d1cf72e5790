"""`gausscert replace DIR` and `gausscert replace --plan FILE`."""

from __future__ import annotations

from pathlib import Path

import click
from gausscert_common.protocol.words import RestartScope, SslWish

from gausscert_coordinator.cli import planned, transacting
from gausscert_coordinator.cli.group import Verb, pass_invocation
from gausscert_coordinator.cli.replacing import (
    bundle_or_plan,
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
        ("What was planned and agreed to before:", "gausscert replace --plan saturday.json"),
        ("With one document for a program:", "gausscert replace new-bundle --yes --output json ..."),
    ),
    exits=MEANING,
)
@bundle_or_plan
@replace_options
@yes_option
@pass_invocation
def command(
    invocation: Invocation,
    directory: Path | None,
    plan_file: Path | None,
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

    With --plan, the bundle and the options are those of a plan that gausscert plan --out has written; it is
    refused, too, if anything is no longer as that plan says.

    A node that does not answer refuses it, too. With --exclude it is done without that node; what that means
    is in the plan and in docs/runbook.md.

    Ctrl-C and SIGTERM turn back as long as that is possible. A third Ctrl-C abandons it, in doubt. A closed
    terminal and Ctrl-Z do not stop it.
    """
    context = click.get_current_context()
    where, agreed = planned.source(directory, plan_file, context)
    transacting.require_somebody(invocation, yes)
    from gausscert_coordinator.cli.session import Session

    options = options_of(enable_ssl, restart, drop_crls, take_over, accept_state, exclude)
    if agreed is not None:
        options = agreed.options(options, context)
        agreed.choose_cluster(invocation.settings)
        invocation.render.note(agreed.introduced())
    with Session(invocation) as session:
        given = read_bundle(invocation, where, server_password_file, client_password_file)
        plan = with_findings_of(given, session.ask(lambda cluster: cluster.plan(given.bundle, options)))
        if agreed is not None:
            plan = agreed.held_to(plan, invocation)
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
