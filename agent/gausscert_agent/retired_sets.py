"""Former sets that are kept: which there are in the open directories that may hold any, what is in one."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gausscert_common.errors import NodeRefusal, Reason

from gausscert_agent import set_names, set_on_disk
from gausscert_agent.set_on_disk import SetOnDisk

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Retired:
    """A former set that is kept."""

    generation: str
    """The transaction that retired it."""
    retired_at: float
    """Seconds since the epoch, by the node's clock."""
    contents: SetOnDisk = field(repr=False)


@dataclass(frozen=True, slots=True)
class Kept:
    """Where one of them is, without what is in it."""

    at: float
    """The stamp that it got when it was retired."""
    generation: str
    place: int
    """The open directory in which it lies."""

    @property
    def name(self) -> str:
        """Its directory in there."""
        return set_names.retired_name(self.generation)


def find(places: Iterable[int]) -> list[Kept]:
    """All of them, newest first. Raises OSError."""
    found = []
    for place in places:
        for name in os.listdir(place):
            generation = set_names.generation_of(name)
            status = os.stat(name, dir_fd=place, follow_symlinks=False) if generation else None
            if generation and status and stat.S_ISDIR(status.st_mode):
                found.append(Kept(status.st_mtime, generation, place))
    return sorted(found, key=lambda kept: (kept.at, kept.generation), reverse=True)


def read(kept: Kept) -> Retired | None:
    """One of them; None if it has gone. Raises as `set_on_disk.read_set`."""
    found = set_on_disk.read_set(kept.place, kept.name)
    if found is None:
        return None
    at = os.stat(kept.name, dir_fd=kept.place, follow_symlinks=False).st_mtime
    return Retired(kept.generation, at, found)


def unknown(generation: str) -> NodeRefusal:
    """There is none of that name, or not any more."""
    return NodeRefusal(
        Reason.GENERATION_UNKNOWN,
        f"there is no generation {generation} here",
        remedy="see gausscert status for those that there are",
    )
