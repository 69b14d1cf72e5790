"""The set on one node's disk: staged, made live, retired (design section 4).

The live set is replaced by one exchange of two whole directories, so that it is one whole set at
every instant. `ensure_live` ensures and never toggles; a live set that is neither the one nor the
other is foreign and stays untouched. Whatever decides about a set reads it from the disk.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from gausscert_common import certset
from gausscert_common.errors import NodeFailure, NodeRefusal, Reason

from gausscert_agent import exchange_probe, files, stage
from gausscert_agent.files import Disk, store_errors
from gausscert_agent.stage import Contents, SetOnDisk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gausscert_agent.config import CmSettings
    from gausscert_agent.exchange_probe import ExchangeProbe

__all__ = ["Contents", "Retired", "SetOnDisk", "Store"]

_WRITABLE_BY_OTHERS: Final = 0o022

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Retired:
    """A former set that is kept."""

    generation: str
    """The transaction that retired it."""
    retired_at: float
    """Seconds since the epoch, by the node's clock."""
    contents: SetOnDisk = field(repr=False)


class Store:
    """The sets of one node. Not for several threads at once, except for reading and probing.

    Args:
        settings: Where CM is.
        disk: Makes every change.
        clock: Seconds since the epoch.

    Every method raises NodeFailure STORE_FAILED when the disk fails, and NodeRefusal NODE_UNFIT when
    something that is no directory stands where a set should be.
    """

    def __init__(
        self, settings: CmSettings, *, disk: Disk | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._live_path = settings.set_directory
        self._disk = disk or Disk()
        self._clock = clock
        self._probing = threading.Lock()

    @property
    def parent(self) -> Path:
        """`share/sslcert`."""
        return self._live_path.parent

    def read_live(self) -> SetOnDisk | None:
        """The live set, or None if there is none."""
        return self._read(stage.LIVE, "read the live set")

    def live_digest(self) -> str:
        """The digest of the live set, `certset.ABSENT` if there is none."""
        live = self.read_live()
        return certset.ABSENT if live is None else live.digest

    def read_stage(self, transaction_id: str) -> SetOnDisk | None:
        """What lies in a transaction's stage: before Swap the new set, after it the old one."""
        return self._read(stage.stage_name(transaction_id), "read the stage")

    def stage_path(self, transaction_id: str) -> Path:
        """Where a transaction's stage is."""
        return self.parent / stage.stage_name(transaction_id)

    def require_fit(self) -> None:
        """Make sure that nobody else can put something in the way of a new set.

        Asked before a set is staged only: a rule of the way forward never blocks a rollback.

        Raises:
            NodeRefusal: NODE_UNFIT; `share/sslcert` is missing, not ours, or others may write to it,
                or the live set holds what cannot be carried over.
        """
        with self._errors("look at share/sslcert"):
            try:
                with files.opened(self.parent) as parent:
                    self._require_ours(os.fstat(parent))
            except (FileNotFoundError, NotADirectoryError):
                raise self._unfit(
                    "share/sslcert is not there", "check `home` in the agent's configuration"
                ) from None
        live = self.read_live()
        if live is not None and live.strays:
            raise self._unfit(
                f"the live set holds what is no part of a set: {', '.join(live.strays)}",
                "move it out of share/sslcert/cm",
            )

    def write_stage(self, transaction_id: str, contents: Contents) -> None:
        """Write a new set beside the live one, with its owner, mode, ACL and label; durable.

        Raises:
            NodeRefusal: NODE_UNFIT; owner, ACL or label of the live set may not be copied.
        """
        with self._parent("write the stage") as parent:
            name = stage.stage_name(transaction_id)
            different = stage.write_set(self._disk, parent, name, contents, stage.LIVE)
        if different:
            raise self._unfit(
                f"the stage cannot be made like the live set: {'; '.join(different)}",
                "run the agent as the owner of the live set, and see to its ACL and security label",
            )

    def remove_stage(self, transaction_id: str) -> None:
        """Remove a transaction's stage and its scratch directory; success when there are none."""
        names = (stage.scratch_name(transaction_id), stage.stage_name(transaction_id))
        if not self.parent.is_dir():
            return
        with self._parent("remove the stage") as parent:
            removed = [name for name in names if stage.remove_set(self._disk, parent, name)]
            if removed:
                self._disk.sync(parent)

    @contextmanager
    def scratch(self, transaction_id: str) -> Iterator[Path]:
        """A private, empty directory for cm_ctl encrypt, removed afterwards."""
        name = stage.scratch_name(transaction_id)
        with self._parent("make a scratch directory") as parent:
            stage.remove_set(self._disk, parent, name)
            self._disk.make_directory(parent, name)
        try:
            yield self.parent / name
        finally:
            with self._parent("remove the scratch directory") as parent:
                stage.remove_set(self._disk, parent, name)

    def read_scratch(self, transaction_id: str) -> dict[str, bytes]:
        """What cm_ctl encrypt has written."""
        found = self._read(stage.scratch_name(transaction_id), "read what cm_ctl encrypt wrote")
        return {} if found is None else found.files

    def ensure_live(self, transaction_id: str, wanted: str, other: str) -> None:
        """Ensure that the wanted set is live, durably; never toggle.

        Args:
            transaction_id: Whose stage holds the one of the two that is not live.
            wanted: Digest of the set to be live; `certset.ABSENT` for none.
            other: Digest of the only set that may be live instead.

        Raises:
            NodeRefusal: FOREIGN_SET; another set is live; nothing was touched.
            NodeFailure: STORE_FAILED; the stage does not hold the wanted set, nothing was touched; or
                the disk failed.
        """
        with self._parent("make a set live") as parent:
            live = stage.digest_of(parent, stage.LIVE)
            if live not in (wanted, other):
                raise self._foreign()
            if live != wanted:
                self._bring(parent, stage.stage_name(transaction_id), wanted, other)
            # Always: whoever exchanged them may have died before this.
            self._disk.sync(parent)

    def require_alike(self, transaction_id: str) -> None:
        """After an exchange: the live set has owner, mode, ACL and label of the one before it.

        Raises:
            NodeFailure: STORE_FAILED; it has not.
        """
        name = stage.stage_name(transaction_id)
        with self._parent("compare the live set with the former one") as parent:
            if not (files.exists(parent, name) and files.exists(parent, stage.LIVE)):
                return
            different = stage.unlike(parent, stage.LIVE, name)
        if different:
            raise NodeFailure(
                Reason.STORE_FAILED,
                f"the new set is not like the former one: {'; '.join(different)}",
                file=str(self._live_path),
                remedy="somebody changed owner, mode, ACL or label since Prepare; roll back and begin anew",
            )

    def retire(self, transaction_id: str, keep: int, *, expected: str) -> None:
        """After Commit: keep the former set as a generation, and only the newest `keep` of them.

        Repeating it is success. An older generation that cannot be removed is logged and left: it must
        not keep a committed transaction in doubt.

        Args:
            transaction_id: Whose stage holds the former set.
            keep: How many former sets there may be, this one among them.
            expected: Digest of the former set, `certset.ABSENT` if there was none.

        Raises:
            NodeRefusal: FOREIGN_SET; the stage holds something else; nothing was touched.
        """
        name = stage.stage_name(transaction_id)
        with self._parent("retire the former set") as parent:
            found = stage.digest_of(parent, name)
            if found not in (certset.ABSENT, expected):
                raise self._foreign()
            if found != certset.ABSENT:
                with files.opened(name, parent) as former:
                    self._disk.stamp(former, self._stamp(parent))
                    self._disk.sync(former)
                self._disk.move(parent, name, stage.retired_name(transaction_id))
                self._disk.sync(parent)
            self._prune(parent, transaction_id, keep)

    def retired(self) -> list[Retired]:
        """The former sets that are kept, newest first."""
        if not self.parent.is_dir():
            return []
        with self._parent("read the retired sets") as parent:
            found = [self._read_retired(parent, generation) for _, generation in self._stamped(parent)]
        return [one for one in found if one is not None]

    def sync(self) -> None:
        """Make durable whatever a predecessor exchanged before it died."""
        if self.parent.is_dir():
            with self._parent("sync share/sslcert") as parent:
                self._disk.sync(parent)

    def probe_exchange(self) -> ExchangeProbe:
        """Whether the live set could be exchanged here, found out without touching it."""
        with self._probing:
            return exchange_probe.probe(self._disk, self.parent)

    def _bring(self, parent: int, name: str, wanted: str, other: str) -> None:
        if stage.digest_of(parent, name) != wanted:
            raise NodeFailure(
                Reason.STORE_FAILED,
                "the stage does not hold the set that is to be live; nothing was touched",
                file=str(self.parent / name),
                remedy="somebody changed the stage; put it back from a backup, or roll back",
            )
        if wanted == certset.ABSENT:
            self._disk.move(parent, stage.LIVE, name)
        elif other == certset.ABSENT:
            self._disk.move(parent, name, stage.LIVE)
        else:
            self._disk.exchange(parent, stage.LIVE, name)

    def _stamped(self, parent: int) -> list[tuple[float, str]]:
        """The generations with the stamps they got when they were retired, newest first."""
        stamped = []
        for name in os.listdir(parent):
            generation = stage.generation_of(name)
            if generation is not None:
                stamped.append((os.stat(name, dir_fd=parent, follow_symlinks=False).st_mtime, generation))
        return sorted(stamped, reverse=True)

    def _stamp(self, parent: int) -> float:
        """Now, but later than every generation: their order is that of their retirement even where the
        clock was set back."""
        newest = next((at for at, _ in self._stamped(parent)), None)
        return self._clock() if newest is None else max(self._clock(), newest + 1)

    def _prune(self, parent: int, own: str, keep: int) -> None:
        """A set is renamed before its files go: a removal cut short is never taken for a set."""
        with _housekeeping():
            older = [generation for _, generation in self._stamped(parent) if generation != own]
            for generation in [own, *older][keep:]:
                self._give_up(parent, generation)
            gone = [name for name in os.listdir(parent) if stage.is_gone(name)]
            for name in gone:
                with _housekeeping():
                    stage.remove_set(self._disk, parent, name)
            if gone:
                self._disk.sync(parent)

    def _give_up(self, parent: int, generation: str) -> None:
        name = stage.retired_name(generation)
        if files.exists(parent, name):
            with _housekeeping():
                self._disk.move(parent, name, stage.gone_name(generation))

    def _read_retired(self, parent: int, generation: str) -> Retired | None:
        name = stage.retired_name(generation)
        found = stage.read_set(parent, name)
        if found is None:
            return None
        at = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mtime
        return Retired(generation, at, found)

    def _read(self, name: str, what: str) -> SetOnDisk | None:
        with self._errors(what):
            if not self.parent.is_dir():
                return None
            with files.opened(self.parent) as parent:
                return stage.read_set(parent, name)

    @contextmanager
    def _parent(self, what: str) -> Iterator[int]:
        with self._errors(what), files.opened(self.parent) as parent:
            yield parent

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        with store_errors(what, self.parent):
            yield

    def _require_ours(self, status: os.stat_result) -> None:
        if status.st_uid != os.geteuid():
            raise self._unfit(
                f"share/sslcert belongs to user {status.st_uid}, the agent runs as {os.geteuid()}",
                "run the agent as the OS user that owns CM",
            )
        if stat.S_IMODE(status.st_mode) & _WRITABLE_BY_OTHERS:
            raise self._unfit(
                f"share/sslcert has mode {stat.S_IMODE(status.st_mode):04o}: others may write to it",
                f"chmod go-w {self.parent}",
            )

    def _unfit(self, message: str, remedy: str) -> NodeRefusal:
        return NodeRefusal(Reason.NODE_UNFIT, message, file=str(self.parent), remedy=remedy)

    def _foreign(self) -> NodeRefusal:
        return NodeRefusal(
            Reason.FOREIGN_SET,
            "is neither the old nor the new set of the transaction; nothing was touched",
            file=str(self._live_path),
            remedy="find out who changed it and put the old or the new set back",
        )


@contextmanager
def _housekeeping() -> Iterator[None]:
    """What fails here is told, and tried again when the next set is retired."""
    try:
        yield
    except OSError as error:
        logger.warning(
            "a former set cannot be removed",
            extra={"file": files.printable(str(error.filename)), "cause": error.strerror or str(error)},
        )
