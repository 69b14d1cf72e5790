"""What a new set is made of: what the operator hands in, a set that was live before, or the live one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from gausscert_common.bundle import Bundle


@dataclass(frozen=True, slots=True)
class Generation:
    """A retired set by its name. Each node makes the new set of its own files."""

    name: str
    """The id of the transaction that retired it."""


@dataclass(frozen=True, slots=True)
class LiveSet:
    """What is live already: each node keeps its set, byte for byte, and only enable_ssl changes."""


Source: TypeAlias = Bundle | Generation | LiveSet
