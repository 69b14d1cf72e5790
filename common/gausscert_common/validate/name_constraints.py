"""Whether certificates keep the nameConstraints of the CAs above them (RFC 5280 section 4.2.1.10).

Judged as OpenSSL does (x509_vfy.c: check_name_constraints, v3_ncons.c), the root's constraints included.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from gausscert_common.validate.catalogue import finding
from gausscert_common.validate.certificate import canonical, shown_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gausscert_common.findings import Finding
    from gausscert_common.validate.certificate import Cert

_JUDGED: Final = frozenset({x509.DNSName, x509.IPAddress, x509.DirectoryName})

_LABEL: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?"
_DNS_LIKE: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})+")
"""A common name that OpenSSL takes for a DNS name (cn2dnsid): of two labels at least."""


@dataclass(frozen=True, slots=True)
class _Named:
    """One name of a certificate."""

    kind: type[x509.GeneralName]
    value: object
    """Of a directory name: canonical."""
    shown: str


def judge(certs: tuple[Cert, ...]) -> Iterator[Finding]:
    """What the CAs of a chain, leaf first, say against the names below them."""
    for place, cert in enumerate(certs):
        if place and cert.subject == cert.issuer:  # self-issued: exempt, unless it is the leaf
            continue
        limiting = [ca for ca in certs[place + 1 :] if ca.extensions.permitted or ca.extensions.excluded]
        if limiting:
            names = tuple(_names(cert, leaf=not place))
            for ca in limiting:
                yield from _judge(cert, names, ca)


def _judge(cert: Cert, names: tuple[_Named, ...], ca: Cert) -> Iterator[Finding]:
    for name in names:
        if fault := _fault(name, ca):
            cause = f"{fault} {name.shown} of {cert.shown}"
            yield finding("CHAIN_NAME_CONSTRAINT", f"{ca.shown} {cause}", cert.file)
            return
    limited = {type(base) for base in (*ca.extensions.permitted, *ca.extensions.excluded)} - _JUDGED
    kinds = {name.kind for name in names}
    if x509.OtherName in kinds:  # an internationalised mail address is one (RFC 8398)
        kinds.add(x509.RFC822Name)
    if unjudged := limited & kinds:
        shown = ", ".join(sorted(kind.__name__ for kind in unjudged))
        cause = f"{ca.shown} limits {shown}, which {cert.shown} has"
        yield finding("CHAIN_NAME_CONSTRAINT_UNJUDGED", cause, cert.file)


def _fault(name: _Named, ca: Cert) -> str:
    if name.kind not in _JUDGED:
        return ""
    permitted = [base for base in ca.extensions.permitted if isinstance(base, name.kind)]
    if permitted and not any(_within(name.value, base) for base in permitted):
        return "does not permit"
    excluded = (base for base in ca.extensions.excluded if isinstance(base, name.kind))
    return "excludes" if any(_within(name.value, base) for base in excluded) else ""


def _within(value: object, base: x509.GeneralName) -> bool:
    match value, base:
        case str(), x509.DNSName():
            return _dns_within(value.lower(), base.value.lower())
        case ((IPv4Address() | IPv6Address()), x509.IPAddress()):
            return isinstance(base.value, IPv4Network | IPv6Network) and value in base.value
        case tuple(), x509.DirectoryName():
            stem = canonical(base.value)
            return value[: len(stem)] == stem
        case _:
            return False


def _dns_within(name: str, base: str) -> bool:
    """Labels may come before the base; a base with a leading dot wants one at least."""
    if not base or name == base:
        return True
    return name.endswith(base if base.startswith(".") else f".{base}")


def _names(cert: Cert, *, leaf: bool) -> Iterator[_Named]:
    subject = cert.x509.subject
    if subject.rdns:
        yield _Named(x509.DirectoryName, cert.subject, "the subject")
    for mail in subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS):
        yield _Named(x509.RFC822Name, mail.value, "the mail address")
    alternatives = cert.extensions.alternative_names
    yield from (_alternative(one) for one in alternatives)
    if leaf and not any(isinstance(one, x509.DNSName) for one in alternatives):
        for common in subject.get_attributes_for_oid(NameOID.COMMON_NAME):
            if isinstance(common.value, str) and _DNS_LIKE.fullmatch(common.value):
                yield _Named(x509.DNSName, common.value, f"the common name {common.value}")


def _alternative(name: x509.GeneralName) -> _Named:
    match name:
        case x509.DirectoryName():
            return _Named(x509.DirectoryName, canonical(name.value), shown_name(name.value))
        case x509.DNSName() | x509.IPAddress():
            return _Named(type(name), name.value, str(name.value))
        case _:
            return _Named(type(name), None, type(name).__name__)
