"""Ctrl-C as a person means it: who presses it again at once, or holds it, has pressed once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

APART_S: Final = 1.0
"""Between two presses that count. A held key repeats about thirty times a second, and whoever sees no answer
at once presses again; the third press abandons a transaction, and must be meant."""


class Presses:
    """Counts as one what follows the press before it by less than `APART_S`.

    Args:
        ask: Called for each press that counts.
        clock: Seconds.
    """

    def __init__(self, ask: Callable[[], None], clock: Callable[[], float]) -> None:
        self._ask = ask
        self._clock = clock
        self._last_s: float | None = None

    def pressed(self) -> None:
        """The key was pressed."""
        now_s, before_s = self._clock(), self._last_s
        self._last_s = now_s
        if before_s is None or now_s - before_s >= APART_S:
            self._ask()
