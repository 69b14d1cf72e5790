"""What is to be said of the caller's own credential before it ends: afterwards no agent listens any more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from gausscert_common import credentials, identity
from gausscert_common.errors import InvalidInput
from gausscert_common.findings import Finding
from gausscert_common.validate.rule import WARNING, Rule, table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gausscert_coordinator.inventory import Inventory

OWN: Final = table(
    Rule(
        "OWN_CREDENTIAL_EXPIRING",
        WARNING,
        "Your own credential expires soon",
        "It is the one that the inventory names, and has nothing to do with the cluster's certificates. From"
        " then on no agent listens to you.",
        "renew it: gausscert pki renew CERT --dir PKI --out DIR",
    ),
    Rule(
        "OWN_CREDENTIAL_CA_EXPIRING",
        WARNING,
        "A CA of the control plane expires soon",
        "With it ends every credential that it has issued, of agents and of persons.",
        "see `Rotation of the control plane` in docs/runbook.md",
    ),
)


def findings(inventory: Inventory, now: datetime | None = None) -> tuple[Finding, ...]:
    """Warnings about the credential that an inventory names; () for one that cannot be used at all, which
    whoever connects with it is told."""
    at = now or datetime.now(UTC)
    try:
        own = credentials.load_person(inventory.credentials, cluster=inventory.cluster, now=at)
    except InvalidInput:
        return ()
    return tuple(_judge(inventory, own, at))


def _judge(inventory: Inventory, own: credentials.Credential, now: datetime) -> Iterator[Finding]:
    if own.not_after - now < timedelta(days=identity.CREDENTIAL_WARNED_DAYS):
        cause = f"your own credential ({own.identity}) {_ends(own.not_after, now)}"
        yield _finding("OWN_CREDENTIAL_EXPIRING", cause, inventory.credentials.cert)
    for one in own.authorities:
        if one.not_after - now < timedelta(days=identity.CA_WARNED_DAYS):
            cause = f"a CA of the control plane ({one.subject}) {_ends(one.not_after, now)}"
            yield _finding("OWN_CREDENTIAL_CA_EXPIRING", cause, inventory.credentials.ca)


def _ends(at: datetime, now: datetime) -> str:
    return f"expires on {at:%Y-%m-%d %H:%M} UTC, in {(at - now).days} days"


def _finding(code: str, cause: str, file: Path) -> Finding:
    rule = OWN[code]
    return Finding(code, rule.severity, cause, rule.remedy, file=str(file))
