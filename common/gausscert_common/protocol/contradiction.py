"""What nodes cannot have said together, if nobody has touched a set or a journal by hand. Pure.

Whoever recovers then touches nothing, sends nothing, and tells of every node what it said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gausscert_common.protocol.words import LiveState, Outcome, Phase

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gausscert_common.protocol.recovery import Answer

_SWAPPING_BEGAN = "swapping begins only when every node has staged the new set"


def contradiction(answers: Mapping[str, Answer]) -> str:
    """What cannot be, "" if nothing speaks against these answers.

    Args:
        answers: By node; all nodes of the transaction.
    """
    return (
        _foreign(answers)
        or _different_transactions(answers)
        or _both_ends(answers)
        or _forgotten(answers)
        or _committed_with_the_old_set(answers)
    )


def told(answer: Answer) -> str:
    """What one node said, for a person."""
    live = "live set not compared" if answer.live is None else f"live set {answer.live}"
    if answer.outcome is not None:
        return f"remembers that it ended {answer.outcome}; {live}"
    if answer.phase is Phase.NONE:
        return f"phase NONE, remembers no end of the transaction; {live}"
    return f"phase {answer.phase} of transaction {answer.transaction_id}; {live}"


def is_committed(answer: Answer) -> bool:
    """Whether the node knows that the transaction is committed."""
    return answer.phase is Phase.COMMITTED or answer.outcome is Outcome.COMMITTED


def is_aborted(answer: Answer) -> bool:
    """Whether the node knows that it is aborted."""
    return answer.phase is Phase.ABORTED or answer.outcome is Outcome.ABORTED


def _foreign(answers: Mapping[str, Answer]) -> str:
    foreign = sorted(name for name, answer in answers.items() if answer.live is LiveState.FOREIGN)
    if not foreign:
        return ""
    return f"the live set of {', '.join(foreign)} is neither the old nor the new one"


def _different_transactions(answers: Mapping[str, Answer]) -> str:
    ids = {answer.transaction_id for answer in answers.values() if answer.transaction_id}
    if len(ids) < 2:
        return ""
    return f"the nodes take part in different transactions: {', '.join(sorted(ids))}"


def _both_ends(answers: Mapping[str, Answer]) -> str:
    found = answers.values()
    if any(map(is_committed, found)) and any(map(is_aborted, found)):
        return "one node is committed and another is aborted"
    return ""


def _forgotten(answers: Mapping[str, Answer]) -> str:
    """Swap is sent only when all are PREPARED, and who was that remembers how it ended: a node that remembers
    nothing has lost its journal, and with it, perhaps, its vote."""
    blank = _blank(answers)
    went = sorted(name for name, answer in answers.items() if _has_swapped(answer))
    if not blank or not went:
        return ""
    return (
        f"{', '.join(blank)} {_verb(blank)} nothing of the transaction, but {', '.join(went)}"
        f" went on to swap sets, and {_SWAPPING_BEGAN}"
    )


def _committed_with_the_old_set(answers: Mapping[str, Answer]) -> str:
    names = sorted(
        name
        for name, answer in answers.items()
        if answer.phase is Phase.COMMITTED and answer.live is LiveState.OLD
    )
    return f"{', '.join(names)}: committed, but the old set is live" if names else ""


def _blank(answers: Mapping[str, Answer]) -> list[str]:
    return sorted(
        name
        for name, answer in answers.items()
        if answer.phase is Phase.NONE and answer.outcome is None and not answer.through
    )


def _has_swapped(answer: Answer) -> bool:
    if answer.phase is Phase.NONE:
        return answer.outcome is Outcome.COMMITTED
    return answer.phase in (Phase.SWAPPED, Phase.COMMITTED) or answer.live is LiveState.NEW


def _verb(names: list[str]) -> str:
    return "remembers" if len(names) == 1 else "remember"
