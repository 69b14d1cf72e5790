"""What an agent's journal says, or why nobody can read it, as findings. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gausscert_common.errors import Reason

from gausscert_coordinator.rollout.catalogue import ROLLOUT, finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gausscert_common.findings import Finding

    from gausscert_coordinator.rollout.decide import Wanted
    from gausscert_coordinator.rollout.facts import Facts

DAMAGED: Final = "see `A damaged journal` in docs/runbook.md"


def found(facts: Facts, wanted: Wanted, *, only_starts: bool) -> Iterator[Finding]:
    """For a node on which something is going to be changed.

    Args:
        facts: Of the node.
        wanted: What it is to have.
        only_starts: Whether an agent that is down is started as it was: whatever is in flight waits for that.
    """
    node = wanted.node
    if facts.in_flight and not only_starts:
        yield finding("ROLLOUT_IN_FLIGHT", facts.in_flight, node)
    if facts.unreadable and not only_starts:
        cause = f"its journal cannot be read: {facts.unreadable}"
        yield finding("ROLLOUT_JOURNAL", cause, node, file=facts.state, remedy=remedy(facts.unreadable))
    running = facts.running
    if running is not None and running.release == wanted.release and running.release not in facts.releases:
        yield finding("ROLLOUT_RUNS_ON", f"pid {running.pid}, release {running.release}", node)
    elif facts.unrunnable:
        yield finding("ROLLOUT_CANNOT_RUN", facts.unrunnable, node, file=facts.software)


def remedy(unreadable: str) -> str:
    """What to do about a journal that an agent cannot read.

    Args:
        unreadable: What the agent says.
    """
    return DAMAGED if Reason.JOURNAL_DAMAGED in unreadable else ROLLOUT["ROLLOUT_JOURNAL"].remedy
