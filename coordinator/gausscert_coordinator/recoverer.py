"""Finishes or rolls back what another coordinator left behind. The nodes' answers are all there is: no
history of this machine has a say, and with one node missing nothing is done."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gausscert_common.errors import GausscertError, InDoubt, InvalidInput, Reason
from gausscert_common.protocol.coordinator import Course, Stage, Verdict
from gausscert_common.protocol.recovery import Choice, decide
from gausscert_common.protocol.words import RestartScope

from gausscert_coordinator import recovery_view
from gausscert_coordinator.fanout import ask
from gausscert_coordinator.job import Job
from gausscert_coordinator.report import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gausscert_common.model import NodeReport
    from gausscert_common.protocol.recovery import Decision

    from gausscert_coordinator.engine import Engine
    from gausscert_coordinator.inventory import Timeouts
    from gausscert_coordinator.ports import AgentClient


@dataclass(frozen=True, slots=True)
class Wish:
    """What the operator asked for."""

    prefer: Choice
    take_over: bool
    restart: RestartScope | None
    """None: as the transaction itself was to restart CM, else CLUSTER."""
    holder: str
    timeouts: Timeouts
    fresh_id: str
    """For starting CM where nothing is in doubt."""
    accept_state: bool
    is_gone: Callable[[str], bool]
    """Whether a holder is known to have ended, so that its lease guards nobody."""


@dataclass(frozen=True, slots=True)
class _Case:
    """What was found before anything was locked."""

    transaction_id: str
    participants: tuple[str, ...]
    restart: RestartScope
    course: Course
    why: str
    only_start: bool = False
    """Nothing is in doubt, but CM does not run."""
    abandoned: bool = False
    """Every lease that still runs is that of a coordinator that has ended."""


async def recover(
    wish: Wish, clients: Mapping[str, AgentClient], engine_for: Callable[[Job], Engine]
) -> Result:
    """Read all nodes, decide, take the fence, decide again by what the nodes said then, and act."""
    read = await ask(clients.values(), lambda client: client.get_node())
    if not read.complete:
        why = f"{len(read.good)} of {len(clients)} nodes answered; recovery needs all of them"
        return _refused("", read.bad.values(), why)
    case = _examine(wish, read.good)
    if isinstance(case, Result):
        return case
    engine = engine_for(_job(wish, case))
    acquired = await engine.acquire(recovery_view.promised_epoch(read.good) + 1)
    if not acquired.complete:
        return _refused(case.transaction_id, acquired.bad.values(), case.why)
    course, why = case.course, case.why
    if not case.only_start:
        decision = _decide(wish, case.transaction_id, case.restart, acquired.good)
        if decision.course is None:
            return _untouchable(case.transaction_id, decision.why)
        course, why = decision.course, decision.why
    result = await engine.run(course)
    return _told(result, why, only_start=case.only_start)


def _examine(wish: Wish, reports: Mapping[str, NodeReport]) -> _Case | Result:
    ids = recovery_view.in_flight(reports)
    transaction_id = ids[0] if len(ids) == 1 else ""
    named = recovery_view.participants(reports, transaction_id) if transaction_id else ()
    strangers = [node for node in named if node not in reports]
    if strangers:
        return _refused(
            transaction_id, [_stranger(node) for node in strangers], "a node is not in the inventory"
        )
    involved = {node: reports[node] for node in named or sorted(reports)}
    restart = wish.restart or recovery_view.restart_of(reports, transaction_id) or RestartScope.CLUSTER
    decision = _decide(wish, transaction_id, restart, involved)
    if decision.course is None:
        return _untouchable(transaction_id, decision.why)
    participants = tuple(involved)
    abandoned = _abandoned(wish, involved)
    if not decision.course.over:
        course, why = decision.course, decision.why
        return _Case(transaction_id, participants, restart, course, why, abandoned=abandoned)
    if restart is RestartScope.NONE or all(recovery_view.cm_stays_up(report) for report in reports.values()):
        return Result("", Verdict.NOTHING_DONE, why=decision.why)
    # Abort leaves only a tombstone at a node without a transaction: it ends the lease that Start needs.
    start = Course(Stage.ABORT, restart, touched_cm=True, recovering=True)
    why = f"{decision.why}, but CM does not run on every node: it is started"
    return _Case(wish.fresh_id, participants, restart, start, why, only_start=True, abandoned=abandoned)


def _abandoned(wish: Wish, reports: Mapping[str, NodeReport]) -> bool:
    holders = {each.transaction.holder for each in reports.values() if each.transaction.lease_left_s > 0}
    return bool(holders) and all(wish.is_gone(holder) for holder in holders)


def _decide(
    wish: Wish, transaction_id: str, restart: RestartScope, reports: Mapping[str, NodeReport]
) -> Decision:
    return decide(recovery_view.answers(reports, transaction_id), restart, wish.prefer)


def _job(wish: Wish, case: _Case) -> Job:
    return Job(
        transaction_id=case.transaction_id,
        holder=wish.holder,
        participants=case.participants,
        restart=case.restart,
        timeouts=wish.timeouts,
        take_over=wish.take_over or case.abandoned,
        accept_state=wish.accept_state,
    )


def _told(result: Result, why: str, *, only_start: bool) -> Result:
    if only_start and result.verdict is Verdict.ROLLED_BACK:
        return replace(result, verdict=Verdict.NOTHING_DONE, why=why)
    return replace(result, why=why)


def _refused(transaction_id: str, errors: Iterable[GausscertError], why: str) -> Result:
    return Result(transaction_id, Verdict.NOTHING_DONE, failures=tuple(errors), why=why)


def _untouchable(transaction_id: str, why: str) -> Result:
    error = InDoubt(
        Reason.IN_DOUBT,
        f"{why}; nothing was touched",
        remedy="put the old or the new set back by hand (docs/runbook.md, In doubt),"
        " then run: gausscert recover",
    )
    return Result(transaction_id, Verdict.IN_DOUBT, failures=(error,), why=why)


def _stranger(node: str) -> InvalidInput:
    return InvalidInput(
        Reason.CONFIG_INVALID,
        "takes part in the transaction, but is not in the inventory",
        node=node,
        remedy="use the inventory that the transaction was begun with",
    )
