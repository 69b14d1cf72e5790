"""One run of one coordinator: the real library, from plan to result, with an operator who may interrupt it
and a machine that may stop for ever between any two things it does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from gausscert_common.bundle import Bundle
from gausscert_common.model import NodeReport
from gausscert_common.protocol.coordinator import Stage
from gausscert_common.protocol.recovery import Choice
from gausscert_common.protocol.words import RestartScope, SslWish
from gausscert_coordinator.coordinator import Coordinator
from gausscert_coordinator.interrupt import Interrupt
from gausscert_coordinator.inventory import Inventory
from gausscert_coordinator.ports import OnRetry
from gausscert_coordinator.report import Mark, Plan, Progress, ReplaceOptions, Result

from simulation.client import SimClient
from simulation.content import bundle_of
from simulation.faults import Fault

if TYPE_CHECKING:
    from simulation.world import World


Moment = int | Stage
"""How far a coordinator has come: requests and answers so far, or the beginning of a stage."""

_WITHIN_A_STAGE_S: Final = (0.02, 0.1, 0.6, 2.0)


class Errand(StrEnum):
    """What it is about."""

    REPLACE = "replace"
    ROLLBACK = "roll back to a generation"
    SSL = "switch SSL"
    RECOVER = "recover"


class Captain:
    """See the module.

    Args:
        world: Where.
        number: Distinguishes it and its transactions.
        errand: What to do.
        label: Of the bundle, to replace with.
        prefer: To recover with.
        take_over: Also from one whose lease still runs.
        restart: With all but recover, how CM is restarted.
        ssl_wish: With all but recover.
        accept_state: Also where the cluster is not Normal.
    """

    def __init__(
        self,
        world: World,
        number: int,
        errand: Errand,
        *,
        label: str = "",
        prefer: Choice = Choice.ROLL_BACK,
        take_over: bool = False,
        restart: RestartScope = RestartScope.NODE,
        ssl_wish: SslWish = SslWish.KEEP,
        accept_state: bool = False,
    ) -> None:
        self.world = world
        self.holder = f"op@host-{number}:1"
        self.errand = errand
        self.label = label
        self.prefer = prefer
        self.take_over = take_over
        self.restart = restart
        self.ssl_wish = ssl_wish
        self.accept_state = accept_state
        self.faults: tuple[Fault, ...] = ()
        """What it is to those that are at work when it sets out."""
        self.forgetful = False
        """The operator who recovers brings no bundle for those that were left out, or another one."""
        self.seen: dict[str, NodeReport] = {}
        """The last report of each node."""
        self.stages: set[str] = set()
        """That it has come to."""
        self.resolute = False
        """The operator who recovers does without whoever is dead then."""
        self.mistaken: tuple[str, ...] = ()
        """Whom he takes for dead besides."""
        self.left_out: frozenset[str] = frozenset()
        """Nodes that it goes on without."""
        self.dead = False
        self.result: Result | None = None
        self._number = number
        self._ids = 0
        self._boundaries = 0
        self._interrupt = Interrupt()
        self._task: asyncio.Task[None] | None = None
        self._waits = False
        self._told_without = self._recorded_without = False
        self._called = asyncio.Event()
        self._appointments: dict[Moment, list[Callable[[], None]]] = {}
        self._within: dict[str, list[tuple[int, Callable[[], None]]]] = {}
        self._at_its_end: list[Callable[[], None]] = []

    @property
    def at_work(self) -> bool:
        """Whether it has not come to its end, in one way or another."""
        return self._task is not None and not self._task.done()

    @property
    def recovers(self) -> bool:
        """Whether it deals with what others have begun."""
        return self.errand is Errand.RECOVER

    @property
    def verdict(self) -> str:
        """How it has ended."""
        return "stopped" if self.result is None else self.result.verdict.value

    def joins(self, other: Captain, moment: Moment) -> None:
        """Set out when another one has come so far, or has ended."""
        other.at(moment, self.when_called())
        other._at_its_end.append(self._called.set)

    def after(self, other: Captain) -> None:
        """Set out when another one has ended."""
        other._at_its_end.append(self.when_called())

    def when_called(self) -> Callable[[], None]:
        """Set out when somebody calls."""
        self._waits = True
        return self._called.set

    def at_its_end(self, act: Callable[[], None]) -> None:
        """Have something happen when it has ended, in one way or another."""
        self._at_its_end.append(act)

    def at(self, moment: Moment, act: Callable[[], None]) -> None:
        """Have something happen when it has come so far, if it ever does."""
        self._appointments.setdefault(moment, []).append(act)

    def within(self, stage: Stage, boundaries: int, act: Callable[[], None]) -> None:
        """Have something happen so many boundaries after the beginning of a stage."""
        self._within.setdefault(stage, []).append((boundaries, act))

    async def awaited(self) -> None:
        """Until it is its turn."""
        if self._waits:
            await self._called.wait()

    def begin(self) -> asyncio.Task[None]:
        """Set out."""
        self._task = self.world.loop.create_task(self._whole())
        return self._task

    def stop(self) -> None:
        """For ever. What it has sent is on its way."""
        if self.dead or self._task is None or self._task.done():
            return
        self.dead = True
        self.world.told(self.holder, "stops for ever")
        self._task.cancel()

    async def at_a_boundary(self) -> None:
        """Before a request leaves, and after its answer has come."""
        self._boundaries += 1
        for act in self._appointments.pop(self._boundaries, ()):
            act()
        if self.dead:
            await asyncio.Event().wait()

    def stops(self) -> None:
        """For ever: at once, or with what it has just begun under way."""
        self.world.dice.injected[Fault.STOPS] += 1
        if self.world.dice.random.random() < 0.5:
            self.stop()
        else:
            self.world.loop.call_later(self.world.dice.between(0.0, 0.5), self.stop)

    def interrupted(self, left: int) -> None:
        """Once, and so many times more."""
        if self.dead or self.result is not None:
            return
        self.world.told(self.holder, "is interrupted")
        self._interrupt.request()
        if left > 1:
            self.world.loop.call_later(self.world.dice.between(0.0, 3.0), self.interrupted, left - 1)

    async def _whole(self) -> None:
        self.world.told(self.holder, f"sets out to {self.errand}: {self._told}")
        try:
            async with self._coordinator() as coordinator:
                self.result = await self._do(coordinator)
        except asyncio.CancelledError:
            if not self.dead:
                raise
            return
        finally:
            for act in self._at_its_end:
                act()
        if self.result is not None:
            failures = "; ".join(f"{each.node} {each.reason}" for each in self.result.failures)
            told = f"{self.result.transaction_id} {self.result.verdict} {self.result.why} {failures}"
            self.world.told(self.holder, f"ends: {told}")
            self.world.believed(self, self.result)

    @property
    def _told(self) -> str:
        if self.errand is Errand.RECOVER:
            return self.prefer
        accept = " --accept-state" if self.accept_state else ""
        return f"{self.label}{accept} --restart {self.restart} --enable-ssl {self.ssl_wish}".strip()

    async def _do(self, coordinator: Coordinator) -> Result | None:
        if self.errand is Errand.RECOVER:
            return await coordinator.recover(
                self.prefer,
                self.take_over,
                exclude=self._without(),
                accept_state=self.accept_state,
                bundle=self._brought(),
                watch=self._watch,
                interrupt=self._interrupt,
            )
        away = self._left_out()
        as_one = self.restart is RestartScope.CLUSTER
        options = ReplaceOptions(
            ssl_wish=self.ssl_wish,
            restart=RestartScope.NODE if away and as_one else self.restart,
            take_over=self.take_over,
            accept_state=self.accept_state,
            exclude=away,
        )
        if self.errand is Errand.ROLLBACK:
            plan = self._planned(await coordinator.plan_rollback(None, options))
            return await coordinator.rollback(plan, watch=self._watch, interrupt=self._interrupt)
        if self.errand is Errand.SSL:
            plan = self._planned(await coordinator.plan_ssl(self.ssl_wish, options))
            return await coordinator.switch_ssl(plan, watch=self._watch, interrupt=self._interrupt)
        bundle = bundle_of(self.label)
        plan = self._planned(await coordinator.plan(bundle, options))
        return await coordinator.replace(plan, bundle, watch=self._watch, interrupt=self._interrupt)

    def _brought(self) -> Bundle | None:
        """The bundle for those that were left out: the right one, another one, or none."""
        awaited = self.world.awaited_bundle
        if self.forgetful and awaited is not None:
            return None if self._number % 2 else bundle_of(self.world.labels[-1])
        return awaited

    def _without(self) -> tuple[str, ...]:
        """Whom the operator recovers without, and answers for: who is dead, as far as he knows."""
        world = self.world
        dead = world.dead if self.resolute or world.dice.would_hit(Fault.WITHOUT) else ()
        alive = tuple(name for name in self.mistaken if name not in world.dead and name in world.machines)
        if alive:
            world.dice.injected[Fault.MISTAKEN] += 1
        self.left_out = frozenset(dead)
        if dead or alive:
            world.told(self.holder, f"recovers without {', '.join((*dead, *alive))}")
        return (*dead, *alive)

    def means_to_leave_out(self, excluded: tuple[str, ...]) -> None:
        """It says so to a node; so may another one that is at work."""
        others = (each for each in self.world.captains if each is not self and each.at_work)
        if excluded and not self._told_without and any(each._told_without for each in others):
            self.world.dice.injected[Fault.WITHOUT_AT_ONCE] += 1
        self._told_without = self._told_without or bool(excluded)

    def leaves_out(self, excluded: tuple[str, ...], before: Collection[str]) -> None:
        """A node remembers that, and whom it was recovered without before."""
        if self._recorded_without or not excluded:
            return
        self._recorded_without = True
        injected = self.world.dice.injected
        injected[Fault.WITHOUT] += 1
        if before and set(excluded) - set(before):
            injected[Fault.WITHOUT_MORE] += 1

    def _left_out(self) -> tuple[str, ...]:
        """Whom the operator leaves out, knowing that it is away; only a replacement may."""
        machines = self.world.machines.values() if self.errand is Errand.REPLACE else ()
        away = tuple(each.name for each in machines if each.away)
        return away if away and self.world.dice.would_hit(Fault.LEFT_OUT) else ()

    def _planned(self, plan: Plan) -> Plan:
        if plan.feasible and plan.excluded:
            self.world.dice.injected[Fault.LEFT_OUT] += 1
            self.left_out = frozenset(error.node for error in plan.excluded)
        if not plan.feasible:
            codes = [each.code for each in plan.errors]
            told = [f"{each.node} {each.reason}" for each in (*plan.unreachable, *plan.blocked)]
            self.world.told(self.holder, f"has no plan: {', '.join([*codes, *told])}")
        return plan

    def _coordinator(self) -> Coordinator:
        world = self.world
        return Coordinator(
            world.inventory,
            connect=self._connect,
            clock=world.loop.time,
            now=world.now,
            sleep=asyncio.sleep,
            holder=self.holder,
            make_id=self._make_id,
        )

    def _connect(self, inventory: Inventory, on_retry: OnRetry) -> Mapping[str, SimClient]:
        return {
            node.name: SimClient(self, self.world.machines[node.name], on_retry) for node in inventory.nodes
        }

    def _make_id(self) -> str:
        self._ids += 1
        return f"t-{self._number:03d}-{self._ids:03d}"

    def _watch(self, progress: Progress) -> None:
        text = f"{progress.stage} {progress.mark} {progress.node} {progress.detail}"
        self.world.told(self.holder, text)
        self.stages.add(progress.stage)
        if progress.mark is Mark.STARTED and not progress.node:
            for boundaries, act in self._within.pop(progress.stage, ()):
                self.at(self._boundaries + boundaries, act)
            for act in self._appointments.pop(progress.stage, ()):
                within_s = self.world.dice.one_of(_WITHIN_A_STAGE_S)
                self.world.loop.call_later(self.world.dice.between(0.0, within_s), act)
