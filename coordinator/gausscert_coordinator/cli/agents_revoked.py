"""Whom agents have to deny, as verbs of `gausscert agents` learn it: from the registers of the CAs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import click
from gausscert_common.errors import InvalidInput, Reason

from gausscert_coordinator import regular_files
from gausscert_coordinator.cli.places import Place

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from gausscert_common.denylist import Denied
    from gausscert_common.findings import Finding
    from rich.console import RenderableType

    from gausscert_coordinator.inventory import Inventory
    from gausscert_coordinator.pki_revoked import Revoked
    from gausscert_coordinator.rollout.credential import Own
    from gausscert_coordinator.rollout.facts import Facts

directory_option = click.option(
    "--pki",
    "directory",
    type=Place(),
    metavar="DIR",
    help="Where `gausscert pki init` made the CA. [default: where the inventory's ca.crt is]",
)


def known(
    inventory: Inventory, directory: Path | None, own: Own
) -> tuple[tuple[Denied, ...], tuple[Finding, ...]]:
    """Who is revoked, and a warning where that may not be all.

    Args:
        inventory: The cluster; a register may lie where its ca.crt is.
        directory: Another one, or None.
        own: The operator's credential.

    Raises:
        InvalidInput: DENY_LIST_INVALID; ARGUMENT_INVALID: the operator himself is revoked.
    """
    from cryptography.hazmat.primitives import hashes
    from gausscert_common.denylist import DenyList

    from gausscert_coordinator import pki_revoked

    found = pki_revoked.at_hand(_places(inventory, directory), own.trusted)
    serial, fingerprint = f"{own.cert.serial_number:x}", own.cert.fingerprint(hashes.SHA256()).hex()
    if DenyList(found.entries).holds(serial, fingerprint):
        raise InvalidInput(
            Reason.ARGUMENT_INVALID,
            "this credential is revoked: no agent that knows would answer you",
            file=str(inventory.credentials.cert),
            remedy="name the credential of another operator in the inventory",
        )
    return found.entries, tuple(_unsure(found.unknown))


def _places(inventory: Inventory, directory: Path | None) -> tuple[Path, ...]:
    """While the CA changes the two may have a directory each."""
    usual = inventory.credentials.ca.parent
    return (usual,) if directory is None else (directory, usual)


def _unsure(unknown: tuple[str, ...]) -> Iterator[Finding]:
    from gausscert_coordinator.rollout.catalogue import finding

    if unknown:
        cause = f"there is no register of a CA that the agents trust: {'; '.join(unknown)}"
        yield finding("ROLLOUT_REVOKED_UNKNOWN", cause, "")


class Compared(NamedTuple):
    """An agent's deny list beside what is revoked."""

    denies: int | None
    """None: it cannot be understood."""
    lacks: int | None
    """None: that is not known."""

    @property
    def said(self) -> str:
        """For people."""
        if self.denies is None:
            return "unusable"
        if self.lacks is None:
            return f"{self.denies} of ?"
        return f"{self.denies}, lacks {self.lacks}" if self.lacks else str(self.denies)


def told(inventory: Inventory, directory: Path | None) -> Revoked:
    """What registers at hand say; no credential is needed.

    Raises:
        InvalidInput: DENY_LIST_INVALID.
    """
    from gausscert_coordinator import pki_revoked, pki_trust
    from gausscert_coordinator.pki_revoked import Revoked

    try:
        trusted = pki_trust.read(regular_files.read(inventory.credentials.ca))
    except OSError:
        trusted = ()
    if not trusted:
        return Revoked((), ("the inventory's ca.crt cannot be read",))
    return pki_revoked.at_hand(_places(inventory, directory), trusted)


def compared(facts: Facts, revoked: Sequence[Denied], *, all_known: bool) -> Compared:
    """What an agent denies, and what it should.

    Args:
        facts: Of its node.
        revoked: Who is.
        all_known: Whether there are no more of them.
    """
    from gausscert_coordinator.rollout.revoked import understood

    try:
        there = understood(facts)
    except InvalidInput:
        return Compared(None, None)
    lacks = len(there.lacks(revoked))
    return Compared(len(there.entries), lacks if lacks or all_known else None)


def remedy(facts: Mapping[str, Facts], denials: Mapping[str, Compared]) -> Iterator[RenderableType]:
    """What to do where an agent lacks some; where there is none yet, its deployment brings them."""
    from gausscert_coordinator.cli.layout import BAD, cell

    there = {name for name, each in facts.items() if each.release or each.running is not None}
    short = ", ".join(name for name, each in denials.items() if each.lacks and name in there)
    if short:
        how = "gausscert pki revoke again, for anybody who is revoked, or gausscert agents deploy"
        yield cell(f"let in who is revoked: {short}; {how} brings what they lack", BAD)
