"""What the nodes' reports say of a transaction in doubt, in the words of the recovery table. Pure."""

from __future__ import annotations

from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, Final, TypeAlias

from gausscert_common.model import SslValue
from gausscert_common.protocol.exclusion import Part, Return
from gausscert_common.protocol.recovery import Answer
from gausscert_common.protocol.words import LiveState, Outcome, Phase, SslWish, Tombstone

from gausscert_coordinator import live_sets
from gausscert_coordinator.report import InFlight, NodeRecovery

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from gausscert_common.model import NodeReport, TransactionReport
    from gausscert_common.protocol.words import Outcome, RestartScope


_VOTED: Final = (Phase.SWAPPED, Phase.COMMITTED)

CM_PROCESSES: Final = frozenset({"cm_server", "cm_agent"})
"""What must be gone before a set is exchanged; om_monitor may stay (facts section 14)."""


def cm_runs(report: NodeReport) -> bool:
    """Whether a cm_server or cm_agent runs on the node."""
    return any(process.name in CM_PROCESSES for process in report.processes)


def cm_stays_up(report: NodeReport) -> bool:
    """Whether CM runs and nobody has asked it to stop: a `cm_ctl stop` that was cut short leaves its mark
    behind, upon which cm_agent ends soon and is not started again (facts sections 14 and 20)."""
    return cm_runs(report) and not report.manually_stopped


def in_flight(reports: Mapping[str, NodeReport]) -> tuple[str, ...]:
    """The ids of all transactions that some node takes part in; more than one is a contradiction."""
    ids = {
        report.transaction.transaction_id
        for report in reports.values()
        if report.transaction.phase is not Phase.NONE
    }
    return tuple(sorted(ids))


def flights(
    reports: Mapping[str, NodeReport], gone: Collection[str] = (), inventory: Collection[str] | None = None
) -> tuple[InFlight, ...]:
    """Every transaction that some node takes part in, with what a person needs to know of it.

    Args:
        reports: By node.
        gone: Holders that are known to have ended; their leases count for nothing.
        inventory: All nodes, whether they answered or not; None: those that answered.
    """
    nodes = reports if inventory is None else inventory
    return tuple(_flight(reports, each, gone, nodes) for each in in_flight(reports))


def parts(reports: Mapping[str, NodeReport]) -> dict[str, Part | None]:
    """What each node is in, for `exclusion.subject`."""
    return {name: _part(report) for name, report in reports.items()}


def returns(
    reports: Mapping[str, NodeReport],
    transaction_id: str,
    inventory: Collection[str],
    leaving: Collection[str] = (),
) -> dict[str, Return]:
    """What has become of the nodes that a transaction is without, by node.

    Args:
        reports: Of all nodes that answered.
        transaction_id: The transaction.
        inventory: All nodes.
        leaving: Nodes that it is to be without from now on, besides those that its nodes remember.
    """
    told = [
        each.transaction for each in reports.values() if each.transaction.transaction_id == transaction_id
    ]
    held = committed_digests(reports, transaction_id)
    wish = next((each.ssl_wish for each in told), SslWish.KEEP)
    excluded = sorted({node for each in told for node in each.excluded} | set(leaving))
    within = {
        node
        for node in excluded
        if node in reports and reports[node].transaction.transaction_id == transaction_id
    }
    return {
        node: Return.WITHIN
        if node in within
        else _return(reports.get(node), held, wish, known=node in inventory)
        for node in excluded
    }


def committed_digests(reports: Mapping[str, NodeReport], transaction_id: str) -> frozenset[str]:
    """The bundle digests that are live where the transaction is committed: one, unless nodes have carried
    different CRLs over."""
    return frozenset(
        report.live.bundle_digest
        for report in reports.values()
        if report.transaction.transaction_id == transaction_id and report.transaction.phase is Phase.COMMITTED
    )


def _part(report: NodeReport) -> Part | None:
    told = report.transaction
    if told.phase is Phase.NONE:
        return None
    return Part(told.transaction_id, told.phase, told.participants, told.excluded, told.joins)


def _return(report: NodeReport | None, held: Collection[str], wish: SslWish, *, known: bool) -> Return:
    """The right set with another enable_ssl than the others were given is no cluster, either."""
    if report is None:
        return Return.AWAY if known else Return.GONE
    alike = report.live.bundle_digest in held and _switched_as(report, wish)
    joined = report.transaction.phase is Phase.NONE and alike
    return Return.JOINED if joined else Return.BACK


def _flight(
    reports: Mapping[str, NodeReport],
    transaction_id: str,
    gone: Collection[str],
    inventory: Collection[str],
) -> InFlight:
    told = {
        node: report.transaction
        for node, report in reports.items()
        if report.transaction.transaction_id == transaction_id and report.transaction.phase is not Phase.NONE
    }
    holder = next((each.holder for each in told.values() if each.holder), "")
    begun_by = next((each.begun_by for each in told.values() if each.begun_by), holder)
    begun = [since for each in told.values() if (since := each.begun_at or each.held_since) is not None]
    return InFlight(
        transaction_id=transaction_id,
        holder=begun_by,
        since=min(begun, default=None),
        phases=tuple((node, each.phase) for node, each in told.items()),
        lease_left_s=max(0.0 if each.holder in gone else each.lease_left_s for each in told.values()),
        excluded=tuple(returns(reports, transaction_id, inventory).items()),
        held_by=_later_holder(told, begun_by),
        missing=_missing(told.values()),
    )


def _missing(told: Iterable[TransactionReport]) -> tuple[str, ...]:
    """Participants that it is recovered without."""
    parts = tuple(told)
    named = {node for each in parts for node in each.participants}
    return tuple(sorted(named & {node for each in parts for node in each.excluded}))


def _later_holder(told: Mapping[str, TransactionReport], begun_by: str) -> str:
    """Who has taken the fence of the highest epoch, if not the one who began it."""
    last = max(told.values(), key=lambda each: each.fence)
    return "" if last.holder == begun_by else last.holder


def left_behind(reports: Mapping[str, NodeReport], inventory: Collection[str]) -> dict[str, str]:
    """Nodes that do not answer, and may be in a transaction still that was rolled back without them: its id
    by node, as those remember it that answer. Whoever was in one since is through with it.

    Args:
        reports: Of all nodes that answered.
        inventory: All nodes.
    """
    found: dict[str, str] = {}
    for node in sorted(set(inventory) - set(reports)):
        for report in reports.values():
            for stone in takewhile(partial(_is_without, node), report.transaction.tombstones):
                found[node] = stone.transaction_id
    return found


def _is_without(node: str, stone: Tombstone) -> bool:
    return node in stone.without


def restart_of(reports: Mapping[str, NodeReport], transaction_id: str) -> RestartScope | None:
    """How the transaction meant to restart CM, or None when no node remembers."""
    for report in reports.values():
        if report.transaction.transaction_id == transaction_id and report.transaction.restart is not None:
            return report.transaction.restart
    return None


def ssl_wish(reports: Mapping[str, NodeReport]) -> SslWish:
    """What the transaction in flight wanted `enable_ssl` to become; KEEP when no node is in one."""
    wishes = {report.transaction.ssl_wish for report in reports.values()}
    return next((wish for wish in (SslWish.ON, SslWish.OFF) if wish in wishes), SslWish.KEEP)


def promised_epoch(reports: Mapping[str, NodeReport]) -> int:
    """The highest epoch that any node has promised."""
    return max((report.transaction.fence.epoch for report in reports.values()), default=0)


Standing: TypeAlias = tuple[tuple[object, ...], ...]
"""All of the nodes that a recovery can change, but fence and lease."""


def standing(reports: Mapping[str, NodeReport]) -> Standing:
    """How it stands with the nodes, to be compared."""
    return tuple(
        (
            node,
            report.transaction.transaction_id,
            report.transaction.phase,
            report.transaction.tombstones,
            report.live.digest,
            report.enable_ssl,
            cm_stays_up(report),
        )
        for node, report in sorted(reports.items())
    )


def seen(reports: Mapping[str, NodeReport]) -> tuple[NodeRecovery, ...]:
    """What a recovery sees of each node, before it does anything."""
    flying = in_flight(reports)
    subject = flying[0] if len(flying) == 1 else ""
    told = answers(reports, subject)
    return tuple(
        NodeRecovery(
            node,
            phase=report.transaction.phase,
            transaction_id=report.transaction.transaction_id,
            live=told[node].live if subject else report.transaction.live_state,
            outcome=outcome_at(report, subject) if subject else None,
            holder=report.transaction.holder,
            lease_left_s=report.transaction.lease_left_s,
            begun_by=report.transaction.begun_by,
        )
        for node, report in reports.items()
    )


def answers(
    reports: Mapping[str, NodeReport], transaction_id: str, *, outside: bool = False
) -> dict[str, Answer]:
    """One answer per node, for `recovery.decide`.

    Args:
        reports: Of the nodes of the transaction.
        transaction_id: The transaction.
        outside: Another one was begun without these nodes, so that they need not have had the same set.
    """
    new = live_sets.new_of(reports, transaction_id)
    return {
        name: _answer(report, transaction_id, new, comparable=not outside) for name, report in reports.items()
    }


def remembered(reports: Mapping[str, NodeReport], transaction_id: str) -> dict[str, Answer]:
    """The answers of nodes that are in another transaction by now: how this one ended there, if it did."""
    return {
        name: Answer(Phase.NONE, outcome=outcome_at(report, transaction_id), through=True)
        for name, report in reports.items()
    }


def _answer(report: NodeReport, transaction_id: str, new: frozenset[str], *, comparable: bool) -> Answer:
    told = report.transaction
    if told.phase is Phase.NONE:
        outcome = outcome_at(report, transaction_id)
        live = _left_with(report, transaction_id, new) if comparable else None
        return Answer(Phase.NONE, live=live, outcome=outcome, running=cm_stays_up(report))
    return Answer(
        phase=_voted_phase(report),
        transaction_id=told.transaction_id,
        live=_running_as(report),
        outcome=outcome_at(report, transaction_id),
        participants=told.participants,
        running=cm_stays_up(report),
        voted=told.phase in _VOTED,
        reached=told.reached,
        left_out=told.excluded,
    )


def _left_with(report: NodeReport, transaction_id: str, new: frozenset[str]) -> LiveState | None:
    """Whose set a node holds that is in no transaction any more. Only of one that remembers last that this
    one is committed it is known what it must be: one that was never in it may have had any set, or none."""
    newest = report.transaction.tombstones[:1]
    if not new or newest != (Tombstone(transaction_id, Outcome.COMMITTED),):
        return None
    return LiveState.NEW if live_sets.identity(report.live) in new else LiveState.FOREIGN


def may_run_new(report: NodeReport) -> bool:
    """Whether a node in a transaction may run with the new set, so that it is stopped before it is rolled
    back."""
    return _running_as(report) is LiveState.NEW


def _running_as(report: NodeReport) -> LiveState | None:
    """Where only enable_ssl changes both sets are one, and count as the old one. But from its vote on a node
    may run with the new switch: it must be stopped before the old one is restored, as with a new set. A set
    that is neither stays what it is: nothing may be touched there."""
    told = report.transaction
    same = bool(told.new_digest) and told.new_digest == told.old_digest
    voted = same and told.phase in _VOTED and told.live_state is LiveState.OLD
    return LiveState.NEW if voted else told.live_state


def outcome_everywhere(reports: Mapping[str, NodeReport], transaction_id: str) -> Outcome | None:
    """How the transaction ended, if it has ended in the same way at each of these nodes."""
    outcomes = {outcome_at(report, transaction_id) for report in reports.values()}
    return outcomes.pop() if len(outcomes) == 1 else None


def outcome_at(report: NodeReport, transaction_id: str) -> Outcome | None:
    """How the transaction ended at one node, or None if it did not or is forgotten."""
    for tombstone in report.transaction.tombstones:
        if tombstone.transaction_id == transaction_id:
            return tombstone.outcome
    return None


def _voted_phase(report: NodeReport) -> Phase:
    """A node that died between the exchange and `enable_ssl` comes back as SWAPPED by what its disk shows,
    but its vote is not whole: finishing must go through Swap again, so it counts as PREPARED. So does one on
    which somebody has put the old set back since."""
    told = report.transaction
    if told.phase is not Phase.SWAPPED:
        return told.phase
    if _running_as(report) is LiveState.OLD:
        return Phase.PREPARED
    return Phase.SWAPPED if _switched_as(report, told.ssl_wish) else Phase.PREPARED


def _switched_as(report: NodeReport, wish: SslWish) -> bool:
    """Whether both files say what was wished; one that is not there has no say."""
    wanted = {SslWish.ON: SslValue.ON, SslWish.OFF: SslValue.OFF}.get(wish)
    switches = (report.enable_ssl.server, report.enable_ssl.agent)
    return wanted is None or all(value in (wanted, SslValue.ABSENT) for value in switches)
