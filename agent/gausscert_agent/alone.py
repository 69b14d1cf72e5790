"""Waits for cm_ctl of others: two at once spoil each other's files (facts sections 6 and 8.2)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from gausscert_common.errors import NodeFailure, NodeRefusal, Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from gausscert_common.model import CmProcess

    from gausscert_agent.ports import Cm

logger = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 0.1
OTHERS_S: Final = 10.0
"""How long somebody else's cm_ctl is waited for on the way forward: a monitor's `query` takes a second."""
OTHERS_LONG_S: Final = 100.0
"""The same on the way back, where one that hangs must not keep the old set from being started: `query` gives
up after 91 s (facts section 17)."""

_REMEDY: Final = "wait for it to end, or end it; then try again: two of them spoil each other's files"


class Alone:
    """See the module.

    Args:
        cm: CM.
        monotonic: Seconds, for waiting.
        sleep: Waits that many seconds.
        activity: Told what is being done, for a person.
    """

    def __init__(
        self,
        cm: Cm,
        *,
        monotonic: Callable[[], float],
        sleep: Callable[[float], None],
        activity: Callable[[str], None],
    ) -> None:
        self._cm = cm
        self._monotonic = monotonic
        self._sleep = sleep
        self._activity = activity
        self._outlasted: frozenset[int] = frozenset()
        """Pids that were waited for in vain on a way back; not a second time."""

    def before(self, most_s: float = OTHERS_S) -> None:
        """On the way forward, before anything is done.

        Raises:
            NodeRefusal: NODE_UNFIT; one is still there.
        """
        others = self._wait(min(OTHERS_S, most_s))
        if others:
            raise NodeRefusal(
                Reason.NODE_UNFIT, f"somebody else's cm_ctl runs: {named(others)}", remedy=_REMEDY
            )

    def amid(self, what: str) -> None:
        """On the way forward, where something was done already, so that it is no refusal.

        Args:
            what: Was not done, for a person.

        Raises:
            NodeFailure: CM_CTL_TIMEOUT; one is still there.
        """
        others = self._wait(OTHERS_S)
        if others:
            raise NodeFailure(
                Reason.CM_CTL_TIMEOUT,
                f"{what}: somebody else's cm_ctl runs: {named(others)}",
                remedy=_REMEDY,
            )

    def back(self, most_s: float = OTHERS_LONG_S) -> None:
        """On the way back: one that hangs holds nothing up for ever."""
        others = self._wait(min(OTHERS_LONG_S, most_s), known=self._outlasted)
        self._outlasted = frozenset(process.pid for process in others)
        if others:
            logger.warning("cm_ctl is run beside somebody else's cm_ctl", extra={"running": named(others)})

    def _wait(self, patience_s: float, known: frozenset[int] = frozenset()) -> tuple[CmProcess, ...]:
        others = self._cm.foreign_cm_ctl()
        if all(process.pid in known for process in others):
            return others
        self._activity(f"waiting for somebody else's cm_ctl: {named(others)}")
        end = self._monotonic() + patience_s
        while others and self._monotonic() < end:
            self._sleep(LOOK_EVERY_S)
            others = self._cm.foreign_cm_ctl()
        return others


def named(processes: tuple[CmProcess, ...]) -> str:
    """For a person."""
    return ", ".join(f"{process.name} (pid {process.pid})" for process in processes)
