"""Why a recovery does not begin, in the words of its result. Pure.

Two kinds: what is refused (`refused`), which waiting or another option mends; and what cannot be
(`untouchable`), before a person has looked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gausscert_common.errors import GausscertError, InDoubt, InvalidInput, NodeRefusal, Reason
from gausscert_common.protocol import exclusion
from gausscert_common.protocol.coordinator import Stage, Verdict
from gausscert_common.protocol.exclusion import Return

from gausscert_coordinator import live_sets, proof
from gausscert_coordinator.objections import locked
from gausscert_coordinator.report import Result

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gausscert_common.model import NodeReport
    from gausscert_common.protocol.exclusion import Subject

    from gausscert_coordinator.recovery_case import Wish

_BY_HAND: Final = (
    "put the old or the new set back by hand (docs/runbook.md, In doubt), then run: gausscert recover"
)

_FENCED: Final = (
    "no set was touched, but the fence was taken, so that whoever was at work can do no more; the leases were"
    " given back"
)

_WHILE_ACQUIRING: Final = (
    "while the fence was taken, so that whoever was at work may be able to do no more, and what leases were"
    " granted were kept"
)

_AS_SAID: Final = "first what is said of the others, then run gausscert recover"

SETS_DIFFER: Final = "no transaction is in doubt, but the nodes hold different sets"


def still_listed(reports: Mapping[str, NodeReport], returns: Mapping[str, Return]) -> list[GausscertError]:
    """A node that was taken out of the inventory, while CM still has it, would come back with its old set."""
    gone, away = exclusion.having(returns, Return.GONE), exclusion.having(returns, Return.AWAY)
    if not gone or len(proof.unowned(reports.values())) <= len(away):
        return []
    return [
        InvalidInput(
            Reason.CONFIG_INVALID,
            "is no longer in the inventory, but CM still lists a node more than the inventory has",
            node=node,
            remedy="take it out of CM, too; or put it back into the inventory",
        )
        for node in gone
    ]


def refused(transaction_id: str, errors: Iterable[GausscertError], why: str) -> Result:
    """Nothing was touched."""
    return Result(transaction_id, Verdict.NOTHING_DONE, failures=tuple(errors), why=why)


def untouchable(
    transaction_id: str,
    why: str,
    said: Mapping[str, str] | None = None,
    remedy: str = "",
    *,
    fenced: bool = False,
) -> Result:
    """Nothing may be touched before a person has looked.

    Args:
        transaction_id: "" where it is not one transaction.
        why: What cannot be.
        said: What each node answered, by name; each is told of.
        remedy: What that person can do; "" for putting sets back by hand.
        fenced: The nodes had granted Acquire before it was seen; the leases were given back.
    """
    left = _FENCED if fenced else "nothing was touched"
    errors = [
        InDoubt(Reason.IN_DOUBT, f"{each}; {why}; {left}", node=node, remedy=remedy or _BY_HAND)
        for node, each in (said or {"": "the nodes contradict each other"}).items()
    ]
    return Result(transaction_id, Verdict.IN_DOUBT, failures=tuple(errors), why=why)


def abandoned(transaction_id: str = "", *, acquiring: bool = False, after: bool = False) -> Result:
    """The operator insisted before any node was commanded to do more than to grant the fence.

    Args:
        transaction_id: "" where it was not known yet.
        acquiring: Acquire had been sent to some node; no lease was given back.
        after: Another piece was settled before, which stays so.
    """
    how = _WHILE_ACQUIRING if acquiring else "and no node was commanded"
    said = f"abandoned by the operator {how}: nothing was changed by this, and what was in doubt still is"
    if after:
        when = "before the next transaction was begun"
        said = f"abandoned by the operator {_WHILE_ACQUIRING if acquiring else when};"
        said += " what was settled until then stays so, and more may wait"
    error = InDoubt(
        Reason.IN_DOUBT,
        said,
        remedy="run gausscert recover"
        + ("; from another machine once the leases have run out, or with --take-over" if acquiring else ""),
    )
    stage = Stage.ACQUIRE if acquiring else None
    why = "not acted upon, as the recovery was abandoned"
    return Result(
        transaction_id, Verdict.IN_DOUBT, failures=(error,), why=why, interrupted=True, last_stage=stage
    )


def not_brought_over(names: str) -> InDoubt:
    """Nodes whose join was stopped before it changed anything."""
    return InDoubt(
        Reason.NODES_EXCLUDED,
        f"{names}: not brought over, as you asked to stop; nothing was changed there",
        remedy="run gausscert recover --bundle DIR again",
    )


def held_by_others(wish: Wish, reports: Mapping[str, NodeReport], transaction_id: str = "") -> Result | None:
    """A refusal where another coordinator holds one of these nodes, and may be at work; None where nobody
    does, or the operator takes over.

    Acquire would be refused by that node, too, but not by one whose agent was started again since: the lease
    lives in its memory. Taking the fence there would put a coordinator out of action that works.
    """
    if wish.take_over:
        return None
    errors = [
        locked(node, report.transaction)
        for node, report in sorted(reports.items())
        if report.transaction.lease_left_s > 0
        and report.transaction.holder != wish.holder
        and not wish.is_gone(report.transaction.holder)
    ]
    return refused(transaction_id, errors, "another coordinator holds nodes") if errors else None


def not_as_one() -> InvalidInput:
    """One cm_ctl for the whole cluster was asked for, and some nodes were left out."""
    return InvalidInput(
        Reason.ARGUMENT_INVALID,
        "nodes were excluded: cm_ctl for the whole cluster would reach for those, too",
        remedy="use --restart node, or leave it out",
    )


def phases_of(reports: Mapping[str, NodeReport]) -> list[GausscertError]:
    """How it stands with the nodes that do answer, beside one that keeps recovery from beginning: whoever has
    to decide by hand needs to know of all of them."""
    return [
        InDoubt(Reason.IN_DOUBT, f"{_phase(report)}; nothing was touched", node=node, remedy=_AS_SAID)
        for node, report in sorted(reports.items())
    ]


def _phase(report: NodeReport) -> str:
    told = report.transaction
    held = live_sets.told(report)
    if not told.transaction_id:
        newest = next((f"; last ended {each.outcome}: {each.transaction_id}" for each in told.tombstones), "")
        return f"in no transaction{newest}; {held}"
    live = "" if told.live_state is None else f" ({told.live_state})"
    return f"phase {told.phase} of transaction {told.transaction_id}; {held}{live}"


def stranger(node: str) -> InDoubt:
    """A participant that nobody here can ask."""
    return InDoubt(
        Reason.CONFIG_INVALID,
        "takes part in the transaction in doubt, but is not in the inventory",
        node=node,
        remedy="use the inventory that the transaction was begun with; if the node is dead for good:"
        f" gausscert recover --exclude {node}, with that inventory",
    )


def cannot_remember(reports: Mapping[str, NodeReport], subject: Subject) -> list[GausscertError]:
    """Nodes in the transaction that have granted Acquire and do not remember whom they are recovered without:
    they would give their old sets up."""
    return [
        NodeRefusal(
            Reason.NODES_EXCLUDED,
            f"cannot remember that {', '.join(subject.missing)} is left out",
            node=node,
            remedy="its agent is of an older release: upgrade it, then recover again",
        )
        for node, report in sorted(reports.items())
        if report.transaction.transaction_id == subject.transaction_id
        and not set(subject.missing) <= set(report.transaction.excluded)
    ]
