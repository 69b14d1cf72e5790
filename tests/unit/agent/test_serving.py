"""`serve` as a service manager starts it needs no parser of command lines; everything else gets one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from gausscert_agent.serving import Order, as_order

CLI = "import sys, gausscert_agent.cli as cli\nsys.argv = ['gausscert-agent', *sys.argv[1:]]\n"


def test_what_a_unit_file_says_is_understood_at_once():
    assert as_order(["serve", "--config", "/etc/a.toml"]) == Order(Path("/etc/a.toml"), "text")
    assert as_order(["serve", "--config", "a", "--log-format", "json"]) == Order(Path("a"), "json")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["serve"],
        ["serve", "--help"],
        ["serve", "--config"],
        ["serve", "--config", ""],
        ["serve", "--config", "--help"],
        ["serve", "--config=/etc/a.toml"],
        ["serve", "--config", "a", "--log-format", "xml"],
        ["serve", "--config", "a", "more"],
        ["status", "--config", "a"],
    ],
)
def test_everything_else_is_for_the_parser(arguments):
    assert as_order(arguments) is None


def test_a_directory_is_for_the_parser_which_says_that_it_is_one(tmp_path):
    assert as_order(["serve", "--config", str(tmp_path)]) is None


def run(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(argv, check=False, capture_output=True, text=True)


def test_an_agent_that_serves_has_loaded_neither_click_nor_cryptography(tmp_path):
    code = CLI + (
        "try:\n    cli.main()\nexcept SystemExit as end:\n    code = end.code\n"
        "assert 'gausscert_agent.app' in sys.modules\n"
        "assert not {'click', 'cryptography'} & set(sys.modules), sorted(sys.modules)\n"
        "sys.exit(code)\n"
    )
    done = run(code, "serve", "--config", tmp_path / "none.toml")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("gausscert-agent: CONFIG_INVALID: ")


FULL = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")


def told_to(out: object, *arguments: object) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", CLI + "cli.main()", *map(str, arguments)]
    return subprocess.run(argv, check=False, stdout=out, stderr=subprocess.PIPE, text=True)


@FULL
@pytest.mark.parametrize("argument", ["version", "--help"])
def test_what_finds_no_room_is_no_success(argument):
    with open("/dev/full", "w") as full:
        done = told_to(full, argument)

    assert done.returncode == 5
    assert "standard output cannot be written: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("argument", ["version", "--help"])
def test_a_reader_that_goes_away_is_no_failure(argument):
    reader, writer = os.pipe()
    os.close(reader)

    done = told_to(writer, argument)

    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


@FULL
@pytest.mark.parametrize("config", ["none.toml", ""], ids=["refused by us", "refused by the parser"])
def test_a_refusal_that_cannot_be_told_keeps_its_code(tmp_path, config):
    argv = [sys.executable, "-c", CLI + "cli.main()", "check-config", "--config", str(tmp_path / config)]

    with open("/dev/full", "w") as full:
        assert subprocess.run(argv, check=False, stderr=full).returncode == 2
    closed = subprocess.run(
        ["sh", "-c", 'exec "$@" 2>&-', "sh", *argv], check=False, stdout=subprocess.DEVNULL
    )
    assert closed.returncode == 2


def test_a_bug_ends_with_the_code_for_one():
    broken = "from gausscert_agent import serving\nserving.as_order = lambda _: 1 / 0\n"

    done = run(broken + CLI + "cli.main()", "version")

    assert done.returncode == 5
    assert done.stderr.startswith("Traceback")
    assert "ZeroDivisionError" in done.stderr


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        ("InternalError(Reason.INTERNAL, 'no room')", 5),
        ("NodeRefusal(Reason.NODE_UNFIT, 'not fit')", 2),
        ("KeyboardInterrupt()", 2),
    ],
)
def test_only_a_bug_is_told_with_its_traceback(raised, code):
    broken = (
        "from gausscert_agent import serving\n"
        "from gausscert_common.errors import InternalError, NodeRefusal, Reason\n"
        f"def refuse(_): raise {raised}\n"
        "serving.as_order = refuse\n"
    )

    done = run(broken + CLI + "cli.main()", "version")

    assert done.returncode == code
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("arguments", "code"), [([], 0), (["--help"], 0), (["serve"], 2), (["dance"], 2)])
def test_the_parser_explains_itself(arguments, code):
    done = run(CLI + "cli.main()", *arguments)
    assert done.returncode == code
    assert "Usage: gausscert-agent" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
