"""What a node remembers and sees: values only, and the one question every decision starts with."""

from __future__ import annotations

from dataclasses import dataclass

from gausscert_common.protocol.words import (
    Fence,
    LiveState,
    Outcome,
    Phase,
    RestartScope,
    SslWish,
    Step,
    Tombstone,
)


@dataclass(frozen=True, slots=True)
class SslSetting:
    """`enable_ssl` as it stands in the two configuration files; None where there is no such line or file."""

    server: bool | None = None
    agent: bool | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """A running cm_ctl child, so that a restarted agent can find it and end it."""

    kind: str
    """"stop" or "start"."""
    pid: int
    start_ticks: int
    """Field 22 of /proc/PID/stat: with the pid it names one process of one boot."""
    boot: str = ""
    """Which boot and which process list that was; opaque here, "" if it is not known."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """What a node must remember of the transaction it takes part in."""

    transaction_id: str
    participants: tuple[str, ...]
    old_digest: str
    """Digest of the set that was live at Prepare; `certset.ABSENT` when there was none."""
    ssl_wish: SslWish
    restart: RestartScope
    begun_at: float
    """Seconds since the epoch, by the node's clock; told to operators, decides nothing."""
    new_digest: str = ""
    """Digest of the staged set; "" while PREPARING."""
    bundle_digest: str = ""
    excluded: tuple[str, ...] = ()
    """Nodes that it was begun without, or, where they are participants, is recovered without; the old set is
    kept until each of them is settled."""
    joins: str = ""
    """The transaction whose excluded nodes it brings over; "" for one of its own."""
    begun_by: str = ""
    """The coordinator that prepared it, whoever holds the fence later; "" in records of older releases. Told
    to operators, decides nothing."""
    previous_ssl: SslSetting = SslSetting()
    reached: Fence = Fence()
    """The last command of it but Acquire that was accepted here, kept when another Acquire raises the fence:
    it tells how far the coordinators before had come (`recovery_without`)."""
    abort_ended: bool = False
    """The old set and enable_ssl are restored. ABORTED alone says only that restoring has begun."""


@dataclass(frozen=True, slots=True)
class NodeState:
    """All that is durable at a node. The disk itself is the truth about the sets."""

    fence: Fence = Fence()
    owner: str = ""
    """The transaction whose coordinator holds the fence."""
    holder: str = ""
    """That coordinator: operator, machine, process."""
    phase: Phase = Phase.NONE
    transaction: Transaction | None = None
    operation: Operation | None = None
    tombstones: tuple[Tombstone, ...] = ()
    """Newest first."""

    @property
    def reached(self) -> Fence:
        """The last command of the present transaction but Acquire; `Fence()` where there is none, or an older
        release has not kept it."""
        if self.transaction is None:
            return Fence()
        return self.fence if self.fence.step is not Step.ACQUIRE else self.transaction.reached

    def outcome_of(self, transaction_id: str) -> Outcome | None:
        """How that transaction ended here, or None if it did not or is forgotten."""
        for tombstone in self.tombstones:
            if tombstone.transaction_id == transaction_id:
                return tombstone.outcome
        return None


@dataclass(frozen=True, slots=True)
class View:
    """What the runner sees before it asks: the disk, the process list, the lease."""

    live_digest: str | None
    """None: the live set cannot be read; that keeps back only commands that depend on it."""
    cm_running: bool
    """A cm_server or cm_agent of this node runs; asked only for commands that may exchange sets."""
    lease_holder: str = ""
    """Who holds a lease that has not expired; "" when it is free."""
    unreadable: str = ""
    """Why the live set cannot be read, for a person."""


def live_state(transaction: Transaction, live_digest: str | None) -> LiveState:
    """Which of the transaction's two sets is live; one that cannot be read (None) counts as neither."""
    if live_digest == transaction.old_digest:
        return LiveState.OLD
    if transaction.new_digest and live_digest == transaction.new_digest:
        return LiveState.NEW
    return LiveState.FOREIGN
