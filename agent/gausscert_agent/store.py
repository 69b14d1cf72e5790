"""The set on one node's disk: staged, made live, retired (design section 4).

The live set is replaced at one instant, in the way of the node's layout (`shelves`). `ensure_live`
ensures and never toggles; a live set that is neither the one nor the other is foreign and stays
untouched. Whatever decides about a set reads it from the disk.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from gausscert_common import certset
from gausscert_common.errors import NodeFailure, NodeRefusal, Reason
from gausscert_common.model import Layout

from gausscert_agent import (
    data_link,
    files,
    layout_probe,
    marks,
    retired_sets,
    set_names,
    set_on_disk,
    shelves,
    stage,
)
from gausscert_agent.files import Disk, store_errors
from gausscert_agent.retired_sets import Retired
from gausscert_agent.set_on_disk import SetOnDisk
from gausscert_agent.stage import Contents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gausscert_agent.config import CmSettings
    from gausscert_agent.layout_probe import LayoutProbe
    from gausscert_agent.shelves import Shelf

__all__ = ["Contents", "Retired", "SetOnDisk", "Store"]

_WRITABLE_BY_OTHERS: Final = 0o022

logger = logging.getLogger(__name__)


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
        self._parent = self._live_path.parent
        self._disk = disk or Disk()
        self._clock = clock
        self._probing = threading.Lock()

    @property
    def parent(self) -> Path:
        """`share/sslcert`."""
        return self._parent

    def read_live(self) -> SetOnDisk | None:
        """The live set, or None if there is none."""
        if not self._has_parent():
            return None
        with self._errors("read the live set"), files.opened(self.parent) as parent:
            return set_on_disk.read_live(parent)

    def live_digest(self) -> str:
        """The digest of the live set, `certset.ABSENT` if there is none."""
        live = self.read_live()
        return certset.ABSENT if live is None else live.digest

    def read_stage(self, transaction_id: str) -> SetOnDisk | None:
        """That of a transaction's two sets which is not live: before Swap the new one, after it the old."""
        set_names.stage_name(transaction_id)
        if not self._has_parent():
            return None
        with self._shelf("read the stage") as shelf:
            return set_on_disk.read_set(shelf.fd, shelf.beside(transaction_id))

    def stage_path(self, transaction_id: str) -> Path:
        """Where a transaction's stage is."""
        name = set_names.stage_name(transaction_id)
        with self._shelf("look for the stage") as shelf:
            return shelf.path / name

    def require_fit(self) -> None:
        """Make sure that nobody else can put something in the way of a new set.

        Asked before a set is staged only: a rule of the way forward never blocks a rollback.

        Raises:
            NodeRefusal: NODE_UNFIT; `share/sslcert` is missing, it or `cm` is not ours or others may write
                to it, or the live set holds what cannot be carried over.
        """
        with self._errors("look at share/sslcert"):
            try:
                with files.opened(self.parent) as parent:
                    self._require_ours(os.fstat(parent), self.parent)
            except (FileNotFoundError, NotADirectoryError):
                raise self._unfit(
                    "share/sslcert is not there", "check `home` in the agent's configuration"
                ) from None
        live = self.read_live()
        if live is None:
            return
        with self._errors("look at share/sslcert/cm"), files.opened(self._live_path) as directory:
            self._require_ours(os.fstat(directory), self._live_path)
        if live.strays:
            raise self._unfit(
                f"the live set holds what is no part of a set: {', '.join(live.strays)}",
                "move it out of share/sslcert/cm",
            )

    def make_room(self, transaction_id: str) -> None:
        """Before a set is staged: decide about the layout, and remove what an earlier try has left.

        With the data link layout the files of the live set become links here, for the first time or where
        somebody has put files in place of links. What is seen through them stays the same at every instant.

        Raises:
            NodeRefusal: NODE_UNFIT; no layout works here, or owner, ACL or label of the live set may not be
                copied.
        """
        self.remove_stage(transaction_id)
        with self._errors("try how a set can be swapped"), self._probing, files.opened(self.parent) as parent:
            probe = layout_probe.look(self._disk, parent)
        if probe.layout is None:
            raise self._unfit(
                f"the set cannot be swapped in one step here: {probe.cause}", "see gausscert plan"
            )
        if probe.layout is Layout.DATA_LINK:
            self._convert(set_names.stage_name(transaction_id))

    def write_stage(self, transaction_id: str, contents: Contents) -> None:
        """Write a new set beside the live one, with its owner, mode, ACL and label; durable.

        Raises:
            NodeRefusal: NODE_UNFIT; owner, ACL or label of the live set may not be copied.
        """
        name = set_names.stage_name(transaction_id)
        with self._shelf("write the stage") as shelf:
            # Before the stage, whose own sync of the shelf makes it durable.
            shelf.ready(transaction_id, contents.files)
            different = stage.write_set(self._disk, shelf.fd, name, contents, shelf.live)
        self._require_equal(different)

    def leave_mark(self, transaction_id: str) -> None:
        """Show, durably, that a transaction is here of which no set lies beside the live one (`marks`).

        Raises:
            NodeRefusal: NODE_UNFIT; the agent may not write there.
        """
        with self._shelf("leave the mark of a transaction") as shelf:
            refused = marks.leave(self._disk, shelf, transaction_id)
        if refused:
            raise self._unfit(
                f"no mark of the transaction can be left here: {refused}",
                "let the user that the agent runs as write there",
            )

    def remove_stage(self, transaction_id: str) -> None:
        """Remove what a transaction or request that keeps no former set leaves; success when there is
        nothing. Nothing may be in flight that needs it."""
        set_names.stage_name(transaction_id)
        if not self._has_parent():
            return
        with self._probing, self._shelf("remove the stage") as shelf:
            shelves.remove(self._disk, shelf.fd, shelf.leftovers(transaction_id))
            marks.remove(self._disk, shelf, transaction_id)
            # None of this is the transaction's, so it keeps no end of one back.
            for place in shelf.places:
                with _housekeeping():
                    shelves.remove(self._disk, place, set_names.PROBE)
            with _housekeeping():
                shelf.tidy()

    @contextmanager
    def scratch(self, transaction_id: str) -> Iterator[Path]:
        """A private, empty directory for cm_ctl encrypt, removed afterwards."""
        name = set_names.scratch_name(transaction_id)
        with self._shelf("make a scratch directory") as shelf:
            stage.remove_set(self._disk, shelf.fd, name)
            self._disk.make_directory(shelf.fd, name)
            path = shelf.path / name
        try:
            yield path
        finally:
            with self._shelf("remove the scratch directory") as shelf:
                stage.remove_set(self._disk, shelf.fd, name)

    def read_scratch(self, transaction_id: str) -> dict[str, bytes]:
        """What cm_ctl encrypt has written."""
        with self._shelf("read what cm_ctl encrypt wrote") as shelf:
            found = set_on_disk.read_set(shelf.fd, set_names.scratch_name(transaction_id))
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
        set_names.stage_name(transaction_id)
        live = self.live_digest()
        if live not in (wanted, other):
            raise shelves.foreign(self._live_path)
        with self._probing, self._shelf("make a set live") as shelf:
            if live != wanted:
                shelf.bring(transaction_id, wanted)
            # Always: whoever swapped them may have died before this.
            self._disk.sync(shelf.fd)

    def require_alike(self, transaction_id: str) -> None:
        """After Swap: the live set has owner, group, mode, ACL and label of the one before it.

        Raises:
            NodeFailure: STORE_FAILED; it has not.
        """
        with self._shelf("compare the live set with the former one") as shelf:
            live, former = shelf.live, shelf.beside(transaction_id)
            if live is None or live == former or not files.exists(shelf.fd, former):
                return
            different = stage.unlike(self._disk, shelf.fd, live, former)
        if different:
            raise NodeFailure(
                Reason.STORE_FAILED,
                f"the new set is not like the former one: {'; '.join(different)}",
                file=str(self._live_path),
                remedy="somebody changed owner, mode, ACL or label since Prepare; roll back and begin anew",
            )

    def need_live(self) -> SetOnDisk:
        """The live set, where there must be one.

        Raises:
            NodeRefusal: NODE_UNFIT; there is none.
            NodeFailure: STORE_FAILED.
        """
        live = self.read_live()
        if live is None:
            raise NodeRefusal(
                Reason.NODE_UNFIT,
                "there is no live set",
                file=str(self._live_path),
                remedy="install one with gausscert replace",
            )
        return live

    def retire(self, transaction_id: str, *, expected: str, generation: str = "") -> None:
        """After Commit: keep the former set as a generation. Repeating it is success.

        Args:
            transaction_id: Whose former set it is.
            expected: Digest of the former set, `certset.ABSENT` if there was none.
            generation: Its name as a generation; "" for the transaction's, which it also gets where there is
                one of that name already: a node may have to join the same transaction again.

        Raises:
            NodeRefusal: FOREIGN_SET; there is something else in its place; nothing was touched.
        """
        with self._shelf("retire the former set") as shelf:
            former = shelf.former(transaction_id, expected)
            name = set_names.retired_name(generation or transaction_id)
            if any(files.exists(place, name) for place in shelf.places):
                name = set_names.retired_name(transaction_id)
            if former is not None:
                with files.opened(former, shelf.fd) as directory:
                    self._disk.stamp(directory, self._stamp(shelf))
                    self._disk.sync(directory)
                self._disk.move(shelf.fd, former, name)
            # Always: whoever moved it may have died before this.
            self._disk.sync(shelf.fd)

    def prune(self, keep: int) -> None:
        """Give up all but the newest generations, and what nothing needs; not while a transaction is in
        flight.

        What cannot be removed is logged, left, and tried again next time: it must keep nothing in doubt.

        Args:
            keep: How many former sets there may be.
        """
        with self._probing, _housekeeping(), self._opened() as shelf:
            surplus = retired_sets.find(shelf.places)[keep:]
            for kept in surplus:
                self._give_up(kept)
            for place in shelf.places:
                if any(kept.place == place for kept in surplus):
                    # Before a file goes: a power cut must not leave half a set under a generation's name.
                    self._disk.sync(place)
            for place in shelf.places:
                self._remove_given_up(place)
            shelf.tidy()

    def retired(self) -> list[Retired]:
        """The former sets that are kept, newest first."""
        if not self._has_parent():
            return []
        with self._shelf("read the retired sets") as shelf:
            found = [retired_sets.read(kept) for kept in retired_sets.find(shelf.places)]
        return [one for one in found if one is not None]

    def read_retired(self, generation: str) -> SetOnDisk:
        """One of the former sets that are kept.

        Raises:
            NodeRefusal: GENERATION_UNKNOWN; there is none of that name. NODE_UNFIT; it is not ours, or others
                may write to it: what was live once may have been changed since.
        """
        set_names.retired_name(generation)
        if not self._has_parent():
            raise retired_sets.unknown(generation)
        with self._shelf("read a retired set") as shelf:
            found = retired_sets.find(shelf.places)
            kept = next((each for each in found if each.generation == generation), None)
            if kept is None:
                raise retired_sets.unknown(generation)
            with files.opened(kept.name, kept.place) as directory:
                where = shelf.path if kept.place == shelf.fd else self.parent
                self._require_ours(os.fstat(directory), where / kept.name)
            retired = retired_sets.read(kept)
        if retired is None:
            raise retired_sets.unknown(generation)
        return retired.contents

    def sync(self) -> None:
        """Make durable whatever a predecessor swapped before it died."""
        if not self._has_parent():
            return
        with self._shelf("sync the live set") as shelf:
            self._disk.sync(shelf.fd)

    def unretired(self) -> list[str]:
        """What shows that a transaction has not ended here: the directories of sets that are neither live nor
        retired (stages, and former sets that nobody has given up), and marks."""
        if not self._has_parent():
            return []
        with self._shelf("look for stages") as shelf:
            found = [each.name for each in files.entries(shelf.fd) if each.is_dir(follow_symlinks=False)]
            sets = [name for name in found if set_names.is_set(name) and name != shelf.live]
            return sorted({*sets, *marks.find(shelf)})

    def probe_layout(self) -> LayoutProbe:
        """How the live set can be swapped here, found out without changing what is seen of it."""
        with self._probing:
            return layout_probe.probe(self._disk, self.parent)

    def _convert(self, stage_name: str) -> None:
        """From here on the shelf is `cm`; what is on it and not live is of no use to anybody."""
        live = self.read_live()
        if live is None:
            raise self._unfit("there is no directory for links", f"mkdir -m 700 {self._live_path}")
        with (
            self._errors("make links of the live set"),
            files.opened(self._live_path) as directory,
            files.inside(set_names.LIVE),
        ):
            different = data_link.convert(self._disk, directory, live, needed=stage_name)
        self._require_equal(different)
        with self._shelf("remove what an earlier try has left") as shelf:
            shelves.remove(self._disk, shelf.fd, data_link.not_live(shelf.fd))

    def _require_equal(self, different: tuple[str, ...]) -> None:
        if different:
            raise self._unfit(
                f"a set cannot be made like the live one: {'; '.join(different)}",
                "run the agent as the owner of the live set, in its group; see to its ACL and label",
            )

    def _stamp(self, shelf: Shelf) -> float:
        """Now, but later than every generation: their order is that of their retirement even where the
        clock was set back."""
        newest = next((kept.at for kept in retired_sets.find(shelf.places)), None)
        return self._clock() if newest is None else max(self._clock(), newest + 1)

    def _give_up(self, kept: retired_sets.Kept) -> None:
        """A set is renamed before its files go: a removal cut short is never taken for a set."""
        with _housekeeping():
            self._disk.move(kept.place, kept.name, set_names.gone_name(kept.generation))

    def _remove_given_up(self, place: int) -> None:
        """And marks, and what is left of a probe whose end a power cut took away. Not synced: what comes back
        after another one has a name of its own, and goes next time."""
        for name in os.listdir(place):
            if set_names.is_gone(name) or set_names.is_mark(name) or name in set_names.PROBE:
                with _housekeeping():
                    stage.remove_set(self._disk, place, name)

    def _has_parent(self) -> bool:
        with self._errors("look at share/sslcert"):
            return self.parent.is_dir()

    @contextmanager
    def _shelf(self, what: str) -> Iterator[Shelf]:
        with self._errors(what), self._opened() as shelf:
            yield shelf

    @contextmanager
    def _opened(self) -> Iterator[Shelf]:
        with files.opened(self.parent) as parent, shelves.opened(self._disk, parent, self.parent) as shelf:
            yield shelf

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        with store_errors(what, self.parent):
            yield

    def _require_ours(self, status: os.stat_result, path: Path) -> None:
        if status.st_uid != os.geteuid():
            raise self._unfit(
                f"{path} belongs to user {status.st_uid}, the agent runs as {os.geteuid()}",
                "run the agent as the OS user that owns CM",
            )
        if stat.S_IMODE(status.st_mode) & _WRITABLE_BY_OTHERS:
            raise self._unfit(
                f"{path} has mode {stat.S_IMODE(status.st_mode):04o}: others may write to it",
                f"chmod go-w {path}",
            )

    def _unfit(self, message: str, remedy: str) -> NodeRefusal:
        return NodeRefusal(Reason.NODE_UNFIT, message, file=str(self.parent), remedy=remedy)


@contextmanager
def _housekeeping() -> Iterator[None]:
    """What fails here is told, and tried again when the next set is retired; what is gone is no failure."""
    try:
        yield
    except FileNotFoundError:
        return
    except OSError as error:
        logger.warning(
            "a former set cannot be removed",
            extra={"file": files.printable(str(error.filename)), "cause": error.strerror or str(error)},
        )
