"""`gausscert ssl on`."""

from __future__ import annotations

import click
from gausscert_common.protocol.words import RestartScope, SslWish

from gausscert_coordinator.cli.group import Verb, pass_invocation
from gausscert_coordinator.cli.settings import Invocation
from gausscert_coordinator.cli.switching import switch, switch_options
from gausscert_coordinator.cli.verbs import SSL
from gausscert_coordinator.exit_codes import MEANING


@click.command(
    "on",
    cls=Verb,
    short_help=SSL["on"].short_help,
    examples=(
        ("Plan, ask, switch, prove:", "gausscert ssl on"),
        ("What it would do, and all that speaks against it:", "gausscert ssl on --dry-run"),
        ("Each node stops and starts its own CM (no ssh trust):", "gausscert ssl on --restart node"),
    ),
    exits=MEANING,
)
@switch_options
@pass_invocation
def command(
    invocation: Invocation,
    restart: RestartScope | None,
    take_over: bool,
    accept_state: bool,
    dry_run: bool,
    yes: bool,
) -> int:
    """Switch enable_ssl on in cm_server.conf and cm_agent.conf of every node, or of none, and restart CM.

    A transaction like `gausscert replace`; the sets stay as they are. First every node judges its live set as
    if it was new: with one that has expired or does not fit together cm_server would not start, or refuse
    everybody. Afterwards every cm_server must be seen, from every node, to serve its certificate. Any failure
    puts both files of every node back to the byte, and CM is restarted with them.
    """
    return switch(
        invocation,
        SslWish.ON,
        restart=restart,
        take_over=take_over,
        accept_state=accept_state,
        dry_run=dry_run,
        yes=yes,
    )
