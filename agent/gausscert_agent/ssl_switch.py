"""`enable_ssl` of cm_server.conf and cm_agent.conf: set as wished, put back as it was.

Both must have the line once and uncommented: `cm_ctl set` edits a commented one and reports success, and of
two it changes the one that CM does not read (facts section 6). A file that is not there (cm_server.conf
on a node without cm_server) is left out.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from gausscert_common.errors import NodeFailure, NodeRefusal, Reason
from gausscert_common.model import SslSwitch, SslValue
from gausscert_common.protocol.state import SslSetting
from gausscert_common.protocol.words import SslWish

if TYPE_CHECKING:
    from collections.abc import Callable

    from gausscert_agent.alone import Alone
    from gausscert_agent.conf_copies import ConfCopies
    from gausscert_agent.drivers.conf_file import ConfFile
    from gausscert_agent.ports import Cm, Component

logger = logging.getLogger(__name__)

_VALUES: Final = {SslValue.ON: True, SslValue.OFF: False}
_WISHES: Final = {SslWish.ON: True, SslWish.OFF: False}


def setting_of(switch: SslSwitch) -> SslSetting:
    """What the files say, as it is journalled."""
    return SslSetting(server=_VALUES.get(switch.server), agent=_VALUES.get(switch.agent))


class SslSwitcher:
    """See the module.

    Args:
        cm: Reads and changes the files.
        copies: Keeps the files as they were before a transaction changed them.
        alone: Waits for cm_ctl of others.
    """

    def __init__(self, cm: Cm, copies: ConfCopies, alone: Alone) -> None:
        self._cm = cm
        self._alone = alone
        self._copies = copies

    def require_settable(self, wish: SslWish) -> SslSwitch:
        """What the files say now, made sure that a wish can be carried out later.

        Raises:
            NodeRefusal: NODE_UNFIT; a file has no line that `cm_ctl set` could change.
            NodeFailure: As `Cm.read_ssl` and `Cm.ssl_obstacle`.
        """
        switch = self._cm.read_ssl()
        if wish is SslWish.KEEP:
            return switch
        for component, value in _values(switch):
            if value in (SslValue.MISSING, SslValue.COMMENTED):
                raise _unfit(component, wish, f"its line is {value}")
            cause = "" if value is SslValue.ABSENT else self._cm.ssl_obstacle(component)
            if cause:
                raise _unfit(component, wish, cause)
        return switch

    def apply(self, wish: SslWish, transaction_id: str = "") -> None:
        """Ensure what is wished, durably.

        Args:
            wish: What.
            transaction_id: Whose rollback may want the files back; "" outside of a transaction.

        Raises:
            NodeFailure: As `Cm.read_ssl`, `read_conf`, `set_ssl` and `sync_conf`; STORE_FAILED;
                CM_CTL_TIMEOUT, somebody else's cm_ctl runs.
        """
        if wish is SslWish.KEEP:
            return
        for component, value in _values(self._cm.read_ssl()):
            if value is SslValue.ABSENT:
                continue
            if _VALUES.get(value) is not _WISHES[wish] and transaction_id:
                self._keep(transaction_id, component)
            self._ensure(component, value, _WISHES[wish], self._await_alone)

    def restore(self, transaction_id: str, wish: SslWish, previous: SslSetting) -> None:
        """Put the files back as they were before a wish was carried out, durably; where nothing was wished
        nothing was changed.

        To the byte, where nobody else has changed a file since. Else only the value is set, and a warning
        says so; and where the line is commented or gone now, cm_ctl could not set it: the file stays as it
        was left, and the rollback goes on.

        Raises:
            NodeFailure: As `Cm.read_ssl`, `restore_conf`, `set_ssl` and `sync_conf`.
        """
        if wish is SslWish.KEEP:
            return
        for component, value in _values(self._cm.read_ssl()):
            before = self._copy(transaction_id, component)
            odd = self._odd(component, value)
            if odd:
                _warn(f"cannot be restored: {odd}", component, value)
            elif before is None or not self._cm.restore_conf(component, before, _WISHES[wish]):
                if before is not None:
                    _warn("alone is restored: somebody has changed the file since Prepare", component, value)
                wanted = _of(previous, component)
                if wanted is not None:
                    self._ensure(component, value, wanted, self._alone.back)

    def _odd(self, component: Component, value: SslValue) -> str:
        """What somebody has done to a file since Prepare that keeps it from being set; it keeps no rollback
        back."""
        if value in (SslValue.COMMENTED, SslValue.MISSING):
            return "its line was taken away since Prepare"
        try:
            return self._cm.ssl_obstacle(component)
        except NodeFailure as failure:
            if failure.reason is not Reason.CONF_FAILED:
                raise
            return failure.message

    def unforgotten(self) -> list[str]:
        """The transactions that have changed the files, and of which copies are kept. Raises OSError."""
        return self._copies.owners()

    def forget(self) -> None:
        """Remove the copies, while no transaction needs one; what cannot be removed is left and told."""
        try:
            self._copies.drop_all()
        except OSError as error:
            logger.warning("a copy of CM's configuration cannot be removed", extra={"cause": str(error)})

    def _keep(self, transaction_id: str, component: Component) -> None:
        found = self._cm.read_conf(component)
        if found is not None:
            self._copies.keep(transaction_id, component, found)

    def _copy(self, transaction_id: str, component: Component) -> ConfFile | None:
        """A copy that is damaged must not block a rollback."""
        try:
            return self._copies.read(transaction_id, component)
        except NodeFailure as failure:
            logger.warning(failure.message, extra={"file": failure.file})
            return None

    def _await_alone(self) -> None:
        self._alone.amid("enable_ssl was not set")

    def _ensure(
        self, component: Component, value: SslValue, wanted: bool, await_alone: Callable[[], None]
    ) -> None:
        if value is SslValue.ABSENT:
            return
        if _VALUES.get(value) is not wanted:
            await_alone()
            self._cm.set_ssl(component, wanted)
        # Also what says so already: whoever wrote it may have died, or lost power, before it was durable.
        self._cm.sync_conf(component)


def _values(switch: SslSwitch) -> tuple[tuple[Component, SslValue], ...]:
    return ("server", switch.server), ("agent", switch.agent)


def _of(setting: SslSetting, component: Component) -> bool | None:
    return setting.server if component == "server" else setting.agent


def _warn(what: str, component: Component, value: SslValue) -> None:
    logger.warning("enable_ssl %s", what, extra={"file": f"cm_{component}.conf", "value": value})


def _unfit(component: Component, wish: SslWish, cause: str) -> NodeRefusal:
    return NodeRefusal(
        Reason.NODE_UNFIT,
        f"enable_ssl cannot be set: {cause}",
        file=f"cm_{component}.conf",
        remedy=f"see that the file has exactly one line `enable_ssl = {wish}`, or use --enable-ssl keep",
    )
