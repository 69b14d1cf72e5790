"""An empty directory that shows that a transaction is here of which no set lies beside the live one.

A stage, and after Swap the former set in its place, betrays a transaction to an agent that has lost its state
directory. Where only `enable_ssl` changes, or the first set is put in, nothing would: such a node would pass
for one that never took part. The mark is durable before PREPARED is. It goes when nothing depends on it any
more: at Clean with what was staged, at Purge after the tombstone.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from gausscert_agent import set_names, shelves

if TYPE_CHECKING:
    from gausscert_agent.files import Disk
    from gausscert_agent.shelves import Shelf

_REFUSALS: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
"""What a directory answers that is not ours to write in. Everything else is a disk that fails."""


def leave(disk: Disk, shelf: Shelf, transaction_id: str) -> str:
    """Leave a transaction's mark, durably; harmless to repeat.

    Returns:
        Why that is not allowed here; "" where it is there.

    Raises:
        OSError: The disk fails.
        InvalidInput: ARGUMENT_INVALID; that is no transaction id.
    """
    name = set_names.mark_name(transaction_id)
    try:
        with suppress(FileExistsError):
            disk.make_directory(shelf.fd, name)
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        return error.strerror or str(error)
    # Always: whoever made it may have died before this.
    disk.sync(shelf.fd)
    return ""


def find(shelf: Shelf) -> list[str]:
    """The names of all marks; they stay where they lie where links have come since. Raises OSError."""
    return [name for place in shelf.places for name in os.listdir(place) if set_names.is_mark(name)]


def remove(disk: Disk, shelf: Shelf, transaction_id: str) -> None:
    """Remove a transaction's mark, durably; success where there is none. Raises OSError."""
    for place in shelf.places:
        shelves.remove(disk, place, (set_names.mark_name(transaction_id),))
