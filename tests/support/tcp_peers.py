"""Peers for broken connections: a server of one answer, and a proxy that can be told to break."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Self


@contextlib.contextmanager
def serving(answer: Callable[[socket.socket], object]) -> Iterator[int]:
    """Accepts connections and hands each to `answer`; yields the port."""
    listening = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            raw, _ = listening.accept()
            raw.settimeout(5)
            with raw, contextlib.suppress(OSError):
                answer(raw)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        over.set()
        with contextlib.suppress(OSError):
            socket.create_connection(listening.getsockname(), 1).close()
        thread.join()
        listening.close()


class Proxy:
    """Passes bytes on to a port of this host, until it is told to break connections."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._breaks: Callable[[socket.socket], object] | None = None
        self._cut = False
        self._over = False
        self.broken = 0
        """How many connections met their end."""
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self._selector = selectors.DefaultSelector()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._selector.register(self._listening, selectors.EVENT_READ)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()
        self._selector.close()

    def break_all(self, breaks: Callable[[socket.socket], object]) -> None:
        """Let every connection, present and new, end in this way."""
        self._breaks, self._cut = breaks, True

    def mend(self) -> None:
        """Pass on new connections again."""
        self._breaks = None

    def _run(self) -> None:
        while not self._over:
            if self._cut:
                self._cut = False
                self._end_present()
            for key, _ in self._selector.select(0.02):
                if key.fileobj is self._listening:
                    self._accept()
                elif key.fileobj.fileno() >= 0:  # its other half may have ended both in this very round
                    self._pass_on(key.fileobj, key.data)

    def _end_present(self) -> None:
        for key in list(self._selector.get_map().values()):
            if key.data is not None:
                self._forget(key.fileobj)

    def _accept(self) -> None:
        near, _ = self._listening.accept()
        breaks = self._breaks
        if breaks is not None:
            self.broken += 1
            with near, contextlib.suppress(OSError):
                breaks(near)
            return
        far = socket.create_connection(("127.0.0.1", self._port), 5)
        self._selector.register(near, selectors.EVENT_READ, far)
        self._selector.register(far, selectors.EVENT_READ, near)

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        try:
            said = source.recv(65536)
            target.sendall(said)
        except OSError:
            said = b""
        if not said:
            self._forget(source)
            self._forget(target)

    def _forget(self, one: socket.socket) -> None:
        if one.fileno() < 0:
            return
        with contextlib.suppress(KeyError):
            self._selector.unregister(one)
        one.close()
