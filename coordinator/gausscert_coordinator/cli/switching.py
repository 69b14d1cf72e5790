"""What `ssl on` and `ssl off` have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from gausscert_coordinator.cli import transacting
from gausscert_coordinator.cli.replacing import options_of, outage_options, yes_option
from gausscert_coordinator.cli.transacting import Errand
from gausscert_coordinator.exit_codes import exit_code

if TYPE_CHECKING:
    from collections.abc import Callable

    from gausscert_common.protocol.words import RestartScope, SslWish

    from gausscert_coordinator.cli.settings import Invocation


def switch_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Everything that the operator may choose."""
    dry_run = click.option(
        "--dry-run", is_flag=True, help="Only show the plan; change nothing and ask nothing."
    )
    return outage_options(dry_run(yes_option(function)))


def switch(
    invocation: Invocation,
    wish: SslWish,
    *,
    restart: RestartScope | None,
    take_over: bool,
    accept_state: bool,
    dry_run: bool,
    yes: bool,
) -> int:
    """Plan it, ask, carry it out; answers the exit code."""
    if not dry_run:
        transacting.require_somebody(invocation, yes)
    from gausscert_coordinator.cli import documents, tables_plan
    from gausscert_coordinator.cli.session import Session

    verb = f"ssl {wish}"
    options = options_of(wish, restart, False, take_over, accept_state)
    with Session(invocation) as session:
        plan = session.ask(lambda cluster: cluster.plan_ssl(wish, options))
        if not dry_run:
            errand = Errand(
                verb,
                f"Switch SSL {wish} and restart CM",
                lambda cluster, watch, interrupt: cluster.switch_ssl(plan, watch=watch, interrupt=interrupt),
            )
            return transacting.go(invocation, session, plan, errand, confirmed=yes)
    render = invocation.render
    document = {"plan": documents.plan(plan), "result": None, "error": None}
    render.result(verb, document, lambda: tables_plan.plan(plan, render.width))
    render.note("nothing was changed" if plan.feasible else f"{verb} would be refused")
    return exit_code(plan)
