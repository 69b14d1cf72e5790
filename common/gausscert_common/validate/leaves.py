"""Rules about the two leaves themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gausscert_common.validate import strength
from gausscert_common.validate.catalogue import finding
from gausscert_common.validate.certificate import BOTH_PURPOSES, NS_CLIENT, NS_SERVER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from gausscert_common.findings import Finding
    from gausscert_common.validate.certificate import Cert


def judge(leaf: Cert, now: datetime, threshold_days: int) -> Iterator[Finding]:
    """What speaks against a leaf. No extension at all is fine: openGauss's installer makes such leaves."""
    yield from strength.judge_leaf(leaf)
    yield from _judge_dates(leaf, now, threshold_days)
    said = leaf.extensions
    if said.purposes is not None and not said.purposes >= BOTH_PURPOSES:
        # anyExtendedKeyUsage alone does not satisfy OpenSSL's purpose check.
        missing = " and ".join(sorted(_purpose_name(p.dotted_string) for p in BOTH_PURPOSES - said.purposes))
        yield finding("LEAF_PURPOSE", f"its extendedKeyUsage lacks {missing}", leaf.file)
    if said.ns_cert_type is not None and ~said.ns_cert_type & (NS_CLIENT | NS_SERVER):
        yield finding("LEAF_PURPOSE", "its nsCertType lacks client or server", leaf.file)
    if said.digital_signature is False:
        yield finding("LEAF_KEY_USAGE", "its keyUsage lacks digitalSignature", leaf.file)
    if leaf.weak_signature and not leaf.self_issued:
        yield finding("SIGNATURE_WEAK", f"{leaf.shown} is signed with MD5 or SHA-1", leaf.file)


def _purpose_name(oid: str) -> str:
    return {"1.3.6.1.5.5.7.3.1": "serverAuth", "1.3.6.1.5.5.7.3.2": "clientAuth"}[oid]


def _judge_dates(leaf: Cert, now: datetime, threshold_days: int) -> Iterator[Finding]:
    if now < leaf.not_before:
        cause = f"it is valid from {leaf.not_before:%Y-%m-%d %H:%M} UTC"
        yield finding("CERTIFICATE_NOT_YET_VALID", cause, leaf.file)
    if now >= leaf.not_after:
        yield finding("CERTIFICATE_EXPIRED", f"it ended on {leaf.not_after:%Y-%m-%d %H:%M} UTC", leaf.file)
    elif (left := (leaf.not_after - now).days) < threshold_days:
        yield finding("CERTIFICATE_EXPIRING", f"it has {left} days left", leaf.file)


def judge_pair(server: Cert, client: Cert) -> Iterator[Finding]:
    """What speaks against the two leaves together."""
    if server.spki and server.spki == client.spki:
        yield finding("KEYS_SHARED", "server.crt and client.crt have the same public key", "client.crt")
    if server.der != client.der and (server.issuer, server.serial) == (client.issuer, client.serial):
        cause = f"server.crt and client.crt both have {server.serial:x}"
        yield finding("SERIAL_REUSED", cause, "client.crt")


def judge_unused(cas: tuple[Cert, ...], used: frozenset[bytes], now: datetime) -> Iterator[Finding]:
    """What speaks against certificates of cacert.pem that no chain needs."""
    for ca in cas:
        if ca.der not in used and now >= ca.not_after:
            cause = f"{ca.shown} ended on {ca.not_after:%Y-%m-%d}"
            yield finding("CA_UNUSED_EXPIRED", cause, ca.file)
