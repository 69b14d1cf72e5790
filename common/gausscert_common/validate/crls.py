"""Rules about CRLs.

cm_server holds server.crl against clients, a client holds client.crl against servers
(cm_misc.cpp:1136-1146); only the leaf is checked, against the first CRL of the file
(cs_ssl.cpp:952-979, 1001-1003).
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature

from gausscert_common.validate.catalogue import finding
from gausscert_common.validate.certificate import CRYPTO_ERRORS, shown_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from gausscert_common.findings import Finding
    from gausscert_common.validate.certificate import Cert
    from gausscert_common.validate.chain import Chain
    from gausscert_common.validate.gather import Crl

EXPIRING_SOON: Final = timedelta(days=7)
"""CRLs live for weeks, so the certificates' threshold would always warn."""

_GUARDS: Final = {"server.crl": "client", "client.crl": "server"}
"""Whose leaf a CRL is held against."""


def judge(
    crls: tuple[Crl, ...], chains: Mapping[str, Chain], carried: frozenset[str], now: datetime
) -> Iterator[Finding]:
    """What speaks against the CRLs.

    Args:
        crls: The first CRL of each file.
        chains: By role, as far as leaves could be read.
        carried: Names of the CRLs that come from the live set instead of the bundle.
        now: The time to judge by.
    """
    for crl in crls:
        yield from _judge_dates(crl, now)
        chain = chains.get(_GUARDS[crl.file])
        if chain is not None:
            yield from _judge_issuer(crl, chain, carried=crl.file in carried)
        for guarded in chains.values():
            yield from _judge_revoked(crl, guarded.certs[0])


def _judge_dates(crl: Crl, now: datetime) -> Iterator[Finding]:
    begin, end = crl.x509.last_update_utc, crl.x509.next_update_utc
    if now < begin:
        yield finding("CRL_NOT_YET_VALID", f"it is valid from {begin:%Y-%m-%d %H:%M} UTC", crl.file)
    if end is None:
        return
    if now >= end:
        yield finding("CRL_EXPIRED", f"its next update was due on {end:%Y-%m-%d %H:%M} UTC", crl.file)
    elif end - now < EXPIRING_SOON:
        yield finding("CRL_EXPIRING", f"its next update is due on {end:%Y-%m-%d %H:%M} UTC", crl.file)


def _judge_issuer(crl: Crl, chain: Chain, *, carried: bool) -> Iterator[Finding]:
    leaf = chain.certs[0]
    if crl.issuer != leaf.issuer:
        cause = (
            f"it is of {shown_name(crl.x509.issuer)}, but {leaf.file} is of {shown_name(leaf.x509.issuer)}"
        )
        yield finding("CRL_LEFT_OVER" if carried else "CRL_FOREIGN", cause, crl.file)
        return
    if not chain.cas:
        return
    ca = chain.cas[0]
    if not _signed(crl, ca):
        cause = f"the key of {ca.shown} of {ca.file} did not sign it"
        yield finding("CRL_LEFT_OVER" if carried else "CRL_SIGNATURE_WRONG", cause, crl.file)
    if ca.extensions.crl_sign is False:
        yield finding(
            "CRL_CA_CANNOT_SIGN", f"{ca.shown} of {ca.file} has a keyUsage without cRLSign", crl.file
        )


def _signed(crl: Crl, ca: Cert) -> bool:
    try:
        return ca.key is not None and crl.x509.is_signature_valid(ca.key)  # type: ignore[arg-type]  # others raise
    except (InvalidSignature, *CRYPTO_ERRORS):
        return False


def _judge_revoked(crl: Crl, leaf: Cert) -> Iterator[Finding]:
    if crl.issuer == leaf.issuer and leaf.serial in crl.revoked:
        yield finding("LEAF_REVOKED", f"{crl.file} lists its serial number {leaf.serial:x}", leaf.file)
