"""`gausscert pki issue ROLE NAME`."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING

import click
from gausscert_common.errors import InvalidInput, Reason
from gausscert_common.identity import Role

from gausscert_coordinator.cli.group import Verb, pass_invocation
from gausscert_coordinator.cli.passwords import read_one
from gausscert_coordinator.cli.settings import Invocation
from gausscert_coordinator.cli.verbs import PKI
from gausscert_coordinator.exit_codes import ExitCode

if TYPE_CHECKING:
    from gausscert_coordinator.pki import Issued

ENCRYPTED = b"ENCRYPTED PRIVATE KEY"
"""How PEM says that a PKCS#8 key has a passphrase (RFC 7468 section 11)."""


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
    exits={ExitCode.DONE: "issued", ExitCode.REFUSED: "refused; nothing was written"},
)
@click.argument("role", type=click.Choice(Role, case_sensitive=False), metavar="ROLE")
@click.argument("name", metavar="NAME")
@click.option(
    "--dir",
    "directory",
    required=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Where `gausscert pki init` made the CA.",
)
@click.option(
    "--out", required=True, metavar="DIR", type=click.Path(path_type=Path), help="Where the credential goes."
)
@click.option("--dns", "dns_names", multiple=True, metavar="NAME", help="Further name of a node; repeatable.")
@click.option(
    "--ip", "addresses", multiple=True, metavar="ADDRESS", help="Further address of a node; repeatable."
)
@click.option("--days", type=int, help="Validity. [default: 825 for a node, 365 for a person]")
@click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help="Passphrase of the CA's key, if it has one; - is standard input. Asked otherwise.",
)
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
    passphrase = passphrase_of(invocation, directory, passphrase_file)

    from gausscert_coordinator import pki

    issued = pki.issue(directory, role, name, [*dns_names, *addresses], passphrase, days, out)
    _tell(invocation, issued)
    return ExitCode.DONE


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


def passphrase_of(invocation: Invocation, directory: Path, file: Path | None) -> bytes | None:
    """That of the CA's key; asked for only where it needs one."""
    if file is None and not _is_encrypted(directory):
        return None
    return read_one(file, "passphrase of the CA's key", invocation.terminal).encode()


def _is_encrypted(directory: Path) -> bool:
    try:
        return ENCRYPTED in (directory / "ca.key").read_bytes()
    except OSError as error:
        raise InvalidInput(
            Reason.CREDENTIAL_INVALID,
            f"the CA's key cannot be read: {error.strerror}",
            file=str(directory / "ca.key"),
            remedy="name the directory that gausscert pki init made",
        ) from error


def _tell(invocation: Invocation, issued: Issued) -> None:
    from gausscert_coordinator.cli import documents

    document = {
        "identity": issued.identity.uri,
        "cert": str(issued.cert),
        "key": str(issued.key),
        "ca": str(issued.ca),
        "fingerprint": issued.fingerprint,
        "not_after": documents.time(issued.not_after),
    }
    lines = [
        f"issued {issued.identity} until {issued.not_after:%Y-%m-%d %H:%M} UTC",
        f"  {issued.cert}",
        f"  {issued.key}",
        f"  {issued.ca}",
    ]
    where = (
        "/etc/gausscert/pki on that node"
        if issued.identity.role is Role.NODE
        else "where gausscert.toml says"
    )
    invocation.render.result("pki issue", document, lambda: lines)
    invocation.render.note(f"next: move the three files to {where}; the key is a secret")
