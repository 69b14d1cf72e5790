"""The line that is made bad does what it is told, and nothing before it is told."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from support.bad_line import BadLine, Way
from support.local_cluster import wait_until


class Echo:
    """Answers in capitals, and remembers what it has heard and how connections ended."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.ended = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.place = self._listening.getsockname()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                one, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(one,), daemon=True).start()

    def _answer(self, one: socket.socket) -> None:
        with one:
            while True:
                try:
                    said = one.recv(100)
                except OSError:
                    said = b""
                if not said:
                    self.ended += 1
                    return
                self.heard.append(said)
                one.sendall(said.upper())

    def close(self) -> None:
        with contextlib.suppress(OSError):  # closed already
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    made = Echo()
    yield made
    made.close()


@pytest.fixture
def line(echo: Echo) -> Iterator[BadLine]:
    made = BadLine(echo.place).start()
    yield made
    made.stop()


def dial(line: BadLine) -> socket.socket:
    host, port = line.address.split(":")
    return socket.create_connection((host, int(port)), 5)


def assert_reset(line: BadLine) -> None:
    """At the latest when something is to be read."""
    with pytest.raises(ConnectionResetError), dial(line) as one:
        one.recv(100)


def test_it_passes_what_it_gets(line, echo):
    with dial(line) as one:
        one.sendall(b"hello")
        assert one.recv(100) == b"HELLO"
    wait_until(lambda: echo.ended == 1)
    assert line.affected == 0


def test_what_is_held_back_arrives_later(line, echo):
    with dial(line) as one:
        one.sendall(b"first")
        assert one.recv(100) == b"FIRST"
        line.turn(Way.HOLD)
        one.sendall(b"second")
        wait_until(lambda: line.held_requests == len(b"second"))
        assert echo.heard == [b"first"]
        line.turn(Way.PASS)
        assert one.recv(100) == b"SECOND"


def test_what_is_held_back_arrives_even_if_its_sender_has_gone_on_a_connection_that_stays_open(line, echo):
    with dial(line) as one:
        one.sendall(b"first")
        assert one.recv(100) == b"FIRST"
        line.turn(Way.HOLD_REQUESTS)
        one.sendall(b"second")
        wait_until(lambda: line.held_requests > 0)
    assert echo.heard == [b"first"]
    line.turn(Way.PASS)
    wait_until(lambda: echo.heard == [b"first", b"second"])
    time.sleep(0.05)
    assert echo.ended == 0
    line.hang_up()
    wait_until(lambda: echo.ended == 1)


def test_what_is_late_is_late(line):
    with dial(line) as one:
        line.turn(Way.LATE, 0.2)
        began = time.monotonic()
        one.sendall(b"hello")
        assert one.recv(100) == b"HELLO"
        assert time.monotonic() - began >= 0.4
        assert line.affected == 2


def test_connections_are_reset_present_and_new_until_it_is_turned_again(line, echo):
    with dial(line) as one:
        one.sendall(b"hello")
        assert one.recv(100) == b"HELLO"
        line.turn(Way.RESET)
        with pytest.raises(ConnectionResetError):
            one.recv(100)
    assert_reset(line)
    assert line.affected == 2
    line.turn(Way.PASS)
    with dial(line) as one:
        one.sendall(b"again")
        assert one.recv(100) == b"AGAIN"


def test_nobody_behind_it_is_a_connection_that_ends(line, echo):
    echo.close()
    assert_reset(line)
