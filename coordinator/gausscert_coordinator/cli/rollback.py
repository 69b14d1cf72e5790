"""`gausscert rollback`."""

from __future__ import annotations

import click
from gausscert_common.protocol.words import RestartScope, SslWish

from gausscert_coordinator.cli import completing_history, transacting
from gausscert_coordinator.cli.group import Verb, pass_invocation
from gausscert_coordinator.cli.replacing import (
    drop_crls_option,
    options_of,
    transaction_options,
    yes_option,
)
from gausscert_coordinator.cli.settings import Invocation
from gausscert_coordinator.cli.transacting import Errand
from gausscert_coordinator.cli.verbs import ROOT
from gausscert_coordinator.exit_codes import MEANING, ExitCode, exit_code

_EXITS = MEANING | {ExitCode.ROLLED_BACK: "turned back; the cluster is as before, with what it had then"}


@click.command(
    "rollback",
    cls=Verb,
    short_help=ROOT["rollback"].short_help,
    examples=(
        ("Back to what was live before the last replacement:", "gausscert rollback"),
        ("What that would do, and all that speaks against it:", "gausscert rollback --dry-run"),
        ("Which generations there are:", "gausscert status"),
        ("Back to one of them:", "gausscert rollback --to 20261102t120000z-9f3c1a"),
    ),
    exits=_EXITS,
)
@click.option(
    "--to",
    "generation",
    metavar="GENERATION",
    shell_complete=completing_history.generations,
    help="The transaction that retired the wanted sets. [default: the newest that all nodes have]",
)
@transaction_options
@drop_crls_option("Do not bring the generation's own server.crl and client.crl back: they may be stale.")
@click.option("--dry-run", is_flag=True, help="Only show the plan; change nothing and ask nothing.")
@yes_option
@pass_invocation
def command(
    invocation: Invocation,
    generation: str | None,
    enable_ssl: SslWish,
    restart: RestartScope | None,
    take_over: bool,
    accept_state: bool,
    drop_crls: bool,
    dry_run: bool,
    yes: bool,
) -> int:
    """Make a former set of every node live again, or of none.

    A transaction like `gausscert replace`, from the sets that the nodes have retired, with their own
    passwords: no bundle is needed. First every node judges its former set as if it was new, by its own clock:
    what has expired since is refused here, before anything changed. Afterwards the sets that were live are a
    generation themselves, so that a rollback can be rolled back.

    To end a transaction that is in doubt is another matter: see `gausscert recover`.
    """
    if not dry_run:
        transacting.require_somebody(invocation, yes)
    from gausscert_coordinator.cli import documents, tables_plan
    from gausscert_coordinator.cli.session import Session

    options = options_of(enable_ssl, restart, drop_crls, take_over, accept_state)
    with Session(invocation) as session:
        plan = session.ask(lambda cluster: cluster.plan_rollback(generation, options))
        if not dry_run:
            errand = Errand(
                "rollback",
                f"Go back to the certificates of generation {plan.generation}",
                lambda cluster, watch, interrupt: cluster.rollback(plan, watch=watch, interrupt=interrupt),
            )
            return transacting.go(invocation, session, plan, errand, confirmed=yes)
    render = invocation.render
    document = {"plan": documents.plan(plan), "result": None, "error": None}
    render.result("rollback", document, lambda: tables_plan.plan(plan, render.width))
    render.note("nothing was changed" if plan.feasible else "a rollback would be refused")
    return exit_code(plan)
