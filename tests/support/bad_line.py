"""A line to one agent that can be made bad: bytes are late or held back, or every connection is reset.

    line = BadLine((host, port)).start()        # dial line.address instead
    line.turn(Way.HOLD)                         # nothing passes in either direction any more
    line.turn(Way.PASS)                         # what was held back arrives now

What was held back arrives even if its sender has gone meanwhile, on a connection that looks as open as ever:
that is the delayed request of which a node must not be afraid.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

_RST = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: close with RST."""
_CHUNK = 65536
_DIAL_S = 5.0


class Way(StrEnum):
    """How the line behaves."""

    PASS = "pass"
    LATE = "late"
    """Everything arrives `delay_s` after it was sent."""
    HOLD = "hold"
    """Nothing arrives, in either direction, until the line is turned again."""
    HOLD_REQUESTS = "hold requests"
    """The same for what goes to the agent; its answers pass."""
    RESET = "reset"
    """Every connection is reset, present or new."""


@dataclass(eq=False)
class _Connection:
    """One connection, and what was not passed on yet, each piece with the time from which it may."""

    near: socket.socket
    far: socket.socket
    """At the agent."""
    requests: deque[tuple[float, bytes]] = field(default_factory=deque)
    answers: deque[tuple[float, bytes]] = field(default_factory=deque)
    near_gone: bool = False
    lingers: bool = False
    """Its requests were held back beyond its sender's end: towards the agent it stays open."""


class BadLine:
    """See the module. One thread, asleep while nothing happens."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._way = Way.PASS
        self._delay_s = 0.0
        self._over = False
        self.affected = 0
        """How many pieces and connections have met something other than PASS since the last turn."""
        self._connections: list[_Connection] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self._wake, self._woken = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> Self:
        """Begin to pass on."""
        self._selector.register(self._listening, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread.start()
        return self

    def stop(self) -> None:
        """End every connection."""
        self._over = True
        self._wake.send(b"x")
        self._thread.join()
        for connection in list(self._connections):
            self._end(connection)
        for each in (self._listening, self._wake, self._woken):
            each.close()
        self._selector.close()

    def turn(self, way: Way, delay_s: float = 0.0) -> None:
        """Let the line behave in this way from now on."""
        with self._lock:
            self._way, self._delay_s = way, delay_s
            self.affected = 0
        self._wake.send(b"x")

    def hang_up(self) -> None:
        """End the connections whose senders have gone."""
        with self._lock:
            for connection in [each for each in self._connections if each.near_gone]:
                connection.lingers = False
        self.turn(Way.PASS)

    @property
    def held_requests(self) -> int:
        """Bytes for the agent that are held back now."""
        with self._lock:
            return sum(len(body) for each in self._connections for _, body in each.requests)

    def _run(self) -> None:
        while not self._over:
            for key, _ in self._selector.select(self._timeout()):
                if key.fileobj is self._woken:
                    self._woken.recv(64)
                elif key.fileobj is self._listening:
                    self._accept()
                else:
                    with self._lock:
                        self._read(key.fileobj, key.data)
            with self._lock:
                for connection in list(self._connections):
                    self._pass_on(connection)

    def _timeout(self) -> float | None:
        if self._way is not Way.LATE:
            return None
        with self._lock:
            queues = [queue for each in self._connections for queue in (each.requests, each.answers)]
            due = [queue[0][0] for queue in queues if queue]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _accept(self) -> None:
        near, _ = self._listening.accept()
        if self._way is Way.RESET:
            self.affected += 1
            _reset(near)
            return
        try:
            far = socket.create_connection(self._target, _DIAL_S)
        except OSError:
            _reset(near)
            return
        connection = _Connection(near, far)
        with self._lock:
            self._connections.append(connection)
        for each in (near, far):
            each.settimeout(_DIAL_S)
            self._selector.register(each, selectors.EVENT_READ, connection)

    def _read(self, source: socket.socket, connection: _Connection) -> None:
        if connection not in self._connections:
            return  # it has ended in this very round
        try:
            said = source.recv(_CHUNK)
        except OSError:
            said = b""
        if said:
            self.affected += self._way is not Way.PASS
            queue = connection.requests if source is connection.near else connection.answers
            queue.append((time.monotonic() + self._delay_s, said))
        elif source is connection.near:
            self._selector.unregister(source)
            connection.near_gone = True
            connection.lingers = bool(connection.requests)
        else:
            self._end(connection)

    def _pass_on(self, connection: _Connection) -> None:
        if self._way is Way.RESET:
            if not connection.near_gone:
                self.affected += 1
                _reset(connection.near)
            self._end(connection)
            return
        try:
            if self._way not in (Way.HOLD, Way.HOLD_REQUESTS):
                self._send(connection.requests, connection.far)
            if connection.near_gone:
                connection.answers.clear()
            elif self._way is not Way.HOLD:
                self._send(connection.answers, connection.near)
        except OSError:
            self._end(connection)
            return
        if connection.near_gone and not connection.requests and not connection.lingers:
            self._end(connection)

    def _send(self, queue: deque[tuple[float, bytes]], target: socket.socket) -> None:
        now = time.monotonic()
        while queue and (self._way is not Way.LATE or queue[0][0] <= now):
            target.sendall(queue.popleft()[1])

    def _end(self, connection: _Connection) -> None:
        self._connections.remove(connection)
        for each in (connection.near, connection.far):
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(each)
            each.close()


def _reset(one: socket.socket) -> None:
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
    one.close()
