"""Makes a call as often as its row of `policy.TABLE` allows."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, TypeVar

from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from gausscert_coordinator.policy import FIRST_CONTACT_S, TABLE
from gausscert_coordinator.ports import RetryNotice

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gausscert_common.errors import GausscertError
    from tenacity import RetryCallState

    from gausscert_coordinator.inventory import Timeouts
    from gausscert_coordinator.policy import Call, Policy
    from gausscert_coordinator.ports import OnRetry

T = TypeVar("T")

_WAIT: Final = wait_random_exponential(multiplier=0.1, min=0.05, max=4.0)
"""Full jitter: a thousand nodes that vanished together do not come back together. Four seconds at most,
because gRPC itself reconnects no more often than every two (`agents.CHANNEL_OPTIONS`)."""


class Repeatable(Exception):
    """An attempt that failed, and after which the same bytes may be sent again.

    Attributes:
        error: What the caller is told if no attempt is left.
        alive: The node itself has said so: it is at work, and not gone.
    """

    def __init__(self, error: GausscertError, *, alive: bool = False) -> None:
        super().__init__(str(error))
        self.error = error
        self.alive = alive


async def persist(
    attempt: Callable[[], Awaitable[T]],
    call: Call,
    timeouts: Timeouts,
    *,
    met: bool,
    node: str,
    on_retry: OnRetry | None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> T:
    """Make one call, as often as its row allows.

    Args:
        attempt: Sends; raises `Repeatable` to be called again.
        call: Which row.
        timeouts: From the inventory.
        met: The node has answered before.
        node: Its name, for the notice.
        on_retry: Told before every repetition.
        sleep: Waits between attempts.
        clock: Seconds that only go forward.

    Raises:
        Repeatable: The last one, when the budget or the patience is spent.
    """
    began = clock()
    try:
        # Nearly every call ends here; tenacity costs about as much as the call itself.
        return await attempt()
    except Repeatable as failed:
        first: list[Repeatable] = [failed]

    async def again() -> T:
        if first:
            raise first.pop()
        return await attempt()

    retrying = AsyncRetrying(
        retry=retry_if_exception_type(Repeatable),
        stop=_Spent(TABLE[call], timeouts, met=met, began=began, clock=clock),
        wait=_WAIT,
        sleep=sleep,
        before_sleep=_tell(call, node, on_retry),
        reraise=True,
    )
    return await retrying(again)


class _Spent:
    """Whether the next attempt would begin too late; sleeps count even where a test makes none."""

    def __init__(
        self, policy: Policy, timeouts: Timeouts, *, met: bool, began: float, clock: Callable[[], float]
    ) -> None:
        self._whole_s = policy.budget_s(timeouts)
        self._budget_s = self._whole_s if met else min(FIRST_CONTACT_S, timeouts.retry_s)
        self._patience_s = policy.patience_s(timeouts)
        self._began = began
        self._clock = clock
        self._last_sign_s = 0.0

    def __call__(self, state: RetryCallState) -> bool:
        now_s = max(self._clock() - self._began, state.idle_for)
        failed = state.outcome.exception() if state.outcome is not None else None
        if isinstance(failed, Repeatable) and failed.alive:
            self._last_sign_s, self._budget_s = now_s, self._whole_s
        next_s = now_s + state.upcoming_sleep
        return next_s - self._last_sign_s > self._budget_s or next_s > self._patience_s


def _tell(call: Call, node: str, on_retry: OnRetry | None) -> Callable[[RetryCallState], None]:
    def tell(state: RetryCallState) -> None:
        if on_retry is None or state.outcome is None:
            return
        cause = state.outcome.exception()
        on_retry(RetryNotice(node, call.method, state.attempt_number, str(cause), state.upcoming_sleep))

    return tell
