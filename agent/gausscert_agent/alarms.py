"""The watch: looks at the certificates at start, once an hour and after every transaction, and raises alarms.

An alarm is a finding of this look: a record of the log, at once when it begins and again once a day while it
lasts, whatever becomes of others; a finding of GetNode; a metric, where these are on (`metrics`). What a look
could not see is not over (`looks`).
"""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from gausscert_common.errors import GausscertError
from gausscert_common.findings import Finding, Severity

from gausscert_agent import looks
from gausscert_agent.expiry import Alarm, alarms, judge_served, serves, serves_live, with_served
from gausscert_agent.looks import Check, Key, Lasting, NotNow, Part
from gausscert_agent.node_findings import node_finding

if TYPE_CHECKING:
    from collections.abc import Callable

    from gausscert_common.model import ExpiryReport, Served

DEFAULT_INTERVAL_S: Final = 86_400
"""CM's own default (facts section 5)."""

LOOK_EVERY_S: Final = 3_600.0
"""How often the watch looks, so that a change is told within the hour; CM's interval may have it look more
often."""
REPEAT_S: Final = 86_400.0
"""What lasts is told once a day, however often is looked."""
DOWN_AFTER_S: Final = 60.0
"""How long a cm_server must not have served before that is an alarm: a machine boots, and CM is restarted."""
AGAIN_S: Final = 60.0
"""How soon is looked again after a look that saw no cm_server, or not all. Nobody tells when there is more to
see: a lease runs out by itself, and a machine that boots is slow, or has no CM yet."""
_NOTHING: Final = frozenset[looks.Part]()
_SHORTEST_S: Final = 60.0
"""CM allows an interval of 0; nobody wants such a log."""


def _nothing_served() -> None:
    return None


class AlarmWatch:
    """See the module.

    Args:
        report: Makes a report; a `GausscertError` it raises is an alarm.
        interval_s: How often CM looks, asked each time; None for CM's default.
        clock: Seconds, never set back.
        own: What is to be said of the agent itself; an agent that cannot do its job is of no use.
        served: What the node's own cm_server shows; None where none belongs. `NotNow` is no alarm, and ends
            none; what else it raises is one.
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
        self._silent_since: float | None = None
        self._told: dict[Key, Lasting] | None = None
        """The alarms that last; None before the first look."""

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
        check = self._look_once()
        whole = check.serves is not False and {Part.LOOKED, Part.DISK} <= check.seen
        often_s = LOOK_EVERY_S if whole else AGAIN_S
        return min(self._interval(), often_s)

    def _look_once(self) -> Check:
        with self._looking:
            check = self._check()
            check = replace(check, kept=looks.kept(self._told or {}, check))
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
            return Check(self._now(), None, None, None, (Alarm(failed),), own, frozenset())
        served, asked, unsaid = None, False, list[Alarm]()
        try:
            served, asked = self._served(), True
        except NotNow:
            asked = False
        except GausscertError as error:
            unsaid = [Alarm(node_finding(looks.NOT_OBSERVED, f"what cm_server serves: {error}"))]
        down = self._is_down(served, asked=asked)
        if down and served is not None:
            unsaid = [Alarm(node_finding(looks.NOT_SERVED, f"{served.target}: {served.cause}"))]
        report = self._complete(report, served)
        drift = map(Alarm, judge_served(report.certificates, served))
        same = serves_live(report.certificates, served)
        seen = looks.seen(report, served, same, asked=asked, down=down)
        raised = (*alarms(report), *drift, *unsaid)
        return Check(report.clock, report, same, serves(served), raised, own, seen)

    def _is_down(self, served: Served | None, *, asked: bool) -> bool:
        """Whether it does not serve, and did not in a look a while ago. What is not asked is as it was."""
        if not asked:
            return False
        if serves(served) is not False:
            self._silent_since = None
            return False
        if self._silent_since is None:
            self._silent_since = self._clock()
        return self._clock() - self._silent_since >= DOWN_AFTER_S

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
        # What cannot be seen is not told again either: its cause is of another day.
        kept = {looks.key_of(alarm) for alarm in check.kept}
        lasting = {key: each for key, each in (told or {}).items() if key in kept}
        raised = [("certificate needs attention", alarm, looks.needs(alarm)) for alarm in check.raised]
        raised += [("the agent needs attention", Alarm(one), _NOTHING) for one in check.own]
        for event, alarm, needs in raised:
            key = looks.key_of(alarm)
            before = None if told is None else told.get(key)
            told_at = now if before is None else before.told_at
            if before is None or now - told_at >= REPEAT_S:
                self._raise(event, node, alarm)
                told_at = now
            lasting[key] = Lasting(alarm, told_at, needs)
        self._told = lasting
        if told is None or told:
            self._tell_over(node, told or {}, lasting)

    def _tell_over(self, node: str, before: dict[Key, Lasting], lasting: dict[Key, Lasting]) -> None:
        if not lasting:
            self._log.info("certificates are in order", extra={"node": node})
            return
        for code, file, _ in looks.over(before, lasting):
            self._log.info("an alarm is over", extra={"node": node, "code": code, "file": file})

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
