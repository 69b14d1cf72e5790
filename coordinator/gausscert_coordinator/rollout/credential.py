"""Whether the credential that lies on a node will do, by its certificates alone. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from gausscert_common.identity import Identity, Role

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from gausscert_coordinator.rollout.facts import Held

LEFT: Final = timedelta(days=90)
"""One that has less left is issued anew; agents raise the alarm at 30 days."""


class Own(NamedTuple):
    """What the operator has."""

    cert: x509.Certificate
    """His own."""
    trusted: tuple[x509.Certificate, ...]
    """The CAs that he trusts: two while the control plane changes from one to the other."""


def is_good(held: Held, own: Own, cluster: str, node: str, now: datetime) -> bool:
    """Whether key and certificate are a pair, for this node, and last for a while; and whether operator and
    node trust each other's CA. The node may trust fewer CAs than he does: whoever has taken one away there
    does not want it back.

    Args:
        held: What lies there.
        own: What the operator has.
        cluster: Its name.
        node: The node's name.
        now: The present in UTC.
    """
    try:
        cert = x509.load_pem_x509_certificate(held.cert.encode())
        there = x509.load_pem_x509_certificates(held.ca.encode())
        names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return False
    return (
        held.key_fits
        and _issued_by_any(cert, own.trusted)
        and _issued_by_any(own.cert, there)
        and names.get_values_for_type(x509.UniformResourceIdentifier)
        == [Identity(cluster, Role.NODE, node).uri]
        and cert.not_valid_before_utc <= now
        and cert.not_valid_after_utc > now + LEFT
    )


def _issued_by_any(cert: x509.Certificate, authorities: Iterable[x509.Certificate]) -> bool:
    return any(_issued_by(cert, each) for each in authorities)


def _issued_by(cert: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        cert.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
