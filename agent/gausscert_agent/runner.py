"""The one loop for everything that changes a node.

Commands come one at a time, under one mutex, which Acquire waits for like all others. For each:

    look -> protocol.node.accept -> journal the intent -> effects in their order -> complete -> journal

Only then is it answered. Nobody else writes the journal. Once a command is begun it is finished,
whether or not its caller still waits: a handler outlives its client's deadline, and the fence, not
the client's patience, decides what comes next.
"""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from gausscert_common import certset
from gausscert_common.errors import NodeFailure, NodeRefusal, Reason
from gausscert_common.model import Overlap
from gausscert_common.protocol.commands import AcquireCommand
from gausscert_common.protocol.node import accept, complete, reconcile
from gausscert_common.protocol.rules import RULES, Effect
from gausscert_common.protocol.state import Operation, View
from gausscert_common.protocol.words import Phase, Step

from gausscert_agent import restart
from gausscert_agent.drivers.process_list import boot_mark, is_same_boot
from gausscert_agent.effects import Given, Prepared, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gausscert_common.findings import Finding
    from gausscert_common.model import SslSwitch
    from gausscert_common.protocol.commands import Command
    from gausscert_common.protocol.node import Accepted
    from gausscert_common.protocol.state import NodeState
    from gausscert_common.protocol.words import SslWish

    from gausscert_agent.effects import Effects
    from gausscert_agent.lease import Lease
    from gausscert_agent.ledger import Ledger
    from gausscert_agent.ports import Cm, OnStart
    from gausscert_agent.standalone import Standalone
    from gausscert_agent.store import Store

DEFAULT_WAIT_S: Final = 10.0
"""How long a command waits for the one before it; longer ones (Stop, Start) are answered BUSY."""

_ENDS: Final = frozenset({Step.PURGE, Step.CLEAN})
"""The last command of a coordinator: the lease is free after it."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Done:
    """A command that was carried out; durable."""

    state: NodeState
    findings: tuple[Finding, ...] = ()
    """Warnings about the stage, after Prepare."""
    overlap: Overlap = Overlap()
    """After Prepare."""


def _always() -> bool:
    return True


class Runner:
    """Carries out commands. `recover` first; only then may anything be served.

    Args:
        ledger: What is durable.
        store: The sets.
        cm: CM.
        effects: The hands.
        standalone: What is done outside of a transaction.
        lease: Who is not to be disturbed.
        boot: Names what pids mean something in.
    """

    def __init__(
        self,
        ledger: Ledger,
        store: Store,
        cm: Cm,
        effects: Effects,
        standalone: Standalone,
        lease: Lease,
        boot: Callable[[], str] = boot_mark,
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._cm = cm
        self._effects = effects
        self._standalone = standalone
        self._lease = lease
        self._boot = boot
        self._mutex = threading.Lock()
        self._recovered = False
        self._draining = False

    @property
    def state(self) -> NodeState:
        """What was durable last; may be read beside a running command."""
        return self._ledger.state

    @property
    def lease(self) -> Lease:
        """The lease; for reading."""
        return self._lease

    @property
    def busy(self) -> bool:
        """Whether a command is being carried out."""
        return self._mutex.locked()

    def recover(self) -> None:
        """Take the state directory and settle what a predecessor has left behind.

        Raises:
            InvalidInput: CONFIG_INVALID; another agent serves from this state directory.
            NodeFailure, NodeRefusal: The node cannot be settled; nothing may be served.
        """
        with self._mutex:
            self._settle()
            self._recovered = True

    def execute(
        self,
        command: Command,
        given: Given | None = None,
        *,
        wait_s: float = DEFAULT_WAIT_S,
        is_active: Callable[[], bool] = _always,
    ) -> Done:
        """Carry out a command of a transaction.

        Args:
            command: The command.
            given: What it brings beside itself.
            wait_s: How long to wait for the command before it.
            is_active: Whether the caller still waits; asked once, before anything is done.

        Raises:
            NodeRefusal: Refused; the node is what it was. BUSY: another command runs.
            NodeFailure: Tried and failed; may be repeated.
            InvalidInput: What came with Prepare is no bundle.
        """
        given = given or Given()
        with self._turn(wait_s):
            accepted = accept(self._ledger.state, self._look(), command)
            _require_active(is_active)
            self._ledger.save(accepted.intent)
            self._hold(command, given)
            try:
                return self._finish(command, given, accepted)
            finally:
                self._hold(command, given)
                if command.step in _ENDS and self.state.phase is Phase.NONE:
                    self._lease.release()

    def encrypt_live(
        self,
        request_id: str,
        server_password: str,
        client_password: str,
        *,
        wait_s: float = DEFAULT_WAIT_S,
        is_active: Callable[[], bool] = _always,
    ) -> tuple[Finding, ...]:
        """Make the factor files of the live set anew; see `Standalone.encrypt_live`."""
        with self._turn(wait_s):
            self._require_idle()
            _require_active(is_active)
            return self._standalone.encrypt_live(request_id, server_password, client_password)

    def set_enable_ssl(
        self,
        request_id: str,
        wish: SslWish,
        *,
        wait_s: float = DEFAULT_WAIT_S,
        is_active: Callable[[], bool] = _always,
    ) -> SslSwitch:
        """Set enable_ssl in both files; see `Standalone.set_enable_ssl`."""
        with self._turn(wait_s):
            self._require_idle()
            _require_active(is_active)
            return self._standalone.set_enable_ssl(request_id, wish)

    def drain(self, timeout_s: float) -> bool:
        """Refuse new commands and wait for the running one; whether it has ended in time."""
        self._draining = True
        if not self._mutex.acquire(timeout=timeout_s):
            return False
        self._mutex.release()
        return True

    def close(self) -> None:
        """Give the state directory back. `drain` first."""
        self._ledger.close()

    @contextmanager
    def _turn(self, wait_s: float) -> Iterator[None]:
        if not self._recovered:
            raise RuntimeError("recover first")
        if not self._mutex.acquire(timeout=wait_s):
            raise NodeRefusal(
                Reason.BUSY,
                "another command is being carried out",
                remedy="try again; stopping and starting CM takes minutes",
            )
        try:
            if self._draining:
                raise NodeRefusal(Reason.DRAINING, "the agent is about to stop", remedy="try again")
            if self._ledger.suspect:
                self._settle()
            yield
        finally:
            self._mutex.release()

    def _look(self) -> View:
        live, unreadable = self._live()
        return View(
            live_digest=live,
            cm_running=bool(restart.daemons(self._cm)),
            lease_holder=self._lease.holder,
            unreadable=unreadable,
        )

    def _live(self) -> tuple[str | None, str]:
        """The live set's digest, or None and why: whoever only stops or starts CM, or takes the fence, must
        be able to when the set is odd."""
        try:
            return self._store.live_digest(), ""
        except (NodeRefusal, NodeFailure) as error:
            logger.warning("the live set cannot be read", extra={"reason": error.reason, "file": error.file})
            return None, str(error)

    def _hold(self, command: Command, given: Given) -> None:
        """An accepted command is the holder's: the lease runs anew at its start and at its end."""
        if isinstance(command, AcquireCommand):
            self._lease.grant(command.holder, given.lease_s)
        else:
            self._lease.renew(self.state.holder)

    def _finish(self, command: Command, given: Given, accepted: Accepted) -> Done:
        prepared = self._carry_out(accepted, given)
        state = complete(self.state, command, prepared.facts if prepared else None)
        self._ledger.save(state)
        for effect in accepted.afterwards:
            self._effects.carry_out(effect, Task(state.transaction, given, self._on_start))
        if prepared is not None:
            return Done(state, prepared.findings, prepared.overlap)
        if command.step is Step.PREPARE and state.transaction is not None:
            return Done(state, *self._effects.said_of(state.transaction))
        return Done(state)

    def _carry_out(self, accepted: Accepted, given: Given) -> Prepared | None:
        prepared: Prepared | None = None
        task = Task(accepted.intent.transaction, given, self._on_start)
        ended = False
        try:
            for effect in accepted.effects:
                prepared = self._effects.carry_out(effect, task) or prepared
            ended = True
        finally:
            if self.state.operation is not None:
                self._ledger.save(replace(self.state, operation=None))
            if not ended and Effect.BUILD_STAGE in accepted.effects:
                self._forget_prepare()
        return prepared

    def _forget_prepare(self) -> None:
        """A Prepare that failed leaves nothing but its fence."""
        if self.state.transaction is not None:
            self._effects.forget_stage(self.state.transaction.transaction_id)
        self._ledger.save(replace(self.state, phase=Phase.NONE, transaction=None))

    def _on_start(self, kind: str) -> OnStart:
        def journal(pid: int, start_ticks: int) -> None:
            operation = Operation(kind, pid, start_ticks, self._boot())
            self._ledger.save(replace(self.state, operation=operation))

        return journal

    def _require_idle(self) -> None:
        """Nothing outside of a transaction happens while there is one."""
        transaction = self.state.transaction
        if transaction is not None:
            raise NodeRefusal(
                Reason.OTHER_TRANSACTION,
                f"transaction {transaction.transaction_id} of {self.state.holder}"
                f" is in phase {self.state.phase} here",
                remedy="wait for its end, or run gausscert recover",
            )
        if self._lease.holder:
            raise NodeRefusal(Reason.LOCKED, f"locked by {self._lease.holder}", remedy="wait for it to end")

    def _settle(self) -> None:
        """In this order: no orphan acts any more, the disk is durable, then it is looked at."""
        state = self._ledger.load()
        if state.operation is not None:
            self._end_orphan(state.operation)
        self._store.sync()
        if self._ledger.record.request_in_flight:
            self._store.remove_stage(self._ledger.record.request_in_flight)
        if state.phase is Phase.PREPARING and state.transaction is not None:
            self._effects.forget_stage(state.transaction.transaction_id)
        self._ledger.save(self._settled(state))
        self._ledger.forget_request()
        if self.state.transaction is None:
            self._effects.tidy()

    def _end_orphan(self, operation: Operation) -> None:
        """After a reboot the same pid and session are somebody else's."""
        if not is_same_boot(operation.boot, self._boot()):
            logger.info("a cm_ctl child ended with the last boot", extra={"pid": operation.pid})
            return
        logger.warning("ending the cm_ctl child of an agent that died", extra={"pid": operation.pid})
        self._cm.end_orphan(operation.pid, operation.start_ticks)

    def _settled(self, state: NodeState) -> NodeState:
        live = certset.ABSENT if state.transaction is None else self._live()[0]
        settled = reconcile(state, live)
        voted = state.phase is Phase.PREPARED and settled.phase is Phase.SWAPPED
        if voted and not self._vote_finished(state):
            return replace(state, operation=None)
        return settled

    def _vote_finished(self, state: NodeState) -> bool:
        """An exchange that was not journalled is a vote only with all that Swap does; where that fails
        the node stays PREPARED, and the coordinator's next Swap or Abort ensures the rest."""
        try:
            for effect in RULES[Step.SWAP].effects:
                self._effects.carry_out(effect, Task(state.transaction, Given(), self._on_start))
        except (NodeRefusal, NodeFailure) as error:
            logger.warning("a swap cut short cannot be finished yet", extra={"reason": error.reason})
            return False
        return True


def _require_active(is_active: Callable[[], bool]) -> None:
    if not is_active():
        raise NodeRefusal(Reason.BUSY, "the caller has gone; nothing was done", remedy="try again")
