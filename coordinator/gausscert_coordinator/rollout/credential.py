"""Whether the credential that lies on a node will do, by its certificates alone, and which CAs go with a new
one. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography import x509
from gausscert_common.errors import InvalidInput, Reason
from gausscert_common.identity import Identity, Role

from gausscert_coordinator import pki_certificates, pki_trust

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from gausscert_coordinator.pki import Signed
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


def trust(signed: Signed, held: Held, own: Own, node: str) -> Signed:
    """A new credential with the ca.crt that the node is to have: what the operator trusts, both CAs while the
    control plane changes from one to the other. One that was taken away there is not given back: the older of
    two, where the node trusts the newer one alone.

    Args:
        signed: For the node.
        held: What lies there.
        own: What the operator has.
        node: The node's name.

    Raises:
        InvalidInput: CREDENTIAL_INVALID: the agent would not be trusted by the operator, or not trust him.
    """
    issuer = pki_trust.read(signed.ca_pem)[0]
    there = pki_trust.read(held.ca.encode())
    kept = [ca for ca in own.trusted if ca in there]
    newest = max((ca.not_valid_before_utc for ca in kept), default=None)
    given = [ca for ca in own.trusted if ca in kept or newest is None or ca.not_valid_before_utc >= newest]
    if issuer not in own.trusted:
        cause = "the CA that would issue its credential is not among those that the inventory's ca.crt trusts"
        raise _refused(node, cause, "name the right CA with --pki, or trust both first: " + _ROTATION)
    if issuer not in given:
        cause = "the CA that would issue its credential is one that this node trusts no longer"
        raise _refused(node, cause, "name the newer CA with --pki: " + _ROTATION)
    if not _issued_by_any(own.cert, given):
        cause = "the CA that has issued your own credential is one that this node trusts no longer"
        raise _refused(node, cause, "use a credential of the newer CA: " + _ROTATION)
    return replace(signed, ca_pem=pki_trust.bundle(issuer, given))


_ROTATION: Final = "see `Rotation of the control plane` in docs/runbook.md"


def _refused(node: str, cause: str, remedy: str) -> InvalidInput:
    return InvalidInput(Reason.CREDENTIAL_INVALID, cause, node=node, remedy=remedy)


def _issued_by_any(cert: x509.Certificate, authorities: Iterable[x509.Certificate]) -> bool:
    return any(pki_certificates.issued_by(cert, each) for each in authorities)
