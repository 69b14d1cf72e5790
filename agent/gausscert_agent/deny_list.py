"""The agent's deny list: `deny.list` in its state directory, looked at on every call.

A list that cannot be read or understood might deny anybody, so then nobody is let in, and the agent's health
says so. No file means that nobody is denied.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
from typing import TYPE_CHECKING, Final

from gausscert_common import denylist
from gausscert_common.denylist import DenyList
from gausscert_common.errors import Denied, InvalidInput, Reason

from gausscert_agent import files
from gausscert_agent.files import Disk

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from gausscert_common.findings import Finding

    from gausscert_agent.peer import Numbers

logger = logging.getLogger(__name__)

FILE: Final = "deny.list"
_NEW: Final = "deny.list.new"
_MODE: Final = 0o600
_FOR_OTHERS_TO_WRITE: Final = 0o022
_HEADER: Final = "# certificates of the control plane that may call nothing here; see gausscert pki revoke\n"


class DenyListFile:
    """See the module; may be used from any thread.

    Args:
        state_dir: The agent's own directory.
    """

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self.path = state_dir / FILE
        self._lock = threading.Lock()
        self._stamp: tuple[int, ...] | None = None
        self._list = DenyList()
        self._trouble = ""

    def check(self, who: Numbers) -> None:
        """Refuse a certificate that is on the list.

        Raises:
            Denied: REVOKED; DENY_LIST_UNUSABLE: nobody knows who is on it.
        """
        found = self._current()
        if found.holds(who.serial, who.fingerprint):
            raise Denied(
                Reason.REVOKED,
                f"the credential with serial {who.serial} is revoked here",
                file=str(self.path),
                remedy="use another credential; whoever has the control plane's CA can issue one",
            )

    def add(self, entries: Iterable[denylist.Denied]) -> tuple[int, int]:
        """Put certificates on the list, durably; those that are on it stay as they are.

        Returns:
            How many were added, and how many there are.

        Raises:
            Denied: DENY_LIST_UNUSABLE: the list that is there must be mended first.
            InvalidInput: DENY_LIST_INVALID: it would become too long.
            NodeFailure: STORE_FAILED.
        """
        with self._lock:
            known = self._load()
            new = known.lacks(entries)
            if new:
                self._write("".join(f"{one.line}\n" for one in new))
                self._load()
            return len(new), len(known.entries) + len(new)

    def findings(self) -> tuple[Finding, ...]:
        """What is to be said of it: () where it can be used. Never raises."""
        try:
            self._current()
        except Denied:
            from gausscert_agent.node_findings import node_finding

            return (node_finding("NODE_DENY_LIST_UNUSABLE", self._trouble, file=str(self.path)),)
        return ()

    def _current(self) -> DenyList:
        with self._lock:
            return self._load()

    def _load(self) -> DenyList:
        stamp = self._stamp_now()
        if stamp != self._stamp:
            before = self._trouble
            self._trouble, lasting = self._read()
            self._stamp = stamp if lasting else None
            self._tell(before)
        if self._trouble:
            raise Denied(
                Reason.DENY_LIST_UNUSABLE,
                f"nobody is let in while the deny list cannot be used: {self._trouble}",
                file=str(self.path),
                remedy="mend that file on the node; no restart is needed",
            )
        return self._list

    def _read(self) -> tuple[str, bool]:
        """Take what the file says; answers what is wrong with it, and whether that stays while the file does:
        not so where the system failed, which may have had no descriptor left."""
        try:
            with files.opened(self._state_dir) as directory:
                return self._read_in(directory), True
        except OSError as error:
            return f"it cannot be read: {error.strerror}", False

    def _read_in(self, directory: int) -> str:
        try:
            with files.opened_file(directory, FILE) as opened:
                status = os.fstat(opened)
                if not stat.S_ISREG(status.st_mode):
                    return "it is no regular file"
                if status.st_mode & _FOR_OTHERS_TO_WRITE:
                    return f"others may write to it (mode {stat.S_IMODE(status.st_mode):04o})"
                if status.st_uid not in (0, os.geteuid()):
                    return f"it belongs to user id {status.st_uid}"
                self._list = denylist.read(files.read_all(opened, denylist.MAX_BYTES + 1))
        except FileNotFoundError:
            self._list = DenyList()
        except InvalidInput as error:
            return error.message
        return ""

    def _tell(self, before: str) -> None:
        fields = {"file": str(self.path), "entries": len(self._list.entries)}
        if self._trouble and self._trouble != before:
            logger.error(
                "the deny list cannot be used; nobody is let in", extra=fields | {"cause": self._trouble}
            )
        elif not self._trouble and (before or self._list.entries):
            logger.info("deny list loaded", extra=fields)

    def _stamp_now(self) -> tuple[int, ...]:
        try:
            status = os.stat(self.path, follow_symlinks=False)
        except FileNotFoundError:
            return (0,)
        except OSError as error:
            return (-1, error.errno or 0)
        return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns

    def _write(self, lines: str) -> None:
        disk = Disk()
        with (
            files.store_errors(
                "keep the deny list",
                self._state_dir,
                "run the same gausscert pki revoke again",
            ),
            files.opened(self._state_dir) as directory,
        ):
            former = _HEADER
            if files.exists(directory, FILE):
                with files.opened_file(directory, FILE) as opened:
                    former = files.read_all(opened, denylist.MAX_BYTES).decode()
            body = f"{former}{'' if former.endswith(chr(10)) else chr(10)}{lines}".encode()
            self._judge(body)
            files.write_anew(disk, directory, _NEW, body, _MODE)
            disk.replace(directory, _NEW, FILE)
            disk.sync(directory)

    def _judge(self, body: bytes) -> None:
        """Before it counts."""
        try:
            denylist.read(body)
        except InvalidInput as error:
            error.file = str(self.path)
            raise
