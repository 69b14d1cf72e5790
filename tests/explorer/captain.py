"""A coordinator as a value, driven as the engine and the recoverer drive it: `Course` says what comes next,
`decide` what a recoverer does. It may stop for ever at any moment: it just moves no more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from gausscert_common.model import NodeReport
from gausscert_common.protocol import recovery
from gausscert_common.protocol.coordinator import Course, Stage
from gausscert_common.protocol.exclusion import Subject
from gausscert_common.protocol.recovery import Answer, Choice
from gausscert_common.protocol.words import Phase, RestartScope, Step
from gausscert_coordinator.recovery_case import Case

from explorer import telling
from explorer.site import (
    EVERYBODY,
    HOLDERS,
    INSIDE,
    NEW,
    OUTSIDE,
    TRANSACTIONS,
    Site,
    command,
)

NODE: Final = RestartScope.NODE

Ack = str | NodeReport | None
OK: Final = "ok"
UNLIKE: Final = "unlike the plan"


class Mode(StrEnum):
    """What a coordinator is about."""

    IDLE = "idle"
    NEW = "begins"
    RECOVER = "recovers"
    OVER = "over"


class Brief(NamedTuple):
    """What a recovery of nodes with names has found before it locks anything (`recovery_case.Case`)."""

    excluded: tuple[str, ...]
    missing: tuple[str, ...]
    outside: bool
    settled: tuple[str, ...]
    remembered: tuple[tuple[str, Answer], ...]

    def case(self, transaction_id: str) -> Case:
        """As it was found."""
        subject = Subject(transaction_id, excluded=self.excluded, missing=self.missing, outside=self.outside)
        return Case(subject, NODE, settled=self.settled, remembered=dict(self.remembered))


class Captain(NamedTuple):
    """One run of one coordinator."""

    mode: Mode = Mode.IDLE
    name: str = ""
    """Of its transaction."""
    epoch: int = 0
    course: Course | None = None
    """None while a recoverer has not decided yet."""
    sent: int = 0
    """Steps it has sent, as bits: each may arrive at any node at any later time, any number of times."""
    prepare_sent: bool = False
    planned: str = ""
    """The live set of every node when it began."""
    only_start: bool = False
    participants: tuple[str, ...] = EVERYBODY
    settled: bool = False
    """Nobody is waited for any more."""
    brief: Brief | None = None
    """Where nodes have names."""

    @property
    def waits(self) -> bool:
        """Whether it was begun without somebody who is still waited for."""
        return self.participants == INSIDE and not self.settled

    def commands(self, who: str) -> bool:
        """Whether its requests go there."""
        return self.participants == EVERYBODY or who in self.participants

    @property
    def step(self) -> Step | None:
        """What it awaits the answers to."""
        if self.mode is Mode.OVER or self.mode is Mode.IDLE:
            return None
        return Step.ACQUIRE if self.course is None else self.course.step


class Turn(NamedTuple):
    """A move of a coordinator."""

    kind: str
    captain: Captain
    why: str = ""
    helps: bool = True
    """A recovering coordinator gets nearer to its end by it; else it has given something up."""
    stuck: str = ""
    """What should never be seen."""


Reader = Callable[[int, Sequence[Site]], Iterator[Turn]]
"""What it sets out to do, by its number, once it has read the nodes."""

_PROOFS: Final = frozenset({Stage.VERIFY, Stage.ROLLBACK_VERIFY})


def looks(captain: Captain) -> bool:
    """Whether what it does next depends on what the nodes are like; else on what they have answered."""
    if captain.mode is Mode.IDLE:
        return True
    return captain.course is not None and captain.course.now in _PROOFS


def turns_by_sight(number: int, reader: Reader, captain: Captain, sites: Sequence[Site]) -> Iterator[Turn]:
    """Everything that a coordinator may do next by itself that looks at the nodes."""
    if captain.course is not None:
        yield from _proven(captain, captain.course, sites)
    elif all(site.up or site.excluded or site.name for site in sites):
        yield from reader(number, sites)


def turns_by_answers(captain: Captain, heard: Sequence[tuple[str, Ack]]) -> Iterator[Turn]:
    """Everything that one may do next that waits for answers.

    Args:
        heard: From the nodes that it commands, with their names.
    """
    if captain.mode is Mode.OVER:
        return
    acks = [ack for _, ack in heard]
    if captain.course is None:
        if need(captain, acks):
            yield from _decided(captain, heard)
        yield Turn("recovery gives up", captain._replace(mode=Mode.OVER), helps=False)
        return
    course = captain.course
    if _answered(captain, course.now, acks):
        yield _goes(captain, course.succeeded(), f"all have answered {course.now}", helps=True)
    yield from _fails(captain, course, hopeless=False)


def request(number: int, captain: Captain, step: Step) -> object:
    """A request of it, as it was sent."""
    brief = captain.brief
    return command(
        step,
        captain.name,
        captain.epoch,
        HOLDERS[number],
        captain.planned,
        participants=captain.participants,
        settled=brief.settled if brief is not None else OUTSIDE if captain.settled else (),
        leaving=brief.missing if brief is not None else (),
    )


def ack_of(captain: Captain, step: Step, site: Site, *, failed: bool) -> Ack:
    """What the coordinator makes of an answer to its present request."""
    if captain.step is not step:
        return None
    if failed:
        left_to_proof = captain.course is not None and captain.course.now is Stage.ROLLBACK_START
        return OK if left_to_proof else None
    if step is not Step.ACQUIRE:
        return OK
    if captain.mode is Mode.RECOVER:
        return telling.report(site)
    return OK if as_planned(site, captain.planned, stopped_is_fine=site.excluded) else UNLIKE


def need(captain: Captain, acks: Sequence[Ack]) -> bool:
    """Whether enough nodes have answered. Every arrow needs all of them."""
    del captain
    return all(acks)


def _proven(captain: Captain, course: Course, sites: Sequence[Site]) -> Iterator[Turn]:
    if _serve(captain, course.now, sites):
        yield _goes(captain, course.succeeded(), f"all have answered {course.now}", helps=True)
    # A node that is left out and serves the old set lets no proof succeed: turning back is the way on.
    hopeless = (
        course.now is Stage.VERIFY
        and captain.waits
        and not all(_fits(captain, site) for site in sites if site.excluded)
    )
    yield from _fails(captain, course, hopeless=hopeless)


def _fails(captain: Captain, course: Course, *, hopeless: bool) -> Iterator[Turn]:
    yield _goes(captain, course.failed(), f"{course.now} fails", helps=hopeless)
    if course.may_turn_back:
        yield _goes(captain, course.interrupted(), f"interrupted at {course.now}", helps=False)


def _serve(captain: Captain, stage: object, sites: Sequence[Site]) -> bool:
    """Whether a proof succeeds."""
    own = [site for site in sites if captain.commands(site.who)]
    if stage is Stage.ROLLBACK_VERIFY:
        return all(site.up and site.running == site.live for site in own)
    well = all(site.up and site.running == site.live == NEW[captain.name] for site in own)
    return well and all(_fits(captain, site) for site in sites if not captain.commands(site.who))


def _answered(captain: Captain, stage: object, acks: Sequence[Ack]) -> bool:
    """Whether the stage may count as having gone well."""
    if stage in (Stage.ABORT, Stage.CLEAN) and captain.mode is Mode.NEW and not captain.prepare_sent:
        return True  # `Stages._release`: nothing was prepared anywhere, so who does not hear does no harm
    return need(captain, acks) and UNLIKE not in acks


def _fits(captain: Captain, site: Site) -> bool:
    """Whether a node that takes no part is seen as it must be: one that is left out does not serve, the
    others serve what those get that join."""
    return not site.running if captain.participants == INSIDE else site.running == NEW[captain.name]


def _decided(captain: Captain, heard: Sequence[tuple[str, Ack]]) -> Iterator[Turn]:
    named = captain.brief is not None
    told = sorted(heard, key=lambda each: each[0]) if named else heard
    reports = {
        who if named else f"n{place}": ack
        for place, (who, ack) in enumerate(told)
        if isinstance(ack, NodeReport)
    }
    if captain.only_start:
        course = Course(Stage.ABORT, NODE, touched_cm=True, recovering=True)
        yield _goes(captain, course, "CM is to be started", helps=True)
        return
    for choice in Choice:
        decision = _decide(reports, choice, captain)
        if decision.course is None:
            over = captain._replace(mode=Mode.OVER)
            without = captain.brief is not None and bool(captain.brief.missing)
            stuck = "" if without else decision.why
            yield Turn("recovery refused", over, decision.why, helps=not without, stuck=stuck)
        else:
            yield _goes(captain, decision.course, f"{choice}: {decision.why}", helps=True)


def _goes(captain: Captain, course: Course, why: str, *, helps: bool) -> Turn:
    captain = captain._replace(course=course)
    kind = "stage succeeds" if helps else "stage fails or is interrupted"
    if isinstance(course.now, Stage):
        return sends(kind, captain, f"{why}: {course.now}", helps=helps)
    return Turn(kind, captain._replace(mode=Mode.OVER), f"{why}: {course.now}", helps=helps)


def sends(kind: str, captain: Captain, why: str = "", *, helps: bool = True) -> Turn:
    step = captain.step
    if step is None:
        return Turn(kind, captain, why, helps)
    sent = captain.sent | 1 << step
    return Turn(
        kind,
        captain._replace(sent=sent, prepare_sent=captain.prepare_sent or step is Step.PREPARE),
        why,
        helps,
    )


def _decide(reports: Mapping[str, NodeReport], choice: Choice, captain: Captain) -> recovery.Decision:
    """As `recoverer` does once all have granted the fence."""
    if captain.brief is not None:
        return captain.brief.case(captain.name).decide(reports, choice)
    inside, outside = captain.participants == INSIDE, captain.participants == OUTSIDE
    subject = Subject(
        captain.name,
        excluded=OUTSIDE if inside else (),
        outside=outside,
        joins=TRANSACTIONS[0] if outside else "",
    )
    case = Case(subject, NODE, settled=OUTSIDE if captain.settled else ())
    return case.decide(reports, choice)


def as_planned(site: Site, planned: str, *, stopped_is_fine: bool = False) -> bool:
    running = stopped_is_fine or not site.manual
    return site.state.phase is Phase.NONE and site.live == planned and running


def next_epoch(sites: Sequence[Site]) -> int:
    return max(site.state.fence.epoch for site in sites) + 1
