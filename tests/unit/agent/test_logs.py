from __future__ import annotations

import json
import logging
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from gausscert_agent.logs import JsonFormatter, TextFormatter, UnwaitingHandler, configure


def record(text: str, **fields) -> logging.LogRecord:
    return logging.getLogger("gausscert.test").makeRecord(
        "gausscert.test", logging.INFO, "file.py", 1, text, (), None, extra=fields
    )


def test_a_text_line_has_time_level_text_and_fields():
    line = TextFormatter().format(record("call answered", rpc="Stop", cause="no space left", empty=""))

    assert line.split(" ", 1)[1] == (
        'INFO gausscert.test call answered rpc=Stop cause="no space left" empty=""'
    )


def test_a_json_line_is_one_object():
    event = json.loads(JsonFormatter().format(record("call answered", rpc="Stop", duration_s=1.5)))

    assert (event["event"], event["level"], event["rpc"], event["duration_s"]) == (
        "call answered",
        "INFO",
        "Stop",
        1.5,
    )


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_no_field_makes_a_line_or_a_colour_of_its_own(formatter):
    line = formatter.format(record("call refused", cause="a\nERROR forged\r\x1b[31m"))

    assert "\n" not in line
    assert "\r" not in line
    assert "\x1b" not in line


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_a_trace_tells_where_but_not_the_text_of_the_exception(formatter):
    entry = record("unexpected")
    try:
        raise ValueError("canary-secret")
    except ValueError:
        entry.exc_info = sys.exc_info()

    line = formatter.format(entry)

    assert "canary" not in line
    assert "ValueError" in line
    assert "test_logs.py" in line


def test_everything_goes_to_standard_error_once(capfd):
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        configure("INFO", "text")
        logging.getLogger("gausscert.test").info("hello")
        logging.getLogger("gausscert.test").debug("too quiet")
        out, err = capfd.readouterr()
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)

    assert out == ""
    assert err.count("hello") == 1
    assert "too quiet" not in err


class Line:
    """What a handler writes to, and who may read it."""

    def __init__(self, reads: int, writes: int) -> None:
        self.reads, self.writes = reads, writes
        os.set_blocking(reads, False)
        self.handler = UnwaitingHandler(writes, patience_s=0.05)
        self.handler.setFormatter(TextFormatter())

    def log(self, text: str) -> None:
        self.handler.handle(record(text))

    def read_some(self, most: int) -> None:
        with suppress(BlockingIOError):
            os.read(self.reads, most)

    def read(self) -> str:
        said = b""
        try:
            while piece := os.read(self.reads, 65536):
                said += piece
        except BlockingIOError:
            pass
        return said.decode()


def pipe() -> tuple[int, int]:
    return os.pipe()


def stream() -> tuple[int, int]:
    """As journald gives it to a service."""
    ours, theirs = socket.socketpair()
    return ours.detach(), theirs.detach()


@pytest.fixture(params=[pipe, stream])
def line(request: pytest.FixtureRequest) -> Iterator[Line]:
    made = Line(*request.param())
    yield made
    for each in (made.reads, made.writes):
        os.close(each)


def test_whoever_does_not_read_holds_nobody_up_and_is_told_what_he_missed(line):
    for number in range(5000):
        line.log(f"{number} " + "x" * 100)  # far more than fits
    before = line.read().splitlines()
    line.log("heard again")
    after = line.read().splitlines()

    (lost,) = (part for part in after if "are lost" in part)
    assert f"lines={5000 - sum('xxx' in part for part in before)}" in lost
    assert after[-1].endswith("heard again")


def test_a_line_that_is_longer_than_what_fits_tears_no_other(line):
    line.log("x" * 1_000_000)
    said = line.read()
    line.log("whole")
    said += line.read()

    torn, lost, whole = said.splitlines()
    assert torn.endswith("x")
    assert re.fullmatch(r"\S+ WARNING .* are lost.* lines=1", lost)
    assert whole.split(" ", 1)[1] == "INFO gausscert.test whole"


def test_a_reader_who_reads_a_little_at_a_time_makes_a_long_line_wait_no_longer(line):
    """Each piece of it waited anew."""
    over = threading.Event()

    def read() -> None:
        while not over.wait(line.handler._patience_s / 5):
            line.read_some(4096)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        line.log("x" * 1_000_000)
        assert line.handler._lost == 1
    finally:
        over.set()
        reader.join()


def test_nor_does_a_terminal_that_is_held_stop_anybody():
    line = Line(*os.openpty())

    def talk() -> None:
        for number in range(200):
            line.log(f"{number} " + "x" * 777)

    talker = threading.Thread(target=talk, daemon=True)
    talker.start()
    talker.join(20)

    assert not talker.is_alive()
    assert os.get_blocking(line.writes)
    said, deadline = "", time.monotonic() + 20
    while not re.search(r"are lost.* lines=1\d\d.*heard again", said, re.DOTALL):
        assert time.monotonic() < deadline, said[-2000:]
        said += line.read()
        line.log("heard again")
    os.close(line.reads)
    os.close(line.writes)


def test_a_reader_who_is_gone_stops_nobody(capsys):
    line = Line(*os.pipe())
    os.close(line.reads)

    line.log("to nobody")

    assert line.handler._lost == 1
    assert capsys.readouterr().err == ""
    os.close(line.writes)
