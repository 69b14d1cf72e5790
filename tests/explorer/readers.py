"""What a coordinator sets out to do once it has read the nodes. The decisions are the product's own: here
they only become moves of the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from gausscert_common.protocol.coordinator import Verdict, begin
from gausscert_common.protocol.recovery import Choice
from gausscert_coordinator.joining import Joining
from gausscert_coordinator.recovery_case import Case, Waiting, examine
from gausscert_coordinator.report import Result

from explorer import telling
from explorer.captain import NODE, Brief, Captain, Mode, Reader, Turn, as_planned, next_epoch, sends
from explorer.site import EVERYBODY, INSIDE, JOINS, NEW, OLD, OUTSIDE, TRANSACTIONS, Site, names


def read_to_begin(number: int, sites: Sequence[Site]) -> Iterator[Turn]:
    """Plan and begin a transaction of its own."""
    planned = sites[0].live
    name = TRANSACTIONS[number]
    if all(site.up and as_planned(site, planned) for site in sites):
        whom = tuple(names(sites)) if sites[0].name else EVERYBODY
        captain = Captain(Mode.NEW, name, next_epoch(sites), begin(NODE), planned=planned, participants=whom)
        yield sends("begins", captain)


def read_to_recover(number: int, sites: Sequence[Site]) -> Iterator[Turn]:
    """What `recovery_case.examine` finds first."""
    yield from _examined(number, sites, _called(sites))


def read_without(number: int, sites: Sequence[Site]) -> Iterator[Turn]:
    """Plan and begin T1 without the node that is dead: nothing of it answers."""
    inside, outside = _parted(sites)
    dead = not any(site.up or site.running for site in outside)
    if dead and all(as_planned(site, OLD) for site in inside):
        begun = begin(NODE, waits=True)
        captain = Captain(
            Mode.NEW, TRANSACTIONS[0], next_epoch(inside), begun, planned=OLD, participants=INSIDE
        )
        yield sends("begins without a node", captain)


def read_to_bring_over(number: int, sites: Sequence[Site]) -> Iterator[Turn]:
    """The same where a node was left out: it need not answer."""
    yield from _examined(number, sites, names(sites))


def recovering_without(*mortal: str) -> Reader:
    """Recover with whom the others have not left out before, or without one of these, too, if it is dead."""

    def read(number: int, sites: Sequence[Site]) -> Iterator[Turn]:
        called = names(sites)
        yield from _examined(number, sites, called)
        for name in mortal:
            if not (called[name].up or called[name].running):
                yield from _examined(number, sites, called, (name,))

    return read


def _examined(
    number: int, sites: Sequence[Site], called: Mapping[str, Site], exclude: tuple[str, ...] = ()
) -> Iterator[Turn]:
    brought = NEW[TRANSACTIONS[0]]
    piece = examine(telling.wish(Choice.ROLL_BACK, brought, exclude), telling.read(called), called)
    if isinstance(piece, Result):
        if piece.verdict is Verdict.IN_DOUBT:
            stuck = piece.why if all(site.up or site.excluded for site in sites) else ""
            yield Turn("recovery refused", Captain(Mode.OVER), piece.why, helps=bool(stuck), stuck=stuck)
        elif not piece.failures:
            yield Turn("nothing in doubt", Captain(Mode.OVER))
    elif isinstance(piece, Waiting):
        yield Turn("waits for the excluded", Captain(Mode.OVER))
    elif isinstance(piece, Joining):
        back = [called[name] for name in piece.nodes]
        begun, planned = begin(NODE, outside=True), back[0].live
        yield sends(
            "joins",
            Captain(Mode.NEW, JOINS[number], next_epoch(back), begun, planned=planned, participants=OUTSIDE),
        )
    else:
        yield from _settles(piece, sites)


def _settles(case: Case, sites: Sequence[Site]) -> Iterator[Turn]:
    epoch = next_epoch([site for site in sites if site.up])
    if sites[0].name:
        yield from _settles_named(case, epoch, sites)
        return
    if case.start_as:
        yield sends("only starts CM", Captain(Mode.RECOVER, case.start_as, epoch, only_start=True))
        return
    whom = case.subject.nodes if case.subject.nodes in (INSIDE, OUTSIDE) else EVERYBODY
    captain = Captain(Mode.RECOVER, case.transaction_id, epoch, participants=whom, settled=not case.waits)
    yield sends("recovers", captain)


def _settles_named(case: Case, epoch: int, sites: Sequence[Site]) -> Iterator[Turn]:
    subject, called = case.subject, names(sites)
    whom = Captain(Mode.RECOVER, case.transaction_id, epoch, participants=subject.nodes)
    if case.start_as:
        yield sends("only starts CM", whom._replace(only_start=True))
        return
    runs = any(called[name].running for name in subject.missing)
    if runs and case.course is not None and case.course.turns_back:
        return  # `Recoverer._runs_elsewhere`
    remembered = tuple(sorted(case.remembered.items()))
    brief = Brief(subject.excluded, subject.missing, subject.outside, case.settled, remembered)
    kind = "recovers without a node" if subject.missing else "recovers"
    yield sends(kind, whom._replace(brief=brief))


def read_without_or_bring_over(number: int, sites: Sequence[Site]) -> Iterator[Turn]:
    """Begin, or recover."""
    yield from read_without(number, sites)
    yield from read_to_bring_over(number, sites)


def read_either(number: int, sites: Sequence[Site]) -> Iterator[Turn]:
    """Begin, or recover."""
    yield from read_to_begin(number, sites)
    yield from read_to_recover(number, sites)


def _called(sites: Sequence[Site]) -> dict[str, Site]:
    """Names for nodes that are all alike."""
    return {"abcdefgh"[place]: site for place, site in enumerate(sites)}


def _parted(sites: Sequence[Site]) -> tuple[list[Site], list[Site]]:
    """Who takes part in T1, and who is left out."""
    return [site for site in sites if not site.excluded], [site for site in sites if site.excluded]


ALONE: Final[tuple[Reader, ...]] = (read_to_begin,)
COMPETING: Final[tuple[Reader, ...]] = (read_to_begin, read_either)
BOUNDED: Final[tuple[Reader, ...]] = (read_to_begin, read_to_recover)
RECOVERER: Final[tuple[Reader, ...]] = (read_to_recover,)
WITHOUT: Final[tuple[Reader, ...]] = (read_without, read_to_bring_over)
MORTAL: Final = "n2"
"""Of two nodes only one may be left out: of two halves that leave each other out each would decide alone."""
MOURNER: Final[tuple[Reader, ...]] = (recovering_without(MORTAL),)
SURVIVORS: Final[tuple[Reader, ...]] = (read_to_begin, *MOURNER)
BRINGER: Final[tuple[Reader, ...]] = (read_to_bring_over,)
