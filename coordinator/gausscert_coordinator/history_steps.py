"""What a run told of its stages and commands, as steps that begin and end. Pure book-keeping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gausscert_coordinator.report import Mark

if TYPE_CHECKING:
    from gausscert_common.protocol.coordinator import Stage

    from gausscert_coordinator.recorder import Told

Cells = tuple[str | int | float | None, ...]


@dataclass(slots=True)
class _Step:
    """A stage or a command from its sending to its answer, or one thing that was said."""

    number: int
    stage: Stage
    node: str
    mark: Mark
    at_s: float
    ended_s: float | None = None
    retries: int = 0
    reason: str = ""
    detail: str = ""

    def cells(self) -> Cells:
        """In the order of the table `step`, without the run."""
        ends = (self.at_s, self.ended_s, self.retries)
        return (self.number, self.stage.value, self.node, self.mark.value, *ends, self.reason, self.detail)


class Steps:
    """The steps of one run. A step that never ends keeps the mark STARTED: its answer is not known."""

    def __init__(self) -> None:
        self._count = 0
        self._running: dict[tuple[Stage, str], _Step] = {}
        self._changed: dict[int, _Step] = {}

    def tell(self, told: Told) -> None:
        """Take in one thing that happened."""
        progress = told.progress
        key = (progress.stage, progress.node)
        if progress.mark is Mark.RETRYING and key in self._running:
            self._running[key].retries += 1
            self._changed[self._running[key].number] = self._running[key]
        if progress.mark in (Mark.DONE, Mark.FAILED) and key in self._running:
            step = self._running.pop(key)
            step.mark, step.ended_s = progress.mark, progress.at_s
            step.reason, step.detail = told.reason, progress.detail
        else:
            step = _Step(self._count, *key, progress.mark, progress.at_s)
            step.reason, step.detail = told.reason, progress.detail
            self._count += 1
        if progress.mark is Mark.STARTED:
            self._running[key] = step
        self._changed[step.number] = step

    def take(self) -> tuple[Cells, ...]:
        """All steps that have begun or changed since this was last asked, as they are now."""
        changed = tuple(step.cells() for step in self._changed.values())
        self._changed.clear()
        return changed
