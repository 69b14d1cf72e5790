"""What must hold at every moment (design section 5), and who remembers what was decided.

Nodes tell of every change as it happens; a check looks only at what has changed. I11 and I12 are about files
and are tested elsewhere. A set that somebody else has put makes a node his: what it runs is none of ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from gausscert_common.model import NodeReport
from gausscert_common.protocol.commands import Command
from gausscert_common.protocol.state import NodeState, SslSetting, Transaction
from gausscert_common.protocol.words import Fence, Outcome, Phase, SslWish, Step

if TYPE_CHECKING:
    from simulation.machine import Machine

_IN_DOUBT = (Phase.PREPARED, Phase.SWAPPED)
_WISHED = {SslWish.ON: SslSetting(True, True), SslWish.OFF: SslSetting(False, False)}
_TURNED = (Step.ROLLBACK_STOP, Step.ABORT)


class Violated(BaseException):
    """An invariant does not hold. Nobody is to deal with that: it passes through the product's code."""


class Referee:
    """Watches all nodes of a schedule."""

    def __init__(self) -> None:
        self.machines: Mapping[str, Machine] = {}
        self.violation = ""
        self.committed: dict[str, set[str]] = {}
        self.aborted: dict[str, set[str]] = {}
        self.participants: dict[str, tuple[str, ...]] = {}
        self.sets: dict[tuple[str, str], tuple[str, str]] = {}
        """(transaction, node): digests of the old and the new set."""
        self.excluded: dict[str, frozenset[str]] = {}
        """By transaction: whom it was begun without, or recovered without at some time."""
        self.put_aside: set[tuple[str, str]] = set()
        """(transaction, node): a participant whose disk is no more; another machine has its name."""
        self._bundles: dict[str, str] = {}
        """By transaction: the digest of what it brings."""
        self._joined: set[tuple[str, str]] = set()
        """(transaction, node): who was left out, and has held its set at rest since."""
        self._switches: dict[tuple[str, str], tuple[SslSetting, SslSetting]] = {}
        """enable_ssl before it, and as it is wished."""
        self._epochs: dict[tuple[str, str], int] = {}
        self._acquired: dict[str, str] = {}
        self._commit_sent: set[tuple[str, str]] = set()
        self.lenient = False
        """Journals were forged: what they say is nobody's promise."""

    def broken(self, what: str) -> None:
        """Note the first one, and stop whoever is at it."""
        self.violation = self.violation or what
        raise Violated(what)

    def sent(self, holder: str, command: Command) -> None:
        """Since it was acquired all commands of a run have one transaction and one epoch; none turns back
        after Commit. A recovery acquires a transaction anew once it has brought others over."""
        run = (holder, command.transaction_id)
        if command.step is Step.ACQUIRE:
            self._acquired[holder] = command.transaction_id
        elif self._acquired.get(holder) != command.transaction_id:
            self.broken(f"W3: {holder} sends {command} of a transaction that it has not acquired")
        known = self._epochs.get(run, 0)
        if known < command.epoch and command.step is Step.ACQUIRE:
            known = self._epochs[run] = command.epoch
        if known != command.epoch:
            self.broken(f"W1: {holder} repeats with another epoch")
        if command.step is Step.COMMIT:
            self._commit_sent.add(run)
        if command.step in _TURNED and run in self._commit_sent:
            self.broken(f"W2: {holder} turns back after it has sent Commit")

    def effect(self, machine: Machine, fence: Fence | None, what: str) -> None:
        """I8: nothing is done for a command below the fence."""
        if fence is not None and fence < machine.fence:
            self.broken(f"I8: {what} at {machine.name} for {fence}, below {machine.fence}")

    def reported(self, machine: Machine, fence: Fence) -> None:
        """I8: who tells of less than may be durable leads others to an epoch that is taken."""
        if fence < machine.readable_fence and not self.lenient:
            self.broken(f"I8: {machine.name} reports {fence}, and may have promised {machine.readable_fence}")

    def begins(self, holder: str, transaction_id: str, seen: Iterable[NodeReport]) -> None:
        """A recovery that has seen that somebody else holds a node of the transaction takes nothing from him
        without being told to. A node without that lease may have been started again since."""
        holders = {
            told.holder
            for told in (report.transaction for report in seen)
            if told.lease_left_s > 0 and told.transaction_id == transaction_id and told.holder != holder
        }
        if holders:
            self.broken(f"L2: {holder} takes the fence, and has seen that {', '.join(holders)} is at work")

    def granted(self, machine: Machine, holder: str, before: str, *, take_over: bool) -> None:
        """A lease that runs keeps others out."""
        if before not in ("", holder) and not take_over:
            self.broken(f"L1: {machine.name} is granted to {holder} while {before} holds it")

    def recorded(self, machine: Machine, state: NodeState) -> None:
        """A record is durable: I2, I5, I6."""
        if self.lenient:
            return
        told = state.transaction
        if told is not None:
            self.participants[told.transaction_id] = told.participants
            known = self.excluded.get(told.transaction_id, frozenset())
            self.excluded[told.transaction_id] = known | set(told.excluded)
            if told.new_digest:
                self._bundles[told.transaction_id] = told.bundle_digest
                self.sets[told.transaction_id, machine.name] = (told.old_digest, told.new_digest)
                self._switches[told.transaction_id, machine.name] = (
                    told.previous_ssl,
                    _WISHED.get(told.ssl_wish, told.previous_ssl),
                )
            if state.phase is Phase.COMMITTED:
                self._brought_over(told, machine)
                self._ended(told.transaction_id, machine, Outcome.COMMITTED)
            elif state.phase is Phase.ABORTED:
                self._ended(told.transaction_id, machine, Outcome.ABORTED)
        for stone in state.tombstones:
            self._ended(stone.transaction_id, machine, stone.outcome)
        self.both_there(machine)
        self.as_told(machine)
        self._settled(machine)

    def both_there(self, machine: Machine) -> None:
        """I5."""
        state = machine.state
        told = state.transaction
        if self.lenient or told is None or state.phase not in _IN_DOUBT:
            return
        beside = machine.beside.get(told.transaction_id)
        have = {each.digest for each in (machine.live, beside, machine.displaced) if each is not None}
        if told.old_digest not in have or told.new_digest not in have:
            self.broken(f"I5: {machine.name} lacks a set of {told.transaction_id} while it is in doubt")

    def as_told(self, machine: Machine) -> None:
        """I6, of the newest tombstone of a node without a transaction: a later one moves on."""
        state = machine.state
        if self.lenient or state.phase is not Phase.NONE or not state.tombstones:
            return
        newest = state.tombstones[0]
        old, new = self.sets.get((newest.transaction_id, machine.name), ("", ""))
        wanted = new if newest.outcome is Outcome.COMMITTED else old
        held = machine.displaced if machine.displaced is not None and machine.foreign else machine.live
        # Where it ended with somebody else's set, that one has put another one in its place since.
        excused = wanted in machine.strangers
        if wanted and not excused and wanted not in (machine.live.digest, held.digest):
            self.broken(f"I6: {machine.name} has ended {newest}, and {machine.live.name} is live")
        switch = self._switches.get((newest.transaction_id, machine.name))
        if newest.transaction_id in machine.forgotten:
            return
        if switch is not None and machine.setting != switch[newest.outcome is Outcome.COMMITTED]:
            self.broken(f"I6: {machine.name} has ended {newest}, and enable_ssl is {machine.setting}")

    def whole(self, machine: Machine) -> None:
        """I1."""
        if not machine.live.whole:
            self.broken(f"I1: the live set of {machine.name} is not whole")

    def exchanging(self, machine: Machine) -> None:
        """I7, I10: asked before an exchange."""
        if machine.running and not machine.by_hand:
            self.broken(f"I7: an exchange at {machine.name} while CM runs")
        if machine.untouchable:
            self.broken(f"I10: an exchange at {machine.name} where somebody else's set is live")

    def gives_up(self, machine: Machine, transaction_id: str) -> None:
        """I4: a set goes. Only the way back after an abort, or the old one once all have committed."""
        beside = machine.beside.get(transaction_id)
        old, new = self.sets.get((transaction_id, machine.name), ("", ""))
        if self.lenient or beside is None or beside.digest != old or old == new:
            return
        given_up = f"{machine.name} gives up the old set of {transaction_id}"
        excluded = self.excluded.get(transaction_id, frozenset())
        committed = self.committed.get(transaction_id, set())
        if not set(self.participants[transaction_id]) - excluded <= committed:
            self.broken(f"I4: {given_up} before all have committed")
        for each in sorted(excluded):
            left_out = self.machines.get(each)
            if left_out is not None and not self._is_settled(transaction_id, left_out):
                self.broken(f"I4: {given_up} before {each} has joined")

    def loaded(self) -> None:
        """I3: running nodes have loaded the same set, and the same enable_ssl."""
        ours = [
            each
            for each in self.machines.values()
            if each.loaded is not None and not (each.runs_foreign or each.by_hand or each.returned)
        ]
        sets = {each.loaded.bundle_digest: each.name for each in ours if each.loaded is not None}
        switches = {each.ssl_loaded: each.name for each in ours}
        for found in (sets, switches):
            if len(found) > 1:
                self.broken(f"I3: {' and '.join(found.values())} have loaded different sets or enable_ssl")

    def is_live(self, transaction_id: str) -> list[str]:
        """Nodes on which the new set of a transaction is live."""
        return [
            name
            for name, machine in self.machines.items()
            if self._moves(transaction_id, name) and machine.live.digest == self.sets[transaction_id, name][1]
        ]

    def renewed(self, machine: Machine) -> None:
        """Another machine has its name: what that disk has promised binds the others still, not this one."""
        known = (tid for tid, names in self.participants.items() if machine.name in names)
        for transaction_id in known:
            self.put_aside.add((transaction_id, machine.name))
            self.sets.pop((transaction_id, machine.name), None)
            self._switches.pop((transaction_id, machine.name), None)
            self._joined.discard((transaction_id, machine.name))

    def out_of_reach(self, transaction_id: str) -> frozenset[str]:
        """Nodes that it was recovered without, and that nobody has brought to its end yet."""
        return frozenset(
            name
            for name in self.excluded.get(transaction_id, frozenset())
            if (machine := self.machines.get(name)) is None
            or machine.away
            or (transaction_id, name) in self.put_aside
            or _is_in(machine, transaction_id)
        )

    def _all_had_voted(self, transaction_id: str) -> None:
        """C1: to commit, whoever is missing, is to know that all have voted, and that none has aborted."""
        for name in self.participants[transaction_id]:
            machine = self.machines.get(name)
            if machine is None or (transaction_id, name) in self.put_aside:
                continue
            phase = machine.state.phase
            voted = phase in (Phase.SWAPPED, Phase.COMMITTED) and _is_in(machine, transaction_id)
            ended = machine.state.outcome_of(transaction_id) is Outcome.COMMITTED
            if not (voted or ended or transaction_id in machine.forgotten):
                self.broken(f"C1: {transaction_id} is committed, and {name} is in phase {phase}")

    def _is_settled(self, transaction_id: str, machine: Machine) -> bool:
        """A participant that is back has committed it; who was never in it, or is new, holds its set."""
        new = (transaction_id, machine.name) in self.put_aside
        ended = machine.name in self.committed.get(transaction_id, set()) and not new
        return ended or self._has_joined(transaction_id, machine)

    def _settled(self, machine: Machine) -> None:
        """Who has held the set of a transaction that it was left out of, in none itself, has joined it."""
        for transaction_id, left_out in self.excluded.items():
            if machine.name in left_out and self._has_joined(transaction_id, machine):
                self._joined.add((transaction_id, machine.name))

    def _has_joined(self, transaction_id: str, machine: Machine) -> bool:
        holds = machine.live.bundle_digest == self._bundles.get(transaction_id)
        at_rest = machine.state.phase is Phase.NONE
        return (holds and at_rest) or (transaction_id, machine.name) in self._joined

    def _brought_over(self, told: Transaction, machine: Machine) -> None:
        """A join brings the set of the transaction that stands, and no other."""
        if told.joins and told.bundle_digest != self._bundles[told.joins]:
            self.broken(f"J1: {machine.name} joins {told.joins} with another set")

    def _moves(self, transaction_id: str, name: str) -> bool:
        """Whether a node's sets differ: where only enable_ssl changes they are one."""
        old, new = self.sets.get((transaction_id, name), ("", ""))
        return old != new

    def _ended(self, transaction_id: str, machine: Machine, outcome: Outcome) -> None:
        ends = self.committed if outcome is Outcome.COMMITTED else self.aborted
        if outcome is Outcome.COMMITTED and transaction_id not in ends:
            self._all_had_voted(transaction_id)
        ends.setdefault(transaction_id, set()).add(machine.name)
        if transaction_id in self.committed and transaction_id in self.aborted:
            self.broken(f"I2: {transaction_id} is committed and aborted")


def _is_in(machine: Machine, transaction_id: str) -> bool:
    told = machine.state.transaction
    return told is not None and told.transaction_id == transaction_id
