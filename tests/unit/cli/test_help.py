"""--help: quick, complete, and the same everywhere."""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
import sys

import click
import pytest
from gausscert_coordinator.cli import bundle_new, helping, verbs
from gausscert_coordinator.cli.group import Verb, VerbGroup
from gausscert_coordinator.cli.main import cli as root
from gausscert_coordinator.exit_codes import CheckState, ExitCode
from support.cli_fakes import cli

TABLES = {
    (): verbs.ROOT,
    ("agents",): verbs.AGENTS,
    ("bundle",): verbs.BUNDLE,
    ("inventory",): verbs.INVENTORY,
    ("pki",): verbs.PKI,
    ("ssl",): verbs.SSL,
}
EVERY = [(*prefix, name) for prefix, table in TABLES.items() for name in table]
HEAVY = ("grpc", "cryptography", "rich", "asyncio", "sqlite3")


def load(path):
    command = root
    for name in path:
        command = command.get_command(click.Context(command), name)
    return command


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_the_table_says_what_the_verb_says_of_itself(path):
    command = load(path)

    assert command.name == path[-1]
    assert command.get_short_help_str(200) == TABLES[path[:-1]][path[-1]].short_help


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_every_verb_has_examples_global_options_and_exit_codes_in_its_help(path):
    run = cli(*path, "--help")

    assert run.code == 0
    assert "Examples:" in run.out
    assert f"gausscert {' '.join(path)}" in run.out.split("Examples:")[1]
    for option in ("--inventory", "--output", "--quiet", "--verbose"):
        assert option in run.out.split("Global options:")[1]
    if isinstance(load(path), Verb):
        codes = load(path).exits
        assert "Exit codes:" in run.out
        # A monitoring plugin has exit codes of its own.
        kind = CheckState if path == ("check",) else ExitCode
        assert kind(0) in codes
        assert all(isinstance(code, kind) for code in codes)


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize("path", [(), *EVERY], ids=" ".join)
def test_help_fits_the_terminal_and_no_line_is_longer_than_one_reads(monkeypatch, path, columns):
    monkeypatch.setenv("COLUMNS", str(columns))

    text = cli(*path, "--help").out
    before, examples, *after = re.split("^(?=Examples:|Exit codes:)", text, flags=re.MULTILINE)

    prose = [line for line in "".join((before, *after)).splitlines() if not line.startswith("  -")]
    assert max(map(len, prose)) <= min(columns, 110)
    if columns >= 80:  # an option with its value is not taken apart
        assert max(map(len, examples.splitlines())) <= min(columns, 110)


@pytest.mark.parametrize("columns", [40, 80])
@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_an_example_over_several_lines_is_what_it_is_on_one(path, columns):
    for _, line in load(path).examples:
        folded = "\n".join(helping.folded(line, columns - 4))

        assert shlex.split(folded.replace("\\\n", "")) == shlex.split(line)


def test_an_argument_is_no_option():
    assert "\n  DIR\n" not in cli("plan", "--help").out
    assert "[OPTIONS] [DIR]" in cli("replace", "--help").out


def test_help_of_the_whole_lists_all_verbs_and_all_exit_codes():
    run = cli("--help")

    listed = run.out.split("Verbs:")[1].split("Options:")[0]
    assert all(f"  {name} " in listed for name in verbs.ROOT)
    exits = run.out.split("Exit codes:")[1]
    assert [line.split()[0] for line in exits.strip().splitlines()] == ["0", "1", "2", "3", "4", "5"]


def test_verbs_that_do_not_exist_are_unknown():
    run = cli("inventor")

    assert run.code == 2
    assert "no such command" in run.err


@pytest.mark.parametrize("path", [(), *EVERY], ids=" ".join)
def test_help_loads_nothing_heavy(path):
    script = (
        "import sys\n"
        "from gausscert_coordinator.cli.main import run\n"
        f"code = run({[*path, '--help']!r})\n"
        f"heavy = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "sys.exit(f'loaded {heavy}' if heavy or code else 0)\n"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_help_of_the_whole_loads_no_verb():
    script = (
        "import sys\n"
        "from gausscert_coordinator.cli.main import run\n"
        "run(['--help'])\n"
        f"verbs = {[entry.module for entry in verbs.ROOT.values()]!r}\n"
        "loaded = [v for v in verbs if 'gausscert_coordinator.cli.' + v in sys.modules]\n"
        "loaded += [v for v in ('gausscert_coordinator.report',) if v in sys.modules]\n"
        "sys.exit(f'loaded {loaded}' if loaded else 0)\n"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_without_a_verb_the_help_is_shown_and_it_is_a_usage_error():
    run = cli()

    assert run.code == 2
    assert "Verbs:" in run.err
    assert run.out == ""


def test_every_module_in_the_table_has_a_command_of_the_right_kind():
    for path in EVERY:
        entry = TABLES[path[:-1]][path[-1]]
        command = importlib.import_module(f"gausscert_coordinator.cli.{entry.module}").command
        assert isinstance(command, Verb | VerbGroup)


def test_key_types_in_the_help_are_those_that_can_be_issued():
    from gausscert_coordinator.issue import KeyType

    assert list(bundle_new.KEY_TYPES) == [kind.value for kind in KeyType]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_clicks_own_script_for_our_name(shell):
    run = cli("completion", shell)

    assert run.code == 0
    assert "_GAUSSCERT_COMPLETE" in run.out
    assert f"{shell}_complete" in run.out


def completed(words: str, at: int) -> subprocess.CompletedProcess[str]:
    environment = {"_GAUSSCERT_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(at)}
    return subprocess.run(
        [sys.executable, "-c", "from gausscert_coordinator.cli.main import main; main()"],
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_completion_completes_verbs():
    offered = completed("gausscert re", 1).stdout.split()

    assert [line.split(",")[1] for line in offered] == ["replace", "recover"]


def test_completion_of_a_generation_offers_nothing_and_looks_for_no_cluster():
    done = completed("gausscert rollback --to ", 3)

    assert (done.stdout.split(), done.stderr) == ([], "")


INVENTORY = """
[clusters.prod.credentials]
ca = "x"
cert = "x"
key = "x"
[[clusters.prod.node]]
name = "n1"
address = "h1:7443"
[[clusters.prod.node]]
name = "m2"
address = "h2:7443"
[clusters.preview.credentials]
"""


def words(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.stderr == ""
    return [line.split(",")[1] for line in done.stdout.split()]


def test_completion_completes_clusters_and_nodes_of_the_inventory(tmp_path):
    path = tmp_path / "several.toml"
    path.write_text(INVENTORY)
    line = f"gausscert replace --inventory {path}"

    assert words(completed(f"{line} --cluster ", 5)) == ["prod", "preview"]
    assert words(completed(f"{line} --cluster pre", 5)) == ["preview"]
    assert words(completed(f"{line} --cluster prod --exclude ", 7)) == ["m2", "n1"]
    assert words(completed(f"{line} --cluster prod --exclude m", 7)) == ["m2"]
    assert words(completed(f"gausscert --inventory {path} --cluster prod plan --exclude n", 7)) == ["n1"]
    assert words(completed(f"gausscert recover --inventory {path} --cluster prod --exclude n", 7)) == ["n1"]
    assert words(completed(f"gausscert pki renew --inventory {path} --cluster prod --node n", 8)) == ["n1"]
    assert words(completed(f"gausscert agents deploy --inventory {path} --cluster prod --node n", 8)) == [
        "n1"
    ]


@pytest.mark.parametrize("text", [None, "[clusters", "[clusters.prod]"])
def test_completion_without_a_usable_inventory_offers_nothing_and_says_nothing(tmp_path, text):
    path = tmp_path / "gausscert.toml"
    if text is not None:
        path.write_text(text)

    assert words(completed(f"gausscert replace --inventory {path} --exclude ", 5)) == []


def test_version_names_the_version_of_the_distribution():
    from gausscert_common import VERSION

    assert cli("version").out.startswith(f"gausscert {VERSION} ")
    assert cli("version", "--output", "json").document["version"] == VERSION
