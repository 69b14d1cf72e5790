"""What the verbs need from the library; `gausscert_coordinator.coordinator.Coordinator` has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from gausscert_common.bundle import Bundle
    from gausscert_common.protocol.recovery import Choice
    from gausscert_common.protocol.words import RestartScope, SslWish

    from gausscert_coordinator.interrupt import Interrupt
    from gausscert_coordinator.report import (
        ClusterStatus,
        NodeExpiry,
        Plan,
        Progress,
        ReplaceOptions,
        Result,
    )


class Cluster(Protocol):
    """A cluster that is open for questions and for one transaction at a time."""

    async def status(self) -> ClusterStatus:
        """Every node's report, or why there is none."""

    async def expiry(self) -> tuple[NodeExpiry, ...]:
        """Every certificate of every node."""

    async def plan(self, bundle: Bundle, options: ReplaceOptions) -> Plan:
        """What a replacement would do; changes nothing."""

    async def replace(
        self,
        plan: Plan,
        bundle: Bundle,
        *,
        watch: Callable[[Progress], None],
        interrupt: Interrupt,
    ) -> Result:
        """The transaction."""

    async def plan_rollback(self, generation: str | None, options: ReplaceOptions) -> Plan:
        """What a rollback would do; changes nothing."""

    async def rollback(
        self, plan: Plan, *, watch: Callable[[Progress], None], interrupt: Interrupt
    ) -> Result:
        """The transaction back to the generation of the plan."""

    async def plan_ssl(self, wish: SslWish, options: ReplaceOptions) -> Plan:
        """What switching SSL would do; changes nothing."""

    async def switch_ssl(
        self, plan: Plan, *, watch: Callable[[Progress], None], interrupt: Interrupt
    ) -> Result:
        """The transaction that changes enable_ssl alone."""

    async def recover(
        self,
        prefer: Choice,
        take_over: bool,
        restart: RestartScope | None,
        *,
        bundle: Bundle | None,
        exclude: tuple[str, ...] = (),
        accept_state: bool = False,
        watch: Callable[[Progress], None],
        interrupt: Interrupt,
    ) -> Result:
        """Finish or roll back what is in doubt; bring excluded nodes over."""
