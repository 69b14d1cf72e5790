"""The one loop for everything that changes a node.

Commands come one at a time, under one mutex, which Acquire waits for like all others. What is done for
each, and in which order, is `protocol.script`; this module makes its moves.

Only at a script's end is a command answered. Nobody else writes the journal. Once a command is begun
it is finished, whether or not its caller still waits: a handler outlives its client's deadline, and the
fence, not the client's patience, decides what comes next.
"""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

from gausscert_common import boots
from gausscert_common.errors import NodeFailure, NodeRefusal, Reason
from gausscert_common.model import Overlap
from gausscert_common.protocol.commands import AcquireCommand
from gausscert_common.protocol.script import (
    CarryOut,
    Confirm,
    EndOrphan,
    ForgetChild,
    ForgetStage,
    Hold,
    Look,
    LookAtLive,
    Release,
    Save,
    SyncDisk,
    carry_out,
    perform,
    settle,
)
from gausscert_common.protocol.state import Operation, View
from gausscert_common.protocol.words import Step

from gausscert_agent import restart, set_names
from gausscert_agent.drivers.process_list import boot_mark
from gausscert_agent.effects import Given, Prepared, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from gausscert_common.findings import Finding
    from gausscert_common.model import SslSwitch
    from gausscert_common.protocol.commands import Command
    from gausscert_common.protocol.script import Answer, Move
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

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Done:
    """A command that was carried out; durable."""

    state: NodeState
    findings: tuple[Finding, ...] = ()
    """Warnings about the stage, after Prepare."""
    overlap: Overlap = Overlap()
    """After Prepare."""


@dataclass(slots=True)
class _Turn:
    """One command on its way."""

    command: Command
    given: Given
    is_active: Callable[[], bool]
    prepared: Prepared | None = None
    """What BUILD_STAGE answered."""


def _always() -> bool:
    return True


class Mutex(Protocol):
    """As `threading.Lock`."""

    def acquire(self, blocking: bool = ..., timeout: float = ...) -> bool:
        """Take it, within so many seconds if a timeout is given; whether that was possible."""

    def release(self) -> None:
        """Give it back."""

    def locked(self) -> bool:
        """Whether somebody has it."""

    def __enter__(self) -> bool: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


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
        mutex: Lets in one command at a time.
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
        *,
        mutex: Mutex | None = None,
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._cm = cm
        self._effects = effects
        self._standalone = standalone
        self._lease = lease
        self._boot = boot
        self._mutex: Mutex = threading.Lock() if mutex is None else mutex
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
        with self._turn(wait_s):
            turn = _Turn(command, given or Given(), is_active)
            try:
                state = perform(carry_out(self._ledger.state, command), lambda move: self._make(move, turn))
            except NodeFailure:
                self._settle_at_once()
                raise
            if turn.prepared is not None:
                return Done(state, turn.prepared.findings, turn.prepared.overlap)
            if command.step is Step.PREPARE and state.transaction is not None:
                return Done(state, *self._effects.said_of(state.transaction))
            return Done(state)

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

    def _look(self, look: Look) -> View:
        live, unreadable = self._live()
        return View(
            live_digest=live,
            cm_running=look.processes and bool(restart.daemons(self._cm)),
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

    def _make(self, move: Move, turn: _Turn) -> Answer:
        """One move of a command's script."""
        match move:
            case Look():
                return self._look(move)
            case Confirm():
                _require_active(turn.is_active)
            case Hold():
                self._hold(turn)
            case Release():
                self._lease.release()
            case CarryOut():
                prepared = self._effects.carry_out(
                    move.effect, Task(move.transaction, turn.given, self._on_start)
                )
                turn.prepared = prepared or turn.prepared
                return prepared.facts if prepared else None
            case _:
                return self._put_in_order(move)
        return None

    def _put_in_order(self, move: Move) -> Answer:
        """What commands and starting agents have in common, and what only those do."""
        match move:
            case Save():
                self._ledger.save(move.state)
            case ForgetChild():
                if self.state.operation is not None:
                    self._ledger.save(replace(self.state, operation=None))
            case ForgetStage():
                self._effects.forget_stage(move.transaction_id)
            case EndOrphan():
                self._end_orphan(move.operation)
            case SyncDisk():
                self._store.sync()
                if self._ledger.record.request_in_flight:
                    self._store.remove_stage(self._ledger.record.request_in_flight)
            case LookAtLive():
                return self._live()[0]
            case _:
                raise TypeError(f"no move of a starting agent: {move}")
        return None

    def _finish_swap(self, move: Move) -> Answer:
        """As `_put_in_order`; the effects that a starting agent carries out are those of a swap cut short."""
        if not isinstance(move, CarryOut):
            return self._put_in_order(move)
        try:
            self._effects.carry_out(move.effect, Task(move.transaction, Given(), self._on_start))
        except (NodeRefusal, NodeFailure) as error:
            logger.warning("a swap cut short cannot be finished yet", extra={"reason": error.reason})
            raise
        return None

    def _hold(self, turn: _Turn) -> None:
        """An accepted command is the holder's: the lease runs anew at its start and at its end."""
        if isinstance(turn.command, AcquireCommand):
            self._lease.grant(turn.command.holder, turn.given.lease_s)
        else:
            self._lease.renew(self.state.holder)

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
        state = self._ledger.load()
        self._ledger.require_empty(self._left_behind())
        perform(settle(state), self._finish_swap)
        self._ledger.forget_request()
        if self.state.transaction is None:
            self._effects.tidy()

    def _left_behind(self) -> list[str]:
        """Nothing where the disk cannot be read: an agent starts all the same, and its commands say why."""
        left: list[str] = []
        try:
            left += [set_names.told(name) for name in self._store.unretired()]
        except (NodeRefusal, NodeFailure) as error:
            logger.warning("what lies beside the live set is not known", extra={"reason": error.reason})
        with suppress(OSError):  # there is no state directory to look into
            owners = self._effects.unforgotten()
            left += [f"transaction {each} has left copies of CM's configuration here" for each in owners]
        return left

    def _settle_at_once(self) -> None:
        """After a record that failed, find out what is durable: a node that reports less than it has promised
        leads the next coordinator to an epoch that is taken. If that fails, too, the next command tries."""
        if not self._ledger.suspect:
            return
        try:
            self._settle()
        except (NodeRefusal, NodeFailure) as error:
            logger.warning("what is durable is not known yet", extra={"reason": error.reason})

    def _end_orphan(self, operation: Operation) -> None:
        """After a reboot the same pid and session are somebody else's."""
        if not boots.is_same(operation.boot, self._boot()):
            logger.info("a cm_ctl child ended with the last boot", extra={"pid": operation.pid})
            return
        logger.warning("ending the cm_ctl child of an agent that died", extra={"pid": operation.pid})
        self._cm.end_orphan(operation.pid, operation.start_ticks)


def _require_active(is_active: Callable[[], bool]) -> None:
    if not is_active():
        raise NodeRefusal(Reason.BUSY, "the caller has gone; nothing was done", remedy="try again")
