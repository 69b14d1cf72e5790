"""Exit codes of `gausscert` as a table: from how something ended to the number a script sees."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

from gausscert_common.errors import (
    Denied,
    GausscertError,
    InDoubt,
    InternalError,
    InvalidInput,
    NodeFailure,
    NodeRefusal,
    Reason,
    Unreachable,
)
from gausscert_common.protocol.coordinator import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gausscert_coordinator.report import Plan, Result


class ExitCode(IntEnum):
    """Stable: part of the CLI contract (design section 9)."""

    DONE = 0
    ROLLED_BACK = 1
    REFUSED = 2
    IN_DOUBT = 3
    UNREACHABLE = 4
    OWN_ERROR = 5


MEANING: Final[dict[ExitCode, str]] = {
    ExitCode.DONE: "done",
    ExitCode.ROLLED_BACK: "rolled back, the cluster is as before",
    ExitCode.REFUSED: "refused before anything changed; the findings say why",
    ExitCode.IN_DOUBT: "in doubt: run gausscert recover",
    ExitCode.UNREACHABLE: "nodes unreachable or locked, nothing changed; by pki perhaps a part",
    ExitCode.OWN_ERROR: "an error of its own, or stopped while it wrote; look at gausscert status",
}
"""For --help and the documents."""


class CheckState(IntEnum):
    """Exit codes of `gausscert check` alone: those of a monitoring plugin."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


CHECK_MEANING: Final[dict[CheckState, str]] = {
    CheckState.OK: "OK",
    CheckState.WARNING: "WARNING: something needs attention soon",
    CheckState.CRITICAL: "CRITICAL: something is wrong, or will be very soon",
    CheckState.UNKNOWN: "UNKNOWN: nothing could be checked, for example no inventory or no credential",
}
"""For --help and the documents."""

BY_REASON: Final[dict[Reason, ExitCode]] = {
    Reason.LOCKED: ExitCode.UNREACHABLE,
    Reason.FENCED: ExitCode.UNREACHABLE,
    Reason.NOT_ACQUIRED: ExitCode.UNREACHABLE,
    Reason.BUSY: ExitCode.UNREACHABLE,
    Reason.DRAINING: ExitCode.UNREACHABLE,
    Reason.OTHER_TRANSACTION: ExitCode.IN_DOUBT,
    Reason.JOURNAL_DAMAGED: ExitCode.IN_DOUBT,
}
"""What differs from the rest of its branch: refusals that waiting or `recover` mends, and a node of which
nobody knows whether it takes part in a transaction."""

BY_KIND: Final[dict[type[GausscertError], ExitCode]] = {
    InvalidInput: ExitCode.REFUSED,
    NodeRefusal: ExitCode.REFUSED,
    NodeFailure: ExitCode.REFUSED,
    Denied: ExitCode.REFUSED,
    Unreachable: ExitCode.UNREACHABLE,
    InDoubt: ExitCode.IN_DOUBT,
    InternalError: ExitCode.OWN_ERROR,
}

BY_VERDICT: Final[dict[Verdict, ExitCode]] = {
    Verdict.COMMITTED: ExitCode.DONE,
    Verdict.ROLLED_BACK: ExitCode.ROLLED_BACK,
    Verdict.IN_DOUBT: ExitCode.IN_DOUBT,
}
"""NOTHING_DONE is not here: its failures decide."""

_GRAVEST_FIRST: Final = (
    ExitCode.OWN_ERROR,
    ExitCode.IN_DOUBT,
    ExitCode.REFUSED,
    ExitCode.UNREACHABLE,
)


def exit_code(ended: Result | Plan | BaseException) -> ExitCode:
    """The exit code for a result, a plan, or what was raised instead."""
    from gausscert_coordinator.report import Plan, Result  # a quarter of the time of --help

    if isinstance(ended, Result):
        return _of_result(ended)
    if isinstance(ended, Plan):
        return _of_plan(ended)
    if isinstance(ended, GausscertError):
        return BY_REASON.get(ended.reason, BY_KIND.get(type(ended), ExitCode.OWN_ERROR))
    return ExitCode.OWN_ERROR


def gravest(errors: Iterable[BaseException]) -> ExitCode:
    """The exit code for what went wrong at several nodes; DONE where nothing did."""
    codes = [exit_code(error) for error in errors]
    return _gravest(codes) if codes else ExitCode.DONE


def _of_result(result: Result) -> ExitCode:
    if result.verdict is Verdict.COMMITTED and result.failures:  # excluded nodes that are still away
        return _gravest(exit_code(failure) for failure in result.failures)
    if result.verdict is not Verdict.NOTHING_DONE:
        return BY_VERDICT[result.verdict]
    if result.failures:
        return _gravest(exit_code(failure) for failure in result.failures)
    # Stopped by the operator before anything was touched: the cluster is as before, and nothing was refused.
    return ExitCode.ROLLED_BACK if result.interrupted else ExitCode.DONE


def _of_plan(plan: Plan) -> ExitCode:
    if plan.in_flight:  # what else is found comes from it, and is over when it is
        return _gravest(exit_code(error) for error in plan.blocked)
    codes = [exit_code(error) for error in (*plan.unreachable, *plan.blocked)]
    if plan.errors:
        codes.append(ExitCode.REFUSED)
    return _gravest(codes) if codes else ExitCode.DONE


def _gravest(codes: Iterable[ExitCode]) -> ExitCode:
    found = set(codes)
    return next(code for code in _GRAVEST_FIRST if code in found)
