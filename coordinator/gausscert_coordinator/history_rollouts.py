"""What the history has of a roll-out: who, when, which release every node had and was to have, how it ended.

It has a run of its own beside those of transactions, and an id made in the same way; nothing depends on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

from gausscert_common import VERSION
from gausscert_common.protocol.words import RestartScope

from gausscert_coordinator import history
from gausscert_coordinator import history_rows as rows
from gausscert_coordinator import history_schema as schema
from gausscert_coordinator.history_catalogue import finding
from gausscert_coordinator.history_clerk import Clerk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from gausscert_common.errors import GausscertError
    from gausscert_common.findings import Finding

    from gausscert_coordinator.history_clerk import Make, Open


class Kind(StrEnum):
    """The verb."""

    DEPLOY = "agents deploy"
    UPGRADE = "agents upgrade"
    REMOVE = "agents remove"


class Verdict(StrEnum):
    """How it ended."""

    DONE = "done"
    FAILED = "failed"
    """On some node; which, and what became of it, its row says."""


@dataclass(frozen=True, slots=True)
class Change:
    """One node."""

    node: str
    former: str
    """The release that it had; "" for none."""
    release: str
    """That it was to have; "" for none."""
    state: str
    """"begun" until it has ended, then a word of `rollout.outcome.State`, "put back" or "removed"."""
    done: str = ""
    """The steps that were carried out, with commas."""
    failed_at: str = ""


def begun(
    kind: Kind, cluster: str, rollout_id: str, holder: str, changes: Sequence[Change], at: datetime
) -> Iterator[rows.Row]:
    """Before anything is changed. CM is not restarted by any of this."""
    told = (rollout_id, cluster, kind.value, holder, VERSION, len(changes), RestartScope.NONE.value)
    nothing = (None, None, False, None, None)
    yield schema.BEGIN_RUN, (*told, *nothing, rows.moment(at), None, None, "")
    yield from _changes(changes)


def ended(
    changes: Sequence[Change],
    findings: Sequence[Finding],
    failures: Sequence[GausscertError],
    took_s: float,
    at: datetime,
    *,
    interrupted: bool = False,
) -> Iterator[rows.Row]:
    """How it ended on each node, and why it failed on some."""
    verdict = Verdict.FAILED if failures or interrupted else Verdict.DONE
    yield schema.END_RUN, (rows.moment(at), took_s, verdict.value, "", interrupted, None, None, "")
    yield from _changes(changes)
    yield from rows.found(findings)
    yield from rows.failed(failures)


def _changes(changes: Sequence[Change]) -> Iterator[rows.Row]:
    for each in changes:
        cells = (each.node, each.former, each.release, each.state, each.done, each.failed_at)
        yield schema.PUT_ROLLOUT, cells


class Record:
    """The record of one roll-out; what goes wrong with it is told at the end, and stops nothing.

    Args:
        place: Where the history lies.
        open_file: Opens it.
        now: The present in UTC.
        patience_s: How long is waited for it, at the beginning and at the end.
    """

    def __init__(
        self,
        place: Callable[[], Path],
        *,
        open_file: Open = history.opened,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        patience_s: float = history.PATIENCE_S,
    ) -> None:
        self._clerk = Clerk(place, open_file)
        self._now = now
        self._patience_s = patience_s
        self._since = now()
        self._late: tuple[Finding, ...] = ()

    async def begin(self, kind: Kind, cluster: str, rollout_id: str, holder: str, *changes: Change) -> None:
        """On disk when this returns, so that a machine that dies leaves behind what it was about."""
        await self._write(partial(begun, kind, cluster, rollout_id, holder, changes, self._since))

    async def end(
        self,
        changes: Sequence[Change],
        findings: Sequence[Finding],
        failures: Sequence[GausscertError],
        *,
        interrupted: bool = False,
    ) -> tuple[Finding, ...]:
        """Answers what kept any of it from being recorded."""
        at = self._now()
        took_s = (at - self._since).total_seconds()
        what = partial(ended, changes, findings, failures, took_s, at, interrupted=interrupted)
        if not self._late:
            await self._write(what)
        self._clerk.dismiss()
        return self._late or self._clerk.troubles

    async def _write(self, what: Make) -> None:
        self._clerk.write([what])
        if not await self._clerk.caught_up(self._patience_s):
            cause = (
                f"recording stopped here, the roll-out did not: it took more than {self._patience_s:.0f} s"
            )
            self._late = (
                finding("HISTORY_NOT_WRITTEN", cause, self._clerk.path, "look at the disk it lies on"),
            )
