"""Rules about CRLs.

cm_server holds server.crl against clients, a client holds client.crl against servers
(cm_misc.cpp:1136-1146); only the leaf is checked, against the first CRL of the file
(cs_ssl.cpp:952-979, 1001-1003).
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from gausscert_common.validate.catalogue import finding
from gausscert_common.validate.certificate import CRYPTO_ERRORS, shown_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from gausscert_common.findings import Finding
    from gausscert_common.validate.certificate import Cert
    from gausscert_common.validate.chain import Chain
    from gausscert_common.validate.gather import Crl

T = TypeVar("T", bound=x509.ExtensionType)

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
        if crl.unknown_critical:
            yield finding(
                "CRL_CRITICAL_EXTENSION_UNKNOWN", f"it has {', '.join(crl.unknown_critical)}", crl.file
            )
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
    yield from _judge_scope(crl, leaf)
    if not chain.cas and not leaf.self_issued:
        return
    ca = chain.cas[0] if chain.cas else leaf
    signed = _signed(crl, ca)
    if _is_weak(crl):
        yield finding("SIGNATURE_WEAK", "it is signed with MD5 or SHA-1", crl.file)
    elif signed is None:
        yield finding("SIGNATURE_ALGORITHM_UNKNOWN", "its signature", crl.file)
    elif not signed:
        cause = f"the key of {ca.shown} of {ca.file} did not sign it"
        yield finding("CRL_LEFT_OVER" if carried else "CRL_SIGNATURE_WRONG", cause, crl.file)
    elif not _names(crl, ca):
        cause = f"its authority key identifier names another certificate than {ca.shown} of {ca.file}"
        yield finding("CRL_LEFT_OVER" if carried else "CRL_FOREIGN", cause, crl.file)
    if ca.extensions.crl_sign is False:
        yield finding(
            "CRL_CA_CANNOT_SIGN", f"{ca.shown} of {ca.file} has a keyUsage without cRLSign", crl.file
        )


def _judge_scope(crl: Crl, leaf: Cert) -> Iterator[Finding]:
    """Whether the CRL is for such a leaf, as OpenSSL decides without extended CRL support, which CM does not
    switch on (x509_vfy.c: get_crl_score, crl_crldp_check)."""
    said = _extension(crl, x509.IssuingDistributionPoint)
    if said is None:
        return
    is_ca = leaf.extensions.is_ca is True
    faults = {
        "it is an indirect CRL": said.indirect_crl,
        "it is for some reasons of revocation only": said.only_some_reasons is not None,
        "it is for attribute certificates only": said.only_contains_attribute_certs,
        "it is for CA certificates only": said.only_contains_ca_certs and not is_ca,
        f"it is for end entities only, and {leaf.file} is a CA": said.only_contains_user_certs and is_ca,
        f"it is for a distribution point that {leaf.file} does not name": not _is_pointed_at(said, leaf),
    }
    if cause := next((cause for cause, holds in faults.items() if holds), ""):
        yield finding("CRL_SCOPE", cause, crl.file)


def _is_pointed_at(said: x509.IssuingDistributionPoint, leaf: Cert) -> bool:
    if said.full_name is None:
        return True  # a name relative to the issuer is left to the rehearsal
    points = leaf.x509.extensions
    try:
        named = points.get_extension_for_class(x509.CRLDistributionPoints).value
    except x509.ExtensionNotFound:
        return False
    return any(point.full_name is None or set(point.full_name) & set(said.full_name) for point in named)


def _names(crl: Crl, ca: Cert) -> bool:
    """Whether its authority key identifier lets this CA be the issuer (X509_check_akid)."""
    said = _extension(crl, x509.AuthorityKeyIdentifier)
    if said is None:
        return True
    wanted = said.key_identifier
    if ca.extensions.key_id is not None and wanted not in {None, ca.extensions.key_id}:
        return False
    return said.authority_cert_serial_number in {None, ca.serial}


def _extension(crl: Crl, kind: type[T]) -> T | None:
    try:
        return crl.x509.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _is_weak(crl: Crl) -> bool:
    """`cryptography` verifies no such signature any more, and says that it is wrong."""
    try:
        found = crl.x509.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return False
    return found is not None and found.name in {"md5", "sha1"}


def _signed(crl: Crl, ca: Cert) -> bool | None:
    """None when that cannot be checked."""
    if ca.key is None:
        return None
    try:
        return crl.x509.is_signature_valid(ca.key)  # type: ignore[arg-type]  # others raise
    except InvalidSignature:
        return False
    except CRYPTO_ERRORS:
        return None


def _judge_revoked(crl: Crl, leaf: Cert) -> Iterator[Finding]:
    if crl.issuer == leaf.issuer and leaf.serial in crl.revoked:
        yield finding("LEAF_REVOKED", f"{crl.file} lists its serial number {leaf.serial:x}", leaf.file)
