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
from explorer.captain import NODE, Captain, Mode, Reader, Turn, as_planned, next_epoch, sends
from explorer.site import EVERYBODY, INSIDE, JOINS, NEW, OLD, OUTSIDE, TRANSACTIONS, Site, names


def read_to_begin(number: int, sites: Sequence[Site]) -> Iterator[Turn]:
    """Plan and begin a transaction of its own."""
    planned = sites[0].live
    name = TRANSACTIONS[number]
    if all(as_planned(site, planned) for site in sites):
        yield sends("begins", Captain(Mode.NEW, name, next_epoch(sites), begin(NODE), planned=planned))


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


def _examined(number: int, sites: Sequence[Site], called: Mapping[str, Site]) -> Iterator[Turn]:
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
        yield sends(
            "joins",
            Captain(Mode.NEW, JOINS[number], next_epoch(back), begun, planned=planned, participants=OUTSIDE),
        )
    else:
        yield _settles(piece, sites)


def _settles(case: Case, sites: Sequence[Site]) -> Turn:
    epoch = next_epoch([site for site in sites if site.up])
    if case.start_as:
        return sends("only starts CM", Captain(Mode.RECOVER, case.start_as, epoch, only_start=True))
    whom = case.subject.nodes if case.subject.nodes in (INSIDE, OUTSIDE) else EVERYBODY
    captain = Captain(Mode.RECOVER, case.transaction_id, epoch, participants=whom, settled=not case.waits)
    return sends("recovers", captain)


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
BRINGER: Final[tuple[Reader, ...]] = (read_to_bring_over,)
