"""What `inventory check` makes of one node: what was looked at, in order, and what is to be done. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from gausscert_common.errors import InvalidInput, Unreachable

from gausscert_coordinator.diagnosis import Looked, Reached
from gausscert_coordinator.plan_rules import SKEW_ERROR_S, SKEW_WARNING_S, clock_offset_s

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from gausscert_common.errors import GausscertError
    from gausscert_common.findings import Finding
    from gausscert_common.model import NodeReport


class Subject(StrEnum):
    """What is looked at, in this order."""

    ADDRESS = "address"
    """Somebody takes a connection there."""
    TLS = "TLS"
    """Each side accepts the other's credential."""
    IDENTITY = "identity"
    """It is the node that is meant, of the cluster that is meant."""
    AGENT = "agent"
    """It answers, and its version goes with ours."""
    CLOCK = "clock"
    CM_CTL = "cm_ctl"
    """It works for the agent."""


class Mark(StrEnum):
    """What came of it."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """It was not looked at, because something before it failed."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    subject: Subject
    mark: Mark = Mark.UNKNOWN
    shown: str = ""
    """What was seen, short: a version, an offset."""
    code: str = ""
    """Of an error or finding; "" unless it is a warning or failed."""
    cause: str = ""
    remedy: str = ""
    unreachable: bool = False
    """It may pass: the node does not answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a node said, and when; by the coordinator's clock."""

    report: NodeReport
    sent: datetime
    received: datetime


@dataclass(frozen=True, slots=True)
class NodeCheck:
    """One node."""

    node: str
    address: str
    checks: tuple[Check, ...]
    """One for each subject, in their order."""
    report: NodeReport | None = None
    clock_offset_s: float | None = None
    """The smallest that the answer allows; the node's clock minus ours."""
    round_trip_s: float | None = None
    """How far the true offset may lie beyond it."""

    @property
    def troubles(self) -> tuple[Check, ...]:
        """What failed, or is worth knowing."""
        return tuple(check for check in self.checks if check.mark in (Mark.FAILED, Mark.WARNING))


def judge(
    node: str, address: str, looked: Looked, answer: Answer | GausscertError | None, version: str
) -> NodeCheck:
    """What was seen of one node.

    Args:
        node: Its name in the inventory.
        address: Its address there.
        looked: What a connection of our own showed.
        answer: What it then said, or why it did not; None where it was not asked.
        version: Ours.
    """
    found = _Found()
    _judge_line(found, looked, address)
    if isinstance(answer, Answer):
        report = answer.report
        offset_s = clock_offset_s(answer.sent, report.clock, answer.received)
        found.ok(Subject.IDENTITY, f"{report.cluster}/{report.name}")
        found.add(_version(report.agent_version, version))
        found.add(_clock(offset_s))
        found.add(_cm_ctl(report))
        round_trip_s = (answer.received - answer.sent).total_seconds()
        return NodeCheck(node, address, found.all(), report, offset_s, round_trip_s)
    if answer is not None:
        # TLS has proven who it is; InvalidInput is an agent that is of another opinion (`agents`).
        other = isinstance(answer, InvalidInput)
        found.failed(Subject.IDENTITY if other else Subject.AGENT, answer)
    return NodeCheck(node, address, found.all())


@dataclass(slots=True)
class _Found:
    checks: dict[Subject, Check] = field(default_factory=dict)

    def add(self, check: Check) -> None:
        self.checks[check.subject] = check

    def ok(self, subject: Subject, shown: str = "ok") -> None:
        self.add(Check(subject, Mark.OK, shown))

    def failed(self, subject: Subject, error: GausscertError) -> None:
        lost = isinstance(error, Unreachable)
        code, cause, remedy = error.reason.value, error.message, error.remedy
        self.add(Check(subject, Mark.FAILED, "FAILED", code, cause, remedy, unreachable=lost))

    def all(self) -> tuple[Check, ...]:
        return tuple(self.checks.get(subject, Check(subject)) for subject in Subject)


_PASSED: Final = {
    Reached.ADDRESS: Subject.ADDRESS,
    Reached.TLS: Subject.TLS,
    Reached.PEER: Subject.IDENTITY,
}
_STOPPED: Final = {
    Reached.NOTHING: Subject.ADDRESS,
    Reached.ADDRESS: Subject.TLS,
    Reached.TLS: Subject.IDENTITY,
    Reached.PEER: Subject.TLS,
    Reached.AGENT: Subject.AGENT,
}
"""What has failed, if nothing further was reached: with TLS 1.3 what the agent thinks of our credential is
known only after who it is."""


def _judge_line(found: _Found, looked: Looked, address: str) -> None:
    for reached, subject in _PASSED.items():
        if looked.reached >= reached:
            found.ok(subject, address if subject is Subject.ADDRESS else "ok")
    if looked.error is not None:
        found.failed(_STOPPED[looked.reached], looked.error)


def _version(theirs: str, ours: str) -> Check:
    if theirs == ours:
        return Check(Subject.AGENT, Mark.OK, theirs)
    remedy = "bring the agent and gausscert here to one version"
    if _line(theirs) is not None and _line(theirs) == _line(ours):
        cause = f"the agent is {theirs}, gausscert here is {ours}; they work together"
        return Check(Subject.AGENT, Mark.WARNING, theirs, "AGENT_VERSION", cause, remedy)
    cause = (
        f"the agent is {theirs or 'of no known version'}, gausscert here is {ours}: they may not understand"
    )
    return Check(Subject.AGENT, Mark.FAILED, theirs, "AGENT_VERSION", f"{cause} each other", remedy)


def _line(version: str) -> tuple[str, ...] | None:
    """Versions of one line are compatible: those of one major version, and before 1.0 of one minor version
    (semantic versioning, item 4)."""
    found = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)\S*", version)
    if found is None:
        return None
    return (found[1], found[2]) if found[1] == "0" else (found[1],)


def _clock(offset_s: float) -> Check:
    shown = f"{offset_s:+.1f} s"
    if abs(offset_s) <= SKEW_WARNING_S:
        return Check(Subject.CLOCK, Mark.OK, shown)
    mark = Mark.FAILED if abs(offset_s) > SKEW_ERROR_S else Mark.WARNING
    direction = "ahead of" if offset_s > 0 else "behind"
    cause = f"its clock is {abs(offset_s):.0f} s {direction} this machine's"
    remedy = "set the clock right, for example with chrony"
    return Check(Subject.CLOCK, mark, shown, "CLOCK_SKEW", cause, remedy)


def _cm_ctl(report: NodeReport) -> Check:
    if report.capabilities.cm_ctl:
        return Check(Subject.CM_CTL, Mark.OK, "works")
    said = next(iter(_about_cm_ctl(report.findings)), None)
    cause = said.cause if said is not None else "`cm_ctl view` tells the agent nothing"
    remedy = said.remedy if said is not None and said.remedy else _RUN
    return Check(Subject.CM_CTL, Mark.FAILED, "FAILED", "NODE_CM_CTL_FAILS", cause, remedy)


_RUN: Final = "run gausscert-agent check-config there, and `cm_ctl view` as the agent's user"


def _about_cm_ctl(findings: Sequence[Finding]) -> list[Finding]:
    return [finding for finding in findings if "cm_ctl" in finding.cause]
