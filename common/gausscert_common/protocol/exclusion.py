"""Nodes that a transaction was carried out without, because they did not answer. Pure.

Such a transaction ends with Commit on its participants and *stands* there, both sets kept, until every
excluded node is settled: it has joined (it holds the cluster's set, brought there by a transaction of its
own), or it is gone from the cluster. Only then Purge gives the old sets up.

A participant that dies in the middle may be excluded, too: the others are recovered without it
(`recovery_without`), and remember that. It has the sets and its phase on its disk, so that it needs no join:
when it is back, the transaction is recovered with it.

So recovery may meet more than one transaction at once: the one that stands, and on nodes that it excludes a
join that was cut short, or what they were in when they went away. `subject` says which one is settled first.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from gausscert_common.protocol.words import Phase

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


@dataclass(frozen=True, slots=True)
class Part:
    """The transaction that one node is in."""

    transaction_id: str
    phase: Phase
    participants: tuple[str, ...]
    excluded: tuple[str, ...] = ()
    joins: str = ""


@dataclass(frozen=True, slots=True)
class Subject:
    """The transaction that is settled first."""

    transaction_id: str = ""
    """"" when no node is in one."""
    nodes: tuple[str, ...] = ()
    """Whom to command, sorted; all nodes that answer when there is no transaction."""
    through: tuple[str, ...] = ()
    """Participants that are in another one, so that they are through with this: what they remember counts."""
    excluded: tuple[str, ...] = ()
    """Whom it was begun, or is recovered, without, sorted."""
    missing: tuple[str, ...] = ()
    """Participants among these that are not commanded, sorted."""
    unrecorded: bool = False
    """Some node does not remember yet that these are missing."""
    may_miss: frozenset[str] = frozenset()
    """Nodes that need not answer."""
    stands: bool = False
    """It is committed on every participant that is not missing, and some node is excluded."""
    outside: bool = False
    """Another one was begun without its nodes: CM starts there with that one's set only."""
    joins: str = ""
    """That one, where this one brings its nodes to its set."""
    contradiction: str = ""
    """Why nothing may be touched; "" if nothing speaks against it."""
    said: Mapping[str, str] = field(default_factory=dict)
    """Then: what each node is in, by name."""


class Return(StrEnum):
    """What has become of an excluded node."""

    AWAY = "away"
    """It does not answer."""
    BACK = "back"
    """It answers, and does not hold the cluster's set."""
    JOINED = "joined"
    """It holds the cluster's set, and is in no transaction."""
    GONE = "gone"
    """It was taken out of the cluster."""
    WITHIN = "within"
    """It answers, and is in the transaction itself: it went away in the middle."""


SETTLED: Final = frozenset({Return.JOINED, Return.GONE})


def subject(parts: Mapping[str, Part | None], leaving: Collection[str] = ()) -> Subject:
    """Which transaction is settled first, and over which nodes.

    Two are no contradiction where one of them was begun without all the nodes that are in the other: its
    participants are through with the other, so that what they remember of it decides it. It is settled first,
    on the nodes that are in it still. Where each was begun without the nodes of the other, the one that is
    committed stands; if both are, the nodes hold two sets for good, and only a person can choose.

    Args:
        parts: By node, all that answer; None for a node in no transaction.
        leaving: Nodes that the operator leaves out of the recovery.
    """
    found = _by_transaction(parts)
    if not found:
        return Subject(nodes=tuple(sorted(parts)), may_miss=frozenset(leaving))
    if len(found) == 1:
        (transaction_id,) = found
        return _alone(transaction_id, found[transaction_id], frozenset(leaving))
    names = ", ".join(sorted(found))
    candidates = [each for each in sorted(found) if _leaves_out_all_others(each, found)]
    committed = [each for each in candidates if _is_committed(found[each])]
    if len(committed) > 1:
        return _contradictory(
            f"transactions {names} are committed, each without the nodes of the other", parts
        )
    for standing in (committed or candidates)[:1]:
        others = sorted(found.keys() - {standing})
        return _beside(others[0], standing, found, frozenset(parts))
    return _contradictory(f"the nodes take part in different transactions: {names}", parts)


def with_ended(subject: Subject, ended: Collection[str]) -> Subject:
    """The subject with missing nodes that are back, and through with it: they are commanded like others that
    are.

    Args:
        subject: What is settled first.
        ended: Nodes that remember how it ended.
    """
    back = set(subject.missing) & set(ended)
    if not back:
        return subject
    nodes = {*subject.nodes, *back}
    return replace(
        subject,
        nodes=tuple(sorted(nodes)),
        missing=tuple(sorted(set(subject.missing) - back)),
        may_miss=subject.may_miss - back,
        stands=subject.stands and not set(subject.excluded) <= nodes,
    )


def settled(returns: Mapping[str, Return]) -> tuple[str, ...]:
    """Excluded nodes for whose sake nothing has to be kept any more."""
    return tuple(sorted(node for node, each in returns.items() if each in SETTLED))


def having(returns: Mapping[str, Return], which: Return) -> tuple[str, ...]:
    """Excluded nodes with which it stands so."""
    return tuple(sorted(node for node, each in returns.items() if each is which))


def _by_transaction(parts: Mapping[str, Part | None]) -> dict[str, dict[str, Part]]:
    found: dict[str, dict[str, Part]] = {}
    for node, part in parts.items():
        if part is not None:
            found.setdefault(part.transaction_id, {})[node] = part
    return found


def _leaves_out_all_others(standing: str, found: Mapping[str, Mapping[str, Part]]) -> bool:
    excluded = _excluded(found[standing])
    return all(found[other].keys() <= excluded for other in found.keys() - {standing})


def _is_committed(parts: Mapping[str, Part]) -> bool:
    return any(part.phase is Phase.COMMITTED for part in parts.values())


def _contradictory(why: str, parts: Mapping[str, Part | None]) -> Subject:
    return Subject(contradiction=why, said={node: _told(part) for node, part in sorted(parts.items())})


def _told(part: Part | None) -> str:
    if part is None:
        return "in no transaction"
    without = f", begun without {', '.join(part.excluded)}" if part.excluded else ""
    return f"phase {part.phase} of transaction {part.transaction_id}{without}"


def _alone(transaction_id: str, parts: Mapping[str, Part], leaving: frozenset[str]) -> Subject:
    """Who is in it is commanded, excluded or not: it is back."""
    named, recorded = _participants(parts), _excluded(parts)
    excluded = recorded | (named & leaving)
    nodes = named - (excluded - parts.keys())
    missing, away = named - nodes, excluded - nodes
    committed = all(node in parts and parts[node].phase is Phase.COMMITTED for node in nodes)
    return Subject(
        transaction_id=transaction_id,
        nodes=tuple(sorted(nodes)),
        excluded=tuple(sorted(excluded)),
        missing=tuple(sorted(missing)),
        unrecorded=any(missing - set(part.excluded) for part in parts.values()),
        may_miss=away | leaving,
        stands=committed and bool(away),
    )


def _beside(
    transaction_id: str, standing: str, found: Mapping[str, Mapping[str, Part]], answering: frozenset[str]
) -> Subject:
    """A transaction on nodes that another one excludes. Who does not answer and is excluded, too, is asked
    when it is back."""
    parts, excluded = found[transaction_id], _excluded(found[standing])
    named = _participants(parts)
    elsewhere = {node for other, those in found.items() if other != transaction_id for node in those}
    return Subject(
        transaction_id=transaction_id,
        nodes=tuple(sorted(named - elsewhere - (excluded - answering))),
        through=tuple(sorted(named & elsewhere)),
        excluded=tuple(sorted(_excluded(parts))),
        may_miss=excluded,
        outside=True,
        joins=standing if any(part.joins == standing for part in parts.values()) else "",
    )


def _participants(parts: Mapping[str, Part]) -> frozenset[str]:
    return frozenset(node for part in parts.values() for node in part.participants)


def _excluded(parts: Mapping[str, Part]) -> frozenset[str]:
    return frozenset(node for part in parts.values() for node in part.excluded)
