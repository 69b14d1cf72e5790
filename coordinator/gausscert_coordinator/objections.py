"""The words for what does not go as it should, where the coordinator itself finds it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gausscert_common.errors import GausscertError, InDoubt, NodeFailure, NodeRefusal, Reason
from gausscert_common.findings import Finding, Severity
from gausscert_common.protocol.coordinator import Stage
from gausscert_common.protocol.exclusion import Return
from gausscert_common.protocol.words import Phase

from gausscert_coordinator import recovery_view

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from gausscert_common.model import NodeReport, TransactionReport

    from gausscert_coordinator.job import Replacement
    from gausscert_coordinator.report import InFlight

_BACK: Final = frozenset(
    {Stage.ROLLBACK_STOP, Stage.ABORT, Stage.ROLLBACK_START, Stage.ROLLBACK_VERIFY, Stage.CLEAN}
)


def in_doubt(transaction_id: str, stage: Stage, failures: Iterable[GausscertError]) -> InDoubt:
    """How it stands, and the command to run."""
    nodes = sorted({error.node for error in failures if error.node})
    command = "gausscert recover --roll-back" if stage in _BACK else "gausscert recover"
    return InDoubt(
        Reason.IN_DOUBT,
        f"transaction {transaction_id} stopped at {stage}; every node has one whole set,"
        " but they may not be of one mind and CM may be down",
        remedy=f"bring back {', '.join(nodes) or 'all nodes'}, then run: {command}",
    )


def not_over(node: str, phase: Phase, flight: InFlight) -> GausscertError:
    """A node in a transaction that is not over: in doubt once nobody holds it, else another's work; or it
    is committed, and waits for excluded nodes."""
    if flight.waits:
        said = f"transaction {flight.transaction_id} is {waiting_text(flight)}"
        return NodeRefusal(Reason.NODES_EXCLUDED, said, node=node, remedy=end_of(flight))
    since = f" since {flight.since:%Y-%m-%d %H:%M:%S %Z}" if flight.since is not None else ""
    said = f"transaction {flight.transaction_id} of {flight.holder} is in phase {phase}{since}"
    said += f"; {flight.held_by} has taken it over" if flight.held_by else ""
    if flight.lease_left_s <= 0:
        return InDoubt(Reason.IN_DOUBT, said, node=node, remedy=end_of(flight))
    lease = (
        f"{flight.held_by or 'its coordinator'} holds the nodes for at most {flight.lease_left_s:.0f} s more"
    )
    return NodeRefusal(Reason.LOCKED, f"{said}; {lease}", node=node, remedy=end_of(flight))


def end_of(flight: InFlight) -> str:
    """What to do about a transaction that is not over."""
    if flight.waits:
        return _end_of_waiting(flight)
    if flight.lease_left_s <= 0:
        return "run gausscert recover"
    return "wait for it to end; if you know that it is dead: gausscert recover --take-over"


def waiting_text(flight: InFlight) -> str:
    """How it stands with a transaction that waits, in one line."""
    names = ", ".join(f"{node} ({_RETURNED[each]})" for node, each in flight.excluded)
    return f"committed, waiting for {names}"


_RETURNED: Final = {
    Return.AWAY: "excluded, does not answer",
    Return.BACK: "excluded, is back and holds another set or enable_ssl",
    Return.JOINED: "excluded, has joined",
    Return.GONE: "excluded, is no longer in the inventory",
    Return.WITHIN: "excluded in the middle, is back in the transaction",
}


_END_OF_MISSING: Final = (
    "bring it back, then run gausscert recover; if it is gone for good, take it out of CM and of the"
    " inventory, then run gausscert recover; a new machine in its place is brought over with gausscert"
    " recover --bundle DIR"
)


def _end_of_waiting(flight: InFlight) -> str:
    returns = {each for _, each in flight.excluded}
    if Return.BACK in returns:
        return f"run gausscert recover --bundle DIR, with the bundle of transaction {flight.transaction_id}"
    away = {node for node, each in flight.excluded if each is Return.AWAY}
    if away and away <= set(flight.missing):
        return _END_OF_MISSING
    if away:
        return (
            "bring it back, then run gausscert recover --bundle DIR; if it is gone for good, take it out of"
            " CM and of the inventory, then run gausscert recover"
        )
    return "run gausscert recover"


def answers_again(node: str) -> NodeRefusal:
    """An excluded node that does answer."""
    return NodeRefusal(
        Reason.NODES_EXCLUDED,
        "is excluded because it did not answer, but now it does: it would run the old set beside the new one",
        node=node,
        remedy="plan again without --exclude for it",
    )


def still_excluded(node: str) -> Finding:
    """It was committed without this node."""
    return Finding(
        Reason.NODES_EXCLUDED.value,
        Severity.WARNING,
        "committed without it: all others keep their old sets until it has the new one",
        remedy="keep the bundle; before CM starts there, bring its agent back and run gausscert recover"
        " --bundle DIR; if it is gone for good, take it out of CM and of the inventory, then run gausscert"
        " recover",
        node=node,
    )


def finished_without(node: str) -> Finding:
    """It was committed without this participant, which had voted."""
    return Finding(
        Reason.NODES_EXCLUDED.value,
        Severity.WARNING,
        "finished without it; it had voted, so that its live set is the new one: all others keep their old"
        " sets until it is heard of",
        remedy=_END_OF_MISSING,
        node=node,
    )


def rolled_back_without(node: str) -> Finding:
    """It was rolled back without this participant, which may have swapped."""
    return Finding(
        Reason.NODES_EXCLUDED.value,
        Severity.WARNING,
        "rolled back without it; its live set may be the new one: CM must not run there beside the others",
        remedy="before the machine is back, keep CM from starting there (touch"
        " $GAUSSHOME/bin/cluster_manual_start); start its agent, then run gausscert recover, which rolls it"
        " back, too",
        node=node,
    )


def still_behind(node: str, transaction_id: str) -> Finding:
    """It does not answer, and the others have rolled a transaction back without it."""
    return Finding(
        Reason.NODES_EXCLUDED.value,
        Severity.WARNING,
        f"was left out of the recovery of transaction {transaction_id}, which was rolled back: its live set"
        " may be the new one, and CM must not run there beside the others before it is recovered",
        remedy="before the machine is back, keep CM from starting there (touch"
        " $GAUSSHOME/bin/cluster_manual_start); start its agent, then run gausscert recover; if it is gone"
        " for good, take it out of CM and of the inventory",
        node=node,
    )


def stays_down(node: str) -> Finding:
    """A node that was excluded could not be brought over."""
    return Finding(
        Reason.NODES_EXCLUDED.value,
        Severity.WARNING,
        "it has its old set again and is still excluded; CM is left stopped there, because it must not run"
        " beside the others with another set",
        remedy="mend what is said of it, then run gausscert recover --bundle DIR again",
        node=node,
    )


def leased(node: str, told: TransactionReport) -> NodeRefusal:
    """A node that another coordinator holds, on which it has begun nothing."""
    since = f" since {told.held_since:%Y-%m-%d %H:%M:%S %Z}" if told.held_since is not None else ""
    return NodeRefusal(
        Reason.LOCKED,
        f"locked by {told.holder}{since}, for at most {told.lease_left_s:.0f} s more;"
        " it has begun no transaction here",
        node=node,
        remedy="wait for it to end; if you know that it is dead: --take-over takes the nodes on which it"
        " has begun no transaction",
    )


def locked(node: str, told: TransactionReport) -> NodeRefusal:
    """A node of a transaction, held by another coordinator that may be at work."""
    what = (
        f"phase {told.phase} of transaction {told.transaction_id}"
        if told.transaction_id
        else "no transaction"
    )
    return NodeRefusal(
        Reason.LOCKED,
        f"locked by {told.holder} for at most {told.lease_left_s:.0f} s more, in {what}; nothing was touched",
        node=node,
        remedy="wait for it to end; if you know that it is dead: gausscert recover --take-over",
    )


def unlike_plan(
    reports: Mapping[str, NodeReport], replacement: Replacement, *, stopped_is_fine: bool
) -> list[GausscertError]:
    """Nodes that somebody else has changed, begun to change, or steers since the plan was made."""
    wrong: list[GausscertError] = []
    begun = {node: flight for flight in recovery_view.flights(reports) for node, _ in flight.phases}
    for node, report in reports.items():
        told = report.transaction
        if node in begun:
            wrong.append(not_over(node, told.phase, begun[node]))
        elif report.live.digest != replacement.old_digests[node]:
            wrong.append(
                NodeRefusal(
                    Reason.LIVE_CHANGED,
                    "the live set is not the one the plan was made for",
                    node=node,
                    remedy="find out who changes certificates here, then plan again",
                )
            )
        else:
            wrong.extend(_interfered(node, report, replacement, stopped_is_fine=stopped_is_fine))
    return wrong


def interfered(
    reports: Mapping[str, NodeReport], replacement: Replacement, *, stopped_is_fine: bool
) -> list[GausscertError]:
    """Nodes on which somebody steers CM since the plan was made: has stopped or paused it, or upgrades it.

    Args:
        reports: By node.
        replacement: What was accepted is in it.
        stopped_is_fine: It may have been stopped, accepted or not.
    """
    return [
        each
        for node, report in reports.items()
        for each in _interfered(node, report, replacement, stopped_is_fine=stopped_is_fine)
    ]


def steered(reports: Mapping[str, NodeReport]) -> list[GausscertError]:
    """Nodes on which somebody else is at work on CM: it must not be stopped under their hands."""
    return [
        _unfit(node, what, "let it end, or accept it (--accept-state), then recover again")
        for node, report in sorted(reports.items())
        for so, what in (
            (report.paused, "CM is paused"),
            (report.upgrading, "the cluster is being upgraded"),
        )
        if so
    ]


def _interfered(
    node: str, report: NodeReport, replacement: Replacement, *, stopped_is_fine: bool
) -> Iterator[NodeRefusal]:
    accepted = {each.code for each in replacement.accepted if each.node == node}
    if report.manually_stopped and not stopped_is_fine and node not in replacement.stopped:
        yield _unfit(
            node,
            "somebody has stopped CM here since the plan was made; it will not be started again",
            "find out who stopped it and why, then plan again",
        )
    if report.paused and "NODE_PAUSED" not in accepted:
        yield _unfit(
            node,
            "somebody has paused CM since the plan was made",
            "find out who paused it and why; end the pause (cm_ctl resume) or accept it (--accept-state),"
            " then plan again",
        )
    if report.upgrading and "NODE_UPGRADING" not in accepted:
        yield _unfit(
            node,
            "an upgrade has begun since the plan was made",
            "let it end, or accept it (--accept-state), then plan again",
        )


def _unfit(node: str, message: str, remedy: str) -> NodeRefusal:
    return NodeRefusal(Reason.NODE_UNFIT, message, node=node, remedy=remedy)


def staged_another(node: str) -> NodeFailure:
    """A node answered Prepare with a set that is not the bundle's, or not the generation that was judged."""
    return NodeFailure(
        Reason.STORE_FAILED,
        "staged another set than the one that was planned",
        node=node,
        remedy="look at the agent's log",
    )


def as_finding(error: GausscertError) -> Finding:
    """What is told, but decides nothing."""
    return Finding(error.reason.value, Severity.WARNING, error.message, remedy=error.remedy, node=error.node)


def told_together(errors: Sequence[GausscertError]) -> str:
    """Each with its node, and each remedy once: nodes that fail alike need one advice."""
    lines = (": ".join(part for part in (each.node, each.file, each.message) if part) for each in errors)
    remedies = "; ".join(dict.fromkeys(each.remedy for each in errors if each.remedy))
    causes = "; ".join(lines)
    return f"{causes} ({remedies})" if remedies else causes
