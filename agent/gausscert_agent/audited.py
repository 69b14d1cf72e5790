"""Which calls are written down in the audit log, and what of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gausscert_common import identity
from gausscert_common.auditing import Event
from gausscert_common.errors import Denied, InvalidInput, Reason
from gausscert_common.wire import enums

from gausscert_agent import peer
from gausscert_agent.peer import caller_of

if TYPE_CHECKING:
    from gausscert_common.auditing import Head
    from gausscert_common.errors import GausscertError
    from google.protobuf.message import Message

    from gausscert_agent.audit import AuditLog
    from gausscert_agent.peer import Peer

_READS: Final = frozenset(
    {
        f"{identity.HEALTH_SERVICE}/Check",
        f"{identity.HEALTH_SERVICE}/Watch",
        *(
            f"{identity.AGENT_SERVICE}/{method}"
            for method in ("GetNode", "Judge", "GetExpiry", "Probe", "WatchTransaction", "ReadAudit")
        ),
    }
)
"""Change nothing, and are written down only when somebody may not make them."""
_IN_OUTAGE: Final = frozenset({"Stop", "Swap", "Start", "Abort"})
"""What each of them takes is added to an outage (`audit`)."""
_MAX_ID: Final = 64
_MAX_PEER: Final = 80


def is_read(rpc: str) -> bool:
    """Whether `service/method` changes nothing."""
    return rpc in _READS


def audited(
    log: AuditLog,
    rpc: str,
    context: Peer,
    request: Message | None,
    error: GausscertError | None,
    *,
    asked: bool = False,
) -> Head | None:
    """Write a call down, if it is one of those.

    Args:
        log: Where to.
        rpc: `service/method`.
        context: Of the call.
        request: None where it has not come.
        error: What it was refused with, or failed with; None where it was carried out.
        asked: Whether `AuditLog.turned_away` has allowed it already.

    Returns:
        The line as a head; None where there is none.
    """
    refusal = isinstance(error, Denied)
    if is_read(rpc) and not refusal:
        return None
    turned_away = refusal or (error is not None and error.reason is Reason.BUSY)
    method = rpc.rpartition("/")[2]
    event = _event(method, context, request, "OK" if error is None else error.reason.value)
    durable = not turned_away and method not in _IN_OUTAGE
    return log.note(event, refusal=turned_away and not asked, durable=durable)


def _event(method: str, context: Peer, request: Message | None, outcome: str) -> Event:
    ref: Any = getattr(request, "ref", None)
    return Event(
        at="",
        who=_who(context),
        serial=_serial(context),
        peer=(context.peer() or "")[:_MAX_PEER],
        rpc=method,
        transaction=(getattr(request, "request_id", "") if ref is None else ref.transaction_id)[:_MAX_ID],
        epoch=0 if ref is None else ref.epoch,
        step="" if ref is None else _step(ref.step),
        outcome=outcome,
    )


def _who(context: Peer) -> str:
    try:
        return caller_of(context).uri
    except Denied:
        return ""


def _serial(context: Peer) -> str:
    try:
        return peer.numbers_of(context).serial
    except Denied:
        return ""


def _step(number: int) -> str:
    try:
        return enums.STEP.value(number).name
    except InvalidInput:
        return ""
