"""How long each call may take and whether it is repeated: one table.

Only UNAVAILABLE is repeated (AIP-194), and always as the very same bytes: same transaction id, epoch and
step, so that a node that has carried the command out answers as it did before. A call that ran into its
deadline is not repeated: the node may still be at work on it, and the engine decides what to do about that.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeVar

from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from gausscert_coordinator.ports import RetryNotice

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gausscert_common.errors import GausscertError
    from tenacity import RetryCallState

    from gausscert_coordinator.inventory import Timeouts
    from gausscert_coordinator.ports import OnRetry

T = TypeVar("T")

FIRST_CONTACT_S: Final = 3.0
"""Budget as long as a node has never answered: an agent that is not there is to be told soon."""

_WAIT: Final = wait_random_exponential(multiplier=0.1, min=0.05, max=4.0)
"""Full jitter: a thousand nodes that vanished together do not come back together. Four seconds at most,
because gRPC itself reconnects no more often than every two (`agents.CHANNEL_OPTIONS`)."""


class Call(StrEnum):
    """What the coordinator calls; the value is the method, but for PREFLIGHT."""

    GET_NODE = "GetNode"
    PREFLIGHT = "GetNode with preflight"
    GET_EXPIRY = "GetExpiry"
    PROBE = "Probe"
    ACQUIRE = "Acquire"
    PREPARE = "Prepare"
    STOP = "Stop"
    SWAP = "Swap"
    START = "Start"
    COMMIT = "Commit"
    PURGE = "Purge"
    ABORT = "Abort"
    CLEAN = "Clean"
    ENCRYPT = "Encrypt"
    SET_ENABLE_SSL = "SetEnableSsl"

    @property
    def method(self) -> str:
        """The method's name on the wire."""
        return self.value.split()[0]


@dataclass(frozen=True, slots=True)
class Policy:
    """One row."""

    deadline_s: Callable[[Timeouts], float]
    """Of each attempt."""
    budget_s: Callable[[Timeouts], float]
    """How long attempts may begin anew."""
    why: str


def _quick(timeouts: Timeouts) -> float:
    return timeouts.call_s


def _long(timeouts: Timeouts) -> float:
    return timeouts.prepare_s


def _patient(timeouts: Timeouts) -> float:
    return timeouts.retry_s


def _stop(timeouts: Timeouts) -> float:
    return timeouts.stop_s + timeouts.call_s


def _start(timeouts: Timeouts) -> float:
    return timeouts.start_s + timeouts.call_s


TABLE: Final[dict[Call, Policy]] = {
    Call.GET_NODE: Policy(_quick, _quick, "looks at disk and processes only"),
    Call.PREFLIGHT: Policy(_long, _quick, "runs several cm_ctl, of which each may hang"),
    Call.GET_EXPIRY: Policy(_quick, _quick, "reads a directory"),
    Call.PROBE: Policy(_quick, _quick, "waits for cm_servers; what is asked for comes on top"),
    Call.ACQUIRE: Policy(_quick, _patient, "waits for a running command; a repeat by the holder is granted"),
    Call.PREPARE: Policy(_long, _patient, "encrypts two keys with cm_ctl; a repeat finds the stage"),
    Call.STOP: Policy(_stop, _patient, "cm_ctl gets stop_s, the proof by the process list comes on top"),
    Call.SWAP: Policy(_long, _patient, "may set enable_ssl with cm_ctl; ensures, never toggles"),
    Call.START: Policy(_start, _patient, "cm_ctl gets start_s; a repeat finds CM running"),
    Call.COMMIT: Policy(_quick, _patient, "one record; once it was sent only repetition is left"),
    Call.PURGE: Policy(_quick, _patient, "moves a directory; a repeat finds the tombstone"),
    Call.ABORT: Policy(_long, _patient, "may restore enable_ssl with cm_ctl; ensures, never toggles"),
    Call.CLEAN: Policy(_quick, _patient, "removes a directory; a repeat finds the tombstone"),
    Call.ENCRYPT: Policy(_long, _patient, "as Prepare; a repeat has the same request id"),
    Call.SET_ENABLE_SSL: Policy(_long, _patient, "runs cm_ctl; a repeat has the same request id"),
}


class Repeatable(Exception):
    """An attempt that met UNAVAILABLE.

    Attributes:
        error: What the caller is told if no attempt is left.
    """

    def __init__(self, error: GausscertError) -> None:
        super().__init__(str(error))
        self.error = error


async def persist(
    attempt: Callable[[], Awaitable[T]],
    call: Call,
    timeouts: Timeouts,
    *,
    met: bool,
    node: str,
    on_retry: OnRetry | None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> T:
    """Make one call, as often as its row allows.

    Args:
        attempt: Sends; raises `Repeatable` to be called again.
        call: Which row.
        timeouts: From the inventory.
        met: The node has answered before.
        node: Its name, for the notice.
        on_retry: Told before every repetition.
        sleep: For tests.

    Raises:
        Repeatable: The last one, when the budget is spent.
    """
    began = time.monotonic()
    try:
        # Nearly every call ends here; tenacity costs about as much as the call itself.
        return await attempt()
    except Repeatable as failed:
        first: list[Repeatable] = [failed]

    async def again() -> T:
        if first:
            raise first.pop()
        return await attempt()

    budget_s = TABLE[call].budget_s(timeouts) if met else min(FIRST_CONTACT_S, timeouts.retry_s)
    retrying = AsyncRetrying(
        retry=retry_if_exception_type(Repeatable),
        stop=_spent(began, budget_s),
        wait=_WAIT,
        sleep=sleep,
        before_sleep=_tell(call, node, on_retry),
        reraise=True,
    )
    return await retrying(again)


def _spent(began: float, budget_s: float) -> Callable[[RetryCallState], bool]:
    """Whether the next attempt would begin too late; sleeps count even where a test makes none."""

    def spent(state: RetryCallState) -> bool:
        return max(time.monotonic() - began, state.idle_for) + state.upcoming_sleep > budget_s

    return spent


def _tell(call: Call, node: str, on_retry: OnRetry | None) -> Callable[[RetryCallState], None]:
    def tell(state: RetryCallState) -> None:
        if on_retry is None or state.outcome is None:
            return
        cause = state.outcome.exception()
        on_retry(RetryNotice(node, call.method, state.attempt_number, str(cause), state.upcoming_sleep))

    return tell
