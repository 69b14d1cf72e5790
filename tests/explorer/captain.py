"""A coordinator as a value, driven as the engine and the recoverer drive it: `Course` says what comes next,
`decide` what a recoverer does. It may stop for ever at any moment: it just moves no more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from gausscert_common.protocol import recovery
from gausscert_common.protocol.coordinator import Course, Stage, begin
from gausscert_common.protocol.recovery import Answer, Choice
from gausscert_common.protocol.words import Phase, RestartScope, Step

from explorer import site as site_
from explorer.site import HOLDERS, NEW, TRANSACTIONS, Site, command

NODE: Final = RestartScope.NODE

Ack = str | Answer | None
OK: Final = "ok"
UNLIKE: Final = "unlike the plan"


class Mode(StrEnum):
    """What a coordinator is about."""

    IDLE = "idle"
    NEW = "begins"
    RECOVER = "recovers"
    OVER = "over"


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


def turns(
    number: int, reader: Reader, captain: Captain, acks: Sequence[Ack], sites: Sequence[Site]
) -> Iterator[Turn]:
    """Everything that coordinator may do next by itself."""
    if captain.mode is Mode.IDLE:
        if all(site.up for site in sites):
            yield from reader(number, sites)
    elif captain.mode is not Mode.OVER:
        yield from _under_way(captain, acks, sites)


def request(number: int, captain: Captain, step: Step) -> object:
    """A request of it, as it was sent."""
    return command(step, captain.name, captain.epoch, HOLDERS[number], captain.planned)


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
        return site.answer(captain.name)
    return OK if _as_planned(site, captain.planned) else UNLIKE


def need(captain: Captain, acks: Sequence[Ack]) -> bool:
    """Whether enough nodes have answered. Every arrow needs all of them."""
    del captain
    return all(acks)


def read_to_begin(number: int, sites: Sequence[Site]) -> Iterator[Turn]:
    """Plan and begin a transaction of its own."""
    planned = sites[0].live
    name = TRANSACTIONS[number]
    if all(_as_planned(site, planned) for site in sites):
        yield _sends("begins", Captain(Mode.NEW, name, _next_epoch(sites), begin(NODE), planned=planned))


def read_to_recover(number: int, sites: Sequence[Site]) -> Iterator[Turn]:
    """As `recoverer._examine`: what is in doubt, or whether CM only has to be started."""
    del number
    names = sorted({s.state.transaction.transaction_id for s in sites if s.state.transaction is not None})
    name = names[0] if len(names) == 1 else ""
    decision = _decide([site.answer(name) for site in sites], Choice.ROLL_BACK)
    if decision.course is None:
        yield Turn("recovery refused", Captain(Mode.OVER), decision.why, stuck=decision.why)
    elif not decision.course.over:
        yield _sends("recovers", Captain(Mode.RECOVER, name, _next_epoch(sites)))
    elif all(site_.cm_stays_up(site) for site in sites):
        yield Turn("nothing in doubt", Captain(Mode.OVER))
    else:
        name = TRANSACTIONS[-1]
        yield _sends("only starts CM", Captain(Mode.RECOVER, name, _next_epoch(sites), only_start=True))


def read_either(number: int, sites: Sequence[Site]) -> Iterator[Turn]:
    """Begin, or recover."""
    yield from read_to_begin(number, sites)
    yield from read_to_recover(number, sites)


Reader = Callable[[int, Sequence[Site]], Iterator[Turn]]
ALONE: Final[tuple[Reader, ...]] = (read_to_begin,)
COMPETING: Final[tuple[Reader, ...]] = (read_to_begin, read_either)
BOUNDED: Final[tuple[Reader, ...]] = (read_to_begin, read_to_recover)
RECOVERER: Final[tuple[Reader, ...]] = (read_to_recover,)


def _under_way(captain: Captain, acks: Sequence[Ack], sites: Sequence[Site]) -> Iterator[Turn]:
    if captain.course is None:
        if need(captain, acks):
            yield from _decided(captain, acks)
        yield Turn("recovery gives up", captain._replace(mode=Mode.OVER), helps=False)
        return
    course, stage = captain.course, captain.course.now
    if _well(captain, stage, acks, sites):
        yield _goes(captain, course.succeeded(), f"all have answered {stage}", helps=True)
    yield _goes(captain, course.failed(), f"{stage} fails", helps=False)
    if course.may_turn_back:
        yield _goes(captain, course.interrupted(), f"interrupted at {stage}", helps=False)


def _well(captain: Captain, stage: object, acks: Sequence[Ack], sites: Sequence[Site]) -> bool:
    """Whether the stage may count as having gone well."""
    if stage is Stage.VERIFY:
        return all(site.up and site.running == site.live == NEW[captain.name] for site in sites)
    if stage is Stage.ROLLBACK_VERIFY:
        return all(site.up and site.running == site.live for site in sites)
    if stage in (Stage.ABORT, Stage.CLEAN) and captain.mode is Mode.NEW and not captain.prepare_sent:
        return True  # `Engine._release`: nothing was prepared anywhere, so who does not hear does no harm
    return need(captain, acks) and UNLIKE not in acks


def _decided(captain: Captain, acks: Sequence[Ack]) -> Iterator[Turn]:
    answers = [ack for ack in acks if isinstance(ack, Answer)]
    if captain.only_start:
        course = Course(Stage.ABORT, NODE, touched_cm=True, recovering=True)
        yield _goes(captain, course, "CM is to be started", helps=True)
        return
    for choice in Choice:
        decision = _decide(answers, choice)
        if decision.course is None:
            over = captain._replace(mode=Mode.OVER)
            yield Turn("recovery refused", over, decision.why, stuck=decision.why)
        else:
            yield _goes(captain, decision.course, f"{choice}: {decision.why}", helps=True)


def _goes(captain: Captain, course: Course, why: str, *, helps: bool) -> Turn:
    captain = captain._replace(course=course)
    kind = "stage succeeds" if helps else "stage fails or is interrupted"
    if isinstance(course.now, Stage):
        return _sends(kind, captain, f"{why}: {course.now}", helps=helps)
    return Turn(kind, captain._replace(mode=Mode.OVER), f"{why}: {course.now}", helps=helps)


def _sends(kind: str, captain: Captain, why: str = "", *, helps: bool = True) -> Turn:
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


def _decide(answers: Sequence[Answer], choice: Choice) -> recovery.Decision:
    return recovery.decide({f"n{place}": answer for place, answer in enumerate(answers)}, NODE, choice)


def _as_planned(site: Site, planned: str) -> bool:
    return site.state.phase is Phase.NONE and site.live == planned and not site.manual


def _next_epoch(sites: Sequence[Site]) -> int:
    return max(site.state.fence.epoch for site in sites) + 1
