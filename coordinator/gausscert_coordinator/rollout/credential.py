"""Whether the credential that lies on a node will do, by its certificates alone. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from gausscert_common.identity import Identity, Role

if TYPE_CHECKING:
    from datetime import datetime

    from gausscert_coordinator.rollout.facts import Held

LEFT: Final = timedelta(days=90)
"""One that has less left is issued anew; agents raise the alarm at 30 days."""


def is_good(held: Held, ca: x509.Certificate, cluster: str, node: str, now: datetime) -> bool:
    """Whether key and certificate are a pair, of this CA, for this node, and last for a while.

    Args:
        held: What lies there.
        ca: The control plane's.
        cluster: Its name.
        node: The node's name.
        now: The present in UTC.
    """
    try:
        cert = x509.load_pem_x509_certificate(held.cert.encode())
        there = x509.load_pem_x509_certificate(held.ca.encode())
        cert.verify_directly_issued_by(ca)
        names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    return (
        held.key_fits
        and there == ca
        and names.get_values_for_type(x509.UniformResourceIdentifier)
        == [Identity(cluster, Role.NODE, node).uri]
        and cert.not_valid_before_utc <= now
        and cert.not_valid_after_utc > now + LEFT
    )
