"""Whether nodes with the live set and nodes with the next one could talk: the handshakes of `rehearsal`
between both, each way, and in plain words why they fail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gausscert_common import pem
from gausscert_common.model import Overlap, OverlapRefusal, Side

from gausscert_agent.drivers.rehearsal import (
    LINKS,
    VERSION_NAMES,
    VERSIONS,
    Failure,
    Party,
    attempt,
    failure_finding,
    party,
    rehearse_with,
)
from gausscert_agent.ports import Rehearsal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NO_ISSUER: Final = frozenset({2, 18, 19, 20, 21})
"""X509_V_ERR_*: no way from the leaf to a root that is trusted."""
_BAD_SIGNATURE: Final = 7
_NOT_YET_VALID: Final = 9
_EXPIRED: Final = 10
_NO_CRL: Final = frozenset({3, 8, 11, 12})
_REVOKED: Final = 23
_PURPOSE: Final = 26
"""The numbers are those of facts section 12 and x509_vfy.h."""


def hold(new: Mapping[str, bytes], former: Mapping[str, bytes] | None) -> Rehearsal:
    """All handshakes that a set is tried with: `ports.Rehearse`."""
    try:
        side = party(new)
    except Failure as failure:
        return Rehearsal((failure_finding(failure),))
    found = rehearse_with(side)
    return Rehearsal(found, Overlap() if found else _overlap(former, side))


def overlap(former: Mapping[str, bytes] | None, new: Mapping[str, bytes]) -> Overlap:
    """Whether nodes with the former and with the new set could talk, both ways.

    Args:
        former: The live set by name, None if there is none.
        new: A set for which `rehearse` has found nothing.
    """
    try:
        return _overlap(former, party(new))
    except Failure as failure:
        return _not_known(failure)


def _overlap(former: Mapping[str, bytes] | None, new: Party) -> Overlap:
    if former is None:
        return Overlap(unknown="there is no former set")
    try:
        parties = {Side.FORMER: party(former), Side.NEW: new}
    except Failure as failure:
        return _not_known(failure)
    from gausscert_common.validate import same_cas  # an agent holds what it has loaded

    refusals = tuple(
        each for connecting in (Side.NEW, Side.FORMER) for each in _refusals(parties, connecting)
    )
    return Overlap(refusals, unknown="", same_ca=same_cas(former, new.files))


def _not_known(failure: Failure) -> Overlap:
    return Overlap(unknown=f"{failure.file}: {failure.cause}" if failure.file else failure.cause)


def _refusals(parties: Mapping[Side, Party], connecting: Side) -> Iterator[OverlapRefusal]:
    """What fails in one direction; alike things together."""
    failed: dict[tuple[Side, str], dict[str, list[str]]] = {}
    causes: dict[tuple[Side, str], str] = {}
    for link in LINKS:
        for version in VERSIONS:
            failure = attempt(link, parties[connecting.other], parties[connecting], version)
            if failure is None:
                continue
            refusing = connecting if failure.by == "connecting" else connecting.other
            kind = refusing, f"{failure.file}: {failure.cause}" if failure.file else failure.cause
            if kind not in causes:
                causes[kind] = _plain(failure, refusing, parties)
            failed.setdefault(kind, {}).setdefault(link.purpose, []).append(VERSION_NAMES[version])
    for (refusing, detail), by_link in failed.items():
        cause = causes[refusing, detail]
        for versions in dict.fromkeys(tuple(each) for each in by_link.values()):
            links = tuple(link for link, each in by_link.items() if tuple(each) == versions)
            yield OverlapRefusal(connecting, refusing, detail, cause, links, versions)


def _plain(failure: Failure, refusing: Side, parties: Mapping[Side, Party]) -> str:
    """Why, in words that say what to look at; "" where there are no better ones than OpenSSL's."""
    if failure.code is None:
        return ""
    if failure.code in _NO_ISSUER or failure.code == _BAD_SIGNATURE:
        return _not_trusted(refusing, parties)
    if failure.code in _NO_CRL:
        return (
            f"a CRL of the {refusing} set does not go with the CA of the {refusing.other} one, or has expired"
        )
    return {
        _NOT_YET_VALID: f"a certificate of the {refusing.other} set is not valid yet",
        _EXPIRED: f"a certificate of the {refusing.other} set has expired",
        _REVOKED: f"a CRL of the {refusing} set revokes the certificate of the {refusing.other} one",
        _PURPOSE: f"a certificate of the {refusing.other} set lacks a purpose (extended key usage)",
    }.get(failure.code, "")


def _not_trusted(refusing: Side, parties: Mapping[Side, Party]) -> str:
    here, there = (_cas(parties[side]) for side in (refusing, refusing.other))
    if there <= here:
        return ""
    differ = "the CAs differ" if not here & there else "not all CAs are the same"
    return f"{differ}: cacert.pem of the {refusing} set does not have the CA of the {refusing.other} one"


def _cas(one: Party) -> frozenset[bytes]:
    blocks = pem.split(one.files["cacert.pem"]).of(pem.CERTIFICATE_LABELS)
    return frozenset(block.der for block in blocks if block.der)
