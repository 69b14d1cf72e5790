"""What the log says of every call: who asked for what, and what came of it."""

from __future__ import annotations

import logging
import os
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from gausscert_common import identity
from gausscert_common.errors import Denied, NodeFailure, Reason

from gausscert_agent.logs import Sparing
from gausscert_agent.peer import caller_of

if TYPE_CHECKING:
    from gausscert_common.errors import GausscertError
    from google.protobuf.message import Message

    from gausscert_agent.peer import Peer

logger = logging.getLogger(__name__)

REFUSED: Final = 30
"""So many who may not call are told at once, and then one every `REFUSED_EVERY_S`: whoever asks a thousand
times a second must not make the journal drop what matters (RateLimitBurst= of journald.conf(5)). As many of
those for whom there is no slot: neither kind hides the other."""
REFUSED_EVERY_S: Final = 1.0
EACH: Final = 3
"""So many of each who may not call are told whatever the others do."""
_MAX_ID: Final = 64
_QUIET: Final = frozenset(
    {
        f"{identity.HEALTH_SERVICE}/Check",
        f"{identity.AGENT_SERVICE}/GetNode",
        f"{identity.AGENT_SERVICE}/GetExpiry",
        f"{identity.AGENT_SERVICE}/Probe",
    }
)
"""Monitoring calls these all day."""


@dataclass(slots=True)
class Call:
    """One call, for the log."""

    rpc: str
    context: Peer
    began: float
    request: Message | None = None
    """None while it has not come."""


class CallLog:
    """The node's record of everything that was asked of it."""

    def __init__(self) -> None:
        self._denied = Sparing(REFUSED, REFUSED_EVERY_S, each=EACH)
        self.turned_away = Sparing(REFUSED, REFUSED_EVERY_S)
        """For whom there is no slot."""

    def answered(self, call: Call) -> None:
        """It was carried out."""
        level = logging.DEBUG if call.rpc in _QUIET else logging.INFO
        logger.log(level, "call answered", extra=_fields(call, "ok"))

    def refused(self, call: Call, error: GausscertError) -> None:
        """It was refused, or has failed."""
        if isinstance(error, Denied):
            if self._denied.ask(_caller_text(call.context)):
                _tell_refused(call, error, self._denied.told())
        elif error.reason is Reason.BUSY:
            if self.turned_away.ask():
                self.tell_turned_away(call, error)
        else:
            _tell_refused(call, error)

    def tell_turned_away(self, call: Call, error: GausscertError) -> None:
        """There was no slot for it, and `turned_away` has allowed to say so."""
        _tell_refused(call, error, self.turned_away.told())


def _tell_refused(call: Call, error: GausscertError, left_out: int = 0) -> None:
    fields = {"cause": error.message} | ({"left_out": str(left_out)} if left_out else {})
    level = logging.WARNING if isinstance(error, NodeFailure | Denied) else logging.INFO
    logger.log(level, "call refused", extra=_fields(call, str(error.reason)) | fields)


def incident(rpc: str, error: Exception) -> str:
    """Log what nobody foresaw: where it happened, and of what kind, but never its text, which may hold
    whatever the code had at hand.

    Returns:
        What the line can be found by.
    """
    number = os.urandom(6).hex()
    where = [f"{f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(error.__traceback__)]
    fields = {
        "incident": number,
        "rpc": rpc,
        "exception": type(error).__name__,
        "where": " < ".join(where[::-1]),
    }
    if isinstance(error, OSError):
        fields["errno"] = str(error.errno)
    logger.error("unexpected exception", extra=fields)
    return number


def _fields(call: Call, result: str) -> dict[str, object]:
    return {
        "rpc": call.rpc.rpartition("/")[2],
        "caller": _caller_text(call.context),
        "duration_s": round(time.monotonic() - call.began, 3),
        "result": result,
        **_command_fields(call.request),
    }


def _command_fields(request: Message | None) -> dict[str, object]:
    """Which transaction and step. The request may not have been checked yet: nothing long is written."""
    ref: Any = getattr(request, "ref", None)
    if ref is None:
        return {}
    return {"transaction": ref.transaction_id[:_MAX_ID], "epoch": ref.epoch, "step": ref.step}


def _caller_text(context: Peer) -> str:
    try:
        return caller_of(context).uri
    except Denied:
        return "nobody"
