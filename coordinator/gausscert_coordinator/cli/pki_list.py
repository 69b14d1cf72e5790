"""`gausscert pki list`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gausscert_coordinator.cli import ca_key
from gausscert_coordinator.cli.group import Verb, pass_invocation
from gausscert_coordinator.cli.settings import Invocation
from gausscert_coordinator.cli.verbs import PKI
from gausscert_coordinator.exit_codes import ExitCode

if TYPE_CHECKING:
    from gausscert_coordinator.control_plane import Held


@click.command(
    "list",
    cls=Verb,
    short_help=PKI["list"].short_help,
    examples=(
        ("Who there is:", "gausscert pki list --dir pki"),
        ("And what each agent has:", "gausscert pki list --dir pki --nodes"),
        (
            "For a program:",
            "gausscert pki list --dir pki --output json | jq '.identities[] | [.identity, .state]'",
        ),
    ),
    exits={
        ExitCode.DONE: "shown, whatever has expired",
        ExitCode.REFUSED: "no CA there, or a deny list that is not understood",
        ExitCode.UNREACHABLE: "some agent did not answer",
    },
)
@ca_key.directory_option
@click.option("--nodes", "ask_agents", is_flag=True, help="Ask every agent of the inventory what it has.")
@pass_invocation
def command(invocation: Invocation, directory: Path, ask_agents: bool) -> int:
    """List every identity that the CA in DIR has issued: role, name, serial, days left, revoked or not.

    Superseded means that a newer one of the same role and name is there; it is still good until it ends or is
    revoked. With --nodes, also what each agent has: its own credential and the CAs that it trusts. The key of
    the CA is not needed.
    """
    from gausscert_coordinator import pki_register
    from gausscert_coordinator.cli import control_session
    from gausscert_coordinator.cli.tables_pki import Listing
    from gausscert_coordinator.exit_codes import gravest

    entries = pki_register.entries(directory)
    held: tuple[Held, ...] = ()
    if ask_agents:
        held = control_session.ask(invocation, invocation.inventory(), lambda control: control.held())
    listing = Listing(entries, held)
    render = invocation.render
    render.result("pki list", listing.document(), lambda: listing.table(render.width))
    return gravest(each.error for each in held if each.error is not None)
