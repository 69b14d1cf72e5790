"""How a roll-out ended on a node."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from gausscert_common.errors import InternalError, Reason

if TYPE_CHECKING:
    from gausscert_common.errors import GausscertError
    from gausscert_common.findings import Finding

    from gausscert_coordinator.rollout.decide import Step


class State(StrEnum):
    """How it ended on a node."""

    UNCHANGED = "unchanged"
    """All was there already, and healthy."""
    DEPLOYED = "deployed"
    FAILED = "failed"
    UNTOUCHED = "untouched"
    """Its agent was left as it was, because of another node; told who is revoked it may be."""


@dataclass(slots=True)
class NodeOutcome:
    """What was done on a node."""

    node: str
    state: State = State.UNTOUCHED
    done: list[Step] = field(default_factory=list)
    error: GausscertError | None = None
    failed_at: Step | None = None
    findings: list[Finding] = field(default_factory=list)
    put_back: bool | None = None
    """After it failed: whether the agent has what it had before, and is healthy; None: it was not tried."""
    denied: bool = False
    """Its agent has got whom it lacked on its deny list."""


def unforeseen(node: str, doing: str, raised: Exception) -> InternalError:
    """What was nobody's fault but ours."""
    return InternalError(
        Reason.INTERNAL,
        f"{doing} ended with {type(raised).__name__}: {raised}",
        node=node,
        remedy="run it again; if it stays, report it",
    )
