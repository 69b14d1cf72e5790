"""`gausscert plan DIR`."""

from __future__ import annotations

from pathlib import Path

import click
from gausscert_common.protocol.words import RestartScope, SslWish

from gausscert_coordinator.cli import stopped
from gausscert_coordinator.cli.group import Verb, pass_invocation
from gausscert_coordinator.cli.passwords import PasswordFiles
from gausscert_coordinator.cli.planned import out_of, out_options
from gausscert_coordinator.cli.replacing import (
    bundle_argument,
    command_line,
    options_of,
    read_bundle,
    replace_options,
    with_findings_of,
)
from gausscert_coordinator.cli.settings import Invocation
from gausscert_coordinator.cli.verbs import ROOT
from gausscert_coordinator.exit_codes import ExitCode, exit_code


@click.command(
    "plan",
    cls=Verb,
    short_help=ROOT["plan"].short_help,
    examples=(
        ("What would a replacement do:", "gausscert plan new-bundle"),
        ("With SSL switched on by the same restart:", "gausscert plan new-bundle --enable-ssl on"),
        ("Without a node that is dead:", "gausscert plan new-bundle --exclude n3"),
        (
            "Keep it, to be looked at today and carried out on Saturday:",
            "gausscert plan new-bundle --out saturday.json",
        ),
        (
            "Without a terminal:",
            "gausscert plan new-bundle --server-password-file s.pw --client-password-file c.pw",
        ),
    ),
    exits={
        ExitCode.DONE: "a replacement would be possible",
        ExitCode.REFUSED: "it would be refused; the findings say why",
        ExitCode.IN_DOUBT: "a transaction is in doubt: run gausscert recover",
        ExitCode.UNREACHABLE: "nodes are unreachable or locked",
        ExitCode.OWN_ERROR: f"with --out: {stopped.WRITING}",
    },
)
@bundle_argument
@out_options
@replace_options
@pass_invocation
def command(
    invocation: Invocation,
    directory: Path,
    out: Path | None,
    valid_days: int | None,
    enable_ssl: SslWish,
    restart: RestartScope | None,
    exclude: tuple[str, ...],
    drop_crls: bool,
    take_over: bool,
    accept_state: bool,
    server_password_file: Path | None,
    client_password_file: Path | None,
) -> int:
    """Show what `gausscert replace DIR` would do on each node, and everything that speaks against it.

    Changes nothing: every node checks the bundle against its own files, clock and CM, and answers.

    With --out a plan that nothing speaks against is kept. gausscert replace --plan carries it out, and
    refuses if the bundle, a live set, enable_ssl, the nodes, their roles or the cluster's state are no longer
    as it says, or there is a warning that it did not have.
    """
    from gausscert_coordinator.cli import documents, tables_plan
    from gausscert_coordinator.cli.session import Session

    keeping = out_of(out, valid_days)
    options = options_of(enable_ssl, restart, drop_crls, take_over, accept_state, exclude)
    with Session(invocation) as session:
        given = read_bundle(invocation, directory, server_password_file, client_password_file)
        made = with_findings_of(given, session.ask(lambda cluster: cluster.plan(given.bundle, options)))
    kept = keeping if made.feasible else None
    if kept is not None:
        kept.keep(invocation, made, directory)
    render = invocation.render
    document = {**documents.plan(made), "plan_file": str(kept.path) if kept is not None else None}
    render.result("plan", document, lambda: tables_plan.plan(made, render.width))
    if made.feasible:
        files = PasswordFiles(server_password_file, client_password_file)
        line = command_line(invocation, directory, options, files)
        if kept is not None:
            line = kept.command_line(invocation, files)
        render.note(f"nothing was changed; to do it: {line}")
    else:
        unwritten = f"; {out} was not written" if out is not None else ""
        render.note(f"a replacement would be refused{unwritten}")
    return exit_code(made)
