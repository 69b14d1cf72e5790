"""`gausscert pki init`."""

from __future__ import annotations

from pathlib import Path

import click
from gausscert_common.errors import InvalidInput, Reason

from gausscert_coordinator.cli import stopped
from gausscert_coordinator.cli.group import Verb, pass_invocation
from gausscert_coordinator.cli.passwords import read_one
from gausscert_coordinator.cli.places import Place
from gausscert_coordinator.cli.settings import Invocation
from gausscert_coordinator.cli.verbs import PKI
from gausscert_coordinator.exit_codes import ExitCode


@click.command(
    "init",
    cls=Verb,
    short_help=PKI["init"].short_help,
    examples=(
        ("With a passphrase asked on the terminal:", "gausscert pki init --dir pki --cluster production"),
        ("From a script:", "gausscert pki init --dir pki --cluster production --passphrase-file ca.pass"),
        (
            "On a machine that is locked away:",
            "gausscert pki init --dir pki --cluster production --no-passphrase",
        ),
    ),
    exits={
        ExitCode.DONE: "made",
        ExitCode.REFUSED: "refused; nothing was written",
        ExitCode.OWN_ERROR: stopped.WRITING,
    },
)
@click.option(
    "--dir",
    "directory",
    required=True,
    metavar="DIR",
    type=Place(),
    help="Where the CA goes.",
)
@click.option(
    "--cluster",
    required=True,
    metavar="NAME",
    help="The cluster, as in gausscert.toml and agent.toml.",
)
@click.option("--days", default=3650, show_default=True, help="Validity of the CA.")
@click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help="Passphrase of the CA's key, readable by you alone; - is standard input. Asked otherwise.",
)
@click.option("--no-passphrase", is_flag=True, help="Leave the CA's key in the clear.")
@pass_invocation
def command(
    invocation: Invocation,
    directory: Path,
    cluster: str,
    days: int,
    passphrase_file: Path | None,
    no_passphrase: bool,
) -> int:
    """Make the CA of the control plane: ca.crt and ca.key in DIR.

    Whoever has ca.key can make an operator's credential, and with it replace the cluster's certificates.
    ca.crt is no secret; every node and every operator gets it with its credential.
    """
    if no_passphrase and passphrase_file is not None:
        raise InvalidInput(
            Reason.USAGE, "--passphrase-file and --no-passphrase exclude each other", remedy="choose one"
        )
    passphrase = None
    if not no_passphrase:
        text = read_one(passphrase_file, "passphrase of the CA's key", invocation.terminal, new=True)
        passphrase = text.encode()

    from gausscert_coordinator import pki

    invocation.stopped = stopped.while_writing(directory)
    made = pki.init(directory, cluster, passphrase, days)
    key = directory / pki.CA_KEY
    document = {"cluster": cluster, "ca": str(made), "key": str(key), "encrypted": passphrase is not None}
    locked = "encrypted" if passphrase is not None else "NOT encrypted: guard this directory"
    invocation.render.result("pki init", document, lambda: [f"made {made} and {key} ({locked})"])
    invocation.render.note(f"next: gausscert pki issue node NAME --dir {directory} --out issued")
    return ExitCode.DONE
