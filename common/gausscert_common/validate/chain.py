"""The chain from a leaf to its root, built as OpenSSL builds it from cacert.pem alone.

CM loads cacert.pem as its only trust store, takes nothing else for chain building and allows no
partial chain (cs_ssl.cpp:919-948): every CA, the root included, must be in that file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gausscert_common.validate import name_constraints, strength
from gausscert_common.validate.catalogue import finding
from gausscert_common.validate.certificate import (
    BOTH_PURPOSES,
    NS_SSL_CA,
    authority_fits,
    shown_name,
    signed_by,
)
from gausscert_common.validate.gather import CACERT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from gausscert_common.findings import Finding
    from gausscert_common.validate.certificate import Cert

MAX_INTERMEDIATES: Final = 10
"""Verification depth of CM (cs_ssl.cpp:44); leaf and root do not count."""


@dataclass(frozen=True, slots=True)
class Chain:
    """A leaf and the CAs above it, as far as they were found."""

    certs: tuple[Cert, ...]
    """Leaf first."""
    findings: tuple[Finding, ...] = ()
    """Why the chain ends early; empty when it is complete."""

    @property
    def cas(self) -> tuple[Cert, ...]:
        """All but the leaf."""
        return self.certs[1:]


def build(leaf: Cert, cas: tuple[Cert, ...], extras: tuple[Cert, ...], now: datetime) -> Chain:
    """Build the chain.

    Args:
        leaf: The certificate that CM uses.
        cas: What cacert.pem holds.
        extras: Further certificates of .crt files; only used to tell why a CA is missing.
        now: Decides between CAs of one name, of which OpenSSL prefers a valid one.
    """
    certs = [leaf]
    while not certs[-1].self_issued:
        step = _issuer(certs[-1], cas, extras, now)
        if not isinstance(step, _Found):
            return Chain(tuple(certs), (step,))
        certs.append(step.ca)
        if len(certs) > MAX_INTERMEDIATES + 2:
            cause = f"there are more than {MAX_INTERMEDIATES} intermediates above {leaf.shown}"
            return Chain(tuple(certs), (finding("CHAIN_TOO_DEEP", cause, CACERT),))
    return Chain(tuple(certs), tuple(_self_issued_leaf(leaf, cas)) if len(certs) == 1 else ())


@dataclass(frozen=True, slots=True)
class _Found:
    ca: Cert


def _issuer(cert: Cert, cas: tuple[Cert, ...], extras: tuple[Cert, ...], now: datetime) -> _Found | Finding:
    named = [ca for ca in cas if ca.subject == cert.issuer and ca.der != cert.der]
    if not named:
        return _missing(cert, extras)
    fitting = [ca for ca in named if authority_fits(cert, ca)]
    if not fitting:
        cause = f"{cert.shown} names another issuer certificate than {named[0].shown} of {CACERT}"
        return finding("AKID_MISMATCH", cause, cert.file)
    valid = [ca for ca in fitting if ca.valid_at(now)]
    preferred = valid or fitting
    if len({ca.spki for ca in preferred}) > 1:
        cause = f"{len(preferred)} of them could be the issuer of {cert.shown} of {cert.file}"
        return finding("CA_DN_AMBIGUOUS", cause, CACERT)
    # Of several certificates of one key OpenSSL takes the first valid one, whatever else they say.
    ca = valid[0] if valid else max(fitting, key=lambda one: one.not_after)
    fault = _signature_fault(cert, ca)
    return fault or _Found(ca)


def _missing(cert: Cert, extras: tuple[Cert, ...]) -> Finding:
    for extra in extras:
        if extra.subject == cert.issuer and signed_by(cert, extra):
            cause = f"{extra.shown} of {extra.file}, which issued {cert.shown}, is not in {CACERT}"
            return finding("INTERMEDIATE_ONLY_IN_CRT", cause, extra.file)
    if cert.file == CACERT:
        cause = f"{cert.shown} was issued by {shown_name(cert.x509.issuer)}, which is not there"
        return finding("ROOT_MISSING", cause, CACERT)
    issuer = shown_name(cert.x509.issuer)
    cause = f"it was issued by {issuer}, which is not in {CACERT}"
    return finding("LEAF_NOT_SIGNED_BY_CA", cause, cert.file)


def _signature_fault(cert: Cert, ca: Cert) -> Finding | None:
    signed = signed_by(cert, ca)
    if signed or (signed is None and cert.weak_signature):
        return None
    if signed is None:
        return finding("SIGNATURE_ALGORITHM_UNKNOWN", f"the signature of {cert.shown}", cert.file)
    cause = f"{cert.shown} names {ca.shown} of {CACERT} as issuer, but was signed with another key"
    return finding(
        "CHAIN_SIGNATURE_WRONG" if cert.file == CACERT else "LEAF_NOT_SIGNED_BY_CA", cause, cert.file
    )


def _self_issued_leaf(leaf: Cert, cas: tuple[Cert, ...]) -> Iterator[Finding]:
    if any(ca.der == leaf.der for ca in cas):
        yield finding("LEAF_SELF_SIGNED", f"{leaf.shown} is its own issuer", leaf.file)
    elif any(ca.subject == leaf.subject for ca in cas):
        yield finding("LEAF_NAMED_LIKE_CA", f"{leaf.shown} and its issuer have one name", leaf.file)
    else:
        cause = f"{leaf.shown} is self-signed and not in {CACERT}"
        yield finding("LEAF_NOT_SIGNED_BY_CA", cause, leaf.file)


def judge(chain: Chain, now: datetime, threshold_days: int) -> Iterator[Finding]:
    """What speaks against the CAs of a chain; causes name CA and file only, so that both leaves' agree."""
    yield from chain.findings
    for above, ca in enumerate(chain.cas, start=1):
        yield from _judge_ca(ca, root=ca.self_issued)
        yield from _judge_dates(ca, now, threshold_days)
        below = sum(not other.self_issued for other in chain.certs[1:above])
        limit = ca.extensions.path_length
        if limit is not None and below > limit:
            yield finding(
                "CHAIN_PATH_LENGTH", f"{ca.shown} allows {limit} CAs below, there are {below}", CACERT
            )
    yield from name_constraints.judge(chain.certs)
    yield from _outlived(chain)


def _judge_ca(ca: Cert, *, root: bool) -> Iterator[Finding]:
    said = ca.extensions
    yield from _judge_authority(ca, root=root)
    if said.key_cert_sign is False:
        yield finding("CA_CANNOT_SIGN", f"{ca.shown} has a keyUsage without keyCertSign", CACERT)
    if said.purposes is not None and not said.purposes >= BOTH_PURPOSES:
        yield finding("CA_PURPOSE", f"{ca.shown} lacks serverAuth or clientAuth in extendedKeyUsage", CACERT)
    yield from strength.judge_ca(ca)
    if ca.weak_signature and not root:
        yield finding("SIGNATURE_WEAK", f"{ca.shown} is signed with MD5 or SHA-1", CACERT)


def _judge_authority(ca: Cert, *, root: bool) -> Iterator[Finding]:
    """Whether it is a CA, as check_ca of OpenSSL decides without X509_STRICT, which CM does not set."""
    said = ca.extensions
    # A self-signed certificate of version 1 cannot have extensions.
    if said.is_ca or (root and ca.version_1):
        return
    by_usage = said.key_cert_sign is not None  # without the bit: CA_CANNOT_SIGN
    by_type = bool((said.ns_cert_type or 0) & NS_SSL_CA)
    if said.is_ca is None and (by_usage or by_type):
        where = "keyUsage" if by_usage else "nsCertType"
        cause = f"{ca.shown} says by {where} only that it is a CA"
        yield finding("CA_WITHOUT_BASIC_CONSTRAINTS", cause, CACERT)
    else:
        yield finding("CA_NOT_A_CA", f"{ca.shown} has no basicConstraints with CA:TRUE", CACERT)


def _judge_dates(ca: Cert, now: datetime, threshold_days: int) -> Iterator[Finding]:
    if now < ca.not_before:
        yield finding(
            "CA_NOT_YET_VALID", f"{ca.shown} is valid from {ca.not_before:%Y-%m-%d %H:%M} UTC", CACERT
        )
    if now >= ca.not_after:
        yield finding("CA_EXPIRED", f"{ca.shown} ended on {ca.not_after:%Y-%m-%d %H:%M} UTC", CACERT)
    elif (left := (ca.not_after - now).days) < threshold_days:
        yield finding("CA_EXPIRING", f"{ca.shown} has {left} days left", CACERT)


def _outlived(chain: Chain) -> Iterator[Finding]:
    leaf = chain.certs[0]
    for ca in chain.cas:
        # A CA and leaves of the same number of days, made one after the other, differ by minutes.
        if (leaf.not_after - ca.not_after).days >= 1:
            cause = f"it ends on {leaf.not_after:%Y-%m-%d}, {ca.shown} of {CACERT} on {ca.not_after:%Y-%m-%d}"
            yield finding("LEAF_OUTLIVES_CA", cause, leaf.file)
            return
