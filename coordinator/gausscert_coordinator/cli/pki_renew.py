"""`gausscert pki renew`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from gausscert_common.errors import InvalidInput, Reason

from gausscert_coordinator import regular_files
from gausscert_coordinator.cli import ca_key, completing, stopped
from gausscert_coordinator.cli.group import Verb, pass_invocation
from gausscert_coordinator.cli.places import Place
from gausscert_coordinator.cli.settings import Invocation
from gausscert_coordinator.cli.verbs import PKI
from gausscert_coordinator.exit_codes import ExitCode

if TYPE_CHECKING:
    from gausscert_coordinator.inventory import Inventory


@click.command(
    "renew",
    cls=Verb,
    short_help=PKI["renew"].short_help,
    examples=(
        ("The credentials of all agents, over the wire:", "gausscert pki renew --all-nodes --dir pki"),
        ("Of some:", "gausscert pki renew --node n1 --node n2 --dir pki"),
        (
            "Your own; then move the files to where gausscert.toml says:",
            "gausscert pki renew pki/operator-alice.crt --dir pki --out renewed",
        ),
    ),
    exits={
        ExitCode.DONE: "renewed",
        ExitCode.REFUSED: "refused, here or by a node; what is not told as renewed has what it had",
        ExitCode.UNREACHABLE: "some node did not answer, or it was stopped: run it again; others are renewed",
        ExitCode.OWN_ERROR: f"with CERT: {stopped.WRITING}",
    },
)
@click.argument("certificate", metavar="[CERT]", required=False, type=Place())
@click.option(
    "--node",
    "nodes",
    multiple=True,
    metavar="NAME",
    shell_complete=completing.nodes,
    help="The agent of this node; repeatable.",
)
@click.option("--all-nodes", is_flag=True, help="The agents of all nodes of the inventory.")
@ca_key.directory_option
@click.option("--out", metavar="DIR", type=Place(), help="Where the renewed files go, with CERT.")
@click.option("--days", type=int, help="Validity. [default: 825 for a node, 365 for a person]")
@ca_key.passphrase_option
@pass_invocation
def command(
    invocation: Invocation,
    certificate: Path | None,
    nodes: tuple[str, ...],
    all_nodes: bool,
    directory: Path,
    out: Path | None,
    days: int | None,
    passphrase_file: Path | None,
) -> int:
    """Issue an identity anew: the same role and name, a new key, a new term.

    With --node or --all-nodes each agent makes its new key by itself, which never leaves the node, has it
    signed here with the CA, and serves with it from then on, without a restart and without losing a call. It
    is asked over the connection that its present credential serves; one that has expired, or was lost, is
    replaced by its files: gausscert pki issue node NAME. An operator's credential is needed.

    With CERT, the certificate of a person or of a node, the new files go to --out; nothing is written over.
    The former one stays valid until it ends: gausscert pki revoke NAME --keep-newest --dir DIR denies it
    sooner.
    """
    by_wire = bool(nodes) or all_nodes
    if by_wire == (certificate is not None) or (nodes and all_nodes):
        raise InvalidInput(
            Reason.USAGE, "one thing can be renewed at a time", remedy="give CERT, --node or --all-nodes"
        )
    if by_wire == (out is not None):
        raise InvalidInput(
            Reason.USAGE,
            "--out is for files; agents keep their credentials by themselves"
            if by_wire
            else "--out is missing",
            remedy="leave --out away" if by_wire else "say with --out where the renewed files shall go",
        )
    passphrase = ca_key.passphrase(invocation, directory, passphrase_file)
    if certificate is not None and out is not None:
        return _files(invocation, directory, certificate, out, passphrase, days)
    return _agents(invocation, directory, nodes, passphrase, days)


def _files(
    invocation: Invocation,
    directory: Path,
    certificate: Path,
    out: Path,
    passphrase: bytes | None,
    days: int | None,
) -> int:
    from gausscert_coordinator import pki
    from gausscert_coordinator.cli import tables_pki

    invocation.stopped = stopped.while_writing(out)
    document, lines, place = tables_pki.issued(pki.renew(directory, certificate, out, passphrase, days))
    invocation.render.result("pki renew", {**document, "nodes": []}, lambda: lines)
    invocation.render.note(f"next: move the files to {place}, over the former ones; the key is a secret")
    return ExitCode.DONE


def _agents(
    invocation: Invocation,
    directory: Path,
    nodes: tuple[str, ...],
    passphrase: bytes | None,
    days: int | None,
) -> int:
    from gausscert_coordinator.cli import control_session, tables_pki
    from gausscert_coordinator.exit_codes import gravest
    from gausscert_coordinator.pki_requests import Signer

    inventory = invocation.inventory()
    signer = Signer(directory, passphrase, _trusted(inventory), days)
    invocation.stopped = stopped.while_telling_nodes("agents may have been renewed, and serve with it")
    wanted = nodes or tuple(node.name for node in inventory.nodes)
    shown = control_session.ask(invocation, inventory, lambda control: control.renew(wanted, signer))
    invocation.render.result(
        "pki renew", tables_pki.renewed_document(shown), lambda: tables_pki.renewed(shown)
    )
    return gravest(each.error for each in shown if each.error is not None)


def _trusted(inventory: Inventory) -> bytes:
    try:
        return regular_files.read(inventory.credentials.ca)
    except OSError as error:
        raise InvalidInput(
            Reason.CREDENTIAL_INVALID,
            f"the CA cannot be read: {error.strerror}",
            file=str(inventory.credentials.ca),
            remedy="look at [credentials] in the inventory",
        ) from error
