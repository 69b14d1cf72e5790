"""What an agent does to start soon and to hold little: it idles for months beside a database."""

from __future__ import annotations

import ctypes
import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_M_ARENA_MAX: Final = -8


def begin() -> None:
    """While modules are loaded nothing becomes garbage; looking for some takes a tenth of the start.

    One arena for all threads (mallopt(3)): an agent's threads hardly ever allocate at the same time, and each
    arena keeps what its threads have freed.
    """
    gc.disable()
    limit = getattr(ctypes.CDLL(None), "mallopt", None)
    if limit is not None:
        limit(_M_ARENA_MAX, 1)


@contextmanager
def loading() -> Iterator[None]:
    """Around what is loaded later."""
    begin()
    try:
        yield
    finally:
        end()


def end() -> None:
    """All is loaded, and stays: the collector, which runs from now on, need not look at it, and so does not
    touch memory that nothing else would. What loading has freed goes back to the kernel."""
    gc.freeze()
    gc.enable()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's alone
    if trim is not None:
        trim(0)
