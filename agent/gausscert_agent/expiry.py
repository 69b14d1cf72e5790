"""The daily check: which certificates of the live set have expired or will soon.

CM's own check leaves client.crt out unless cm_agents talk TLS among themselves, and only writes to a
log (facts section 5); this one looks at every certificate and CRL.
"""

from __future__ import annotations

import logging
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from gausscert_common.errors import GausscertError
from gausscert_common.findings import Finding, Severity
from gausscert_common.model import Certificate, CertificateKind, ExpiryReport

from gausscert_agent.preflight import node_finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

DEFAULT_THRESHOLD_DAYS: Final = 90
DEFAULT_INTERVAL_S: Final = 86_400
"""CM's own defaults (facts section 5)."""

LOOK_EVERY_S: Final = 3_600.0
"""How often the watch looks, so that a change is told within the hour; unchanged findings are
repeated only once per interval."""
_SHORTEST_S: Final = 60.0
"""CM allows an interval of 0; nobody wants such a log."""

_PREFIXES: Final = {CertificateKind.CA: "CA", CertificateKind.CRL: "CRL"}
"""With _EXPIRED, _EXPIRING and _NOT_YET_VALID these are the codes that `validate` has for bundles."""

_NO_SET: Final = node_finding("NODE_NO_LIVE_SET")
"""Zero certificates are not certificates in order."""

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


class ExpiryWatch:
    """Writes what the check finds to the log, at once when it changes and again once per interval.

    Args:
        report: Makes a report; a `GausscertError` it raises is logged like a finding.
        interval_s: How often to repeat unchanged findings, asked each time; None for CM's default.
        clock: Seconds, never set back.
        own: What is to be said of the agent's own credential; an agent that outlives it is of no use.
        log: Where to.
    """

    def __init__(
        self,
        report: Callable[[], ExpiryReport],
        interval_s: Callable[[], int | None],
        *,
        clock: Callable[[], float],
        own: Callable[[], tuple[Finding, ...]] = tuple,
        log: logging.Logger | None = None,
    ) -> None:
        self._report = report
        self._interval_s = interval_s
        self._clock = clock
        self._own = own
        self._log = log if log is not None else logging.getLogger(__name__)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gausscert-expiry", daemon=True)
        self._told: frozenset[tuple[str, str]] | None = None
        self._told_at = 0.0

    def start(self) -> None:
        """Look now, and from then on in the background."""
        self._thread.start()

    def stop(self) -> None:
        """End it and wait for the end."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def look(self) -> float:
        """Look once.

        Returns:
            Seconds until the next look.
        """
        interval_s = self._interval()
        node, found = self._found()
        state = frozenset((finding.code, finding.file) for finding in found)
        due = self._clock() - self._told_at >= interval_s
        if state != self._told or (state and due):
            self._tell(node, found)
            self._told, self._told_at = state, self._clock()
        return min(interval_s, LOOK_EVERY_S)

    def _found(self) -> tuple[str, tuple[Finding, ...]]:
        own = self._own()
        try:
            report = self._report()
        except GausscertError as error:
            cause = f"certificates could not be checked: {error.message}"
            failed = Finding(error.reason.value, Severity.ERROR, cause, error.remedy, file=error.file)
            return error.node, (failed, *own)
        return report.node, (*report.findings, *own)

    def _run(self) -> None:
        wait_s = 0.0
        while not self._stopped.wait(wait_s):
            try:
                wait_s = self.look()
            except Exception:  # noqa: BLE001 - the outermost loop of this thread
                # An alarm that dies unheard is none.
                self._log.exception("certificates could not be checked")
                wait_s = LOOK_EVERY_S

    def _interval(self) -> float:
        try:
            configured = self._interval_s()
        except GausscertError:
            configured = None
        return max(_SHORTEST_S, float(DEFAULT_INTERVAL_S if configured is None else configured))

    def _tell(self, node: str, found: tuple[Finding, ...]) -> None:
        if not found:
            self._log.info("certificates are in order", extra={"node": node})
        for finding in found:
            level = logging.ERROR if finding.severity is Severity.ERROR else logging.WARNING
            fields = {
                "node": node,
                "code": finding.code,
                "file": finding.file,
                "cause": finding.cause,
                "remedy": finding.remedy,
            }
            self._log.log(level, "certificate needs attention", extra=fields)
