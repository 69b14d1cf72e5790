"""The node as the gRPC edge sees it: what may be asked of it, and the real one.

`Node` knows values only, no messages; the servicer turns one into the other. Commands go to the runner, which
lets one in at a time; looking goes to the observer and never waits for a command.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from gausscert_common.errors import NodeFailure, NodeRefusal
from gausscert_common.model import PreparedSet, TransactionReport
from gausscert_common.protocol.state import live_state
from gausscert_common.source import LiveSet

from gausscert_agent.described import describe_set
from gausscert_agent.effects import Given
from gausscert_agent.staging import Material

if TYPE_CHECKING:
    from collections.abc import Callable

    from gausscert_common.model import (
        CertificateSet,
        ExpiryReport,
        JudgedSet,
        NodeReport,
        ProbeReport,
        SslSwitch,
    )
    from gausscert_common.protocol.commands import AcquireCommand, Command, PrepareCommand
    from gausscert_common.protocol.state import Transaction
    from gausscert_common.protocol.words import LiveState, SslWish
    from gausscert_common.source import Source

    from gausscert_agent.candidate import CandidateJudge
    from gausscert_agent.observe import Observer
    from gausscert_agent.restart import RestartOrders
    from gausscert_agent.runner import Runner
    from gausscert_agent.store import Store
    from gausscert_agent.watch import Hub, Subscription

    IsActive = Callable[[], bool]
    """Whether the caller still waits."""


class Node(Protocol):
    """One node. Every method raises GausscertErrors only, and may be called from any thread."""

    @property
    def in_transaction(self) -> bool:
        """Whether it takes part in one that has not ended here."""

    def report(self, *, preflight: bool) -> NodeReport:
        """What it is and holds."""

    def judge(self, source: Source, *, drop_crls: bool) -> JudgedSet:
        """What would be staged of a source now."""

    def expiry(self) -> ExpiryReport:
        """Every certificate of the live set."""

    def probe(self, *, query: bool, timeout_s: float) -> ProbeReport:
        """What each cm_server serves, seen from here."""

    def watch(self) -> Subscription:
        """What happens from now on."""

    def acquire(self, command: AcquireCommand, lease_s: float, is_active: IsActive) -> NodeReport:
        """Step 0. Answers without asking cm_ctl."""

    def prepare(
        self, command: PrepareCommand, source: Source, is_active: IsActive, *, drop_crls: bool
    ) -> PreparedSet:
        """Step 1."""

    def restart(self, command: Command, orders: RestartOrders, is_active: IsActive) -> None:
        """Steps 2, 4, 7 and 9."""

    def move(self, command: Command, is_active: IsActive) -> CertificateSet:
        """Steps 3 and 8: the live set afterwards."""

    def end(self, command: Command, is_active: IsActive) -> None:
        """Steps 5, 6 and 10."""

    def encrypt_live(
        self, request_id: str, server_password: str, client_password: str, is_active: IsActive
    ) -> CertificateSet:
        """Make the factor files of the live set anew: the live set afterwards."""

    def set_enable_ssl(self, request_id: str, wish: SslWish, is_active: IsActive) -> SslSwitch:
        """Set enable_ssl: what the files say afterwards."""

    def drain(self, timeout_s: float) -> bool:
        """Refuse new commands, end all watches, wait for the running command; whether it has ended."""


def _tell_nobody() -> None:
    return


class LocalNode:
    """This machine.

    Args:
        runner: Recovered.
        store: The sets.
        observer: Looks.
        hub: Tells.
        candidates: Judges what would be staged.
        ended: Told when a transaction has ended here, or a step to its end was taken.
    """

    def __init__(
        self,
        runner: Runner,
        store: Store,
        observer: Observer,
        hub: Hub,
        candidates: CandidateJudge,
        ended: Callable[[], None] = _tell_nobody,
    ) -> None:
        self._ended = ended
        self._runner = runner
        self._store = store
        self._observer = observer
        self._hub = hub
        self._candidates = candidates

    @property
    def in_transaction(self) -> bool:
        """Whether it takes part in one that has not ended here."""
        return self._runner.state.transaction is not None

    def report(self, *, preflight: bool) -> NodeReport:
        """What it is and holds."""
        return self._observer.report(preflight)

    def judge(self, source: Source, *, drop_crls: bool) -> JudgedSet:
        """What would be staged of a source now."""
        return self._candidates.judge(source, drop_crls=drop_crls)

    def expiry(self) -> ExpiryReport:
        """Every certificate of the live set."""
        return self._observer.expiry()

    def probe(self, *, query: bool, timeout_s: float) -> ProbeReport:
        """What each cm_server serves, seen from here."""
        return self._observer.probe(query, timeout_s)

    def watch(self) -> Subscription:
        """What happens from now on."""
        return self._hub.subscribe()

    def acquire(self, command: AcquireCommand, lease_s: float, is_active: IsActive) -> NodeReport:
        """Step 0."""
        self._runner.execute(command, Given(lease_s=lease_s), is_active=is_active)
        return self._observer.quick_report()

    def prepare(
        self, command: PrepareCommand, source: Source, is_active: IsActive, *, drop_crls: bool
    ) -> PreparedSet:
        """Step 1."""
        given = Given(material=Material(source, drop_crls))
        done = self._runner.execute(command, given, is_active=is_active)
        held = self._store.read_stage(command.transaction_id)
        if isinstance(source, LiveSet):
            held = self._store.read_live()
        return PreparedSet(describe_set(held), done.findings, done.overlap)

    def restart(self, command: Command, orders: RestartOrders, is_active: IsActive) -> None:
        """Steps 2, 4, 7 and 9."""
        self._runner.execute(command, Given(orders=orders), is_active=is_active)

    def move(self, command: Command, is_active: IsActive) -> CertificateSet:
        """Steps 3 and 8: the live set afterwards."""
        self._runner.execute(command, is_active=is_active)
        return describe_set(self._store.read_live())

    def end(self, command: Command, is_active: IsActive) -> None:
        """Steps 5, 6 and 10."""
        self._runner.execute(command, is_active=is_active)
        self._ended()

    def encrypt_live(
        self, request_id: str, server_password: str, client_password: str, is_active: IsActive
    ) -> CertificateSet:
        """Make the factor files of the live set anew: the live set afterwards."""
        self._runner.encrypt_live(request_id, server_password, client_password, is_active=is_active)
        return describe_set(self._store.read_live())

    def set_enable_ssl(self, request_id: str, wish: SslWish, is_active: IsActive) -> SslSwitch:
        """Set enable_ssl: what the files say afterwards."""
        return self._runner.set_enable_ssl(request_id, wish, is_active=is_active)

    def drain(self, timeout_s: float) -> bool:
        """Refuse new commands, end all watches, wait for the running command; whether it has ended."""
        self._hub.close()
        return self._runner.drain(timeout_s)


def transaction_report(runner: Runner, store: Store) -> TransactionReport:
    """The durable state as the node tells it, read beside a running command."""
    state, lease = runner.state, runner.lease
    held_since = lease.held_since
    report = TransactionReport(
        phase=state.phase,
        fence=state.fence,
        holder=state.holder,
        held_since=None if held_since is None else datetime.fromtimestamp(held_since, UTC),
        lease_left_s=lease.left_s,
        tombstones=state.tombstones,
    )
    transaction = state.transaction
    if transaction is None:
        return report
    return TransactionReport(
        transaction_id=transaction.transaction_id,
        phase=report.phase,
        fence=report.fence,
        holder=report.holder,
        held_since=report.held_since,
        lease_left_s=report.lease_left_s,
        participants=transaction.participants,
        excluded=transaction.excluded,
        joins=transaction.joins,
        begun_by=transaction.begun_by,
        old_digest=transaction.old_digest,
        new_digest=transaction.new_digest,
        live_state=_live_state(transaction, store),
        tombstones=report.tombstones,
        restart=transaction.restart,
        ssl_wish=transaction.ssl_wish,
        begun_at=datetime.fromtimestamp(transaction.begun_at, UTC),
        reached=state.reached,
    )


def _live_state(transaction: Transaction, store: Store) -> LiveState:
    """FOREIGN for one that cannot be read: a report without the transaction would look like a node that
    never took part."""
    try:
        return live_state(transaction, store.live_digest())
    except (NodeRefusal, NodeFailure):
        return live_state(transaction, None)
