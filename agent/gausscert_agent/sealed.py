"""A node whose journal is damaged, or gone beside what a transaction has left: its agent serves what needs no
journal, and refuses everything else.

Nobody knows whether such a node takes part in a transaction, so no phase is told of it: `recover` would act
on a guess. An agent that did not serve at all would only look like a machine that is down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from gausscert_common.errors import NodeFailure

if TYPE_CHECKING:
    from gausscert_common.model import (
        CertificateSet,
        ExpiryReport,
        JudgedSet,
        NodeReport,
        PreparedSet,
        ProbeReport,
        SslSwitch,
    )
    from gausscert_common.protocol.commands import AcquireCommand, Command, PrepareCommand
    from gausscert_common.protocol.words import SslWish
    from gausscert_common.source import Source

    from gausscert_agent.node import IsActive
    from gausscert_agent.observe import Observer
    from gausscert_agent.restart import RestartOrders
    from gausscert_agent.watch import Subscription


class SealedNode:
    """Implements `node.Node`.

    Args:
        observer: Looks.
        damage: What the journal could not be read for; JOURNAL_DAMAGED.
    """

    def __init__(self, observer: Observer, damage: NodeFailure) -> None:
        self._observer = observer
        self._damage = damage

    @property
    def in_transaction(self) -> bool:
        """Nobody knows. True, so that everybody who may command anything is told of the journal."""
        return True

    def report(self, *, preflight: bool) -> NodeReport:
        """Refused: a report without the transaction would look like a node that never took part."""
        del preflight
        self._refuse()

    def judge(self, source: Source, *, drop_crls: bool) -> JudgedSet:
        """Refused."""
        del source, drop_crls
        self._refuse()

    def expiry(self) -> ExpiryReport:
        """Every certificate of the live set."""
        return self._observer.expiry()

    def probe(self, *, query: bool, timeout_s: float) -> ProbeReport:
        """What each cm_server serves, seen from here."""
        return self._observer.probe(query, timeout_s)

    def watch(self) -> Subscription:
        """Refused."""
        self._refuse()

    def acquire(self, command: AcquireCommand, lease_s: float, is_active: IsActive) -> NodeReport:
        """Refused."""
        del command, lease_s, is_active
        self._refuse()

    def prepare(
        self, command: PrepareCommand, source: Source, is_active: IsActive, *, drop_crls: bool
    ) -> PreparedSet:
        """Refused."""
        del command, source, is_active, drop_crls
        self._refuse()

    def restart(self, command: Command, orders: RestartOrders, is_active: IsActive) -> None:
        """Refused."""
        del command, orders, is_active
        self._refuse()

    def move(self, command: Command, is_active: IsActive) -> CertificateSet:
        """Refused."""
        del command, is_active
        self._refuse()

    def end(self, command: Command, is_active: IsActive) -> None:
        """Refused."""
        del command, is_active
        self._refuse()

    def encrypt_live(
        self, request_id: str, server_password: str, client_password: str, is_active: IsActive
    ) -> CertificateSet:
        """Refused."""
        del request_id, server_password, client_password, is_active
        self._refuse()

    def set_enable_ssl(self, request_id: str, wish: SslWish, is_active: IsActive) -> SslSwitch:
        """Refused."""
        del request_id, wish, is_active
        self._refuse()

    def drain(self, timeout_s: float) -> bool:
        """Nothing runs."""
        del timeout_s
        return True

    def _refuse(self) -> NoReturn:
        # Anew each time: errors are completed on their way out, and calls come side by side.
        damage = self._damage
        raise NodeFailure(damage.reason, damage.message, file=damage.file, remedy=damage.remedy)
