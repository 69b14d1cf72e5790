"""Shells complete verbs, options, words, transactions and generations; nobody is asked over the network."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from gausscert_coordinator.history import History
from support.cli_fakes import cli
from support.fake_agents import Fault
from support.fake_cluster import FakeCluster
from support.fake_node import bundle

FIRST = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
HEAVY = ("grpc", "cryptography", "rich", "asyncio", "sqlite3")
PROGRAM = "from gausscert_coordinator.cli.main import main; main()"
INVENTORY = """\
[cluster]
name = "prod"
[credentials]
ca = "ca.crt"
cert = "operator.crt"
key = "operator.key"
[history]
file = "history.db"
[[node]]
name = "n1"
address = "127.0.0.1:1"
"""


def asked(shell: str, *words: str, cwd: Path | None = None, program: str = PROGRAM):
    """What a shell gets that asks what may follow; the last word is incomplete, or ""."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "_GAUSSCERT_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": " ".join(("gausscert", *words)),
        "COMP_CWORD": words[-1] if shell == "fish" else str(len(words)),
    }
    return subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=cwd, capture_output=True, text=True, check=False
    )


def offered(*words: str, cwd: Path | None = None) -> list[str]:
    done = asked("bash", *words, cwd=cwd)
    assert (done.returncode, done.stderr) == (0, "")
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with an inventory and a history: a replacement that is committed, one that is not."""
    place = tmp_path_factory.mktemp("operator")
    (place / "gausscert.toml").write_text(INVENTORY)
    for name in ("ca.crt", "operator.crt", "operator.key"):
        (place / name).write_text("is there; nobody is called")
    for hours, fails in ((0, False), (1, True)):
        replaced(place / "history.db", FIRST + timedelta(hours=hours), fails)
    return place


def replaced(path: Path, moment: datetime, fails: bool) -> None:
    cluster = FakeCluster()
    coordinator = cluster.coordinator("ann@ops/b00t.7:42", recorder=History(lambda: path, now=lambda: moment))
    coordinator._make_id = lambda: f"{moment:%Y%m%dt%H%M%Sz}-abcdef"
    if fails:
        cluster.script("node-b", "swap", Fault.FAILED)

    async def run() -> None:
        async with coordinator:
            await coordinator.replace(await coordinator.plan(bundle("new")), bundle("new"))

    asyncio.run(run())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("re",), ["replace", "recover"]),
        (("pki", "i"), ["init", "issue"]),
        (("replace", "--restart", ""), ["cluster", "node", "none"]),
        (("replace", "--enable-ssl", "o"), ["on", "off"]),
        (("plan", "--ou"), ["--out", "--output"]),
        (("status", "--output", ""), ["text", "json"]),
        (("schema", "history-"), ["history-transaction", "history-verify"]),
        (("completion", ""), ["bash", "zsh", "fish"]),
    ],
    ids=" ".join,
)
def test_verbs_options_and_words_are_offered(words, expected):
    assert offered(*words) == expected


def test_transactions_are_offered_from_the_history(place):
    assert offered("history", "2026", cwd=place) == ["20261102t130000z-abcdef", "20261102t120000z-abcdef"]
    assert offered("history", "20261102t12", cwd=place) == ["20261102t120000z-abcdef"]


def test_generations_are_those_that_a_committed_transaction_has_left(place):
    assert offered("rollback", "--to", "", cwd=place) == ["20261102t120000z-abcdef"]


def test_the_inventory_that_is_named_counts(place, tmp_path):
    named = ("--inventory", str(place / "gausscert.toml"))

    assert len(offered("history", *named, "", cwd=tmp_path)) == 2


def test_shells_that_show_it_are_told_what_a_transaction_was(place):
    done = asked("zsh", "history", "20261102t12", cwd=place)

    assert "replace committed 2026-11-02 12:00 UTC" in done.stdout.replace("\\:", ":")


@pytest.mark.parametrize("spoil", ["no inventory", "no history", "a broken inventory", "a broken history"])
def test_where_nothing_can_be_offered_nothing_is_said(tmp_path, spoil):
    if spoil != "no inventory":
        (tmp_path / "gausscert.toml").write_text("nonsense" if spoil == "a broken inventory" else INVENTORY)
    if spoil == "a broken history":
        (tmp_path / "history.db").write_bytes(b"nonsense" * 1000)
        (tmp_path / "history.db").chmod(0o600)

    for words in (("history", ""), ("rollback", "--to", "")):
        assert offered(*words, cwd=tmp_path) == []


@pytest.mark.parametrize("words", [("re",), ("replace", "--re"), ("pki", ""), ("--in",)], ids=" ".join)
def test_a_shell_that_completes_waits_for_nothing_heavy(words):
    program = (
        "import sys\n"
        "from gausscert_coordinator.cli.main import run\n"
        "try:\n"
        "    run([])\n"
        "finally:\n"
        f"    heavy = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "    sys.stderr.write(f'loaded {heavy}' if heavy else '')\n"
    )

    done = asked("bash", *words, program=program)

    assert done.stdout != ""
    assert done.stderr == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_is_one_that_its_shell_reads(shell):
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"needs {shell}")
    script = cli("completion", shell).out

    done = subprocess.run([program, "-n"], input=script, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def session_of(shell: str, directory: Path, session: str) -> subprocess.CompletedProcess[str]:
    """What a shell says that finds the command."""
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"needs {shell}")
    command = directory / "gausscert"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{PROGRAM}" "$@"\n')
    command.chmod(0o700)
    return subprocess.run(
        [program, *{"zsh": ("-f",), "fish": ("--no-config",)}[shell], "-c", session],
        env=os.environ | {"PATH": f"{directory}:{os.environ['PATH']}", "HOME": str(directory)},
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )


def test_zsh_itself_completes_with_the_script(tmp_path):
    session = (
        "compdef() { : }\n"
        '_describe() { print -l "${(@P)3}" }\n'  # -V unsorted NAME -U
        'eval "$(gausscert completion zsh)"\n'
        "words=(gausscert re) CURRENT=2\n"
        "_gausscert_completion\n"
    )

    done = session_of("zsh", tmp_path, session)

    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == ["replace", "recover"], (
        done.stderr
    )


def test_fish_itself_completes_with_the_script(tmp_path):
    session = 'gausscert completion fish | source; complete -C "gausscert re"'

    done = session_of("fish", tmp_path, session)

    offered = {line.partition("\t")[0] for line in done.stdout.splitlines()}
    assert offered == {"replace", "recover"}, done.stderr


def test_bash_itself_completes_with_the_script(tmp_path):
    if shutil.which("bash") is None:
        pytest.skip("needs bash")
    command = tmp_path / "gausscert"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{PROGRAM}" "$@"\n')
    command.chmod(0o700)
    session = (
        f"PATH={tmp_path}:$PATH\n"
        'eval "$(gausscert completion bash)"\n'
        "COMP_WORDS=(gausscert re) COMP_CWORD=1\n"
        "_gausscert_completion gausscert\n"
        'echo "${COMPREPLY[@]}"\n'
    )

    done = subprocess.run(["bash", "-c", session], capture_output=True, text=True, check=False)

    assert (done.stdout, done.stderr) == ("replace recover\n", "")
