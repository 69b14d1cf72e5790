"""Tells whoever watches, and whoever records, what the engine does, and when."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from gausscert_common.protocol.coordinator import Stage

from gausscert_coordinator.recorder import NOBODY, Told
from gausscert_coordinator.report import Mark, Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gausscert_common.errors import GausscertError

    from gausscert_coordinator.ports import RetryNotice
    from gausscert_coordinator.recorder import Recorder


_aside: ContextVar[bool] = ContextVar("aside", default=False)
_logger = logging.getLogger(__name__)


class Reporter:
    """Progress of one transaction; times count from its making.

    A watcher that raises is told nothing more: a terminal that went away must not turn a transaction
    back, let alone leave it in doubt. The recorder is told all the same.
    """

    def __init__(
        self,
        watch: Callable[[Progress], None],
        clock: Callable[[], float],
        recorder: Recorder = NOBODY,
    ) -> None:
        self._watch: Callable[[Progress], None] | None = watch
        self.recorder = recorder
        """Of the same transaction; also for what nobody watches, such as evidence."""
        self._clock = clock
        self._began_s = clock()
        self.stage = Stage.ACQUIRE
        """The stage the next words are about."""

    @property
    def elapsed_s(self) -> float:
        """Seconds since the transaction began."""
        return self._clock() - self._began_s

    def tell(self, mark: Mark, node: str = "", detail: str = "", reason: str = "") -> None:
        """Say one thing about the present stage; the reason is for the record alone."""
        progress = Progress(self.elapsed_s, self.stage, mark, node, detail)
        self.recorder.told(Told(progress, reason))
        self._show(progress)

    def answer(self, detail: str) -> None:
        """Answer the operator, who sees it even if nothing else is to be seen."""
        progress = Progress(self.elapsed_s, self.stage, Mark.NOTE, detail=detail, urgent=True)
        self.recorder.told(Told(progress))
        self._show(progress)

    def relay(self, node: str, activity: str) -> None:
        """Say what a node says it is about. For who waits alone: it is no answer, and no record is made."""
        self._show(Progress(self.elapsed_s, self.stage, Mark.NOTE, node, activity))

    def waiting(self, detail: str) -> None:
        """Say that the stage still waits. As `relay`: for who waits alone."""
        self._show(Progress(self.elapsed_s, self.stage, Mark.WAITING, detail=detail))

    def _show(self, progress: Progress) -> None:
        if self._watch is None:
            return
        try:
            self._watch(progress)
        except Exception:
            self._watch = None
            _logger.exception("the watcher of progress failed")

    def failed(self, node: str, error: GausscertError) -> None:
        """Say that a node refused, failed or did not answer."""
        self.tell(Mark.FAILED, node, error.message, error.reason.value)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """What is repeated within is beside the stage's commands, and must not pass for one of them."""
        token = _aside.set(True)
        try:
            yield
        finally:
            _aside.reset(token)

    def retrying(self, notice: RetryNotice) -> None:
        """Say that a call is about to be repeated, unless it is one `aside`."""
        if _aside.get():
            return
        text = f"{notice.rpc}: {notice.cause}; attempt {notice.attempt} in {notice.wait_s:.1f} s"
        self.tell(Mark.RETRYING, notice.node, text)
