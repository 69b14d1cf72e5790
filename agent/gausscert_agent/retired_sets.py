"""Former sets that are kept: which there are on an open shelf, and what is in one."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field

from gausscert_common.errors import NodeRefusal, Reason

from gausscert_agent import set_names, set_on_disk
from gausscert_agent.set_on_disk import SetOnDisk


@dataclass(frozen=True, slots=True)
class Retired:
    """A former set that is kept."""

    generation: str
    """The transaction that retired it."""
    retired_at: float
    """Seconds since the epoch, by the node's clock."""
    contents: SetOnDisk = field(repr=False)


def stamped(shelf: int) -> list[tuple[float, str]]:
    """The generations with the stamps they got when they were retired, newest first. Raises OSError."""
    stamped = []
    for name in os.listdir(shelf):
        generation = set_names.generation_of(name)
        status = os.stat(name, dir_fd=shelf, follow_symlinks=False) if generation else None
        if generation and status and stat.S_ISDIR(status.st_mode):
            stamped.append((status.st_mtime, generation))
    return sorted(stamped, reverse=True)


def read(shelf: int, generation: str) -> Retired | None:
    """One of them; None if it has gone. Raises as `set_on_disk.read_set`."""
    name = set_names.retired_name(generation)
    found = set_on_disk.read_set(shelf, name)
    if found is None:
        return None
    return Retired(generation, os.stat(name, dir_fd=shelf, follow_symlinks=False).st_mtime, found)


def unknown(generation: str) -> NodeRefusal:
    """There is none of that name, or not any more."""
    return NodeRefusal(
        Reason.GENERATION_UNKNOWN,
        f"there is no generation {generation} here",
        remedy="see gausscert status for those that there are",
    )
