"""Who is revoked, as far as registers of CAs are at hand: a node that is deployed must deny them from its
first moment on. No key is needed.

While the control plane changes its CA there are two, and what the one has issued stands in its own deny list.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gausscert_coordinator import pki_certificates, pki_register, pki_trust, regular_files

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from cryptography import x509
    from gausscert_common.denylist import Denied

_KEPT: Final = ("issued-*.crt", "pending-*.crt")
"""What a CA has issued lies in its register (`pki_kept`), and in no copy of the deny list alone."""
_OF_A_REGISTER: Final = ("ca.key", pki_register.DENY_LIST, *_KEPT)
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
    """Read the deny lists of all registers that are there, and put them together: a copy of one that lies
    beside it may be of former days, and to deny somebody whom a CA that is trusted no more has issued a
    credential does no harm.

    Args:
        directories: Where CAs may be; others have nothing to say.
        trusted: The CAs that nodes trust.

    Raises:
        InvalidInput: DENY_LIST_INVALID: a list cannot be read, or a line is not understood.
    """
    wanted = dict.fromkeys(trusted)
    found: dict[tuple[str, str], Denied] = {}
    known: set[x509.Certificate] = set()
    for directory in dict.fromkeys(directories):
        if not _is_register(directory):
            continue
        cas = _certificates(directory / "ca.crt")
        tells_of = _tells_of(directory, cas, wanted)
        if not tells_of and wanted.keys().isdisjoint(cas):
            continue
        known |= tells_of
        for one in pki_register.deny_list(directory).entries:
            found.setdefault((one.kind, one.number), one)
    unknown = (
        f"{ca.subject.rfc4514_string()}, of {ca.not_valid_before_utc:%Y-%m-%d}"
        for ca in wanted
        if ca not in known
    )
    return Revoked(tuple(found.values()), tuple(unknown))


def _is_register(directory: Path) -> bool:
    return any(next(directory.glob(name), None) is not None for name in _OF_A_REGISTER)


def _tells_of(
    directory: Path, cas: tuple[x509.Certificate, ...], wanted: Iterable[x509.Certificate]
) -> set[x509.Certificate]:
    """Of which CAs the deny list there can be taken for all that is revoked.

    By what they have issued, and not by ca.crt: while the CA changes, that of the old register has the new
    one, too, or alone. Where nothing is kept it is the CA that issues there, those that are trusted beside it
    come after it (`pki_trust.bundle`); or a copy of its list.
    """
    kept = [path for name in _KEPT for path in directory.glob(name)]
    if not kept:
        return set(cas[:1]) & set(wanted)
    issued = [cert for path in kept for cert in _certificates(path)]
    return {ca for ca in wanted if any(pki_certificates.issued_by(cert, ca) for cert in issued)}


def _certificates(path: Path) -> tuple[x509.Certificate, ...]:
    try:
        return pki_trust.read(regular_files.read(path))
    except OSError:
        return ()
