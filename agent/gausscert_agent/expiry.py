"""The rules of the daily check: which certificates of the live set have expired or will soon, and whether the
running cm_server serves what lies on the disk. Pure.

CM's own check leaves client.crt out unless cm_agents talk TLS among themselves, only writes to a log (facts
section 5), and knows nothing of files that were replaced under it; this one looks at every certificate and
CRL.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from gausscert_common.findings import Finding, Severity
from gausscert_common.model import Certificate, CertificateKind, ExpiryReport, ServedState

from gausscert_agent.preflight import node_finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from gausscert_common.model import Served

DEFAULT_THRESHOLD_DAYS: Final = 90
"""CM's own default (facts section 5)."""

_PREFIXES: Final = {CertificateKind.CA: "CA", CertificateKind.CRL: "CRL"}
"""With _EXPIRED, _EXPIRING and _NOT_YET_VALID these are the codes that `validate` has for bundles."""

_NO_SET: Final = node_finding("NODE_NO_LIVE_SET")
"""Zero certificates are not certificates in order."""

_SHOWN: Final = 16
"""Hex digits of a fingerprint that people compare."""

_RENEW: Final = "make a new bundle and replace the set: gausscert bundle new, gausscert replace"


def expiry_report(
    node: str,
    certificates: Iterable[Certificate],
    clock: datetime,
    threshold_days: int,
    findings: Iterable[Finding] = (),
) -> ExpiryReport:
    """Judge certificates by a clock.

    Args:
        node: The node's name.
        certificates: Of the live set, CRLs among them, in any order.
        clock: The node's own; CM on the node will judge by the same.
        threshold_days: Days before expiry at which to warn.
        findings: What could not be read.
    """
    ordered = tuple(sorted(certificates, key=lambda one: (one.not_after, one.file, one.index)))
    judged = (finding for one in ordered for finding in _judge(one, clock, threshold_days))
    found = (*findings, *judged)
    if not ordered and not found:
        found = (_NO_SET,)
    return ExpiryReport(node, clock, ordered, threshold_days, found)


def _judge(certificate: Certificate, clock: datetime, threshold_days: int) -> Iterator[Finding]:
    what = f"{certificate.kind} certificate {certificate.subject}"
    if certificate.kind is CertificateKind.CRL:
        what = f"CRL of {certificate.subject}"
    # CM ignores further certificates of a .crt (facts section 4), so they break nothing.
    worst = Severity.WARNING if certificate.kind is CertificateKind.EXTRA else Severity.ERROR
    prefix = _PREFIXES.get(certificate.kind, "CERTIFICATE")
    left = certificate.not_after - clock
    if left < timedelta():
        cause = f"{what} expired on {certificate.not_after:%Y-%m-%d %H:%M} UTC, {(-left).days} days ago"
        yield Finding(f"{prefix}_EXPIRED", worst, cause, _RENEW, file=certificate.file)
    elif left < timedelta(days=threshold_days):
        cause = f"{what} expires on {certificate.not_after:%Y-%m-%d %H:%M} UTC, in {left.days} days"
        yield Finding(f"{prefix}_EXPIRING", Severity.WARNING, cause, _RENEW, file=certificate.file)
    if certificate.not_before > clock:
        cause = f"{what} is not valid before {certificate.not_before:%Y-%m-%d %H:%M} UTC"
        remedy = "compare the clocks of the nodes; every handshake fails until then"
        yield Finding(f"{prefix}_NOT_YET_VALID", worst, cause, remedy, file=certificate.file)


def serves_live(certificates: Iterable[Certificate], served: Served | None) -> bool | None:
    """Whether a cm_server shows the leaf that lies on its disk; None where nothing is known to compare."""
    if served is None or served.state is not ServedState.SSL_ON or not served.fingerprint:
        return None
    live = [one.fingerprint for one in certificates if one.kind is CertificateKind.SERVER]
    return served.fingerprint in live if live else None


def judge_served(certificates: Iterable[Certificate], served: Served | None) -> Iterator[Finding]:
    """What is to be said of a cm_server that serves another leaf than lies on its disk.

    Args:
        certificates: Of the live set.
        served: What this node's own cm_server shows; None where none runs.
    """
    if served is None or serves_live(certificates, served) is not False:
        return
    if served.chain_verified:
        yield node_finding("NODE_DRIFT", f"{served.target} serves {served.fingerprint[:_SHOWN]}")
    else:
        # A cm_agent that reconnects takes the new files and refuses this cm_server (facts section 0.1).
        yield node_finding("NODE_DRIFT_REFUSED", f"{served.target}: {served.cause}")
