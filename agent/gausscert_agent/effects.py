"""Carries out the effects that `protocol.node` decides. Each one ensures a state and may be repeated.

Nothing is decided here about the transaction: which effects, in which order, is the table's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gausscert_common import certset
from gausscert_common.errors import NodeRefusal, Reason
from gausscert_common.protocol.rules import Effect, StageFacts
from gausscert_common.protocol.words import SslWish
from gausscert_common.source import LiveSet

from gausscert_agent.ssl_switch import setting_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from gausscert_common.findings import Finding
    from gausscert_common.model import Overlap
    from gausscert_common.protocol.state import Transaction

    from gausscert_agent.ports import OnStart
    from gausscert_agent.restart import Restarter, RestartOrders
    from gausscert_agent.ssl_switch import SslSwitcher
    from gausscert_agent.staging import Material, StageBuilder
    from gausscert_agent.store import Store


@dataclass(frozen=True, slots=True)
class Given:
    """What a command brings beside itself."""

    material: Material | None = None
    """With Prepare."""
    orders: RestartOrders | None = None
    """With Stop and Start."""
    lease_s: float = 0.0
    """With Acquire."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What BUILD_STAGE answers."""

    facts: StageFacts
    findings: tuple[Finding, ...]
    """Warnings."""
    overlap: Overlap


@dataclass(frozen=True, slots=True)
class Task:
    """One effect of one command."""

    transaction: Transaction | None
    given: Given
    on_start: Callable[[str], OnStart]
    """Makes the callback that journals a cm_ctl child, from the kind of operation."""


class Effects:
    """The hands of the runner.

    Args:
        store: The sets.
        builder: Builds stages.
        restarter: Stops and starts CM.
        switcher: Sets enable_ssl, and puts it back.
        activity: Told what is being done, for a person.
        retired_generations: Former sets kept for rollback.
    """

    def __init__(
        self,
        store: Store,
        builder: StageBuilder,
        restarter: Restarter,
        switcher: SslSwitcher,
        *,
        activity: Callable[[str], None],
        retired_generations: int,
    ) -> None:
        self._store = store
        self._builder = builder
        self._restarter = restarter
        self._switcher = switcher
        self._activity = activity
        self._keep = retired_generations
        self._hands: dict[Effect, Callable[[Task], None]] = {
            Effect.STOP_CM: self._stop,
            Effect.START_CM: self._start,
            Effect.REQUIRE_STOPPED: lambda _: self._restarter.require_stopped(),
            Effect.MAKE_NEW_LIVE: self._make_new_live,
            Effect.MAKE_OLD_LIVE: self._make_old_live,
            Effect.APPLY_SSL: self._apply_ssl,
            Effect.RESTORE_SSL: self._restore_ssl,
            Effect.RETIRE_OLD: self._retire_old,
            Effect.TIDY: lambda _: self.tidy(),
            Effect.REMOVE_STAGE: self._remove_stage,
        }

    def carry_out(self, effect: Effect, task: Task) -> Prepared | None:
        """Carry out one effect; answers something for BUILD_STAGE only.

        Raises:
            NodeRefusal, NodeFailure, InvalidInput: It was not carried out, or only in part; every
                effect may be repeated.
        """
        if effect is Effect.BUILD_STAGE:
            return self._build_stage(task)
        self._hands[effect](task)
        return None

    def said_of(self, transaction: Transaction) -> tuple[tuple[Finding, ...], Overlap]:
        """What BUILD_STAGE had to say of a stage, for a repeated Prepare."""
        return self._builder.said_of(transaction.transaction_id)

    def forget_stage(self, transaction_id: str) -> None:
        """Remove what a Prepare that did not come to its end has left."""
        self._store.remove_stage(transaction_id)

    def unforgotten(self) -> list[str]:
        """The transactions whose copies of CM's configuration are kept. Raises OSError."""
        return self._switcher.unforgotten()

    def tidy(self) -> None:
        """Remove former sets beyond those that are kept, and copies of configuration files, while there is
        no transaction. Never fails."""
        self._store.prune(self._keep)
        self._switcher.forget()

    def _build_stage(self, task: Task) -> Prepared:
        transaction = _of(task)
        material = task.given.material
        if material is None:
            raise ValueError("Prepare came without what to stage")
        self._activity("staging the new set")
        switch = self._switcher.require_settable(transaction.ssl_wish)
        keeps_live = isinstance(material.source, LiveSet)
        if keeps_live:
            built = self._builder.keep_live(strict=transaction.ssl_wish is SslWish.ON)
            if built.digest != transaction.old_digest:  # else what is to be kept would pass for a new set
                raise NodeRefusal(
                    Reason.LIVE_CHANGED,
                    "somebody has changed the live set while it was judged",
                    remedy="find out who changes certificates here, then plan again",
                )
        else:
            built = self._builder.build(transaction.transaction_id, material)
        if keeps_live or transaction.old_digest == certset.ABSENT:
            self._leave_mark(transaction)
        facts = StageFacts(built.digest, built.bundle_digest, setting_of(switch))
        return Prepared(facts, built.findings, built.overlap)

    def _leave_mark(self, transaction: Transaction) -> None:
        """No set will lie beside the live one that tells an agent without a journal of the transaction."""
        self._store.leave_mark(transaction.transaction_id)

    def _stop(self, task: Task) -> None:
        self._restarter.stop(_orders(task), task.on_start("stop"))

    def _start(self, task: Task) -> None:
        self._restarter.start(_orders(task), task.on_start("start"))

    def _make_new_live(self, task: Task) -> None:
        transaction = _of(task)
        self._activity("making the new set live")
        self._store.ensure_live(transaction.transaction_id, transaction.new_digest, transaction.old_digest)
        self._store.require_alike(transaction.transaction_id)

    def _make_old_live(self, task: Task) -> None:
        transaction = _of(task)
        self._activity("making the old set live")
        self._store.ensure_live(transaction.transaction_id, transaction.old_digest, transaction.new_digest)

    def _apply_ssl(self, task: Task) -> None:
        transaction = _of(task)
        self._activity("setting enable_ssl")
        self._switcher.apply(transaction.ssl_wish, transaction.transaction_id)

    def _restore_ssl(self, task: Task) -> None:
        transaction = _of(task)
        self._activity("restoring enable_ssl")
        self._switcher.restore(transaction.transaction_id, transaction.ssl_wish, transaction.previous_ssl)

    def _retire_old(self, task: Task) -> None:
        transaction = _of(task)
        self._activity("retiring the old set")
        self._store.retire(
            transaction.transaction_id,
            expected=transaction.old_digest,
            generation=transaction.joins or transaction.transaction_id,
        )

    def _remove_stage(self, task: Task) -> None:
        self._activity("removing the stage")
        self._store.remove_stage(_of(task).transaction_id)


def _of(task: Task) -> Transaction:
    if task.transaction is None:
        raise ValueError("the effect belongs to a transaction, and there is none")
    return task.transaction


def _orders(task: Task) -> RestartOrders:
    if task.given.orders is None:
        raise ValueError("Stop and Start come with orders")
    return task.given.orders
