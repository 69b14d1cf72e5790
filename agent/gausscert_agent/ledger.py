"""The journal as the runner uses it: nothing is written twice, watchers hear of every change, and
after a failed write nothing in memory is believed until the record was read again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gausscert_common.errors import NodeFailure
from gausscert_common.model import WatchEvent

from gausscert_agent.journal_codec import REQUESTS_KEPT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gausscert_common.protocol.state import NodeState

    from gausscert_agent.journal import Journal
    from gausscert_agent.journal_codec import Record
    from gausscert_agent.watch import Hub


class Ledger:
    """What is durable, and who is told.

    Args:
        journal: The record.
        hub: Told of changes of phase and fence, and of activities.
        clock: Seconds since the epoch.
    """

    def __init__(self, journal: Journal, hub: Hub, clock: Callable[[], float]) -> None:
        self._journal = journal
        self._hub = hub
        self._clock = clock
        self._suspect = True

    @property
    def state(self) -> NodeState:
        """What was durable last."""
        return self._journal.record.node

    @property
    def record(self) -> Record:
        """The state, and what is journalled beside it."""
        return self._journal.record

    @property
    def suspect(self) -> bool:
        """Whether memory and disk may differ: nothing was loaded yet, or a write or an exchange failed."""
        return self._suspect

    def distrust(self) -> None:
        """What was done last may not be durable: settle before anything else is done."""
        self._suspect = True

    def load(self) -> NodeState:
        """Lock and read the record. What it says counts only once it was saved again: whoever wrote
        it may have died before it was durable.

        Raises:
            InvalidInput: CONFIG_INVALID; another agent has it.
            NodeFailure: JOURNAL_FAILED.
        """
        self._journal.lock()
        return self._journal.load()

    def require_empty(self, left: Sequence[str]) -> None:
        """Where there was no record to load, nothing may be left of a transaction or request: its promises
        would be forgotten, and a transaction in doubt would look as if it had never been here.

        Args:
            left: What is, for a person.

        Raises:
            NodeFailure: JOURNAL_DAMAGED; nothing was written in place of the record.
        """
        if self._journal.begins_anew and left:
            raise self._journal.gone("; ".join(left))

    def save(self, state: NodeState) -> None:
        """Make a state durable, if it is not already. Raises NodeFailure JOURNAL_FAILED."""
        if state != self.state or self._suspect:
            self._write(replace(self.record, node=state))

    def begin_request(self, request_id: str) -> None:
        """A request outside of a transaction is about to stage a set. Raises NodeFailure JOURNAL_FAILED."""
        self._write(replace(self.record, request_in_flight=request_id))

    def forget_request(self) -> None:
        """Nothing of a request is left on disk. Raises NodeFailure JOURNAL_FAILED."""
        if self.record.request_in_flight:
            self._write(replace(self.record, request_in_flight=""))

    def end_request(self, request_id: str) -> None:
        """A request outside of a transaction was carried out. Raises NodeFailure JOURNAL_FAILED."""
        requests = (request_id, *self.record.requests)[:REQUESTS_KEPT]
        self._write(replace(self.record, requests=requests, request_in_flight=""))

    def activity(self, text: str) -> None:
        """Tell watchers what is being done."""
        state = self.state
        transaction_id = state.transaction.transaction_id if state.transaction else ""
        at = datetime.fromtimestamp(self._clock(), UTC)
        self._hub.publish(WatchEvent(transaction_id, state.phase, state.fence, text, at))

    def close(self) -> None:
        """Give the lock back, end every watch."""
        self._hub.close()
        self._journal.close()
        self._suspect = True

    def _write(self, record: Record) -> None:
        before = self.state
        try:
            self._journal.save_record(record)
        except NodeFailure:
            self._suspect = True
            raise
        self._suspect = False
        if (before.phase, before.fence) != (record.node.phase, record.node.fence):
            self.activity("")
