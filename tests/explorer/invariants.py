"""What must hold in every state (design section 5). I11 and I12 are about files and are tested elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from gausscert_common.protocol.words import Outcome, Phase

from explorer.site import JOINS, NEW, TORN, TRANSACTIONS, Site, joined

_IN_DOUBT: Final = frozenset({Phase.PREPARED, Phase.SWAPPED})


def violations(sites: Sequence[Site]) -> Iterator[str]:
    """Everything that does not hold, by the number of its invariant."""
    for check in CHECKS:
        yield from check(sites)


def seen_at_a_move(sites: Sequence[Site]) -> Iterator[str]:
    """I7, I8, I10: what a move itself must not do."""
    yield from (site.broken for site in sites if site.broken)


def whole(sites: Sequence[Site]) -> Iterator[str]:
    """I1."""
    if any(site.live in ("", TORN) for site in sites):
        yield "I1: a live set is not whole"


def of_one_mind(sites: Sequence[Site]) -> Iterator[str]:
    """I2."""
    for name in (*TRANSACTIONS, *JOINS):
        if any(_committed(site, name) for site in sites) and any(_aborted(site, name) for site in sites):
            yield f"I2: {name} is committed and aborted"


def running_alike(sites: Sequence[Site]) -> Iterator[str]:
    """I3. A node that is left out counts from when it has joined, or is rolled back like the others."""
    counted = [site for site in sites if not site.excluded or joined(site)]
    if len({site.running for site in counted if not _left_behind(site, sites)} - {""}) > 1:
        yield "I3: running nodes have loaded different sets"


def given_up_late(sites: Sequence[Site]) -> Iterator[str]:
    """I4. A new set is live and the old one is not beside it any more: it was given up."""
    inside = [site for site in sites if not site.excluded]
    for name in TRANSACTIONS:
        given_up = any(site.live == NEW[name] and not site.stage(name) for site in inside)
        if given_up and not all(_committed(site, name) for site in inside):
            yield f"I4: {name} has given up an old set before all have committed"
        if given_up and not all(joined(site) for site in sites if site.excluded):
            yield f"I4: {name} has given up an old set before all have joined"
    for site in sites:
        kept = any(site.stage(name) for name in JOINS)
        if site.excluded and site.live in NEW.values() and not kept and not joined(site):
            yield "I4: a join has given up an old set before it was committed"


def both_there(sites: Sequence[Site]) -> Iterator[str]:
    """I5."""
    for site in sites:
        transaction = site.state.transaction
        if transaction is not None and site.state.phase in _IN_DOUBT:
            have = {site.live, site.stage(transaction.transaction_id)}
            if not {transaction.old_digest, transaction.new_digest} <= have:
                yield "I5: a set is missing while the transaction is in doubt"


def ended_as_told(sites: Sequence[Site]) -> Iterator[str]:
    """I6. Only of the newest tombstone of a node without a transaction: a later one moves on."""
    for site in sites:
        if site.state.phase is not Phase.NONE or not site.state.tombstones:
            continue
        newest = site.state.tombstones[0]
        is_new = site.live == NEW[newest.transaction_id]
        # Joins bring the same set: one that came too late is aborted where another has ended well.
        wanted = newest.outcome is Outcome.COMMITTED or (newest.transaction_id in JOINS and joined(site))
        if is_new is not wanted:
            yield f"I6: {newest.transaction_id} has ended {newest.outcome}, and {site.live} is live"


CHECKS: Final[list[Callable[[Sequence[Site]], Iterator[str]]]] = [
    seen_at_a_move,
    whole,
    of_one_mind,
    running_alike,
    given_up_late,
    both_there,
    ended_as_told,
]


def _left_behind(site: Site, sites: Sequence[Site]) -> bool:
    """Whether others have rolled back without it what it is in still."""
    told = site.state.transaction
    if not site.name or told is None or site.state.phase is Phase.ABORTED:
        return False
    name = told.transaction_id
    return any(
        other.state.outcome_of(name) is Outcome.ABORTED
        or (_takes_part(other, name, Phase.ABORTED) and site.name in other.state.transaction.excluded)
        for other in sites
    )


def _committed(site: Site, name: str) -> bool:
    return _takes_part(site, name, Phase.COMMITTED) or site.state.outcome_of(name) is Outcome.COMMITTED


def _aborted(site: Site, name: str) -> bool:
    return _takes_part(site, name, Phase.ABORTED) or site.state.outcome_of(name) is Outcome.ABORTED


def _takes_part(site: Site, name: str, phase: Phase) -> bool:
    transaction = site.state.transaction
    return transaction is not None and transaction.transaction_id == name and site.state.phase is phase
