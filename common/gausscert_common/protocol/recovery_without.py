"""What may be decided of a transaction without nodes of it that are dead: the table beside that of recovery.
Pure.

Each missing node may be in any phase that the others' answers allow, and keeps what it has decided. A
decision is safe only if it agrees with all of these:

    finishing    needs that every missing node has voted and none has aborted
    rolling back needs that none has committed

and that no command still on its way to them can change that: every stage needs the answers of all, and the
fence of those that answer sees to it that none begins. Phases alone do not tell: beside nodes that have all
voted a missing one may be SWAPPED, COMMITTED, ABORTED or PREPARED. How far the last coordinator had come does
(`Answer.reached`):

- Commit is sent only after Start was answered by all, Abort to nodes that have swapped only after the Stop of
  the rollback was. So a node that answers and has not come so far shows that it was not sent.
- Half of the nodes must answer where none of them knows the decision, so that no two parts of a cluster that
  leave each other out decide, each for itself. Of two halves only the operator can tell that one is dead.
- Whoever sends Stop, Swap or Start has read all nodes before, and none had ended the transaction. So of those
  before the last one that did anything nothing is left to be feared.
- Whoever finishes without a node begins with Commit, and those that it did not reach have no trace of it. But
  it decided by what they say; so a node that was left out before, and is back, has no say beside them: how
  far it had come was not looked at. If all were left out at some time, nobody is left who tells.

| the answers show, first matching row | decide |
|---|---|
| any COMMITTED or tombstone(commit) | finish: all had voted |
| any ABORTED or tombstone(abort) | roll back: nobody has committed |
| fewer than half of the nodes, and none of the above | neither |
| any that has not voted | roll back: Commit was not sent |
| the last coordinator had begun to turn back | roll back: it had not sent Commit |
| it had sent Commit, or its Start has reached all of these | finish: any may have committed, all had voted |
| it had not come that far | roll back: it had not sent Commit |
| somebody put a set or a switch back since, or it is not known how far it had come | neither |

The coordinator's progress is what nodes say that were never left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from gausscert_common.protocol.contradiction import is_aborted, is_committed
from gausscert_common.protocol.words import Fence, Phase, Step

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from gausscert_common.protocol.recovery import Answer


class Way(StrEnum):
    """What is safe."""

    FINISH = "finish"
    """From Commit on: there is no turning back any more."""
    ROLL_BACK = "roll back"
    NEITHER = "neither"
    """Only the missing nodes could tell."""


@dataclass(frozen=True, slots=True)
class Without:
    """The row that matched."""

    way: Way
    why: str
    """For the operator."""


_DECIDING: Final = frozenset({Step.COMMIT, Step.PURGE})

_VOTED: Final = frozenset({Phase.SWAPPED, Phase.COMMITTED})


def decide(answers: Mapping[str, Answer], missing: Collection[str]) -> Without:
    """Find the row that matches.

    Args:
        answers: By node; of all that answer, at least one of which is in the transaction. They do not
            contradict each other (`contradiction`).
        missing: Those that do not answer and are left out.
    """
    found = answers.values()
    if any(map(is_committed, found)):
        return Without(Way.FINISH, "a node knows that the transaction is committed, so all had voted")
    if any(map(is_aborted, found)):
        return Without(Way.ROLL_BACK, "a node knows that the transaction is aborted")
    if len(answers) < len(missing):
        return Without(
            Way.NEITHER, "fewer than half of the nodes answer, and none of these knows how it ended"
        )
    inside = {name: answer for name, answer in sorted(answers.items()) if answer.phase is not Phase.NONE}
    not_voted = [name for name, answer in inside.items() if not (answer.voted or answer.phase in _VOTED)]
    if not_voted:
        return Without(Way.ROLL_BACK, f"{', '.join(not_voted)} never voted, so nobody has committed")
    return _by_progress(inside)


def _by_progress(voters: Mapping[str, Answer]) -> Without:
    """All that answer have voted."""
    left_out = {name for answer in voters.values() for name in answer.left_out}
    witnesses = {name: answer for name, answer in voters.items() if name not in left_out}
    if not witnesses:
        return Without(
            Way.NEITHER,
            f"{', '.join(voters)} were left out before: what is missing may have committed or aborted since",
        )
    unknown = [name for name, answer in voters.items() if answer.reached.step <= Step.PREPARE]
    if unknown:
        return Without(
            Way.NEITHER,
            f"all others have voted, and {', '.join(unknown)} cannot tell how far the last coordinator had"
            " come: what is missing may have committed or aborted",
        )
    last = max(answer.reached for answer in witnesses.values())
    if last.step >= Step.ROLLBACK_STOP:
        return Without(Way.ROLL_BACK, "the last coordinator was turning back, so nobody has committed")
    behind = [name for name, answer in witnesses.items() if answer.reached < Fence(last.epoch, Step.START)]
    if behind and last.step not in _DECIDING:
        return Without(Way.ROLL_BACK, f"{', '.join(behind)} was not told to start, so nobody has committed")
    undone = [name for name, answer in voters.items() if answer.phase is not Phase.SWAPPED]
    if undone:
        return Without(
            Way.NEITHER,
            f"what is missing may have committed, but on {', '.join(undone)} the old set or enable_ssl is"
            " back",
        )
    return Without(Way.FINISH, "all had voted, and what is missing may have committed")
