"""A coordinator as a value, driven as the engine and the recoverer drive it: `Course` says what comes next,
`decide` what a recoverer does. It may stop for ever at any moment: it just moves no more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from gausscert_common.model import NodeReport
from gausscert_common.protocol import recovery
from gausscert_common.protocol.coordinator import Course, Stage, Verdict, begin
from gausscert_common.protocol.exclusion import Subject
from gausscert_common.protocol.recovery import Choice
from gausscert_common.protocol.words import Phase, RestartScope, Step
from gausscert_coordinator.joining import Joining
from gausscert_coordinator.recovery_case import Case, Waiting, examine
from gausscert_coordinator.report import Result

from explorer import telling
from explorer.site import (
    EVERYBODY,
    HOLDERS,
    INSIDE,
    JOINS,
    NEW,
    OLD,
    OUTSIDE,
    TRANSACTIONS,
    Site,
    command,
    names,
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

    @property
    def waits(self) -> bool:
        """Whether it was begun without somebody who is still waited for."""
        return self.participants == INSIDE and not self.settled

    def addresses(self, site: Site) -> bool:
        """Whether its requests go there."""
        return self.participants == EVERYBODY or site.excluded is (self.participants == OUTSIDE)

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
        if all(site.up or site.excluded for site in sites):
            yield from reader(number, sites)
    elif captain.mode is not Mode.OVER:
        heard = [ack for ack, site in zip(acks, sites, strict=True) if captain.addresses(site)]
        yield from _under_way(captain, heard, sites)


def request(number: int, captain: Captain, step: Step) -> object:
    """A request of it, as it was sent."""
    return command(
        step,
        captain.name,
        captain.epoch,
        HOLDERS[number],
        captain.planned,
        participants=captain.participants,
        settled=captain.settled,
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
    return OK if _as_planned(site, captain.planned, stopped_is_fine=site.excluded) else UNLIKE


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
    """What `recovery_case.examine` finds first."""
    yield from _examined(number, sites, _called(sites))


def read_without(number: int, sites: Sequence[Site]) -> Iterator[Turn]:
    """Plan and begin T1 without the node that is dead: nothing of it answers."""
    inside, outside = _parted(sites)
    dead = not any(site.up or site.running for site in outside)
    if dead and all(_as_planned(site, OLD) for site in inside):
        begun = begin(NODE, waits=True)
        captain = Captain(
            Mode.NEW, TRANSACTIONS[0], _next_epoch(inside), begun, planned=OLD, participants=INSIDE
        )
        yield _sends("begins without a node", captain)


def read_to_bring_over(number: int, sites: Sequence[Site]) -> Iterator[Turn]:
    """The same where a node was left out: it need not answer."""
    yield from _examined(number, sites, names(sites))


def _examined(number: int, sites: Sequence[Site], called: Mapping[str, Site]) -> Iterator[Turn]:
    """The decisions are the product's own: here they only become moves of the model."""
    brought = NEW[TRANSACTIONS[0]]
    piece = examine(telling.wish(Choice.ROLL_BACK, brought), telling.read(called), called)
    if isinstance(piece, Result):
        if piece.verdict is Verdict.IN_DOUBT:
            yield Turn("recovery refused", Captain(Mode.OVER), piece.why, stuck=piece.why)
        elif not piece.failures:
            yield Turn("nothing in doubt", Captain(Mode.OVER))
    elif isinstance(piece, Waiting):
        yield Turn("waits for the excluded", Captain(Mode.OVER))
    elif isinstance(piece, Joining):
        back = [called[name] for name in piece.nodes]
        begun, planned = begin(NODE, outside=True), back[0].live
        yield _sends(
            "joins",
            Captain(Mode.NEW, JOINS[number], _next_epoch(back), begun, planned=planned, participants=OUTSIDE),
        )
    else:
        yield _settles(piece, sites)


def _settles(case: Case, sites: Sequence[Site]) -> Turn:
    epoch = _next_epoch([site for site in sites if site.up])
    if case.start_as:
        return _sends("only starts CM", Captain(Mode.RECOVER, case.start_as, epoch, only_start=True))
    whom = case.subject.nodes if case.subject.nodes in (INSIDE, OUTSIDE) else EVERYBODY
    captain = Captain(Mode.RECOVER, case.transaction_id, epoch, participants=whom, settled=not case.waits)
    return _sends("recovers", captain)


def read_without_or_bring_over(number: int, sites: Sequence[Site]) -> Iterator[Turn]:
    """Begin, or recover."""
    yield from read_without(number, sites)
    yield from read_to_bring_over(number, sites)


def read_either(number: int, sites: Sequence[Site]) -> Iterator[Turn]:
    """Begin, or recover."""
    yield from read_to_begin(number, sites)
    yield from read_to_recover(number, sites)


Reader = Callable[[int, Sequence[Site]], Iterator[Turn]]
ALONE: Final[tuple[Reader, ...]] = (read_to_begin,)
COMPETING: Final[tuple[Reader, ...]] = (read_to_begin, read_either)
BOUNDED: Final[tuple[Reader, ...]] = (read_to_begin, read_to_recover)
RECOVERER: Final[tuple[Reader, ...]] = (read_to_recover,)
WITHOUT: Final[tuple[Reader, ...]] = (read_without, read_to_bring_over)
BRINGER: Final[tuple[Reader, ...]] = (read_to_bring_over,)


def _under_way(captain: Captain, acks: Sequence[Ack], sites: Sequence[Site]) -> Iterator[Turn]:
    if captain.course is None:
        if need(captain, acks):
            yield from _decided(captain, acks)
        yield Turn("recovery gives up", captain._replace(mode=Mode.OVER), helps=False)
        return
    course, stage = captain.course, captain.course.now
    if _well(captain, stage, acks, sites):
        yield _goes(captain, course.succeeded(), f"all have answered {stage}", helps=True)
    # A node that is left out and serves the old set lets no proof succeed: turning back is the way on.
    hopeless = (
        stage is Stage.VERIFY
        and captain.waits
        and not all(_fits(captain, site) for site in sites if site.excluded)
    )
    yield _goes(captain, course.failed(), f"{stage} fails", helps=hopeless)
    if course.may_turn_back:
        yield _goes(captain, course.interrupted(), f"interrupted at {stage}", helps=False)


def _well(captain: Captain, stage: object, acks: Sequence[Ack], sites: Sequence[Site]) -> bool:
    """Whether the stage may count as having gone well."""
    own = [site for site in sites if captain.addresses(site)]
    if stage is Stage.VERIFY:
        well = all(site.up and site.running == site.live == NEW[captain.name] for site in own)
        return well and all(_fits(captain, site) for site in sites if not captain.addresses(site))
    if stage is Stage.ROLLBACK_VERIFY:
        return all(site.up and site.running == site.live for site in own)
    if stage in (Stage.ABORT, Stage.CLEAN) and captain.mode is Mode.NEW and not captain.prepare_sent:
        return True  # `Stages._release`: nothing was prepared anywhere, so who does not hear does no harm
    return need(captain, acks) and UNLIKE not in acks


def _fits(captain: Captain, site: Site) -> bool:
    """Whether a node that takes no part is seen as it must be: one that is left out does not serve, the
    others serve what those get that join."""
    return not site.running if captain.participants == INSIDE else site.running == NEW[captain.name]


def _decided(captain: Captain, acks: Sequence[Ack]) -> Iterator[Turn]:
    reports = [ack for ack in acks if isinstance(ack, NodeReport)]
    if captain.only_start:
        course = Course(Stage.ABORT, NODE, touched_cm=True, recovering=True)
        yield _goes(captain, course, "CM is to be started", helps=True)
        return
    for choice in Choice:
        decision = _decide(reports, choice, captain)
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


def _decide(reports: Sequence[NodeReport], choice: Choice, captain: Captain) -> recovery.Decision:
    """As `recoverer` does once all have granted the fence."""
    inside, outside = captain.participants == INSIDE, captain.participants == OUTSIDE
    subject = Subject(
        captain.name,
        excluded=OUTSIDE if inside else (),
        outside=outside,
        joins=TRANSACTIONS[0] if outside else "",
    )
    case = Case(subject, NODE, settled=OUTSIDE if captain.settled else ())
    return case.decide({f"n{place}": told for place, told in enumerate(reports)}, choice)


def _called(sites: Sequence[Site]) -> dict[str, Site]:
    """Names for nodes that are all alike."""
    return {"abcdefgh"[place]: site for place, site in enumerate(sites)}


def _parted(sites: Sequence[Site]) -> tuple[list[Site], list[Site]]:
    """Who takes part in T1, and who is left out."""
    return [site for site in sites if not site.excluded], [site for site in sites if site.excluded]


def _as_planned(site: Site, planned: str, *, stopped_is_fine: bool = False) -> bool:
    running = stopped_is_fine or not site.manual
    return site.state.phase is Phase.NONE and site.live == planned and running


def _next_epoch(sites: Sequence[Site]) -> int:
    return max(site.state.fence.epoch for site in sites) + 1
