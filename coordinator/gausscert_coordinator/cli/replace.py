"""`gausscert replace DIR`."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import click
from gausscert_common.errors import GausscertError, InDoubt, InvalidInput, NodeRefusal, Reason, Unreachable
from gausscert_common.protocol.words import RestartScope, SslWish

from gausscert_coordinator.cli.group import Verb, pass_invocation
from gausscert_coordinator.cli.replacing import (
    bundle_argument,
    options_of,
    read_bundle,
    replace_options,
    with_findings_of,
)
from gausscert_coordinator.cli.settings import Invocation
from gausscert_coordinator.cli.verbs import ROOT
from gausscert_coordinator.exit_codes import MEANING, ExitCode, exit_code

if TYPE_CHECKING:
    from gausscert_common.bundle import Bundle

    from gausscert_coordinator.cli.session import Session
    from gausscert_coordinator.report import Plan, Result


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
@click.option("--yes", "-y", is_flag=True, help="Do not ask before the outage begins.")
@pass_invocation
def command(
    invocation: Invocation,
    directory: Path,
    enable_ssl: SslWish,
    restart: RestartScope | None,
    exclude: tuple[str, ...],
    drop_crls: bool,
    take_over: bool,
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
    if not (yes or invocation.terminal.present):
        raise InvalidInput(
            Reason.USAGE,
            "nobody is there to confirm the outage: standard input is no terminal",
            remedy="add --yes, or run this on a terminal",
        )
    from gausscert_coordinator.cli.session import Session

    given = read_bundle(invocation, directory, server_password_file, client_password_file)
    options = options_of(enable_ssl, restart, drop_crls, take_over, exclude)
    with Session(invocation) as session:
        plan = with_findings_of(given, session.ask(lambda cluster: cluster.plan(given.bundle, options)))
        if not plan.feasible:
            return _refuse(invocation, plan)
        return _go(invocation, session, plan, given.bundle, confirmed=yes)


def _go(invocation: Invocation, session: Session, plan: Plan, bundle: Bundle, *, confirmed: bool) -> int:
    from gausscert_coordinator.cli import tables

    render = invocation.render
    render.note(*tables.plan(plan, render.err_width))
    if not (confirmed or invocation.terminal.confirmed(_question(invocation, plan))):
        declined = InvalidInput(Reason.USAGE, "not confirmed; nothing was changed")
        return _report(invocation, plan, None, declined, ExitCode.REFUSED)
    result = session.carry_out(
        lambda cluster, watch, interrupt: cluster.replace(plan, bundle, watch=watch, interrupt=interrupt),
        tuple(node.node for node in plan.nodes),
    )
    return _report(invocation, plan, result, None, exit_code(result))


def _question(invocation: Invocation, plan: Plan) -> str:
    """The outage is in the plan, just above; with --quiet there is none above."""
    from gausscert_coordinator.cli.layout import counted, harmless

    nodes = counted(len(plan.nodes), "node")
    without = ", ".join(error.node for error in plan.excluded)
    left_out = f", without {without}, which must not run CM until it is brought over" if without else ""
    question = f"Replace the certificates of cluster {plan.cluster} on {nodes}{left_out}?"
    if invocation.settings.quiet:
        question += f" Outage: {plan.outage or 'CM is stopped and started'}."
    return textwrap.fill(harmless(f"{question} [y/N]"), invocation.render.err_width)


def _refuse(invocation: Invocation, plan: Plan) -> int:
    from gausscert_coordinator.cli import tables

    if not invocation.wants_json:
        invocation.render.important(*tables.plan(plan, invocation.render.err_width))
    return _report(invocation, plan, None, refusal(plan), exit_code(plan))


def refusal(plan: Plan) -> GausscertError:
    """Why a plan is not carried out, in one error; the plan has the details."""
    code = exit_code(plan)
    if plan.in_flight and code is ExitCode.UNREACHABLE:
        return NodeRefusal(
            Reason.LOCKED,
            "refused: another gausscert is at work; nothing was changed",
            node=", ".join(error.node for error in plan.blocked),
            remedy="wait for it to end, then try again",
        )
    if code is ExitCode.IN_DOUBT:
        names = ", ".join(error.node for error in plan.blocked)
        return InDoubt(
            Reason.IN_DOUBT,
            "refused: a transaction is in doubt; nothing was changed",
            node=names,
            remedy="run gausscert recover, then try again",
        )
    if any(error.reason is Reason.NODES_EXCLUDED for error in plan.blocked):
        return NodeRefusal(
            Reason.NODES_EXCLUDED,
            "refused: a committed transaction waits for nodes that were excluded; nothing was changed",
            node=", ".join(error.node for error in plan.blocked),
            remedy=plan.blocked[0].remedy,
        )
    if code is ExitCode.UNREACHABLE:
        names = ", ".join(error.node for error in (*plan.unreachable, *plan.blocked))
        return Unreachable(
            Reason.UNREACHABLE if plan.unreachable else Reason.LOCKED,
            "refused: nodes are unreachable or locked; nothing was changed",
            node=names,
            remedy="mend what is said of each node, then try again"
            + ("; --exclude leaves out a node that is dead (docs/runbook.md)" if plan.unreachable else ""),
        )
    return InvalidInput(
        Reason.BUNDLE_INVALID,
        "refused; nothing was changed",
        remedy="mend what is found, then try again",
        findings=plan.findings,
    )


def _report(
    invocation: Invocation, plan: Plan, result: Result | None, error: GausscertError | None, code: int
) -> int:
    from gausscert_coordinator.cli import documents, ending, tables

    render = invocation.render
    document = {
        "plan": documents.plan(plan),
        "result": documents.result(result) if result is not None else None,
        "error": documents.error(error) if error is not None else None,
    }
    if error is not None and not invocation.wants_json:
        render.important(*tables.verdict(error))
    else:
        render.result(
            "replace", document, lambda: ending.result(result, render.width) if result is not None else ()
        )
    return code
