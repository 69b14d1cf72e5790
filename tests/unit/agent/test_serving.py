"""`serve` as a service manager starts it needs no parser of command lines; everything else gets one."""

from __future__ import annotations

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


@pytest.mark.parametrize(("arguments", "code"), [([], 0), (["--help"], 0), (["serve"], 2), (["dance"], 2)])
def test_the_parser_explains_itself(arguments, code):
    done = run(CLI + "cli.main()", *arguments)
    assert done.returncode == code
    assert "Usage: gausscert-agent" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
