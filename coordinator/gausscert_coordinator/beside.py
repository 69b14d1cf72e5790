"""Work, and something that looks on beside it and ends with it. Nothing hangs on who looks on."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

T = TypeVar("T")

_logger = logging.getLogger(__name__)


async def beside(work: Coroutine[Any, Any, T], onlooker: Coroutine[Any, Any, None], what: str) -> T:
    """The result of `work`.

    Args:
        work: What matters.
        onlooker: Cancelled when `work` is over, and awaited. A bug of it is logged, no more.
        what: The onlooker, for the log.
    """
    looking = asyncio.ensure_future(onlooker)
    try:
        return await work
    finally:
        looking.cancel()
        (ended,) = await asyncio.gather(looking, return_exceptions=True)
        if isinstance(ended, Exception):
            _logger.error("%s failed", what, exc_info=ended)
