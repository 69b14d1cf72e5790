"""`gausscert bundle new DIR`."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING

import click
from gausscert_common.errors import InvalidInput, Reason

from gausscert_coordinator.cli import stopped
from gausscert_coordinator.cli.group import Verb, pass_invocation
from gausscert_coordinator.cli.passwords import (
    PasswordFiles,
    Passwords,
    password_options,
    read_both,
    read_one,
)
from gausscert_coordinator.cli.settings import Invocation
from gausscert_coordinator.cli.verbs import BUNDLE
from gausscert_coordinator.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gausscert_common.model import Certificate
    from rich.console import RenderableType

    from gausscert_coordinator.issue import IssueOptions

KEY_TYPES = ("rsa-2048", "rsa-3072", "rsa-4096", "ec-p256", "ec-p384")
"""Those of `issue.KeyType`, repeated because that module loads cryptography and --help must not."""


@click.command(
    "new",
    cls=Verb,
    short_help=BUNDLE["new"].short_help,
    examples=(
        ("With passwords asked on the terminal:", "gausscert bundle new new-bundle"),
        (
            "EC keys, two years, kept CA key:",
            "gausscert bundle new b --key-type ec-p256 --days 730 --keep-ca-key",
        ),
        (
            "From a script:",
            "gausscert bundle new new-bundle --server-password-file s.pw --client-password-file c.pw",
        ),
    ),
    exits={
        ExitCode.DONE: "made",
        ExitCode.REFUSED: "refused; nothing was written",
        ExitCode.OWN_ERROR: stopped.WRITING,
    },
)
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--days", default=1095, show_default=True, help="Validity of the two certificates.")
@click.option("--ca-days", default=3650, show_default=True, help="Validity of the CA.")
@click.option(
    "--key-type",
    type=click.Choice(KEY_TYPES),
    default="rsa-2048",
    show_default=True,
    help="Of the two keys; the CA's is of the same kind, and not weaker.",
)
@click.option(
    "--san",
    "names",
    multiple=True,
    metavar="NAME",
    help="DNS name or address of both certificates; repeatable.",
)
@click.option("--organization", default="gausscert", show_default=True, help="O of all three subjects.")
@click.option("--common-name", default="", help="CN of the CA. [default: one that no other CA has]")
@password_options
@click.option("--keep-ca-key", is_flag=True, help="Write the CA's key, encrypted, as ca.key into DIR.")
@click.option(
    "--ca-passphrase-file",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help="Passphrase of ca.key; asked on the terminal otherwise. Implies --keep-ca-key.",
)
@pass_invocation
def command(
    invocation: Invocation,
    directory: Path,
    days: int,
    ca_days: int,
    key_type: str,
    names: tuple[str, ...],
    organization: str,
    common_name: str,
    server_password_file: Path | None,
    client_password_file: Path | None,
    keep_ca_key: bool,
    ca_passphrase_file: Path | None,
) -> int:
    """Make a bundle in the new directory DIR: a CA, and a server and a client certificate signed by it.

    The passwords encrypt server.key and client.key; `gausscert replace` asks for them again. CM takes 8 to 15
    bytes with at least three of: capitals, small letters, digits, special characters.

    Unless kept, the CA's key is gone when this is done: the next certificates then come with a new CA.
    """
    _refuse_occupied(directory)
    passwords = read_both(
        PasswordFiles(server_password_file, client_password_file), invocation.terminal, new=True
    )
    passphrase = None
    if keep_ca_key or ca_passphrase_file is not None:
        passphrase = read_one(ca_passphrase_file, "passphrase of ca.key", invocation.terminal, new=True)

    from gausscert_coordinator import issue

    dns_names, addresses = sorted_names(names)
    options = issue.IssueOptions(
        organization=organization,
        common_name=common_name,
        key_type=issue.KeyType(key_type),
        ca_days=ca_days,
        leaf_days=days,
        dns_names=dns_names,
        ip_addresses=addresses,
    )
    _make(invocation, directory, options, passwords, passphrase)
    return ExitCode.DONE


def _make(
    invocation: Invocation,
    directory: Path,
    options: IssueOptions,
    passwords: Passwords,
    passphrase: str | None,
) -> None:
    from gausscert_common import certificates

    from gausscert_coordinator import bundle_files, issue

    issued = issue.issue_bundle(options, passwords.server, passwords.client, ca_passphrase=passphrase)
    invocation.stopped = stopped.while_writing(directory)
    bundle_files.write_directory(directory, issued.bundle, issued.ca_key_pem)
    _tell(invocation, directory, certificates.describe(issued.bundle.pem), issued.ca_key_pem is not None)


def sorted_names(names: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """DNS names and addresses, told apart by their form."""
    dns_names, addresses = [], []
    for name in names:
        try:
            addresses.append(str(ipaddress.ip_address(name)))
        except ValueError:
            dns_names.append(name)
    return tuple(dns_names), tuple(addresses)


def _refuse_occupied(directory: Path) -> None:
    """Before anybody is asked for passwords; writing checks again."""
    try:
        occupied = directory.is_symlink() or (directory.exists() and any(directory.iterdir()))
        missing = not directory.absolute().parent.is_dir()
    except OSError:
        occupied, missing = True, False
    if occupied or missing:
        raise InvalidInput(
            Reason.USAGE,
            "its parent directory does not exist" if missing else "it exists and is no empty directory",
            file=str(directory),
            remedy="name a new directory; nothing is ever overwritten",
        )


def _tell(invocation: Invocation, directory: Path, made: tuple[Certificate, ...], kept: bool) -> None:
    from gausscert_coordinator.bundle_files import CA_KEY
    from gausscert_coordinator.cli import documents, tables
    from gausscert_coordinator.cli.layout import GOOD, cell

    render = invocation.render
    names = sorted(path.name for path in directory.iterdir())
    document = {
        "directory": str(directory),
        "files": names,
        "certificates": [documents.certificate(each) for each in made],
        "ca_key": str(directory / CA_KEY) if kept else None,
    }

    def text() -> Iterator[RenderableType]:
        yield cell(f"made {directory}: {', '.join(names)}", GOOD)
        yield tables.certificates(made, render.width)
        yield cell(
            f"the CA's key is {directory / CA_KEY}: keep it elsewhere; gausscert never sends it to a node"
            if kept
            else "the CA's key was not kept: this CA signs nothing more (--keep-ca-key keeps it)"
        )

    render.result("bundle new", document, text)
    render.note(f"next: gausscert bundle verify {directory}, then gausscert plan {directory}")
