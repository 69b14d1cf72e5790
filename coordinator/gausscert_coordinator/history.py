"""Writes down what coordinators do: transactions, commands, answers, evidence, and who it was.

    async with Coordinator(inventory, recorder=history.of(inventory)) as cluster:

Never the authority: recovery asks the nodes and nothing else. What the recorder is told is collected on the
event loop and written by a thread of its own, one group per stage. The first thing that goes wrong with
the file ends the recording of the run, and is told as one warning of its result.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final

from gausscert_coordinator import history_rows as rows
from gausscert_coordinator.history_catalogue import finding
from gausscert_coordinator.history_clerk import Clerk
from gausscert_coordinator.history_steps import Steps
from gausscert_coordinator.report import Mark

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from gausscert_common.auditing import Head
    from gausscert_common.findings import Finding
    from gausscert_common.model import ClusterState, NodeReport, PreparedSet
    from gausscert_common.protocol.coordinator import Stage

    from gausscert_coordinator.history_clerk import Make, Open
    from gausscert_coordinator.inventory import Inventory
    from gausscert_coordinator.job import Job
    from gausscert_coordinator.recorder import Kind, Told
    from gausscert_coordinator.report import Proof, Result

PATIENCE_S: Final = 10.0
"""How long a transaction waits for the history before it goes on without: a disk may hang for ever."""


def of(inventory: Inventory) -> History:
    """The history of a cluster where the inventory says, else with the state of this user. Nothing is looked
    at, made or imported before a transaction begins."""

    def place() -> Path:
        from gausscert_coordinator import history_file

        return history_file.place(inventory)

    return History(place)


def opened(path: Path) -> tuple[sqlite3.Connection, str]:
    """As `history_file.open_for_writing`, which is loaded only then."""
    from gausscert_coordinator import history_file

    return history_file.open_for_writing(path)


class History:
    """A `recorder.Recorder` that writes to a file.

    Args:
        place: Where; asked for each run, in the writing thread.
        open_file: Opens it; answers why there is no write-ahead log, or "".
        now: The present in UTC.
        patience_s: How long `durable`, `ended` and `close` wait at most.
    """

    def __init__(
        self,
        place: Callable[[], Path],
        *,
        open_file: Open = opened,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._place = place
        self._open_file = open_file
        self._now = now
        self._patience_s = patience_s
        self._clerk: Clerk | None = None
        self._steps = Steps()
        self._pending: list[Make] = []
        self._late: tuple[Finding, ...] = ()

    def begun(self, kind: Kind, cluster: str, job: Job) -> None:
        """See `Recorder`."""
        self._steps, self._late = Steps(), ()
        self._pending = [partial(rows.begun, kind, cluster, job, self._now())]
        self._clerk = Clerk(self._place, self._open_file)

    def fenced(self, epoch: int) -> None:
        """See `Recorder`."""
        self._pending.append(partial(rows.fenced, epoch))

    def granted(self, reports: Mapping[str, NodeReport]) -> None:
        """See `Recorder`."""
        self._pending.append(partial(rows.granted, dict(reports)))

    def staged(self, prepared: Mapping[str, PreparedSet]) -> None:
        """See `Recorder`."""
        self._pending.append(partial(rows.staged, dict(prepared)))

    def before(self, state: ClusterState | None) -> None:
        """See `Recorder`."""
        self._pending.append(partial(rows.before, state))

    def seen(self, stage: Stage, evidence: Sequence[Proof]) -> None:
        """See `Recorder`."""
        self._pending.append(partial(rows.seen, stage, tuple(evidence)))

    def found(self, findings: Sequence[Finding]) -> None:
        """See `Recorder`."""
        self._pending.append(partial(rows.found, tuple(findings)))

    def heads(self, seen: Mapping[str, Head]) -> None:
        """See `Recorder`."""
        self._pending.append(partial(rows.heads, dict(seen)))

    def told(self, told: Told) -> None:
        """See `Recorder`. A stage that begins hands over what came before: its predecessor has just ended,
        and a coordinator that dies now leaves behind how far it had come."""
        self._steps.tell(told)
        if told.progress.mark is Mark.STARTED and not told.progress.node:
            self._hand_over()

    async def durable(self) -> None:
        """See `Recorder`."""
        if self._clerk is not None:
            self._hand_over()
            await self._wait(self._clerk)

    async def ended(self, result: Result) -> tuple[Finding, ...]:
        """See `Recorder`."""
        clerk = self._clerk
        self._pending.append(partial(rows.ended, result, self._now()))
        await self.close()
        late, self._late = self._late, ()
        return late or (clerk.troubles if clerk is not None else ())

    async def close(self) -> None:
        """See `Recorder`."""
        clerk = self._clerk
        if clerk is None:
            return
        self._hand_over()
        clerk.dismiss()
        self._clerk = None
        await self._wait(clerk)

    def _hand_over(self) -> None:
        steps = self._steps.take()
        group = [*self._pending, *([partial(rows.steps, steps)] if steps else ())]
        self._pending = []
        if self._clerk is not None and group:
            self._clerk.write(group)

    async def _wait(self, clerk: Clerk) -> None:
        """A group that comes too late may still be written, but the run is given up: it waits once."""
        if await clerk.caught_up(self._patience_s):
            return
        cause = f"recording stopped here, the transaction did not: it took more than {self._patience_s:.0f} s"
        self._late = (finding("HISTORY_NOT_WRITTEN", cause, clerk.path, "look at the disk it lies on"),)
        clerk.dismiss()
        self._clerk = None
