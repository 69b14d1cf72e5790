"""The words of the transaction: steps, phases, the fence, outcomes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Step(IntEnum):
    """The steps of one coordinator in their order; with the epoch they make the fence.

    Numbers are part of the protocol (design section 5) and never change.
    """

    ACQUIRE = 0
    PREPARE = 1
    STOP = 2
    SWAP = 3
    START = 4
    COMMIT = 5
    PURGE = 6
    ROLLBACK_STOP = 7
    ABORT = 8
    ROLLBACK_START = 9
    CLEAN = 10


class Phase(StrEnum):
    """How far a node is in a transaction."""

    NONE = "NONE"
    PREPARING = "PREPARING"
    PREPARED = "PREPARED"
    SWAPPED = "SWAPPED"
    COMMITTED = "COMMITTED"
    ABORTED = "ABORTED"


class Outcome(StrEnum):
    """How a transaction ended at a node."""

    COMMITTED = "COMMITTED"
    ABORTED = "ABORTED"


class LiveState(StrEnum):
    """Which set is live, by digest."""

    OLD = "OLD"
    NEW = "NEW"
    FOREIGN = "FOREIGN"
    """Neither the old nor the new one: somebody else changed it. Never touched."""


class RestartScope(StrEnum):
    """Who stops and starts CM."""

    CLUSTER = "cluster"
    """One node, always the same one, runs `cm_ctl stop` and `start` for all."""
    NODE = "node"
    """Each node stops and starts itself."""
    NONE = "none"
    """The operator has stopped the cluster and will start it."""


class SslWish(StrEnum):
    """What the operator wants `enable_ssl` to be."""

    KEEP = "keep"
    ON = "on"
    OFF = "off"


@dataclass(frozen=True, slots=True, order=True)
class Fence:
    """Nothing below it is ever carried out again; compared epoch first, then step."""

    epoch: int = 0
    step: Step = Step.ACQUIRE


@dataclass(frozen=True, slots=True)
class Tombstone:
    """The end of a transaction at one node."""

    transaction_id: str
    outcome: Outcome
    without: tuple[str, ...] = ()
    """Of one that was rolled back: nodes that were in it, or in one before, and were left out, so that they
    may be in it still; sorted. Told to operators, decides nothing."""
