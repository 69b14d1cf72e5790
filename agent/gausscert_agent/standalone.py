"""What an operator may ask of a node outside of a transaction. The runner lets it in only when no
transaction is in flight. Idempotent by the request's id."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gausscert_common import certset
from gausscert_common.bundle import Bundle
from gausscert_common.errors import InvalidInput, Reason
from gausscert_common.protocol.words import SslWish

from gausscert_agent import set_names
from gausscert_agent.staging import Material

if TYPE_CHECKING:
    from gausscert_common.findings import Finding
    from gausscert_common.model import SslSwitch

    from gausscert_agent.ledger import Ledger
    from gausscert_agent.restart import Restarter
    from gausscert_agent.ssl_switch import SslSwitcher
    from gausscert_agent.staging import StageBuilder
    from gausscert_agent.store import Store


class Standalone:
    """See the methods.

    Args:
        ledger: Remembers the ids of requests.
        store: The sets.
        builder: Builds stages.
        restarter: Knows whether CM has stopped.
        switcher: Sets enable_ssl.
    """

    def __init__(
        self,
        ledger: Ledger,
        store: Store,
        builder: StageBuilder,
        restarter: Restarter,
        switcher: SslSwitcher,
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._builder = builder
        self._restarter = restarter
        self._switcher = switcher

    def encrypt_live(
        self, request_id: str, server_password: str, client_password: str
    ) -> tuple[Finding, ...]:
        """Make the factor files of the live set anew: a whole new set with the same PEM files is
        staged, judged and exchanged; the former one is removed, for it differs in nothing else.

        Returns:
            Warnings; () for a repeat.

        Raises:
            NodeRefusal: NOT_STOPPED; NODE_UNFIT without a live set; SET_INVALID with all findings.
            NodeFailure: CM_CTL_FAILED, CM_CTL_TIMEOUT, STORE_FAILED, JOURNAL_FAILED.
            InvalidInput: ARGUMENT_INVALID, BUNDLE_INVALID.
        """
        set_names.stage_name(request_id)
        if request_id in self._ledger.record.requests:
            return ()
        self._restarter.require_stopped()
        live = self._store.need_live()
        self._ledger.begin_request(request_id)
        exchanging = ended = False
        try:
            names = (name for name in certset.BUNDLE_NAMES if name in live.files)
            pem: dict[str, bytes] = {name: live.files[name] for name in names}
            bundle = Bundle(pem, server_password=server_password, client_password=client_password)
            built = self._builder.build(request_id, Material(bundle))
            self._restarter.require_stopped()
            exchanging = True
            self._store.ensure_live(request_id, built.digest, live.digest)
            self._store.remove_stage(request_id)
            self._ledger.end_request(request_id)
            ended = True
        finally:
            if not ended:
                self._leave(request_id, exchanging=exchanging)
        return built.findings

    def set_enable_ssl(self, request_id: str, wish: SslWish) -> SslSwitch:
        """Set enable_ssl in both configuration files; it counts when CM starts next.

        Returns:
            What the files say afterwards.

        Raises:
            InvalidInput: ARGUMENT_INVALID; the wish is to keep what is.
            NodeRefusal: NODE_UNFIT; a file has no such line.
            NodeFailure: CM_CTL_FAILED, CM_CTL_TIMEOUT, CONF_FAILED, JOURNAL_FAILED.
        """
        set_names.stage_name(request_id)
        if wish is SslWish.KEEP:
            raise InvalidInput(Reason.ARGUMENT_INVALID, "enable_ssl is to be on or off")
        if request_id not in self._ledger.record.requests:
            self._switcher.require_settable(wish)
            self._ledger.activity("setting enable_ssl")
            self._switcher.apply(wish)
            self._ledger.end_request(request_id)
        return self._switcher.require_settable(SslWish.KEEP)

    def _leave(self, request_id: str, *, exchanging: bool) -> None:
        """An exchange that failed may not be durable: a power cut could bring the stage back as the live
        set. So it is removed by the next command, or the next agent, which syncs before it does."""
        if exchanging:
            self._ledger.distrust()
        else:
            self._store.remove_stage(request_id)
            self._ledger.forget_request()
