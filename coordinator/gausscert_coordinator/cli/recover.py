"""`gausscert recover`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from gausscert_common.errors import InvalidInput, Reason
from gausscert_common.protocol.recovery import Choice
from gausscert_common.protocol.words import RestartScope

from gausscert_coordinator.cli import completing
from gausscert_coordinator.cli.group import Verb, pass_invocation
from gausscert_coordinator.cli.passwords import PasswordFiles, complete, password_options
from gausscert_coordinator.cli.replacing import accept_state_option, restart_option, yes_option
from gausscert_coordinator.cli.settings import Invocation
from gausscert_coordinator.cli.verbs import ROOT
from gausscert_coordinator.exit_codes import ExitCode, exit_code

if TYPE_CHECKING:
    from gausscert_common.bundle import Bundle


@click.command(
    "recover",
    cls=Verb,
    short_help=ROOT["recover"].short_help,
    examples=(
        ("Let the nodes' answers decide; roll back where either would be right:", "gausscert recover"),
        ("Finish instead, where either would be right:", "gausscert recover --finish"),
        (
            "Bring nodes over that were excluded and are back, with the bundle that was used then:",
            "gausscert recover --bundle new-bundle",
        ),
        ("A machine died for good in the middle; recover on the others:", "gausscert recover --exclude n3"),
        (
            "Another gausscert still holds the nodes, and you know that it is dead:",
            "gausscert recover --take-over",
        ),
    ),
    exits={
        ExitCode.DONE: "finished, or nothing was in doubt",
        ExitCode.ROLLED_BACK: "rolled back, the cluster is as before",
        ExitCode.REFUSED: "no usable inventory, credential or bundle; nothing changed",
        ExitCode.IN_DOUBT: "still in doubt, or nodes contradict each other or hold different sets; what is"
        " said of each node tells why",
        ExitCode.UNREACHABLE: "nodes unreachable or locked, nothing changed; or excluded nodes are still"
        " away, and those that are back were brought over",
        ExitCode.OWN_ERROR: "an error of gausscert's own; look at gausscert status",
    },
)
@click.option(
    "--finish/--roll-back",
    "finish",
    default=False,
    help="What to prefer where the nodes' answers leave the choice. [default: roll back]",
)
@restart_option("as the transaction began")
@click.option(
    "--bundle",
    "directory",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False, readable=False),
    help="The bundle of the committed transaction, for excluded nodes that are back; no node hands out a key"
    " itself.",
)
@click.option(
    "--exclude",
    multiple=True,
    metavar="NODE",
    shell_complete=completing.nodes,
    help="Recover without a node that died in the middle; may be repeated. Refused where only that node could"
    " tell how the transaction ended.",
)
@password_options
@yes_option
@click.option(
    "--take-over", is_flag=True, help="Take the nodes from another gausscert that you know to be dead."
)
@accept_state_option(
    "The transaction was begun with --accept-state: that the cluster serves nothing or is not Normal with its"
    " old set is told, and does not keep it in doubt."
)
@pass_invocation
def command(
    invocation: Invocation,
    finish: bool,
    restart: RestartScope | None,
    directory: Path | None,
    exclude: tuple[str, ...],
    server_password_file: Path | None,
    client_password_file: Path | None,
    yes: bool,
    take_over: bool,
    accept_state: bool,
) -> int:
    """Finish or roll back a transaction whose coordinator died or lost a node on the way.

    Works from any machine with an operator's or a recoverer's credential: all that counts is what the nodes
    answer. All nodes of the transaction must be reachable. CM is stopped and started where that is needed:
    at a terminal it says first what is in doubt and what will be down, and asks. Elsewhere it asks nobody.

    With --exclude, a node that died in the middle is left out, if what the others answer and how far they had
    come leaves only one decision that cannot contradict it. Make sure first that the machine is dead. When it
    is back, plain recover brings it to what was decided; docs/runbook.md, A machine that dies in the middle.

    A transaction that was carried out without some nodes (replace --exclude) waits for them, committed. With
    --bundle, those that are back get its set by a transaction of their own: CM is stopped there, and starts
    with that set only. This takes an operator's credential. One that is gone for good is taken out of CM and
    of the inventory; recover then no longer waits for it. When nobody is waited for any more, the old sets
    are retired.
    """
    from gausscert_coordinator.cli import asking, documents, ending
    from gausscert_coordinator.cli.session import Session

    prefer = Choice.FINISH if finish else Choice.ROLL_BACK
    files = PasswordFiles(server_password_file, client_password_file)
    _require_bundle(directory, files)
    with Session(invocation) as session:
        bundle = _read_bundle(invocation, directory, files) if directory is not None else None
        if not (
            yes
            or asking.recovery_agreed(invocation, session, prefer, restart, exclude, joins=bundle is not None)
        ):
            raise InvalidInput(Reason.USAGE, "not confirmed; nothing was changed")
        result = session.carry_out(
            lambda cluster, watch, interrupt: cluster.recover(
                prefer,
                take_over,
                restart,
                bundle=bundle,
                exclude=exclude,
                accept_state=accept_state,
                watch=watch,
                interrupt=interrupt,
            ),
            session.nodes,
        )
    render = invocation.render
    render.result("recover", documents.result(result), lambda: ending.result(result, render.width))
    return exit_code(result)


def _require_bundle(directory: Path | None, files: PasswordFiles) -> None:
    """A password that opens nothing was meant for something."""
    if directory is None and files != PasswordFiles():
        named = " and ".join(files.words()[::2])
        raise InvalidInput(
            Reason.USAGE, f"{named} without --bundle", remedy="name the bundle, or leave the password out"
        )


def _read_bundle(invocation: Invocation, directory: Path, files: PasswordFiles) -> Bundle:
    """What is wrong with its files is said before anybody is asked for a password: no node judges them here,
    and a key that is not read would only make it another bundle."""
    from gausscert_common.bundle import Bundle

    from gausscert_coordinator import bundle_files
    from gausscert_coordinator.cli import tables

    read = bundle_files.read_directory(directory)
    bundle_files.require_readable(directory, read.findings)
    if read.findings:
        invocation.render.note(tables.findings(read.findings, invocation.render.err_width))
    return complete(Bundle(read.pem, factor_files=read.factor_files), files, invocation.terminal)
