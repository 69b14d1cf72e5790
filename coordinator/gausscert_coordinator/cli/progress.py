"""A running transaction, while it runs: a board on a terminal, timestamped lines elsewhere."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Protocol, Self

from rich.console import Group
from rich.live import Live

from gausscert_coordinator.cli.layout import BAD, DOUBTFUL, FAINT, GOOD, STRONG, cell, counted, fitted
from gausscert_coordinator.report import Mark

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from gausscert_common.protocol.coordinator import Stage
    from rich.console import Console, RenderableType
    from rich.text import Text

    from gausscert_coordinator.report import Progress

REFRESHES_PER_S: Final = 4
NARROW: Final = 60
"""Columns below which a node has one line without a table, and what went wrong stands above the board."""
LINES_BESIDE_NODES: Final = 4
"""Stage, headings, the line that counts the nodes that do not fit, and the cursor's."""

_STYLE: Final = {
    Mark.STARTED: "",
    Mark.DONE: GOOD,
    Mark.FAILED: BAD,
    Mark.RETRYING: DOUBTFUL,
    Mark.NOTE: FAINT,
    Mark.WAITING: FAINT,
}


class Watcher(Protocol):
    """Shows progress between entering and leaving."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def __call__(self, progress: Progress) -> None:
        """Something happened."""


@dataclass(slots=True)
class NodeLine:
    """The latest of one node."""

    stage: str = "-"
    mark: Mark = Mark.NOTE
    since_s: float = 0.0
    ended_s: float | None = None
    detail: str = ""

    def elapsed_s(self, now_s: float) -> float:
        """Of its present or last stage."""
        return max(0.0, (self.ended_s if self.ended_s is not None else now_s) - self.since_s)


@dataclass(slots=True)
class Board:
    """What is known of every node. Pure: times come with the progress or from the caller."""

    nodes: dict[str, NodeLine]
    stage: Stage | None = None
    stage_since_s: float = 0.0
    waiting: str = ""
    """What the stage still waits for, as it was said last."""

    def take(self, progress: Progress) -> None:
        """Note what happened."""
        if progress.stage is not self.stage:
            self.stage, self.stage_since_s = progress.stage, progress.at_s
        self.waiting = progress.detail if progress.mark is Mark.WAITING else ""
        if progress.node and progress.mark is not Mark.NOTE:
            self._take_node(progress)
        elif progress.node in self.nodes and self.nodes[progress.node].mark is Mark.STARTED:
            self.nodes[progress.node].detail = progress.detail

    def _take_node(self, progress: Progress) -> None:
        line = self.nodes.setdefault(progress.node, NodeLine())
        if line.stage != progress.stage.value:
            # A node whose start was not announced began when its stage did.
            line.since_s = progress.at_s if progress.mark is Mark.STARTED else self.stage_since_s
        line.stage, line.mark, line.detail = progress.stage.value, progress.mark, progress.detail
        line.ended_s = progress.at_s if progress.mark in (Mark.DONE, Mark.FAILED) else None

    def shown(self, most: int) -> tuple[list[tuple[str, NodeLine]], int]:
        """Those nodes worth a line, at most so many, and how many more there are.

        In the order of the inventory; where room is short, those that are done give way.
        """
        everybody = list(self.nodes.items())
        if len(everybody) <= most:
            return everybody, 0
        rank = {Mark.FAILED: 0, Mark.RETRYING: 1, Mark.STARTED: 2, Mark.NOTE: 3, Mark.DONE: 4}
        urgent = sorted(everybody, key=lambda item: rank[item[1].mark])[:most]
        kept = {name for name, _ in urgent}
        return [item for item in everybody if item[0] in kept], len(everybody) - most


class LiveProgress:
    """One line per node with its stage, state and elapsed time, redrawn in place."""

    def __init__(
        self,
        console: Console,
        nodes: tuple[str, ...],
        *,
        verbose: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._board = Board({node: NodeLine() for node in nodes})
        self._verbose = verbose
        self._clock = clock
        self._began = clock()
        self._live = Live(
            console=console,
            get_renderable=self.draw,
            refresh_per_second=REFRESHES_PER_S,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> Self:
        self._began = self._clock()
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def __call__(self, progress: Progress) -> None:
        """Note it; the next redraw shows it."""
        self._began = self._clock() - progress.at_s
        self._board.take(progress)
        if progress.mark is Mark.NOTE:
            # Above the board, for good: it says what a Ctrl-C does, or what the operator has to do.
            self._keep(progress, STRONG)
        elif self._narrow and progress.mark in (Mark.FAILED, Mark.RETRYING) and progress.detail:
            self._keep(progress, _STYLE[progress.mark])

    @property
    def _narrow(self) -> bool:
        return self._console.width < NARROW

    def _keep(self, progress: Progress, style: str) -> None:
        said = f"{progress.node}: {progress.detail}" if progress.node else progress.detail
        self._live.console.print(cell(said, style), overflow="fold")

    def draw(self) -> RenderableType:
        """The board as it is now."""
        now_s = self._clock() - self._began
        waiting = self._waiting()
        room = self._console.height - LINES_BESIDE_NODES - len(waiting)
        shown, more = self._board.shown(max(1, room))
        parts: list[RenderableType] = [self._heading(now_s), *waiting]
        if self._narrow:
            parts.extend(self._short_row(name, line, now_s) for name, line in shown)
        elif rows := [self._row(name, line, now_s) for name, line in shown]:
            parts.append(
                fitted(("node", "step", "state", "elapsed", ""), rows, self._console.width, flexible=12)
            )
        if more:
            parts.append(cell(f"and {counted(more, 'more node')}", FAINT))
        return Group(*parts)

    def _heading(self, now_s: float) -> Text:
        stage = self._board.stage.value if self._board.stage is not None else "starting"
        return cell(f"{stage} ({now_s:.0f} s)", STRONG)

    def _waiting(self) -> list[Text]:
        if not self._board.waiting:
            return []
        line = cell(f"waiting {self._board.waiting}", FAINT)
        line.truncate(self._console.width, overflow="ellipsis")
        return [line]

    def _short_row(self, name: str, line: NodeLine, now_s: float) -> Text:
        """Name, step, state and seconds in one line, cut off where there is no room."""
        first, *rest = self._row(name, line, now_s)[:-1]
        row = first
        for each in rest:
            if each.plain:
                row.append(" ")
                row.append(each)
        row.truncate(self._console.width, overflow="ellipsis")
        return row

    def _row(self, name: str, line: NodeLine, now_s: float) -> list[Text]:
        style = _STYLE[line.mark]
        state = "" if line.stage == "-" else "running" if line.mark is Mark.STARTED else line.mark.value
        elapsed = "" if line.stage == "-" else f"{line.elapsed_s(now_s):.1f} s"
        detail = line.detail if self._verbose or line.mark is not Mark.DONE else ""
        return [cell(name), cell(line.stage), cell(state, style), cell(elapsed), cell(detail, FAINT)]


class _NothingToSetUp:
    """Entering and leaving do nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return


class LineProgress(_NothingToSetUp):
    """One line for everything that happened, with the time."""

    def __init__(
        self,
        console: Console,
        *,
        verbose: bool = False,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._console = console
        self._verbose = verbose
        self._now = now

    def __call__(self, progress: Progress) -> None:
        """Write a line; that a single node has begun is said only with --verbose."""
        if progress.mark is Mark.STARTED and progress.node and not self._verbose:
            return
        parts = [progress.stage.value, progress.node, progress.mark.value]
        line = " ".join(part for part in parts if part)
        self._write(f"+{progress.at_s:.1f}s {line}" + (f": {progress.detail}" if progress.detail else ""))

    def _write(self, text: str) -> None:
        stamp = f"{self._now():%Y-%m-%dT%H:%M:%SZ}"
        self._console.print(cell(f"{stamp} {text}"), soft_wrap=True)


class Silent(_NothingToSetUp):
    """--quiet: nothing but what the operator must know."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __call__(self, progress: Progress) -> None:
        """What an interruption does; of everything else nothing."""
        if progress.urgent:
            self._console.print(cell(progress.detail), soft_wrap=True)
