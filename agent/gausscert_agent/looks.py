"""What one look came to, what it has seen, and what it leaves of the alarms of looks before. Pure.

A look that could not see something has nothing to say of it: what was raised there is not over, it is not
known. Only a look that has seen it and does not find it any more ends an alarm.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from gausscert_common.model import SERVED_FILE, Certificate, ServedState

from gausscert_agent.expiry import Alarm

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from gausscert_common.findings import Finding
    from gausscert_common.model import ExpiryReport, Served

NOT_OBSERVED: Final = "NODE_NOT_OBSERVED"
NOT_SERVED: Final = "NODE_NOT_SERVED"
NOT_RUNNING: Final = "no cm_server runs here"
"""The cause of a cm_server that cannot be reached because there is none."""
_DRIFT: Final = ("NODE_DRIFT", "NODE_DRIFT_REFUSED")


class NotNow(Exception):
    """What the node's own cm_server serves is not to be looked at, or not known, at this moment."""


class Part(Enum):
    """What a look may have seen, or not."""

    DISK = auto()
    """The live set, and the threshold to judge dates by."""
    SERVED = auto()
    """What cm_server shows, or that none belongs there."""
    COMPARED = auto()
    """Both beside each other."""
    LOOKED = auto()
    """Every look was made, and none failed on the way."""


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
    seen: frozenset[Part] = frozenset(Part)
    """What the look could see."""
    kept: tuple[Alarm, ...] = ()
    """Raised before, about what this look could not see: neither found again nor over."""

    @property
    def alarms(self) -> tuple[Finding, ...]:
        """What is wrong with the certificates."""
        return tuple(alarm.finding for alarm in (*self.raised, *self.kept))

    @property
    def everything(self) -> tuple[Finding, ...]:
        """All that is wrong."""
        return (*self.alarms, *self.own)


Key = tuple[str, str, "Certificate | None"]
"""What one alarm is told from others by."""


@dataclass(frozen=True, slots=True)
class Lasting:
    """An alarm that was told and is not over."""

    alarm: Alarm
    told_at: float
    """By the clock of the watch."""
    needs: frozenset[Part]
    """What a look must have seen to say that it is over."""


def key_of(alarm: Alarm) -> Key:
    """See `Key`."""
    return alarm.finding.code, alarm.finding.file, alarm.about


def whose(key: Key) -> tuple[str, str]:
    """The file, and the certificate in it."""
    _, file, about = key
    return file, "" if about is None else about.fingerprint


def needs(alarm: Alarm) -> frozenset[Part]:
    """What a look must have seen to end an alarm about certificates."""
    code, file = alarm.finding.code, alarm.finding.file
    if code in (NOT_OBSERVED, NOT_SERVED):
        return frozenset({Part.LOOKED})
    if code in _DRIFT:
        return frozenset({Part.COMPARED})
    if file != SERVED_FILE:
        return frozenset({Part.DISK})
    # The threshold is read with the disk.
    return frozenset({Part.SERVED, Part.DISK} if code.endswith("_EXPIRING") else {Part.SERVED})


def seen(
    report: ExpiryReport, served: Served | None, same: bool | None, *, asked: bool, down: bool = False
) -> frozenset[Part]:
    """What a look has seen.

    Args:
        report: Of the disk.
        served: What cm_server shows.
        same: Whether that is what lies on the disk; None: not compared.
        asked: What is served could be asked for; with no answer, none belongs there.
        down: It has not served for a while. Without a process nothing of before is served any more; one that
            runs and does not answer may serve it yet.
    """
    parts = {Part.LOOKED} if asked else set[Part]()
    if all(finding.code != NOT_OBSERVED for finding in report.findings):
        parts.add(Part.DISK)
    gone = down and served is not None and served.cause == NOT_RUNNING
    if asked and (served is None or _shows(served) or gone):
        parts.add(Part.SERVED)
    if gone:
        parts.add(Part.COMPARED)
    if same is not None or {Part.DISK, Part.SERVED} <= parts:
        parts.add(Part.COMPARED)
    return frozenset(parts)


def kept(before: Mapping[Key, Lasting], check: Check) -> tuple[Alarm, ...]:
    """The alarms of before that a look neither found nor could end."""
    found = {key_of(alarm) for alarm in check.raised}
    found |= {key_of(Alarm(finding)) for finding in check.own}
    # What has expired does not expire any more, wherever else the look was blind.
    judged = {whose(key) for key in found if key[2] is not None}
    return tuple(
        lasting.alarm
        for key, lasting in before.items()
        if key not in found and whose(key) not in judged and not lasting.needs <= check.seen
    )


def over(before: Iterable[Key], lasting: Iterable[Key]) -> tuple[Key, ...]:
    """The alarms of before that have ended, without those of which something else is raised now."""
    last = tuple(lasting)
    still = {whose(key) for key in last}
    # What was told of the served certificate lasts where the same one lies on the disk.
    prints = {key[2].fingerprint for key in last if key[2] is not None}
    return tuple(
        key
        for key in before
        if key not in last
        and whose(key) not in still
        and not (key[1] == SERVED_FILE and whose(key)[1] in prints)
    )


def _shows(served: Served) -> bool:
    return served.state is ServedState.SSL_OFF or (
        served.state is ServedState.SSL_ON and bool(served.fingerprint)
    )
