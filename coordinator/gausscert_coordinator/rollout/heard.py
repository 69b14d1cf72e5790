"""What a program says until its end, also where one that it has left behind keeps its output open."""

from __future__ import annotations

import asyncio
import contextlib
from typing import ClassVar, Final, cast


class Heard(asyncio.SubprocessProtocol):
    """One program's words.

    Args:
        most: Bytes that are taken of each; a program that says more is killed.
    """

    OUT: Final = 1
    ERR: Final = 2
    _FDS: ClassVar = (OUT, ERR)

    def __init__(self, most: int) -> None:
        self.said = {fd: bytearray() for fd in self._FDS}
        self.too_much = False
        self.ended = asyncio.Event()
        """Once the program has. `Process.wait` waits for `closed`, too, before Python 3.12.4 (gh-119710)."""
        self.closed = asyncio.Event()
        """Once nobody has its output open."""
        self._most = most
        self._open = set(self._FDS)
        self._transport: asyncio.SubprocessTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It has been started."""
        self._transport = cast("asyncio.SubprocessTransport", transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """It has said something."""
        if len(self.said[fd]) <= self._most:
            self.said[fd] += data
        if len(self.said[fd]) > self._most and not self.too_much:
            self.too_much = True
            if self._transport is not None:
                with contextlib.suppress(ProcessLookupError):
                    self._transport.kill()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """Nobody has this one open any more."""
        del exc
        self._open.discard(fd)
        if not self._open:
            self.closed.set()

    def process_exited(self) -> None:
        """It has ended."""
        self.ended.set()
