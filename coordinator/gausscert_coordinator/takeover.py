"""What a coordinator tells that was fenced out: somebody else has its transaction. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gausscert_common.errors import GausscertError, InDoubt, NodeRefusal, Reason
from gausscert_common.protocol.coordinator import Verdict
from gausscert_common.protocol.words import Outcome

from gausscert_coordinator.recovery_view import cm_stays_up, outcome_at, outcome_everywhere

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gausscert_common.model import NodeReport

_LOOK: Final = "look at gausscert status"

_ENDED: Final[dict[Outcome, tuple[Verdict, str]]] = {
    Outcome.COMMITTED: (Verdict.COMMITTED, "finished it"),
    Outcome.ABORTED: (Verdict.ROLLED_BACK, "rolled it back"),
}


@dataclass(frozen=True, slots=True)
class TakenOver:
    """How it stands with a transaction that somebody else has."""

    verdict: Verdict
    error: GausscertError


def is_fenced(errors: Iterable[GausscertError]) -> bool:
    """Whether some node obeys a later coordinator."""
    return any(error.reason is Reason.FENCED for error in errors)


def fenced_out(reports: Mapping[str, NodeReport], epoch: int) -> list[GausscertError]:
    """A refusal for each node that has promised itself to a later epoch than this."""
    return [
        NodeRefusal(
            Reason.FENCED,
            f"taken over by {report.transaction.holder}",
            node=node,
            remedy=_LOOK,
        )
        for node, report in reports.items()
        if report.transaction.fence.epoch > epoch
    ]


def standing(
    transaction_id: str,
    reports: Mapping[str, NodeReport],
    asked: Iterable[str],
    epoch: int,
    *,
    restarted: bool,
) -> TakenOver:
    """How the nodes say that it stands.

    Args:
        transaction_id: The transaction that was taken over.
        reports: Of the nodes that answered.
        asked: All nodes of the transaction.
        epoch: Of the coordinator that was fenced out.
        restarted: Whether CM is to run where it has ended.
    """
    holders = sorted({error.message for error in fenced_out(reports, epoch)})
    taken = "; ".join(holders) or "taken over by another coordinator"
    complete = set(asked) <= set(reports)
    outcome = outcome_everywhere(reports, transaction_id) if complete else None
    down = [node for node, report in reports.items() if restarted and not cm_stays_up(report)]
    if outcome is not None and down:
        _, did = _ENDED[outcome]
        return _not_over(f"{taken}, which has {did}; CM does not run yet on {', '.join(down)}")
    if outcome is not None:
        verdict, did = _ENDED[outcome]
        return TakenOver(verdict, NodeRefusal(Reason.FENCED, f"{taken}, which has {did}", remedy=_LOOK))
    if complete and not _known(reports, transaction_id):
        error = NodeRefusal(Reason.FENCED, f"{taken}, before anything was staged", remedy=_LOOK)
        return TakenOver(Verdict.NOTHING_DONE, error)
    return _not_over(f"{taken}; transaction {transaction_id} is not over yet")


def _not_over(how: str) -> TakenOver:
    remedy = f"{_LOOK}; if you know that the other is dead: gausscert recover --take-over"
    return TakenOver(Verdict.IN_DOUBT, InDoubt(Reason.IN_DOUBT, how, remedy=remedy))


def _known(reports: Mapping[str, NodeReport], transaction_id: str) -> bool:
    """Whether any node takes part in the transaction, or remembers its end."""
    return any(
        report.transaction.transaction_id == transaction_id or outcome_at(report, transaction_id) is not None
        for report in reports.values()
    )
