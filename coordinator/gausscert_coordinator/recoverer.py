"""Finishes or rolls back what another coordinator left behind, and brings excluded nodes over that are back.
The nodes' answers are all there is: no history of this machine has a say, and with a node of the transaction
missing nothing is done.

Piece by piece: read all nodes, do what `recovery_case` finds first, read them again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gausscert_common.errors import InDoubt, Reason
from gausscert_common.protocol.coordinator import Verdict, begin

from gausscert_coordinator import leaving_out, left_behind, recovery_view
from gausscert_coordinator.fanout import Answers, ask
from gausscert_coordinator.interrupt import unless
from gausscert_coordinator.job import Job
from gausscert_coordinator.joining import Joining
from gausscert_coordinator.objections import as_finding
from gausscert_coordinator.plan import objections_to
from gausscert_coordinator.recovery_case import Case, Waiting, Wish, examine
from gausscert_coordinator.recovery_refusals import (
    abandoned,
    cannot_remember,
    not_brought_over,
    refused,
    untouchable,
)
from gausscert_coordinator.report import Result

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from gausscert_common.errors import GausscertError
    from gausscert_common.model import NodeReport

    from gausscert_coordinator.engine import Engine
    from gausscert_coordinator.interrupt import Interrupt
    from gausscert_coordinator.inventory import Inventory
    from gausscert_coordinator.joining import Joiner
    from gausscert_coordinator.ports import AgentClient
    from gausscert_coordinator.report import NodeRecovery

__all__ = ["Recoverer", "Wish"]


class Recoverer:
    """One recovery.

    Args:
        wish: What the operator asked for.
        inventory: The cluster.
        clients: All nodes of the inventory.
        joiner: For nodes that are back.
        engine_for: Makes the engine of one piece.
        ended: Told how each piece ended that an engine was made for; may add findings.
        interrupt: Whoever insists is obeyed between engines, too: nothing is read or begun any more.
    """

    def __init__(
        self,
        wish: Wish,
        inventory: Inventory,
        clients: Mapping[str, AgentClient],
        joiner: Joiner,
        engine_for: Callable[[Job], Engine],
        ended: Callable[[Result], Awaitable[Result]],
        interrupt: Interrupt,
    ) -> None:
        self._wish = wish
        self._inventory = inventory
        self._clients = clients
        self._joiner = joiner
        self._engine_for = engine_for
        self._ended = ended
        self._interrupt = interrupt
        self._done: list[Result] = []
        """Pieces after which it went on."""
        self._begun: set[tuple[str, recovery_view.Standing]] = set()
        """Each piece that was begun, with how it stood with the nodes then."""
        self._seen: dict[str, NodeRecovery] = {}

    async def recover(self) -> Result:
        """Read all nodes, decide, take the fence, decide again by what the nodes said then, and act; until
        nothing is left that can be done now."""
        while True:
            found = await unless(self._interrupt.third, self._next())
            if found is None or (self._interrupt.abandoned and not isinstance(found, Result)):
                return self._summed(self._abandoned())
            if isinstance(found, Result):
                return self._summed(found)
            piece, read = found
            result = await (
                self._join(piece, read) if isinstance(piece, Joining) else self._settle(piece, read)
            )
            if not self._more_to_do(piece, result, read):
                return self._summed(self._all_told(piece, result))
            self._done.append(result)

    async def _next(self) -> tuple[Case | Joining, Answers[NodeReport]] | Result:
        """What is first by what all nodes say now, or why nothing is done any more. Only reads."""
        read = await ask(self._clients.values(), lambda client: client.get_node())
        refusal = await self._unfit_to_leave_out(read)
        if refusal is not None:
            return refusal
        piece = examine(self._wish, read, self._clients, [each.transaction_id for each in self._done])
        self._note(read.good)
        if isinstance(piece, Result):
            return piece
        if isinstance(piece, Waiting):
            return self._waiting(piece)
        refusal = await self._runs_elsewhere(piece, read)
        if refusal is not None:
            return refusal
        return _in_vain(piece) if self._was_in_vain(piece, read.good) else (piece, read)

    def _abandoned(self) -> Result:
        """Where something was done before, all that was said of it still holds."""
        if not self._done:
            return abandoned()
        last, stopped = self._done.pop(), abandoned(after=True)
        why = "; ".join(filter(None, [last.why, stopped.why]))
        return replace(last, verdict=stopped.verdict, failures=stopped.failures, why=why, interrupted=True)

    async def _unfit_to_leave_out(self, read: Answers[NodeReport]) -> Result | None:
        """Asked before anything was done: later on a node may well be back."""
        if not self._wish.exclude or self._begun:
            return None
        return await leaving_out.refusal(
            self._inventory, self._clients, read, self._wish.exclude, self._wish.restart
        )

    async def _runs_elsewhere(self, piece: Case | Joining, read: Answers[NodeReport]) -> Result | None:
        """That a node was left out is recorded, and CM may have started there since: the others turn back
        only while it has not. To finish brings them to the set that it may run with. Asked for each
        transaction, whatever was settled before it."""
        if not isinstance(piece, Case) or piece.start_as:
            return None
        silent = tuple(sorted(node for node in piece.subject.missing if node in read.bad))
        if not silent or set(silent) <= set(self._wish.exclude):  # else it was asked already
            return None
        if piece.course is None or not piece.course.turns_back:
            return None
        return await leaving_out.refusal(self._inventory, self._clients, read, silent, piece.restart)

    def _more_to_do(self, piece: Case | Joining, result: Result, read: Answers[NodeReport]) -> bool:
        return _goes_on(piece, result) or self._left_down(piece, result, read)

    async def _settle(self, case: Case, read: Answers[NodeReport]) -> Result:
        engine = self._engine_for(self._job(case))
        result = await self._carried_out(case, read.good, engine)
        self._note_done(engine)
        self._interrupt.ended = not self._more_to_do(case, result, read)
        return await self._ended(result)

    async def _carried_out(self, case: Case, reports: Mapping[str, NodeReport], engine: Engine) -> Result:
        acquired = await engine.acquire(recovery_view.promised_epoch(reports) + 1)
        if acquired is None:
            return abandoned(case.transaction_id, acquiring=True, after=bool(self._done))
        if not acquired.complete:
            await unless(self._interrupt.third, engine.let_go())
            return _not_granted(case, acquired)
        forgetful = cannot_remember(acquired.good, case.subject)
        if forgetful:
            await unless(self._interrupt.third, engine.let_go())
            return _not_granted(case, Answers(acquired.good, {each.node: each for each in forgetful}))
        decision = case.decide(acquired.good, self._wish.prefer)
        if decision.course is None:
            await unless(self._interrupt.third, engine.let_go())
            said, remedy = decision.said, decision.remedy
            return untouchable(case.transaction_id, decision.why, said, remedy, fenced=True)
        result = await engine.run(decision.course)
        only_started = bool(case.start_as) and result.verdict is Verdict.ROLLED_BACK
        verdict = Verdict.NOTHING_DONE if only_started else result.verdict
        return replace(result, why=decision.why, verdict=verdict)

    async def _join(self, what: Joining, read: Answers[NodeReport]) -> Result:
        """A transaction of its own, from the plan on; a plan that is refused touches nothing."""
        bundle, names = self._wish.bundle, ", ".join(what.nodes)
        if bundle is None:
            raise ValueError("a join needs the bundle")
        why = f"transaction {what.of} is committed without {names}, now back: brought to its set"
        clients = {node: self._clients[node] for node in what.nodes}
        plan = await unless(self._interrupt.third, self._joiner.plan(what, bundle, clients))
        if plan is None or self._interrupt.abandoned:
            return self._abandoned()
        if not plan.feasible:
            return replace(refused(what.of, objections_to(plan), why), findings=plan.findings)
        job = self._joiner.job(what, plan, bundle, self._wish.fresh_id(), self._wish.holder)
        engine = self._engine_for(job)
        result = await engine.run(begin(job.restart, outside=True))
        self._note_done(engine)
        self._interrupt.ended = not self._more_to_do(what, result, read)
        return await self._ended(replace(result, why=why, findings=(*plan.findings, *result.findings)))

    def _all_told(self, piece: Case | Joining, result: Result) -> Result:
        """A join that was stopped in time has changed nothing, unlike what was settled before it; and that
        still waits."""
        stopped = result.interrupted and result.verdict is Verdict.NOTHING_DONE
        if not (isinstance(piece, Joining) and stopped):
            return result
        waits = not_brought_over(", ".join(piece.nodes))
        if not self._done:
            return replace(result, failures=(waits,)) if self._interrupt.abandoned else result
        last = self._done.pop()
        failures = (*last.failures, waits)
        return replace(last, failures=failures, why=f"{last.why}; {result.why}", interrupted=True)

    def _job(self, case: Case) -> Job:
        return Job(
            transaction_id=case.transaction_id,
            holder=self._wish.holder,
            participants=case.subject.nodes,
            restart=case.restart,
            timeouts=self._wish.timeouts,
            take_over=self._wish.take_over or case.abandoned,
            accept_state=self._wish.accept_state,
            excluded=case.subject.excluded,
            settled=case.settled,
            joins=case.subject.joins,
            absent=case.absent,
            missing=case.subject.missing,
            witnesses=case.witnesses,
        )

    def _left_down(self, piece: Case | Joining, result: Result, read: Answers[NodeReport]) -> bool:
        """Whether CM was left stopped on some node for the sake of a transaction that is rolled back by now,
        by this recovery or by hand: nothing keeps it from starting any more, but a node that is not seen."""
        if not isinstance(piece, Case) or piece.start_as or result.verdict is not Verdict.ROLLED_BACK:
            return False
        if not set(read.bad) <= set(self._wish.exclude):
            return False
        down = any(each.code == Reason.NODES_EXCLUDED.value for done in self._done for each in done.findings)
        return down or left_behind.kept_down(piece.subject, read, self._clients)

    def _was_in_vain(self, piece: Case | Joining, reports: Mapping[str, NodeReport]) -> bool:
        """Whether the same was begun before and has left every node as it was: it would go on for ever."""
        begun = (_transaction_of(piece), recovery_view.standing(reports))
        again = begun in self._begun
        self._begun.add(begun)
        return again

    def _note(self, reports: Mapping[str, NodeReport]) -> None:
        """What is seen first counts: later on it is this recovery's own work."""
        for seen in recovery_view.seen(reports):
            self._seen.setdefault(seen.node, seen)

    def _note_done(self, engine: Engine) -> None:
        for node, steps in engine.done.items():
            seen = self._seen.get(node)
            if seen is not None:
                self._seen[node] = replace(seen, did=(*seen.did, *steps))

    def _waiting(self, piece: Waiting) -> Result:
        """Where something was done before, that it waits is no refusal; and that no bundle was given is told,
        no more."""
        if not self._done:
            return refused(piece.transaction_id, piece.errors, piece.why)
        if set(piece.nodes) <= set(self._wish.exclude):  # as it was asked for
            last = self._done.pop()
            return replace(last, why=f"{last.why}; {piece.why}")
        if piece.lacks_bundle:
            said = tuple(map(as_finding, piece.errors))
            last = self._done.pop()
            return replace(last, why=f"{last.why}; {piece.why}", findings=(*last.findings, *said))
        verdict = Verdict.COMMITTED
        return Result(
            piece.transaction_id, verdict, failures=piece.errors, why=piece.why, waiting=piece.nodes
        )

    def _summed(self, last: Result) -> Result:
        """All pieces as one result: the last one's, with what was said of those before it and still holds."""
        pieces = [*self._done, last]
        earlier = (found for piece in self._done for found in piece.findings)
        still = [found for found in earlier if found.code != Reason.NODES_EXCLUDED.value]
        seen = next((piece for piece in reversed(pieces) if piece.proof), last)
        only_started = bool(self._done) and last.verdict is Verdict.NOTHING_DONE and not last.failures
        ended = self._done[-1] if only_started else last
        return replace(
            last,
            transaction_id=ended.transaction_id,
            verdict=ended.verdict,
            why="; ".join(dict.fromkeys(piece.why for piece in pieces if piece.why)),
            findings=tuple(dict.fromkeys([*still, *last.findings])),
            duration_s=sum(piece.duration_s for piece in pieces),
            proof=seen.proof,
            cluster_state=seen.cluster_state,
            nodes=tuple(self._seen.values()),
        )


def _transaction_of(piece: Case | Joining) -> str:
    """A start has a new name each time."""
    if isinstance(piece, Joining):
        return f"join {piece.of}"
    return "" if piece.start_as else piece.subject.transaction_id


def _in_vain(piece: Case | Joining) -> Result:
    """It ended as it should, and has changed nothing."""
    name = _transaction_of(piece)
    error = InDoubt(
        Reason.IN_DOUBT,
        f"{name or 'starting CM'}: what was to settle it ended well, but left every node as it was",
        remedy="look at gausscert status and at the agents' logs; docs/runbook.md, In doubt",
    )
    transaction_id = "" if isinstance(piece, Joining) else piece.transaction_id
    return Result(transaction_id, Verdict.IN_DOUBT, failures=(error,), why="nothing changed any more")


def _not_granted(case: Case, acquired: Answers[NodeReport]) -> Result:
    """Where some nodes have granted the fence, and then another one did not, all is as it was but for that:
    whoever was at work can go on at none of them."""
    failures: tuple[GausscertError, ...] = tuple(acquired.bad.values())
    if not acquired.good or not case.subject.transaction_id:
        return refused(case.transaction_id, failures, case.why)
    taken = ", ".join(sorted(acquired.good))
    fenced = InDoubt(
        Reason.IN_DOUBT,
        f"the fence of {taken} was taken, so that whoever began {case.transaction_id} can do no more there;"
        " no set was touched, and the leases were given back",
        remedy="run gausscert recover once all nodes answer and nobody holds one",
    )
    return Result(case.transaction_id, Verdict.IN_DOUBT, failures=(*failures, fenced), why=case.why)


def _goes_on(piece: Case | Joining, result: Result) -> bool:
    """Whether it ended well, and there may be more to do."""
    if isinstance(piece, Joining):
        return result.verdict is Verdict.COMMITTED
    if piece.subject.outside:
        return result.verdict in (Verdict.COMMITTED, Verdict.ROLLED_BACK)
    return piece.waits and result.verdict is Verdict.COMMITTED
