"""One look for all who ask at the same time."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

PATIENCE_S: Final = 1.0
REST_S: Final = 0.05
"""At most."""


class Shared(Generic[T]):
    """Runs what many ask for one at a time: whoever asks while one runs shares the next with all who do.

    Nobody is told what was seen before he asked. After one that several have shared there is a rest five
    times as long: a crowd that does nothing but ask leaves most of the interpreter to others, and who
    asks alone never waits. May be used from any thread.

    Args:
        look: What costs.
        patience_s: Whoever would wait longer than this for one that runs, which may hang, looks beside it.
        rest_s: The longest rest.
        monotonic: Seconds, never set back.
        sleep: For so many seconds.
    """

    def __init__(
        self,
        look: Callable[[], T],
        *,
        patience_s: float = PATIENCE_S,
        rest_s: float = REST_S,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._look = look
        self._monotonic = monotonic
        self._sleep = sleep
        self._patience_s = patience_s
        self._rest_s = rest_s
        self._running = threading.Semaphore()
        self._lock = threading.Lock()
        self._next: Future[T] | None = None
        self._crowd = False
        self._rested_at = 0.0

    def get(self) -> T:
        """What was seen after this was called.

        Raises:
            Whatever the look raises.
        """
        with self._lock:
            found, leads = self._next, self._next is None
            if found is None:
                self._next = found = Future[T]()
            else:
                self._crowd = True
        try:
            if leads:
                self._lead(found)
            return found.result()
        finally:
            del found  # an error that is in it would hold whoever asks until the collector comes by

    def _lead(self, found: Future[T]) -> None:
        one_runs = self._running.acquire(timeout=self._patience_s)
        try:
            self._sleep(max(0.0, self._rested_at - self._monotonic()))
            with self._lock:
                crowd, self._crowd, self._next = self._crowd, False, None
            began = self._monotonic()
            found.set_result(self._look())
            ended = self._monotonic()
            self._rested_at = ended + (min(self._rest_s, 5 * (ended - began)) if crowd else 0.0)
        except BaseException as error:  # noqa: BLE001 - all who wait are to have it, and raise it
            found.set_exception(error)
        finally:
            del found  # as in `get`
            if one_runs:
                self._running.release()
