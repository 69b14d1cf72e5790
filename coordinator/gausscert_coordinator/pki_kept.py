"""The files of the register: one for each certificate that was signed, numbered in the order of signing.

    issued-<number>-<serial>.crt     it was handed out as a file, or an agent was seen to have it
    pending-<number>-<serial>.crt    it was signed for an agent, which was not seen to have it yet, or for
                                     files of which not all may be there

A certificate is kept before anybody gets it: what is not in the register cannot be listed nor revoked. The
number says which of two is the newer one, and not a date: certificates know whole seconds, and a clock may be
wrong. Names without a number are of older releases.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography.hazmat.primitives import serialization

from gausscert_coordinator import private_files

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from cryptography import x509

_NAME: Final = re.compile(r"(?P<kind>issued|pending)-((?P<number>[0-9]{6,})-)?(?P<serial>[0-9a-f]+)\.crt")


class Kept(NamedTuple):
    """What a file's name says."""

    number: int
    """0 where nobody knows."""
    pending: bool


def said_by(path: Path) -> Kept:
    """What the name of a certificate's file says; of one that is not of the register, that it was handed out
    at some time."""
    match = _NAME.fullmatch(path.name)
    return Kept(int(match["number"] or 0), match["kind"] == "pending") if match else Kept(0, pending=False)


def keep(
    directory: Path,
    certs: Iterable[x509.Certificate],
    *,
    pending: bool = False,
    beside: Mapping[Path, bytes] | None = None,
    shared: Mapping[Path, bytes] | None = None,
) -> None:
    """Write certificates into the register, in this order; all of them and what goes with them, or nothing.

    Args:
        directory: Of the CA.
        certs: Signed, and handed to nobody yet.
        pending: They have yet to be seen to be where they are to be used.
        beside: Further files, as `private_files.write_new`.
        shared: Likewise.

    Raises:
        InvalidInput: ARGUMENT_INVALID: something is there already, or cannot be written.
    """
    kind = "pending" if pending else "issued"
    with private_files.alone_in(directory):  # two at a time would take the same number
        first = max((said_by(path).number for path in directory.glob("*.crt")), default=0) + 1
        files = {
            directory / f"{kind}-{number:06d}-{cert.serial_number:x}.crt": _pem(cert)
            for number, cert in enumerate(certs, start=first)
        }
        private_files.write_new({**files, **(beside or {})}, shared)


def confirm(directory: Path, serials: Collection[str]) -> None:
    """Agents were seen to have these, or their files are there; what is not pending stays as it is.

    Args:
        directory: Of the CA; one that is not there has nothing pending.
        serials: Hex.

    Raises:
        InvalidInput: ARGUMENT_INVALID: the directory cannot be written.
    """
    matches = ((path, _NAME.fullmatch(path.name)) for path in sorted(directory.glob("pending-*.crt")))
    found = [path for path, match in matches if match is not None and match["serial"] in serials]
    if not found:
        return
    with private_files.alone_in(directory):  # whoever looks for the next number must not miss a name
        for path in found:
            private_files.rename(path, path.with_name(path.name.replace("pending", "issued", 1)))


def _pem(cert: x509.Certificate) -> bytes:
    return cert.public_bytes(serialization.Encoding.PEM)
