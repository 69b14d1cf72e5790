"""`enable_ssl` of cm_server.conf and cm_agent.conf: read, set as wished, put back as it was.

Both must have the line, uncommented: `cm_ctl set` edits a commented one and reports success (facts
section 6). A file that is not there (cm_server.conf on a node without cm_server) is left out.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Literal

from gausscert_common.errors import NodeRefusal, Reason
from gausscert_common.model import SslSwitch, SslValue
from gausscert_common.protocol.state import SslSetting
from gausscert_common.protocol.words import SslWish

if TYPE_CHECKING:
    from gausscert_agent.ports import Cm

logger = logging.getLogger(__name__)

_VALUES: Final = {SslValue.ON: True, SslValue.OFF: False}
_WISHES: Final = {SslWish.ON: True, SslWish.OFF: False}


def setting_of(switch: SslSwitch) -> SslSetting:
    """What the files say, as it is journalled."""
    return SslSetting(server=_VALUES.get(switch.server), agent=_VALUES.get(switch.agent))


def require_settable(switch: SslSwitch, wish: SslWish) -> None:
    """Make sure that a wish can be carried out later.

    Raises:
        NodeRefusal: NODE_UNFIT; a file has no such line, or only a commented one.
    """
    if wish is SslWish.KEEP:
        return
    for file, value in (("cm_server.conf", switch.server), ("cm_agent.conf", switch.agent)):
        if value in (SslValue.MISSING, SslValue.COMMENTED):
            raise NodeRefusal(
                Reason.NODE_UNFIT,
                f"enable_ssl cannot be set: its line is {value}",
                file=file,
                remedy=f"write a line `enable_ssl = {wish}` into the file",
            )


def apply(cm: Cm, wish: SslWish) -> None:
    """Ensure what is wished, durably. Raises NodeFailure as `Cm.read_ssl`, `set_ssl` and `sync_conf`."""
    if wish is not SslWish.KEEP:
        _ensure(cm, cm.read_ssl(), SslSetting(_WISHES[wish], _WISHES[wish]))


def restore(cm: Cm, wish: SslWish, previous: SslSetting) -> None:
    """Ensure what was before a wish was carried out, durably; where nothing was wished nothing was changed.

    Both files had the line when the wish was accepted (`require_settable`). Where it is commented or gone
    now, somebody took it away since, and cm_ctl could not set it: the file stays as he left it, a warning
    says so, and the rollback goes on.

    Raises NodeFailure as `Cm.read_ssl`, `set_ssl` and `sync_conf`.
    """
    if wish is SslWish.KEEP:
        return
    switch = cm.read_ssl()
    server = _restorable("cm_server.conf", switch.server, previous.server)
    _ensure(cm, switch, SslSetting(server, _restorable("cm_agent.conf", switch.agent, previous.agent)))


def _restorable(file: str, value: SslValue, previous: bool | None) -> bool | None:
    if previous is None or value not in (SslValue.COMMENTED, SslValue.MISSING):
        return previous
    logger.warning(
        "enable_ssl cannot be restored: its line was taken away since Prepare",
        extra={"file": file, "value": value, "previous": previous},
    )
    return None


def _ensure(cm: Cm, switch: SslSwitch, wanted: SslSetting) -> None:
    _ensure_one(cm, "server", switch.server, wanted.server)
    _ensure_one(cm, "agent", switch.agent, wanted.agent)


def _ensure_one(cm: Cm, component: Literal["server", "agent"], value: SslValue, wanted: bool | None) -> None:
    if wanted is None or value is SslValue.ABSENT:
        return
    if _VALUES.get(value) is not wanted:
        cm.set_ssl(component, wanted)
    # Also what says so already: whoever wrote it may have died, or lost power, before it reached the disk.
    cm.sync_conf(component)
