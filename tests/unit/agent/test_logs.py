from __future__ import annotations

import json
import logging
import sys

import pytest
from gausscert_agent.logs import JsonFormatter, TextFormatter, configure


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


def test_everything_goes_to_standard_error_once(capsys):
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        configure("INFO", "text")
        logging.getLogger("gausscert.test").info("hello")
        logging.getLogger("gausscert.test").debug("too quiet")
        out, err = capsys.readouterr()
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)

    assert out == ""
    assert err.count("hello") == 1
    assert "too quiet" not in err
