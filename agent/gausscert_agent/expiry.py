"""The rules of the daily check: which certificates expire or have expired, of the live set and the one that
the node's own cm_server serves, and whether that one lies on the disk. Pure.

CM's own check leaves client.crt out unless cm_agents talk TLS among themselves, only writes to a log (facts
section 5), and knows nothing of files that were replaced under it; this one looks at every certificate and
CRL.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from gausscert_common import certset, pem
from gausscert_common.findings import Finding, Severity
from gausscert_common.model import SERVED_FILE, Certificate, CertificateKind, ExpiryReport, ServedState

from gausscert_agent.node_findings import node_finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from gausscert_common.model import Served

    Describe = Callable[[bytes], Certificate | None]
    """A leaf, DER, as a certificate; None for one that cannot be read."""

DEFAULT_THRESHOLD_DAYS: Final = 90
"""CM's own default (facts section 5)."""

_PREFIXES: Final = {CertificateKind.CA: "CA", CertificateKind.CRL: "CRL"}
"""With _EXPIRED, _EXPIRING and _NOT_YET_VALID these are the codes that `validate` has for bundles."""

_NO_SET: Final = node_finding("NODE_NO_LIVE_SET")
"""Zero certificates are not certificates in order."""

_SHOWN: Final = 16
"""Hex digits of a fingerprint that people compare."""

_HOLD_CERTIFICATES: Final = frozenset({"cacert.pem", "server.crt", "client.crt"})

_RENEW: Final = "make a new bundle and replace the set: gausscert bundle new, gausscert replace"
_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SERVES: Final = (ServedState.SSL_ON, ServedState.SSL_OFF)


@dataclass(frozen=True, slots=True)
class Alarm:
    """A finding, and what tells it from others of the same code and file."""

    finding: Finding
    about: Certificate | None = None
    """Whose dates it is about."""


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


def _unread(_: bytes) -> None:
    return None


def unreadable(files: Mapping[str, bytes], certificates: Iterable[Certificate]) -> Iterator[Finding]:
    """Files of which a certificate or CRL is none. CM loads a file as a whole or not at all.

    Args:
        files: Of the live set.
        certificates: What could be read of them.
    """
    told = Counter(one.file for one in certificates)
    for name in sorted(files.keys() & _HOLD_CERTIFICATES):
        if told[name] < max(1, len(pem.split(files[name]).of(pem.CERTIFICATE_LABELS))):
            yield node_finding("NODE_SET_UNREADABLE", file=name)
    for name in certset.CRL_NAMES:
        if name in files and not told[name]:
            yield node_finding("NODE_SET_UNREADABLE", file=name)


def with_served(report: ExpiryReport, served: Served | None, describe: Describe = _unread) -> ExpiryReport:
    """The same report with what the node's own cm_server serves, which expires by itself: files that were
    replaced on the disk do not make a running cm_server serve any longer. Where the very same certificate
    lies on the disk, its dates are told already.

    Args:
        report: Of the live set.
        served: What cm_server shows.
        describe: Reads a leaf that does not lie on the disk.
    """
    shown = _served_certificate(report.certificates, served, describe)
    if shown is None:
        return report
    full = replace(report, served=shown)
    if full.served_from_disk:
        return full
    judged = _judge(shown, report.clock, report.alert_threshold_days)
    return replace(full, findings=(*report.findings, *judged))


def alarms(report: ExpiryReport) -> tuple[Alarm, ...]:
    """The findings of a report, each with the certificate it is about."""
    told = report.certificates
    if report.served is not None and not report.served_from_disk:
        told = (*told, report.served)
    clock, days = report.clock, report.alert_threshold_days
    dated = [Alarm(finding, one) for one in told for finding in _judge(one, clock, days)]
    of_dates = {alarm.finding for alarm in dated}
    others = (Alarm(finding) for finding in report.findings if finding not in of_dates)
    return (*others, *dated)


def _served_certificate(
    certificates: Iterable[Certificate], served: Served | None, describe: Describe
) -> Certificate | None:
    if served is None or served.state is not ServedState.SSL_ON or not served.fingerprint:
        return None
    known = next((one for one in certificates if one.fingerprint == served.fingerprint), None)
    if known is None and served.leaf:
        known = describe(served.leaf)
    if known is not None:
        return replace(known, file=SERVED_FILE, index=0, kind=CertificateKind.SERVER)
    if served.not_after is None:
        return None
    # What the handshake has told is enough to judge the end.
    return Certificate(
        SERVED_FILE,
        index=0,
        kind=CertificateKind.SERVER,
        subject="",
        issuer="",
        serial="",
        fingerprint=served.fingerprint,
        not_before=_LONG_AGO,
        not_after=served.not_after,
    )


def _judge(certificate: Certificate, clock: datetime, threshold_days: int) -> Iterator[Finding]:
    what = f"{certificate.kind} certificate {certificate.subject}".rstrip()
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


def serves(served: Served | None) -> bool | None:
    """Whether the node's own cm_server answers CM's exchange, with or without SSL; None where none belongs,
    or nothing is to be said of it now."""
    return None if served is None else served.state in _SERVES


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
