"""The watch: looks at the certificates at start, once an hour and after every transaction, and raises alarms.

An alarm is a finding of this look: a record of the log, at once when it begins and again once a day while it
lasts, whatever becomes of others; a finding of GetNode; a metric, where these are on (`metrics`).
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from gausscert_common.errors import GausscertError
from gausscert_common.findings import Finding, Severity

from gausscert_agent.expiry import Alarm, alarms, judge_served, serves, serves_live, with_served
from gausscert_agent.node_findings import node_finding

if TYPE_CHECKING:
    from collections.abc import Callable

    from gausscert_common.model import Certificate, ExpiryReport, Served

DEFAULT_INTERVAL_S: Final = 86_400
"""CM's own default (facts section 5)."""

LOOK_EVERY_S: Final = 3_600.0
"""How often the watch looks, so that a change is told within the hour; CM's interval may have it look more
often."""
REPEAT_S: Final = 86_400.0
"""What lasts is told once a day, however often is looked."""
_SHORTEST_S: Final = 60.0
"""CM allows an interval of 0; nobody wants such a log."""


@dataclass(frozen=True, slots=True)
class Check:
    """What one look came to."""

    at: datetime
    """By the node's clock."""
    report: ExpiryReport | None
    """None: the certificates could not be looked at; the alarms say why."""
    serves_live: bool | None
    """Whether the node's cm_server serves the leaf on the disk; None: none runs, SSL is off, or not known."""
    serves: bool | None
    """Whether the node's cm_server answers; None: none belongs there, it is being restarted, or not known."""
    raised: tuple[Alarm, ...]
    """About the certificates."""
    own: tuple[Finding, ...]
    """About the agent itself."""

    @property
    def alarms(self) -> tuple[Finding, ...]:
        """What is wrong with the certificates."""
        return tuple(alarm.finding for alarm in self.raised)

    @property
    def everything(self) -> tuple[Finding, ...]:
        """All that is wrong."""
        return (*self.alarms, *self.own)


def _nothing_served() -> None:
    return None


_Key = tuple[str, str, "Certificate | None"]
"""What one alarm is told from others by."""


def _key(alarm: Alarm) -> _Key:
    return alarm.finding.code, alarm.finding.file, alarm.about


def _whose(key: _Key) -> tuple[str, str]:
    _, file, about = key
    return file, "" if about is None else about.fingerprint


class AlarmWatch:
    """See the module.

    Args:
        report: Makes a report; a `GausscertError` it raises is an alarm.
        interval_s: How often CM looks, asked each time; None for CM's default.
        clock: Seconds, never set back.
        own: What is to be said of the agent itself; an agent that cannot do its job is of no use.
        served: What the node's own cm_server shows; None where none belongs, and while it is restarted. What
            it raises is an alarm.
        complete: Adds what is served to a report.
        now: The node's clock.
        log: Where to.
    """

    def __init__(
        self,
        report: Callable[[], ExpiryReport],
        interval_s: Callable[[], int | None],
        *,
        clock: Callable[[], float],
        own: Callable[[], tuple[Finding, ...]] = tuple,
        served: Callable[[], Served | None] = _nothing_served,
        complete: Callable[[ExpiryReport, Served | None], ExpiryReport] = with_served,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        log: logging.Logger | None = None,
    ) -> None:
        self._report = report
        self._interval_s = interval_s
        self._clock = clock
        self._own = own
        self._served = served
        self._complete = complete
        self._now = now
        self._log = log if log is not None else logging.getLogger(__name__)
        self._looking = threading.RLock()
        self._stopped = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gausscert-alarms", daemon=True)
        self._last: Check | None = None
        self._looked_at = 0.0
        self._told: dict[_Key, float] | None = None
        """When each alarm that lasts was told; None before the first look."""

    @property
    def last(self) -> Check | None:
        """What the last look came to; None before the first."""
        return self._last

    def start(self) -> None:
        """Look now, and from then on in the background."""
        self._thread.start()

    def nudge(self) -> None:
        """Look soon: something has changed. Does not wait."""
        self._wake.set()

    def stop(self) -> None:
        """End it and wait for the end."""
        self._stopped = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def recent(self, max_age_s: float) -> Check:
        """What a look came to that is no older than so many seconds; looks, if there is none."""
        with self._looking:
            if self._last is None or self._clock() - self._looked_at > max_age_s:
                return self._look_once()
            return self._last

    def look(self) -> float:
        """Look once.

        Returns:
            Seconds until the next look.
        """
        self._look_once()
        return min(self._interval(), LOOK_EVERY_S)

    def _look_once(self) -> Check:
        with self._looking:
            check = self._check()
            self._last, self._looked_at = check, self._clock()
            self._tell(check)
            return check

    def _check(self) -> Check:
        own = self._own()
        try:
            report = self._report()
        except GausscertError as error:
            cause = f"certificates could not be checked: {error.message}"
            failed = Finding(
                error.reason.value, Severity.ERROR, cause, error.remedy, error.node, file=error.file
            )
            return Check(self._now(), None, None, None, (Alarm(failed),), own)
        try:
            served = self._served()
        except GausscertError as error:
            unseen = node_finding("NODE_NOT_OBSERVED", f"what cm_server serves: {error}")
            return Check(report.clock, report, None, None, (*alarms(report), Alarm(unseen)), own)
        report = self._complete(report, served)
        drift = map(Alarm, judge_served(report.certificates, served))
        same = serves_live(report.certificates, served)
        return Check(report.clock, report, same, serves(served), (*alarms(report), *drift), own)

    def _run(self) -> None:
        while not self._stopped:
            try:
                wait_s = self.look()
            except Exception:  # noqa: BLE001 - the outermost loop of this thread
                # An alarm that dies unheard is none.
                self._log.exception("certificates could not be checked")
                wait_s = LOOK_EVERY_S
            self._wake.wait(wait_s)
            self._wake.clear()

    def _interval(self) -> float:
        try:
            configured = self._interval_s()
        except GausscertError:
            configured = None
        return max(_SHORTEST_S, float(DEFAULT_INTERVAL_S if configured is None else configured))

    def _tell(self, check: Check) -> None:
        """Each alarm by itself: one that begins or ends has nothing to say of the others."""
        node = check.report.node if check.report is not None else ""
        told, now = self._told, self._clock()
        lasting: dict[_Key, float] = {}
        raised = [("certificate needs attention", alarm) for alarm in check.raised]
        raised += [("the agent needs attention", Alarm(finding)) for finding in check.own]
        for event, alarm in raised:
            key = _key(alarm)
            before = None if told is None else told.get(key)
            if before is None or now - before >= REPEAT_S:
                self._raise(event, node, alarm)
                before = now
            lasting[key] = before
        self._told = lasting
        if told is None or told:
            self._tell_over(node, told or {}, lasting)

    def _tell_over(self, node: str, before: dict[_Key, float], lasting: dict[_Key, float]) -> None:
        if not lasting:
            self._log.info("certificates are in order", extra={"node": node})
            return
        # What has expired does not expire any more; that is no good news.
        still = {_whose(key) for key in lasting}
        for key in before:
            if key not in lasting and _whose(key) not in still:
                self._log.info("an alarm is over", extra={"node": node, "code": key[0], "file": key[1]})

    def _raise(self, event: str, node: str, alarm: Alarm) -> None:
        finding = alarm.finding
        level = logging.ERROR if finding.severity is Severity.ERROR else logging.WARNING
        fields = {
            "node": node or finding.node,
            "code": finding.code,
            "file": finding.file,
            "cause": finding.cause,
            "remedy": finding.remedy,
        }
        self._log.log(level, event, extra=fields)


def summary(check: Check | None) -> tuple[Finding, ...]:
    """The alarms about certificates as one finding of the node. A warning: what is wrong with the set that is
    to be replaced must not refuse the replacement."""
    if check is None or not check.alarms:
        return ()
    named = dict.fromkeys(f"{one.code} {one.file}".strip() for one in check.alarms)
    return (node_finding("NODE_ALARM", ", ".join(named)),)
