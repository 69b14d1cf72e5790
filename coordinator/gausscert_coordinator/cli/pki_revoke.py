"""`gausscert pki revoke NAME`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from gausscert_common.errors import InvalidInput, Reason
from gausscert_common.identity import Role

from gausscert_coordinator.cli import ca_key, stopped
from gausscert_coordinator.cli.group import Verb, pass_invocation
from gausscert_coordinator.cli.settings import Invocation
from gausscert_coordinator.cli.verbs import PKI
from gausscert_coordinator.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gausscert_coordinator.control_plane import Denial
    from gausscert_coordinator.inventory import Inventory
    from gausscert_coordinator.pki_register import Entry

_PERSONS = [role.value for role in Role if role is not Role.NODE]


@click.command(
    "revoke",
    cls=Verb,
    short_help=PKI["revoke"].short_help,
    examples=(
        ("Somebody has left, or a key is lost:", "gausscert pki revoke alice --dir pki"),
        (
            "A node was away: tell it what it missed, by the same command:",
            "gausscert pki revoke alice --dir pki",
        ),
        (
            "After a renewal, only what was renewed:",
            "gausscert pki revoke alice --dir pki --keep-newest",
        ),
        ("On a machine that reaches no node:", "gausscert pki revoke alice --dir pki --no-send"),
    ),
    exits={
        ExitCode.DONE: "revoked, and every node refuses it",
        ExitCode.REFUSED: "nobody of that name, your own credential, a CA of another cluster than the"
        " inventory's, or a node that refuses",
        ExitCode.UNREACHABLE: "revoked here, but some node did not answer, or it was stopped: run it again",
        ExitCode.OWN_ERROR: f"with --no-send: {stopped.WRITING}",
    },
)
@click.argument("name", metavar="NAME")
@click.option(
    "--role",
    type=click.Choice(_PERSONS, case_sensitive=False),
    help="Where one name has several roles; all of them otherwise.",
)
@click.option(
    "--keep-newest",
    is_flag=True,
    help="Revoke what a newer credential of the same role has replaced, by the order of issue.",
)
@click.option("--keep", metavar="SERIAL", help="Revoke all but this one, as gausscert pki list has it.")
@click.option("--no-send", is_flag=True, help="Only write deny.list; nodes are told by the next pki revoke.")
@ca_key.directory_option
@pass_invocation
def command(
    invocation: Invocation,
    name: str,
    role: str | None,
    keep_newest: bool,
    keep: str | None,
    no_send: bool,
    directory: Path,
) -> int:
    """Revoke the credentials of a person: every agent refuses them from now on, also on connections that are
    open, and for health checks, too.

    What is revoked stands in deny.list beside the CA and, on each node, in the agent's state directory. The
    whole list is sent, and agents only ever add to theirs, so it may be sent again at any time. The key of
    the CA is not needed, but an operator's credential that is not itself revoked.

    A node's credential cannot be revoked: agents show it and call nobody. If its key has leaked, change the
    CA: see `Rotation of the control plane` in docs/runbook.md.
    """
    from gausscert_coordinator import pki_register
    from gausscert_coordinator.cli import control_session, tables_pki
    from gausscert_coordinator.exit_codes import gravest

    found = _found(pki_register.entries(directory), name, role)
    kept = _kept(found, keep, keep_newest=keep_newest)
    chosen = tuple(each for each in found if each not in kept)
    inventory = None if no_send else _told(invocation, found, chosen)
    invocation.stopped = (
        stopped.while_listing(directory / pki_register.DENY_LIST)
        if inventory is None
        else stopped.while_telling_nodes(
            "deny.list beside the CA may have what was revoked, and nodes may know"
        )
    )
    listed = pki_register.revoke(directory, chosen, "revoked")
    shown: tuple[Denial, ...] = ()
    if inventory is not None:
        lines = "".join(f"{one.line}\n" for one in listed.entries).encode()
        cluster = inventory.cluster
        shown = control_session.ask(invocation, inventory, lambda control: control.deny(lines, cluster))
    invocation.render.result(
        "pki revoke",
        tables_pki.revoked_document(chosen, shown),
        lambda: tables_pki.revoked(chosen, shown),
    )
    return gravest(each.error for each in shown if each.error is not None)


def _found(entries: Sequence[Entry], name: str, role: str | None) -> tuple[Entry, ...]:
    of_name = [each for each in entries if each.identity.name == name]
    found = [each for each in of_name if each.role is not Role.NODE and role in (None, each.role.value)]
    if not found:
        is_node = any(each.role is Role.NODE for each in of_name)
        raise InvalidInput(
            Reason.ARGUMENT_INVALID,
            f"{name} is a node, which calls nobody" if is_node else f"nothing was issued here to {name}",
            remedy="see `Rotation of the control plane` in docs/runbook.md"
            if is_node
            else "see gausscert pki list; what it does not know goes into deny.list by its serial",
        )
    return tuple(found)


def _kept(found: Sequence[Entry], serial: str | None, *, keep_newest: bool) -> tuple[Entry, ...]:
    """What is not to be revoked."""
    from datetime import UTC, datetime

    from gausscert_coordinator import pki_register

    if serial is not None and keep_newest:
        raise InvalidInput(
            Reason.USAGE, "one can be kept by its serial or by its age", remedy="leave --keep-newest away"
        )
    if serial is not None:
        named = tuple(each for each in found if each.serial == serial.lower().lstrip("0"))
        if not named:
            raise InvalidInput(
                Reason.ARGUMENT_INVALID,
                f"none of these credentials has the serial {serial[:80]!r}",
                remedy=f"choose from {', '.join(each.serial for each in found)}",
            )
        return named
    if not keep_newest:
        return ()
    now = datetime.now(UTC)
    by_role = ([each for each in found if each.identity == one] for one in {each.identity for each in found})
    newest = (pki_register.newest(each, now) for each in by_role)
    return tuple(each for each in newest if each is not None)


def _told(invocation: Invocation, found: Sequence[Entry], chosen: Sequence[Entry]) -> Inventory:
    """Whose agents are told. Those of another cluster would take the list, and refuse nobody by it whom they
    let in; and whoever revokes himself could tell nobody."""
    from datetime import UTC, datetime

    from gausscert_common import credentials

    from gausscert_coordinator.control_plane import require_same_cluster

    inventory = invocation.inventory()
    for each in found:
        require_same_cluster(each.identity.cluster, inventory)
    own = credentials.load_person(inventory.credentials, cluster=inventory.cluster, now=datetime.now(UTC))
    if any(each.fingerprint == own.own.fingerprint for each in chosen):
        raise InvalidInput(
            Reason.ARGUMENT_INVALID,
            "this is the credential that you would tell the nodes with",
            file=str(inventory.credentials.cert),
            remedy="name the credential of another operator in the inventory",
        )
    return inventory
