"""What is told to whoever records transactions. `history` writes it down; by default nobody does.

A recorder is never an authority: nothing that it is told, forgets or fails at changes what the engine does.
Its methods therefore raise nothing, and but for `durable`, `ended` and `close` they wait for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gausscert_common.auditing import Head
    from gausscert_common.findings import Finding
    from gausscert_common.model import ClusterState, NodeReport, PreparedSet
    from gausscert_common.protocol.coordinator import Stage

    from gausscert_coordinator.job import Job
    from gausscert_coordinator.report import Progress, Proof, Result


class Kind(StrEnum):
    """What a coordinator set out to do with a transaction."""

    REPLACE = "replace"
    RECOVER = "recover"
    ROLLBACK = "rollback"
    SSL = "ssl"
    JOIN = "join"


@dataclass(frozen=True, slots=True)
class Told:
    """One thing that happened, and the stable reason where it is a failure of one node."""

    progress: Progress
    reason: str = ""


class Recorder(Protocol):
    """Told what one coordinator does, run by run: `begun`, what happens, `ended`."""

    def begun(self, kind: Kind, cluster: str, job: Job) -> None:
        """A coordinator sets out. One run at a time."""

    def fenced(self, epoch: int) -> None:
        """The epoch that all its commands carry."""

    def granted(self, reports: Mapping[str, NodeReport]) -> None:
        """What the nodes held when they granted Acquire."""

    def staged(self, prepared: Mapping[str, PreparedSet]) -> None:
        """What the nodes have staged."""

    def told(self, told: Told) -> None:
        """A stage or a command began, ended or is repeated, or there was something to say."""

    def before(self, state: ClusterState | None) -> None:
        """State and roles before CM was stopped."""

    def seen(self, stage: Stage, evidence: Sequence[Proof]) -> None:
        """Who saw which cm_server serve what, in that stage."""

    def found(self, findings: Sequence[Finding]) -> None:
        """All findings so far, in the order of the result."""

    def heads(self, seen: Mapping[str, Head]) -> None:
        """The last line of each node's audit log that is about this run, before it is ended."""

    async def durable(self) -> None:
        """Return when all that was told is on disk, or will not be recorded at all."""

    async def ended(self, result: Result) -> tuple[Finding, ...]:
        """The run is over; answers what kept any of it from being recorded."""

    async def close(self) -> None:
        """Let go of everything; a run that has not ended stays as it is. May be called twice."""


class _Nobody:
    """Records nothing."""

    def begun(self, kind: Kind, cluster: str, job: Job) -> None:
        pass

    def fenced(self, epoch: int) -> None:
        pass

    def granted(self, reports: Mapping[str, NodeReport]) -> None:
        pass

    def staged(self, prepared: Mapping[str, PreparedSet]) -> None:
        pass

    def told(self, told: Told) -> None:
        pass

    def before(self, state: ClusterState | None) -> None:
        pass

    def seen(self, stage: Stage, evidence: Sequence[Proof]) -> None:
        pass

    def found(self, findings: Sequence[Finding]) -> None:
        pass

    def heads(self, seen: Mapping[str, Head]) -> None:
        pass

    async def durable(self) -> None:
        pass

    async def ended(self, result: Result) -> tuple[Finding, ...]:  # noqa: ARG002 - the port's signature
        return ()

    async def close(self) -> None:
        pass


NOBODY: Final[Recorder] = _Nobody()
"""For those who want no history."""
