"""`gausscert recover`."""

from __future__ import annotations

import click
from gausscert_common.protocol.recovery import Choice
from gausscert_common.protocol.words import RestartScope

from gausscert_coordinator.cli.group import Verb, pass_invocation
from gausscert_coordinator.cli.replacing import accept_state_option, restart_option
from gausscert_coordinator.cli.settings import Invocation
from gausscert_coordinator.cli.verbs import ROOT
from gausscert_coordinator.exit_codes import ExitCode, exit_code


@click.command(
    "recover",
    cls=Verb,
    short_help=ROOT["recover"].short_help,
    examples=(
        ("Let the nodes' answers decide; roll back where either would be right:", "gausscert recover"),
        ("Finish instead, where either would be right:", "gausscert recover --finish"),
        (
            "Another gausscert still holds the nodes, and you know that it is dead:",
            "gausscert recover --take-over",
        ),
    ),
    exits={
        ExitCode.DONE: "finished, or nothing was in doubt",
        ExitCode.ROLLED_BACK: "rolled back, the cluster is as before",
        ExitCode.REFUSED: "no usable inventory or credential",
        ExitCode.IN_DOUBT: "still in doubt; what it says of each node tells why",
        ExitCode.UNREACHABLE: "nodes unreachable or locked, nothing changed",
        ExitCode.OWN_ERROR: "an error of gausscert's own; look at gausscert status",
    },
)
@click.option(
    "--finish/--roll-back",
    "finish",
    default=False,
    help="What to prefer where the nodes' answers leave the choice. [default: roll back]",
)
@restart_option(None)
@click.option(
    "--take-over", is_flag=True, help="Take the nodes from another gausscert that you know to be dead."
)
@accept_state_option(
    "The transaction was begun with --accept-state: that the cluster serves nothing or is not Normal with its"
    " old set is told, and does not keep it in doubt."
)
@pass_invocation
def command(
    invocation: Invocation, finish: bool, restart: RestartScope | None, take_over: bool, accept_state: bool
) -> int:
    """Finish or roll back a transaction whose coordinator died or lost a node on the way.

    Works from any machine with an operator's or a recoverer's credential: all that counts is what the nodes
    answer. All nodes must be reachable. CM is stopped and started where that is needed.
    """
    from gausscert_coordinator.cli import documents, ending
    from gausscert_coordinator.cli.session import Session

    prefer = Choice.FINISH if finish else Choice.ROLL_BACK
    with Session(invocation) as session:
        result = session.carry_out(
            lambda cluster, watch, interrupt: cluster.recover(
                prefer, take_over, restart, accept_state=accept_state, watch=watch, interrupt=interrupt
            ),
            session.nodes,
        )
    render = invocation.render
    render.result("recover", documents.result(result), lambda: ending.result(result, render.width))
    return exit_code(result)
