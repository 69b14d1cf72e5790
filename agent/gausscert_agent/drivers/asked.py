"""What only a child process can tell, asked for once and remembered until its source changes."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from gausscert_common.errors import NodeFailure

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

FAILURE_S: Final = 30.0
"""How long those who only look are told of a failure again instead of waiting for the next one: a cm_ctl that
hangs would hold up every look for as long as it is given."""


class Asked(Generic[T]):
    """One answer.

    Args:
        ask: Runs the child. Never two at once; who comes meanwhile waits and shares what it brings.
        mark: Changes when the answer may.
        monotonic: Seconds, never set back.
    """

    def __init__(
        self,
        ask: Callable[[], T],
        mark: Callable[[], tuple[int, ...]],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._mark = mark
        self._monotonic = monotonic
        self._asking = threading.Lock()
        self._known: tuple[tuple[int, ...], T] | None = None
        self._failed: tuple[tuple[int, ...], float, NodeFailure] | None = None

    def last(self) -> T | None:
        """What was told last, however old; None before that. Asks nobody and waits for nobody."""
        known = self._known
        return None if known is None else known[1]

    def look(self) -> T:
        """What is known, else what is told now; for those who only look.

        Raises:
            NodeFailure: It failed, now or less than `FAILURE_S` ago.
        """
        return self._told(patient=False)

    def need(self) -> T:
        """As `look`, but a failure before counts for nothing: for commands, which must not fail for what
        is mended already.

        Raises:
            NodeFailure: It failed now.
        """
        return self._told(patient=True)

    def _told(self, *, patient: bool) -> T:
        mark = self._mark()
        known = self._known
        if known is not None and known[0] == mark:
            return known[1]
        with self._asking:
            known = self._known
            if known is not None and known[0] == mark:
                return known[1]
            if not patient:
                self._raise_remembered(mark)
            return self._tell(mark)

    def _tell(self, mark: tuple[int, ...]) -> T:
        try:
            told = self._ask()
        except NodeFailure as failure:
            self._failed = (mark, self._monotonic(), failure)
            raise
        self._known, self._failed = (mark, told), None
        return told

    def _raise_remembered(self, mark: tuple[int, ...]) -> None:
        if self._failed is None:
            return
        of, at, failure = self._failed
        if of == mark and self._monotonic() - at < FAILURE_S:
            # A new one: an error that is raised carries the traces and the node of those who caught it.
            raise NodeFailure(failure.reason, failure.message, file=failure.file, remedy=failure.remedy)
