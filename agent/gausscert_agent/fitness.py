"""Whether the agent could do its job if it was asked to now: what its health says, and why.

Looked at only when somebody asks, and then at most once in `KEPT_S`: an idle agent does nothing for it.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING, Final

from gausscert_common.errors import GausscertError

from gausscert_agent.drivers.process_list import read_stat
from gausscert_agent.node_findings import node_finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gausscert_common.findings import Finding
    from gausscert_common.protocol.state import Operation

    from gausscert_agent.journal import Journal

logger = logging.getLogger(__name__)

KEPT_S: Final = 5.0

_CREDENTIAL: Final = frozenset({"NODE_CREDENTIAL_LAST_DAY", "NODE_CREDENTIAL_EXPIRED"})
"""Of what is said of the credential, what makes the agent unfit."""
_GONE: Final = frozenset("ZXx")
"""States of processes that have ended (proc(5))."""
_ROOM_BYTES: Final = 1 << 20
"""For the longest journal."""


class Fitness:
    """See the module.

    Args:
        state_dir: The agent's own directory.
        journal: Reads the record in it.
        cm_ctl: The program.
        credential: What is to be said of the agent's own credential.
        access: What is to be said of the deny list and of the audit log.
        orphan: A cm_ctl child that is journalled although no command runs.
        clock: Seconds, never set back.
    """

    def __init__(
        self,
        state_dir: Path,
        journal: Journal,
        cm_ctl: Path,
        *,
        credential: Callable[[], tuple[Finding, ...]],
        orphan: Callable[[], Operation | None],
        clock: Callable[[], float],
        access: Callable[[], tuple[Finding, ...]] = tuple,
    ) -> None:
        self._state_dir = state_dir
        self._journal = journal
        self._cm_ctl = cm_ctl
        self._credential = credential
        self._access = access
        self._orphan = orphan
        self._clock = clock
        self._lock = threading.Lock()
        self._found: tuple[Finding, ...] = ()
        self._credential_says: tuple[Finding, ...] = ()
        self._looked_at: float | None = None

    @property
    def fit(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.look()

    def look(self) -> tuple[Finding, ...]:
        """Everything that speaks against it. Never raises."""
        with self._lock:
            now = self._clock()
            if self._looked_at is None or now - self._looked_at >= KEPT_S:
                before, self._found = self._found, tuple(self._judge())
                self._looked_at = now
                _tell_change(before, self._found)
            return self._found

    def findings(self) -> tuple[Finding, ...]:
        """As `look`, and what is only worth knowing."""
        found = self.look()
        return tuple(dict.fromkeys((*found, *self._credential_says)))

    def _judge(self) -> Iterator[Finding]:
        yield from self._state()
        yield from self._record()
        self._credential_says = self._credential()
        yield from (one for one in self._credential_says if one.code in _CREDENTIAL)
        yield from self._access()
        if not _is_program(self._cm_ctl):
            yield node_finding("NODE_CM_CTL_MISSING", file=str(self._cm_ctl))
        operation = self._orphan()
        if operation is not None and _lives(operation):
            yield node_finding("NODE_ORPHAN", f"cm_ctl {operation.kind}, pid {operation.pid}")

    def _state(self) -> Iterator[Finding]:
        cause = ""
        try:
            room = os.statvfs(self._state_dir)
            if not os.access(self._state_dir, os.W_OK | os.X_OK, effective_ids=True):
                cause = "not writable for us"
            elif room.f_bavail * room.f_frsize < _ROOM_BYTES or (room.f_files and not room.f_favail):
                cause = "the file system is full"
        except OSError as error:
            cause = (error.strerror or str(error)).lower()
        if cause:
            yield node_finding("NODE_STATE_NOT_WRITABLE", cause, file=str(self._state_dir))

    def _record(self) -> Iterator[Finding]:
        cause = ""
        try:
            self._journal.load()
        except GausscertError as error:
            cause = error.message
        if not cause and not self._journal.path.exists():
            cause = "it is gone, though a starting agent writes one"
        if cause:
            yield node_finding("NODE_JOURNAL_DAMAGED", cause, file=str(self._journal.path))


def _is_program(path: Path) -> bool:
    """Not `Path.is_file`, which raises where a directory on the way is closed to us."""
    return os.path.isfile(path) and os.access(path, os.X_OK)


def _lives(operation: Operation) -> bool:
    found = read_stat(operation.pid)
    return found is not None and found.start_ticks == operation.start_ticks and found.state not in _GONE


def _tell_change(before: tuple[Finding, ...], after: tuple[Finding, ...]) -> None:
    """Red and green alike; what is wrong is told in full by the watch."""
    if bool(before) is not bool(after):
        codes = ", ".join(finding.code for finding in after)
        level = logging.ERROR if after else logging.INFO
        logger.log(level, "health: NOT_SERVING" if after else "health: SERVING", extra={"codes": codes})
