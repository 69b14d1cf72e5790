"""The CA of the control plane as verbs ask for it: which directory, and the passphrase of its key."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from gausscert_common.errors import InvalidInput, Reason

from gausscert_coordinator import regular_files
from gausscert_coordinator.cli.passwords import read_one
from gausscert_coordinator.cli.places import Place

if TYPE_CHECKING:
    from gausscert_coordinator.cli.settings import Invocation

ENCRYPTED: Final = b"ENCRYPTED PRIVATE KEY"
"""How PEM says that a PKCS#8 key has a passphrase (RFC 7468 section 11)."""

directory_option = click.option(
    "--dir",
    "directory",
    required=True,
    metavar="DIR",
    type=Place(),
    help="Where `gausscert pki init` made the CA.",
)

passphrase_option = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help="Passphrase of the CA's key, if it has one; - is standard input. Asked otherwise.",
)


def passphrase(invocation: Invocation, directory: Path, file: Path | None) -> bytes | None:
    """Asked for only where the CA's key needs one.

    Raises:
        InvalidInput: CREDENTIAL_INVALID: there is no CA; USAGE: nobody can be asked.
    """
    if file is None and not _is_encrypted(directory):
        return None
    return read_one(file, "passphrase of the CA's key", invocation.terminal).encode()


def _is_encrypted(directory: Path) -> bool:
    try:
        return ENCRYPTED in regular_files.read(directory / "ca.key")
    except OSError as error:
        raise InvalidInput(
            Reason.CREDENTIAL_INVALID,
            f"the CA's key cannot be read: {error.strerror}",
            file=str(directory / "ca.key"),
            remedy="name the directory that gausscert pki init made",
        ) from error
