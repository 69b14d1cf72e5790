"""`gausscert ssl off`."""

from __future__ import annotations

import click
from gausscert_common.protocol.words import RestartScope, SslWish

from gausscert_coordinator.cli.group import Verb, pass_invocation
from gausscert_coordinator.cli.settings import Invocation
from gausscert_coordinator.cli.switching import switch, switch_options
from gausscert_coordinator.cli.verbs import SSL
from gausscert_coordinator.exit_codes import MEANING


@click.command(
    "off",
    cls=Verb,
    short_help=SSL["off"].short_help,
    examples=(
        ("Plan, ask, switch, prove:", "gausscert ssl off"),
        ("What it would do, and all that speaks against it:", "gausscert ssl off --dry-run"),
        ("Each node stops and starts its own CM (no ssh trust):", "gausscert ssl off --restart node"),
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
    """Switch enable_ssl off in cm_server.conf and cm_agent.conf of every node, or of none, and restart CM.

    A transaction like `gausscert replace`; the sets stay as they are. What is wrong with them is told and
    refuses nothing. Afterwards every cm_server must be seen, from every node, to answer that SSL is off. Any
    failure puts both files of every node back to the byte, and CM is restarted with them.
    """
    return switch(
        invocation,
        SslWish.OFF,
        restart=restart,
        take_over=take_over,
        accept_state=accept_state,
        dry_run=dry_run,
        yes=yes,
    )
