"""What is written of those for whom there was no slot."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from gausscert_agent.attendant import Attendant
from gausscert_agent.audited import audited, is_read
from gausscert_agent.call_log import incident
from gausscert_agent.peer import Remembered

if TYPE_CHECKING:
    from gausscert_common.errors import GausscertError

    from gausscert_agent.audit import AuditLog
    from gausscert_agent.call_log import Call, CallLog

MOST: Final = 64
"""So many wait to be written, of which there are never more unless somebody hangs."""
CLOSING_S: Final = 2.0


class _Line(NamedTuple):
    call: Call
    logged: bool
    audited: bool


class TurnedAway:
    """Writes into log and audit log who was turned away, in a thread of its own: all of them are told by one
    (`admission.Door`), which must wait for no disk and for nobody who reads the log. What cannot be written
    in time is counted.

    Args:
        log: The node's log of calls.
        audit: Its audit log.
        refusal: What all of them were told.
    """

    def __init__(self, log: CallLog, audit: AuditLog, refusal: GausscertError) -> None:
        self._log = log
        self._audit = audit
        self._refusal = refusal
        self._lines: deque[_Line] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._attendant = Attendant("gausscert-turned-away", self._attend)

    def note(self, call: Call) -> None:
        """Write it down, if it is one of the few that are. Waits for nobody."""
        logged = self._log.turned_away.ask()
        is_audited = not is_read(call.rpc) and self._audit.turned_away.ask()
        if not (logged or is_audited):
            return
        with self._changed:
            if len(self._lines) < MOST and self._is_attended():
                call = replace(call, context=Remembered(call.context))
                self._lines.append(_Line(call, logged, is_audited))
                self._changed.notify()
                return
        self._log.turned_away.leave_out(logged)
        self._audit.turned_away.leave_out(is_audited)

    def close(self) -> None:
        """Write what waits, unless somebody hangs."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._attendant.join(CLOSING_S)

    def _is_attended(self) -> bool:
        return not self._closing and self._attendant.is_there()

    def _attend(self) -> None:
        while (line := self._next()) is not None:
            try:
                self._write(line)
            except Exception as error:  # noqa: BLE001 - the outermost loop of this thread
                incident(line.call.rpc, error)

    def _next(self) -> _Line | None:
        with self._changed:
            self._changed.wait_for(lambda: self._lines or self._closing)
            return self._lines.popleft() if self._lines else None

    def _write(self, line: _Line) -> None:
        call = line.call
        if line.logged:
            self._log.tell_turned_away(call, self._refusal)
        if line.audited:
            audited(self._audit, call.rpc, call.context, None, self._refusal, asked=True)
