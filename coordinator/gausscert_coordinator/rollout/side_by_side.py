"""One thing done on several nodes at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

T = TypeVar("T")
AT_ONCE: Final = 8
"""Nodes; each has a copy of the software in flight."""


async def on_each(do: Callable[[T], Awaitable[None]], each: Iterable[T]) -> None:
    """Do it for each of them, some at a time.

    Args:
        do: Raises nothing that nodes do: the others would be lost with it.
        each: For whom.
    """
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(what: T) -> None:
        async with gate:
            await do(what)

    await asyncio.gather(*(one(what) for what in each))
