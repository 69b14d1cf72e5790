"""When the last transaction ended here, for whoever monitors the node. It informs only: nothing is decided by
it, and how the transaction ended is in the journal."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gausscert_agent import files
from gausscert_agent.files import Disk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gausscert_common.protocol.state import NodeState

logger = logging.getLogger(__name__)

FILE: Final = "last-end.json"
_NEW: Final = "last-end.json.new"
_MODE: Final = 0o600
_MAX_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class End:
    """One end."""

    transaction_id: str
    at: float
    """Seconds since the epoch, by the node's clock."""


class LastEnd:
    """The file in the agent's state directory.

    Args:
        state_dir: Locked by this agent.
        clock: Seconds since the epoch.
    """

    def __init__(self, state_dir: Path, clock: Callable[[], float]) -> None:
        self._state_dir = state_dir
        self._clock = clock
        self._end = self._read()

    def of(self, state: NodeState) -> End | None:
        """When the transaction ended that the journal has as its last; None if that was not noted."""
        newest = state.tombstones[0].transaction_id if state.tombstones else ""
        return self._end if self._end is not None and self._end.transaction_id == newest else None

    def note(self, state: NodeState) -> None:
        """Remember that what the journal has as its last transaction ended just now; harmless to repeat.
        Never raises: the command has been carried out, whatever becomes of this."""
        if not state.tombstones or self.of(state) is not None:
            return
        self._end = End(state.tombstones[0].transaction_id, self._clock())
        try:
            self._write(self._end)
        except OSError as error:
            logger.warning(
                "the time of a transaction's end cannot be noted",
                extra={"file": str(self._state_dir / FILE), "cause": error.strerror or str(error)},
            )

    def _read(self) -> End | None:
        try:
            with (
                files.opened(self._state_dir) as directory,
                files.opened_file(directory, FILE) as descriptor,
            ):
                found = json.loads(files.read_all(descriptor, _MAX_BYTES))
            return End(str(found["transaction_id"]), float(found["at"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _write(self, end: End) -> None:
        # Not synced: a power cut may cost the time of the last end, and nothing else.
        disk = Disk()
        with files.opened(self._state_dir) as directory:
            if files.exists(directory, _NEW):
                disk.unlink(directory, _NEW)
            descriptor = disk.create(directory, _NEW, _MODE)
            try:
                disk.write(
                    descriptor, json.dumps({"transaction_id": end.transaction_id, "at": end.at}).encode()
                )
            finally:
                os.close(descriptor)
            disk.replace(directory, _NEW, FILE)
