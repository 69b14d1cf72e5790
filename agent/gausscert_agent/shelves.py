"""Where the sets of a node lie, and how one of them becomes the live one: a shelf for each layout.

    exchange     the shelf is `share/sslcert`; `cm` and the stage beside it swap places
    data link    the shelf is `share/sslcert/cm`; `..data` names the set that is live

Which one it is the disk says: data link where there is a `..data` of ours.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Protocol

from gausscert_common import certset
from gausscert_common.errors import NodeFailure, NodeRefusal, Reason
from gausscert_common.model import Layout

from gausscert_agent import data_link, files, set_names, set_on_disk, stage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from gausscert_agent.files import Disk


class Shelf(Protocol):
    """An open directory in which sets lie. Every method raises OSError as the kernel says."""

    layout: Layout
    fd: int
    path: Path
    places: tuple[int, ...]
    """Every open directory in which generations may lie, the shelf itself first."""

    @property
    def live(self) -> str | None:
        """The directory in it that holds the live set; None if nothing is live."""

    def beside(self, transaction_id: str) -> str:
        """Before Swap the transaction's stage, after it the directory with the former set."""

    def ready(self, transaction_id: str, names: Iterable[str], /) -> None:
        """Make ready that a stage with files of these names can be made live."""

    def bring(self, transaction_id: str, wanted: str) -> None:
        """Make the set with that digest live in place of the other one of the transaction.

        Raises:
            NodeFailure: STORE_FAILED; there is no such set; nothing was touched.
        """

    def former(self, transaction_id: str, expected: str, /) -> str | None:
        """After Commit: the directory with the former set; None if it is no longer there.

        Raises:
            NodeRefusal: FOREIGN_SET; there is another set instead.
        """

    def leftovers(self, transaction_id: str) -> list[str]:
        """What a transaction or request that ends without a former set to keep leaves behind."""

    def tidy(self) -> None:
        """Remove what nothing in flight needs."""


class ExchangeShelf:
    """`share/sslcert`."""

    layout = Layout.EXCHANGE

    def __init__(self, disk: Disk, parent: int, path: Path) -> None:
        self._disk = disk
        self.fd = parent
        self.path = path
        self.places: tuple[int, ...] = (parent,)

    @property
    def live(self) -> str | None:
        """See `Shelf`."""
        return set_names.LIVE if files.exists(self.fd, set_names.LIVE) else None

    def beside(self, transaction_id: str) -> str:
        """See `Shelf`."""
        return set_names.stage_name(transaction_id)

    def ready(self, _transaction_id: str, _names: Iterable[str], /) -> None:
        """Nothing: the directory itself becomes the live one."""

    def bring(self, transaction_id: str, wanted: str) -> None:
        """See `Shelf`."""
        name = set_names.stage_name(transaction_id)
        if set_on_disk.digest_of(self.fd, name) != wanted:
            raise _not_there(self.path / name)
        if wanted == certset.ABSENT:
            self._disk.move(self.fd, set_names.LIVE, name)
        elif self.live is None:
            self._disk.move(self.fd, name, set_names.LIVE)
        else:
            self._disk.exchange(self.fd, set_names.LIVE, name)

    def former(self, transaction_id: str, expected: str, /) -> str | None:
        """See `Shelf`."""
        name = set_names.stage_name(transaction_id)
        found = set_on_disk.digest_of(self.fd, name)
        if found not in (certset.ABSENT, expected):
            raise foreign(self.path / name)
        return None if found == certset.ABSENT else name

    def leftovers(self, transaction_id: str) -> list[str]:
        """See `Shelf`."""
        return [set_names.scratch_name(transaction_id), set_names.stage_name(transaction_id)]

    def tidy(self) -> None:
        """A conversion that was cut short before there was a `..data` may have left a copy in `cm`."""
        try:
            with files.opened(set_names.LIVE, self.fd) as directory, files.inside(set_names.LIVE):
                data_link.tidy(self._disk, directory)
        except (FileNotFoundError, NotADirectoryError):
            return


class DataLinkShelf:
    """`share/sslcert/cm`. What was retired before there were links is left where it is, in `share/sslcert`:
    between the two nothing can be renamed where `cm` is a mount point."""

    layout = Layout.DATA_LINK

    def __init__(self, disk: Disk, directory: int, parent: int, path: Path) -> None:
        self._disk = disk
        self.fd = directory
        self.path = path
        self.places: tuple[int, ...] = (directory, parent)

    @property
    def live(self) -> str | None:
        """See `Shelf`."""
        return set_on_disk.linked(self.fd)

    def beside(self, transaction_id: str) -> str:
        """See `Shelf`."""
        name = set_names.stage_name(transaction_id)
        if self.live != name:
            return name
        return next(iter(data_link.not_live(self.fd)), name)

    def ready(self, transaction_id: str, names: Iterable[str], /) -> None:
        """See `Shelf`."""
        data_link.add_links(self._disk, self.fd, names)
        data_link.make_ready(self._disk, self.fd, set_names.stage_name(transaction_id))

    def bring(self, transaction_id: str, wanted: str) -> None:
        """See `Shelf`. Somebody may have put files in place of the links since Prepare, with the same
        content: a swap of `..data` alone would then leave these behind."""
        found = data_link.find(self.fd, wanted, set_names.stage_name(transaction_id))
        if found is None:
            raise _not_there(self.path / set_names.stage_name(transaction_id))
        name, contents = found
        live = set_on_disk.read_seen(self.fd)
        converted = not data_link.is_converted(self.fd, live)
        if converted:
            data_link.convert(self._disk, self.fd, live)
            if not data_link.is_converted(self.fd, live):
                raise self._not_links()
        added = data_link.add_links(self._disk, self.fd, contents.files)
        data_link.point(self._disk, self.fd, name, unsynced=converted or added)
        if set_on_disk.read_seen(self.fd).digest != wanted:
            raise self._not_links()

    def former(self, _transaction_id: str, expected: str, /) -> str | None:
        """See `Shelf`."""
        beside = data_link.not_live(self.fd)
        for name in beside:
            if set_on_disk.digest_of(self.fd, name) == expected:
                return name
        if beside:
            raise foreign(self.path / beside[0])
        return None

    def leftovers(self, transaction_id: str) -> list[str]:
        """See `Shelf`. Where the stage is live, it is the former set that is not kept."""
        own = set_names.stage_name(transaction_id)
        stages = data_link.not_live(self.fd) if self.live == own else [own]
        return [set_names.scratch_name(transaction_id), *stages]

    def tidy(self) -> None:
        """See `Shelf`."""
        data_link.tidy(self._disk, self.fd)

    def _not_links(self) -> NodeFailure:
        return NodeFailure(
            Reason.STORE_FAILED,
            "the files of the live set are no longer all links through ..data, and cannot be made so",
            file=str(self.path),
            remedy="find out who writes there, see to its files, then run gausscert recover",
        )


def foreign(file: Path) -> NodeRefusal:
    """What is neither the old nor the new set, and is not touched."""
    return NodeRefusal(
        Reason.FOREIGN_SET,
        "is neither the old nor the new set of the transaction; nothing was touched",
        file=str(file),
        remedy="find out who changed it and put the old or the new set back",
    )


@contextmanager
def opened(disk: Disk, parent: int, path: Path) -> Iterator[Shelf]:
    """The shelf of the layout that is in use.

    Args:
        disk: Makes every change.
        parent: The open `share/sslcert`.
        path: Its path, for messages.
    """
    with ExitStack() as stack:
        directory = _open_live(stack, parent)
        if directory is None or set_on_disk.linked(directory) is None:
            yield ExchangeShelf(disk, parent, path)
            return
        stack.enter_context(files.inside(set_names.LIVE))
        yield DataLinkShelf(disk, directory, parent, path / set_names.LIVE)


def _open_live(stack: ExitStack, parent: int) -> int | None:
    """None, too, for what is no directory or may not be opened: whoever reads the live set says so, and
    nobody else is to be kept back by it."""
    try:
        return stack.enter_context(files.opened(set_names.LIVE, parent))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None


def _not_there(file: Path) -> NodeFailure:
    return NodeFailure(
        Reason.STORE_FAILED,
        "the stage does not hold the set that is to be live; nothing was touched",
        file=str(file),
        remedy="somebody changed the stage; put it back from a backup, or roll back",
    )


def remove(disk: Disk, place: int, names: Iterable[str]) -> None:
    """Remove directories in an open one with what is in them, durably; success where there are none."""
    removed = [name for name in names if stage.remove_set(disk, place, name)]
    if removed:
        disk.sync(place)
