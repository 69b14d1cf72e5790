"""`gausscert pki issue ROLE NAME`."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import click
from gausscert_common.errors import InvalidInput, Reason
from gausscert_common.identity import Role

from gausscert_coordinator.cli import ca_key, stopped
from gausscert_coordinator.cli.group import Verb, pass_invocation
from gausscert_coordinator.cli.places import Place
from gausscert_coordinator.cli.settings import Invocation
from gausscert_coordinator.cli.verbs import PKI
from gausscert_coordinator.exit_codes import ExitCode


@click.command(
    "issue",
    cls=Verb,
    short_help=PKI["issue"].short_help,
    examples=(
        (
            "A node's agent; its three files go to /etc/gausscert/pki on that node:",
            "gausscert pki issue node n1 --dir pki --out issued",
        ),
        (
            "With names for other tools that look at the agent's port:",
            "gausscert pki issue node n1 --dir pki --out issued --dns db1.example --ip 10.0.0.1",
        ),
        (
            "An operator, who may do everything; the files go where gausscert.toml says:",
            "gausscert pki issue operator alice --dir pki --out issued",
        ),
        ("Monitoring, which may only look:", "gausscert pki issue observer nagios --dir pki --out issued"),
        ("Emergencies: may look and recover:", "gausscert pki issue recoverer oncall --dir pki --out issued"),
    ),
    exits={
        ExitCode.DONE: "issued",
        ExitCode.REFUSED: "refused; nothing was written",
        ExitCode.OWN_ERROR: stopped.WRITING,
    },
)
@click.argument("role", type=click.Choice(Role, case_sensitive=False), metavar="ROLE")
@click.argument("name", metavar="NAME")
@ca_key.directory_option
@click.option("--out", required=True, metavar="DIR", type=Place(), help="Where the credential goes.")
@click.option("--dns", "dns_names", multiple=True, metavar="NAME", help="Further name of a node; repeatable.")
@click.option(
    "--ip", "addresses", multiple=True, metavar="ADDRESS", help="Further address of a node; repeatable."
)
@click.option("--days", type=int, help="Validity. [default: 825 for a node, 365 for a person]")
@ca_key.passphrase_option
@pass_invocation
def command(
    invocation: Invocation,
    role: Role,
    name: str,
    directory: Path,
    out: Path,
    dns_names: tuple[str, ...],
    addresses: tuple[str, ...],
    days: int | None,
    passphrase_file: Path | None,
) -> int:
    """Issue the credential of a node's agent or of a person: ROLE is node, operator, observer or recoverer.

    NAME is the node's name as in gausscert.toml and agent.toml, or the person's. Writes ROLE-NAME.crt,
    ROLE-NAME.key and a copy of ca.crt. The key is in the clear, mode 0400: move it to its machine and delete
    it here.
    """
    _refuse_confused(dns_names, addresses)
    passphrase = ca_key.passphrase(invocation, directory, passphrase_file)

    from gausscert_coordinator import pki
    from gausscert_coordinator.cli import tables_pki

    invocation.stopped = stopped.while_writing(out)
    issued = pki.issue(directory, role, name, [*dns_names, *addresses], passphrase, days, out)
    document, lines, place = tables_pki.issued(issued)
    invocation.render.result("pki issue", document, lambda: lines)
    invocation.render.note(f"next: move the three files to {place}; the key is a secret")
    if role is Role.NODE and (more := _of_the_revoked(directory)):
        invocation.render.note(more)
    return ExitCode.DONE


def _of_the_revoked(directory: Path) -> str:
    """What to do with the deny list of the CA, if anybody is on it. Issued is issued, whatever is wrong with
    that list."""
    from gausscert_coordinator import pki_register

    path = directory / pki_register.DENY_LIST
    try:
        if not pki_register.deny_list(directory).entries:
            return ""
    except InvalidInput:
        return (
            f"{path} cannot be used: mend it first (gausscert pki list); without it the agent would let in"
            " who is revoked"
        )
    return (
        f"and {path} to its state directory, before it starts for the first time: it would let in who is"
        " revoked; gausscert agents deploy does that by itself"
    )


def _refuse_confused(dns_names: tuple[str, ...], addresses: tuple[str, ...]) -> None:
    """A mistyped address would become a name that nobody ever asks for.

    Raises:
        InvalidInput: USAGE.
    """
    for text in addresses:
        if not _is_address(text):
            raise InvalidInput(
                Reason.USAGE,
                f"--ip {text}: this is no IP address",
                remedy="write an address such as 10.0.0.1 or fd00::1; names go after --dns",
            )
    for text in dns_names:
        if _is_address(text):
            raise InvalidInput(
                Reason.USAGE, f"--dns {text}: this is an IP address", remedy=f"write --ip {text}"
            )


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
