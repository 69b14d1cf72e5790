"""Who is revoked, as far as registers of CAs are at hand: a node that is deployed must deny them from its
first moment on. No key is needed.

While the control plane changes its CA there are two, and what the one has issued stands in its own deny list.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gausscert_coordinator import pki_register, pki_trust, regular_files

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from cryptography import x509
    from gausscert_common.denylist import Denied

_OF_A_REGISTER: Final = ("ca.key", pki_register.DENY_LIST, "issued-*.crt", "pending-*.crt")
"""One of these lies where a CA issues; on an operator's machine there may be its ca.crt alone."""


@dataclass(frozen=True, slots=True)
class Revoked:
    """What is known."""

    entries: tuple[Denied, ...]
    """Each once."""
    unknown: tuple[str, ...]
    """CAs whose credentials are let in, and of which nobody here knows who is revoked: their names, and when
    they begin."""


def at_hand(directories: Iterable[Path], trusted: Iterable[x509.Certificate]) -> Revoked:
    """Read the deny lists of all registers that are there.

    Args:
        directories: Where CAs may be; others have nothing to say.
        trusted: The CAs that nodes trust.

    Raises:
        InvalidInput: DENY_LIST_INVALID: a list cannot be read, or a line is not understood.
    """
    authorities = {_authority(each): each for each in dict.fromkeys(directories) if _is_register(each)}
    found: dict[tuple[str, str], Denied] = {}
    unknown: list[str] = []
    for ca in dict.fromkeys(trusted):
        if ca not in authorities:
            unknown.append(f"{ca.subject.rfc4514_string()}, of {ca.not_valid_before_utc:%Y-%m-%d}")
            continue
        for one in pki_register.deny_list(authorities[ca]).entries:
            found.setdefault((one.kind, one.number), one)
    return Revoked(tuple(found.values()), tuple(unknown))


def _is_register(directory: Path) -> bool:
    return any(next(directory.glob(name), None) is not None for name in _OF_A_REGISTER)


def _authority(directory: Path) -> x509.Certificate | None:
    """The CA that issues there; those that are trusted beside it come after it (`pki_trust.bundle`)."""
    try:
        cas = pki_trust.read(regular_files.read(directory / "ca.crt"))
    except OSError:
        return None
    return cas[0] if cas else None
