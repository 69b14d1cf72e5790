"""What pids and start ticks mean something in: one boot of a machine, one pid namespace, one life of it.

Pure. A mark is made by the agent (`process_list.boot_mark`) of parts with a blank between them.
"""

from __future__ import annotations

from typing import Final

UNKNOWN: Final = "-"
"""A part that could not be read."""


def is_same(one: str, other: str) -> bool:
    """Whether two marks may be of one boot and namespace; what was not known then or now tells nothing."""
    if not one or not other:
        return True
    pairs = zip(one.split(), other.split(), strict=False)
    return not any(left != right and UNKNOWN not in (left, right) for left, right in pairs)
