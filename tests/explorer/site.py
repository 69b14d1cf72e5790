"""One node as a value: what its agent has journalled, and what disk, processes and CM are like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from gausscert_common.protocol.commands import AcquireCommand, Command, PrepareCommand, PurgeCommand
from gausscert_common.protocol.state import NodeState, Operation, View
from gausscert_common.protocol.words import Fence, Outcome, Phase, RestartScope, SslWish, Step, Tombstone

OLD: Final = "old"
TORN: Final = "torn"
"""A stage that is not whole."""
FOREIGN: Final = "foreign"

TRANSACTIONS: Final = ("T1", "T2", "T3")
"""By coordinator: the first begins T1; the second begins T2, or recovers, with T3 where it only starts CM."""
JOINS: Final = ("J1", "J2", "J3")
"""By coordinator: they bring what T1 was begun without to its set."""
NEW: Final = {"T1": "new-1", "T2": "new-2", "T3": "new-3", **dict.fromkeys(JOINS, "new-1")}
HOLDERS: Final = ("alice", "bob", "carol")


class Site(NamedTuple):
    """One node."""

    state: NodeState = NodeState()
    live: str = OLD
    unsynced: str = ""
    """What a power cut may make live again: an exchange counts only once the directory was synced."""
    beside: frozenset[tuple[str, str]] = frozenset()
    """(transaction, content) of each stage; after the exchange the former set is there."""
    running: str = OLD
    """The set that CM has loaded, "" while it does not run."""
    manual: bool = False
    """`cluster_manual_start` is there: CM does not start by itself."""
    up: bool = True
    """The agent serves."""
    lease: str = ""
    busy: Command | None = None
    """The command whose cm_ctl child the agent awaits."""
    orphan: Command | None = None
    """The command whose cm_ctl child has survived its agent."""
    broken: str = ""
    """An invariant that some move has violated."""
    excluded: bool = False
    """T1 is begun without it."""
    name: str = ""
    """Where a participant may be left out in the middle nodes are not alike, and have names."""
    gone: bool = False
    """It never comes back."""

    @property
    def who(self) -> str:
        """Its name among the participants; nodes that are alike have the same."""
        return self.name or ("c" if self.excluded else "a")

    def stage(self, transaction_id: str) -> str:
        """What lies in a transaction's stage, "" if there is none."""
        return dict(self.beside).get(transaction_id, "")

    def with_stage(self, transaction_id: str, content: str) -> Site:
        """With another content; "" removes it."""
        kept = {each for each in self.beside if each[0] != transaction_id}
        return self._replace(beside=frozenset(kept | ({(transaction_id, content)} if content else set())))

    def view(self) -> View:
        """What the agent sees of its node."""
        return View(self.live, bool(self.running), self.lease)


EVERYBODY: Final = ("a", "b")
INSIDE, OUTSIDE = ("a",), ("c",)
"""Who takes part where a node is left out, and who is left out."""
NAMED: Final = ("n1", "n2", "n3")
"""The nodes of a world in which one may be left out in the middle."""


def names(sites: Sequence[Site]) -> dict[str, Site]:
    """The nodes by name, where one is left out."""
    return {site.who: site for site in sorted(sites, key=lambda site: site.who)}


def command(
    step: Step,
    transaction_id: str,
    epoch: int,
    holder: str,
    expected: str,
    *,
    participants: tuple[str, ...] = EVERYBODY,
    settled: tuple[str, ...] = (),
    leaving: tuple[str, ...] = (),
) -> Command:
    """A request as it goes over the wire.

    Args:
        expected: The live set that the coordinator has seen at each node.
        participants: Of the transaction; the others are left out, or are those that are joined.
        settled: Whom Purge need not wait for.
        leaving: Participants that a recovery leaves out.
    """
    if step is Step.ACQUIRE:
        return AcquireCommand(transaction_id, epoch, step, holder, excluded=leaving)
    if step is Step.PREPARE:
        excluded = OUTSIDE if participants == INSIDE else ()
        joins = TRANSACTIONS[0] if participants == OUTSIDE else ""
        how = (SslWish.KEEP, RestartScope.NODE, 0.0, excluded, joins)
        return PrepareCommand(transaction_id, epoch, step, participants, expected, *how)
    if settled and step is Step.PURGE:
        return PurgeCommand(transaction_id, epoch, step, settled)
    return Command(transaction_id, epoch, step)


def joined(site: Site) -> bool:
    """Whether an excluded node has committed a join."""
    told = site.state.transaction
    committing = told is not None and bool(told.joins) and site.state.phase is Phase.COMMITTED
    return committing or any(site.state.outcome_of(name) is Outcome.COMMITTED for name in JOINS)


def at_rest(sites: Sequence[Site]) -> tuple[Site, ...]:
    """The nodes as a coordinator with a higher epoch finds them, without what makes no difference to it:
    which lower fence there was and who held it, what transactions and sets are called, and how those have
    ended that no node is in any more."""
    flying = {t.transaction_id: t for site in sites if (t := site.state.transaction) is not None}
    if flying and any(site.excluded for site in sites):
        # T1 and one join at most, and a join that was committed: only that tombstone makes a difference.
        ended = {each: JOINS[0] for site in sites if joined(site) for each in JOINS}
        names = {
            TRANSACTIONS[0]: TRANSACTIONS[0],
            **(ended or dict.fromkeys(flying.keys() & {*JOINS}, JOINS[0])),
        }
        return tuple(_renamed(site, names, {}) for site in sites)
    if sites[0].name:
        sites = _since(sites)
    names, sets = {}, {sites[0].live: OLD}
    if len(flying) == 1:
        (name,), (transaction,) = flying.keys(), flying.values()
        names = {name: TRANSACTIONS[0]}
        sets = {transaction.old_digest: OLD, NEW[name]: NEW[TRANSACTIONS[0]]}
    elif flying:
        names, sets = {name: name for name in TRANSACTIONS}, {}
    return tuple(_renamed(site, names, sets) for site in sites)


def _since(sites: Sequence[Site]) -> tuple[Site, ...]:
    """With how far the coordinators before had come in their order, and before the one that comes next."""
    epochs = sorted({site.state.reached.epoch for site in sites if site.state.transaction})
    before = {epoch: place - len(epochs) + 1 for place, epoch in enumerate(epochs)}
    return tuple(_reached(site, before) for site in sites)


def _reached(site: Site, before: Mapping[int, int]) -> Site:
    state = site.state
    if state.transaction is None:
        return site
    reached = Fence(before[state.reached.epoch], state.reached.step)
    return site._replace(state=replace(state, transaction=replace(state.transaction, reached=reached)))


def _renamed(site: Site, names: Mapping[str, str], sets: Mapping[str, str]) -> Site:
    def called(content: str) -> str:
        kept = not sets or content in ("", TORN, FOREIGN)
        return sets.get(content, content if kept else f"other {content}")

    state, orphan, transaction = site.state, site.orphan, site.state.transaction
    if transaction is not None:
        transaction = replace(
            transaction,
            transaction_id=names[transaction.transaction_id],
            old_digest=called(transaction.old_digest),
            new_digest=called(transaction.new_digest),
        )
    beside = [(names.get(name, f"other {name}"), called(content)) for name, content in site.beside]
    ended = [(names.get(each.transaction_id), each.outcome) for each in state.tombstones]
    return site._replace(
        state=NodeState(
            phase=state.phase,
            transaction=transaction,
            operation=None if state.operation is None else Operation("child", 0, 0),
            tombstones=tuple(Tombstone(name, outcome) for name, outcome in ended if name is not None),
        ),
        live=called(site.live),
        unsynced=called(site.unsynced),
        running=called(site.running),
        beside=frozenset(beside),
        lease="",
        orphan=None if orphan is None else Command("", 0, orphan.step),
    )
