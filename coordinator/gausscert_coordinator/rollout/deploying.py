"""Agents brought onto all nodes: everybody is looked at first, and nothing is begun while anything speaks
against it. Agents that run are told who is revoked (`telling`). Then what no agent notices, on all nodes at
once, agent.toml and unit laid ready among it; only when that has worked everywhere are they put in their
place and agents started, and those that run anew, one after the other, up to the first that is unhealthy;
that one gets back what it had, and those after it still have it."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from gausscert_common.errors import GausscertError, Reason, Unreachable

from gausscert_coordinator.rollout import facts as facts_of
from gausscert_coordinator.rollout import putting_back, telling
from gausscert_coordinator.rollout.catalogue import finding
from gausscert_coordinator.rollout.decide import BEFORE_ANY_START, NodePlan, Step
from gausscert_coordinator.rollout.outcome import NodeOutcome, State, unforeseen
from gausscert_coordinator.rollout.side_by_side import on_each
from gausscert_coordinator.rollout.ssh import Node
from gausscert_coordinator.rollout.work import Work

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from gausscert_coordinator.inventory import InventoryNode
    from gausscert_coordinator.pki import Signed
    from gausscert_coordinator.rollout.bundle import Software
    from gausscert_coordinator.rollout.doctor import Doctor
    from gausscert_coordinator.rollout.facts import Facts
    from gausscert_coordinator.rollout.putting_back import WayBack
    from gausscert_coordinator.rollout.ssh import Ssh

TRIES: Final = 6
AGAIN_S: Final = 5.0
"""Where ssh has broken off in the middle of a start, it may take a while to come back."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What the nodes answered to a look, by name."""

    facts: dict[str, Facts]
    errors: dict[str, GausscertError]


@dataclass(frozen=True, slots=True)
class Told:
    """One thing that happens, for whoever watches."""

    node: str
    step: Step
    ended: bool
    text: str = ""


class Rollout:
    """One roll-out.

    Args:
        nodes: Of the inventory, or some of them.
        ssh: The way to them.
        doctor: Asks their agents.
        cm_home: Where CM lies on each.
        watch: Told of every step.
        attempt: Names one start of an agent, as no other was ever named.
        pause: Waits for some seconds.
    """

    def __init__(
        self,
        nodes: Sequence[InventoryNode],
        ssh: Ssh,
        doctor: Doctor,
        cm_home: Callable[[InventoryNode], str],
        watch: Callable[[Told], None] = lambda _: None,
        *,
        attempt: Callable[[], str] = lambda: uuid.uuid4().hex,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._nodes = {node.name: Node(node, ssh) for node in nodes}
        self._doctor = doctor
        self._cm_home = cm_home
        self._watch = watch
        self._attempt = attempt
        self._pause = pause

    async def look(self) -> Looked:
        """Look at all nodes. Changes nothing, raises nothing that nodes do."""
        good: dict[str, Facts] = {}
        bad: dict[str, GausscertError] = {}

        async def one(name: str) -> None:
            node = self._nodes[name]
            try:
                seen = facts_of.of(await node.ask(self._request(node, "look")))
                if seen.running is not None:
                    seen = replace(seen, agent_says=await self._doctor.in_flight(node.inventory))
                good[name] = seen
            except GausscertError as error:
                error.node = error.node or name
                bad[name] = error
            except Exception as raised:  # noqa: BLE001 - as in `_do`
                bad[name] = unforeseen(name, "look", raised)

        await on_each(one, self._nodes)
        return Looked(
            {name: good[name] for name in self._nodes if name in good},
            {name: bad[name] for name in self._nodes if name in bad},
        )

    async def carry_out(
        self, plans: Iterable[NodePlan], software: Software, issue: Callable[[str], Signed]
    ) -> tuple[NodeOutcome, ...]:
        """Do what was decided. Raises nothing that nodes do.

        Args:
            plans: None of them refused.
            software: What is installed.
            issue: Makes a node's credential.
        """
        work = [Work(plan, NodeOutcome(plan.node), software, issue, self._attempt()) for plan in plans]
        await on_each(self._tell_revoked, [each for each in work if telling.runs_and_lacks(each)])
        await on_each(lambda each: self._do(each, BEFORE_ANY_START), work)
        if not any(each.outcome.error for each in work):
            after = tuple(step for step in Step if step not in BEFORE_ANY_START)
            await on_each(lambda each: self._do(each, after), [w for w in work if not w.plan.restarts])
            for each in work:
                if each.plan.restarts and not any(other.outcome.error for other in work):
                    await self._do(each, after)
        for each in work:
            each.outcome.state = each.state
            each.outcome.findings.extend(telling.left(each))
        return tuple(each.outcome for each in work)

    async def remove(
        self, looked: Looked, *, with_state: bool
    ) -> tuple[dict[str, list[str]], list[GausscertError]]:
        """Remove the agents of all nodes that were looked at; answers what was removed and what failed."""
        removed: dict[str, list[str]] = {}
        failed: list[GausscertError] = []

        async def one(name: str) -> None:
            node, seen = self._nodes[name], looked.facts[name]
            request = self._request(node, "remove", service=seen.service.value, with_state=with_state)
            try:
                gone = await node.ask({**request, "user": seen.account})
                removed[name] = [str(path) for path in gone]
            except GausscertError as error:
                failed.append(error)
            except Exception as raised:  # noqa: BLE001 - as in `_do`
                failed.append(unforeseen(name, "remove", raised))

        await on_each(one, looked.facts)
        return {name: removed[name] for name in looked.facts if name in removed}, failed

    async def _tell_revoked(self, work: Work) -> None:
        await telling.tell(work, self._doctor, self._nodes[work.plan.node].inventory)

    async def _do(self, work: Work, steps: Sequence[Step]) -> None:
        plan, outcome = work.plan, work.outcome
        for step in (step for step in steps if step in plan.steps):
            try:
                self._watch(Told(plan.node, step, ended=False, text=work.saying(step)))
                await self._step(work, step)
            except GausscertError as error:
                error.node = error.node or plan.node
                outcome.error, outcome.failed_at = error, step
            except Exception as raised:  # noqa: BLE001 - a bug at one node must not hide what became of the others
                outcome.error, outcome.failed_at = unforeseen(plan.node, step, raised), step
            if outcome.error is not None:
                self._watch(Told(plan.node, step, ended=True, text=f"failed: {outcome.error.message}"))
                await self._put_back(work)
                return
            outcome.done.append(step)
            self._watch(Told(plan.node, step, ended=True))
        if steps[-1] is Step.TIDY:
            outcome.state = State.DEPLOYED

    async def _put_back(self, work: Work) -> None:
        """After an agent that ran was ended, or was to be, and is not healthy now."""
        plan, outcome = work.plan, work.outcome
        back = putting_back.way(plan, outcome.done)
        if outcome.failed_at not in (Step.ACTIVATE, Step.HEALTH) or not back.steps:
            return
        error: GausscertError | None = None
        try:
            if outcome.failed_at is Step.ACTIVATE:
                back = putting_back.way(plan, outcome.done, await self._settled(work))
            if not back.steps:
                return
            for step in back.steps:
                await self._step_back(plan, step, back)
        except GausscertError as raised:
            error = raised
        except Exception as raised:  # noqa: BLE001 - as in `_do`
            error = unforeseen(plan.node, "the way back", raised)
        outcome.put_back = error is None
        outcome.findings.append(putting_back.told(plan, back, error))
        if outcome.put_back and telling.lacks(work):
            await self._tell_revoked(work)

    async def _step_back(self, plan: NodePlan, step: Step, back: WayBack) -> None:
        node = self._nodes[plan.node]
        self._watch(Told(plan.node, step, ended=False, text=f"back to {putting_back.former(plan)}"))
        if step is Step.HEALTH:
            await self._doctor.healthy(node.inventory)
        else:
            told = {"attempt": self._attempt(), **putting_back.request(plan, step, back)}
            request = self._request(node, step.value, **told)
            await node.ask({**request, "user": plan.facts.account})

    async def _settled(self, work: Work) -> Facts:
        """What there is on a node once ACTIVATE has ended there, or can begin no more. It may have been
        refused before anything was changed; and where ssh has broken off, it may go on, or come late."""
        node = self._nodes[work.plan.node]
        if isinstance(work.outcome.error, Unreachable):
            text = "ssh broke off; what was begun there is waited for"
            self._watch(Told(work.plan.node, Step.ACTIVATE, ended=False, text=text))
        settle = {**self._request(node, "settle", attempt=work.attempt), "user": work.plan.facts.account}
        for _ in range(TRIES - 1):
            try:
                return await self._told_now(node, settle)
            except Unreachable as error:
                if error.reason is not Reason.UNREACHABLE:
                    raise  # it has been waited for long enough
                await self._pause(AGAIN_S)
        return await self._told_now(node, settle)

    async def _told_now(self, node: Node, settle: dict[str, Any]) -> Facts:
        await node.ask(settle)
        return facts_of.of(await node.ask(self._request(node, "look")))

    async def _step(self, work: Work, step: Step) -> None:
        node = self._nodes[work.plan.node]
        if step is Step.HEALTH:
            await self._doctor.healthy(node.inventory)
            if telling.lacks(work):
                await telling.tell(work, self._doctor, node.inventory)
            return
        request = self._request(node, step.value, **work.request(step))
        said = await node.ask({**request, "user": work.plan.facts.account}, work.blobs(step))
        if step is Step.ACTIVATE:
            telling.laid(work, said)
        if step is Step.CONFIGURE and said:
            work.outcome.findings.append(finding("ROLLOUT_CONFIG", str(said), work.plan.node))

    def _request(self, node: Node, action: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        install = node.inventory.install
        return {
            "action": action,
            "node": node.inventory.name,
            "user": install.user,
            "directory": install.directory,
            "cm_home": self._cm_home(node.inventory),
            **more,
        }
