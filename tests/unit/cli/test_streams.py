"""Readers that go away end quietly; output that was wanted and lost is told."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys

import pytest
from gausscert_coordinator.cli.streams import Enduring
from gausscert_coordinator.exit_codes import ExitCode
from support.cli_fakes import Given, cli, cluster_status, result

COMMAND = [sys.executable, "-c", "from gausscert_coordinator.cli.main import main; main()"]
FULL = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")


def run_without_reader(*args: str) -> subprocess.CompletedProcess[str]:
    """As `gausscert ... | true`, after `true` has ended."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return subprocess.run(
            [*COMMAND, *args], stdout=writer, stderr=subprocess.PIPE, text=True, check=False
        )
    finally:
        os.close(writer)


@pytest.mark.parametrize(
    "args",
    [
        ("--help",),
        ("replace", "--help"),
        ("completion", "bash"),
        ("schema",),
        ("schema", "status"),
        ("version",),
    ],
    ids=" ".join,
)
def test_a_reader_that_goes_away_is_no_failure(args):
    """A code of 1 would say: rolled back."""
    done = run_without_reader(*args)

    assert (done.returncode, done.stderr) == (0, "")


def test_a_refusal_keeps_its_code_without_a_reader(tmp_path):
    done = run_without_reader("status", "--inventory", str(tmp_path / "missing"), "--output", "json")

    assert done.returncode == 2


PASSWORDS = ("--server-password-file", "-", "--client-password-file", "-")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("inventory", "import", "-"), "standard input is closed"),
        (("bundle", "new", "made", *PASSWORDS), "standard input (password of server.key)"),
    ],
    ids=["inventory import", "passwords"],
)
def test_a_closed_standard_input_is_refused_and_no_bug(args, said, tmp_path):
    argv = ["sh", "-c", 'exec "$@" <&-', "sh", *COMMAND, *args]

    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert said in done.stderr
    assert "bug" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@FULL
@pytest.mark.parametrize(
    ("args", "code"), [(("version",), 5), (("--help",), 5), (("version", "--output", "json"), 5)], ids=str
)
def test_a_result_that_finds_no_room_is_no_success(args, code):
    with open("/dev/full", "w") as full:
        done = subprocess.run([*COMMAND, *args], stdout=full, stderr=subprocess.PIPE, text=True, check=False)

    assert done.returncode == code
    assert "standard output cannot be written: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


@FULL
def test_check_without_room_is_unknown(tmp_path):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, "check", "--inventory", str(tmp_path / "missing")],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert done.returncode == 3


class Refusing(io.StringIO):
    """A stream on which nothing can be written."""

    def __init__(self, number: int):
        super().__init__()
        self._number = number

    def write(self, text: str) -> int:
        raise OSError(self._number, os.strerror(self._number))


@pytest.mark.parametrize(
    ("number", "lost"), [(errno.EPIPE, False), (errno.EIO, False), (errno.ENOSPC, True), (errno.EDQUOT, True)]
)
def test_only_what_somebody_still_wanted_is_lost(number, lost):
    stream = Enduring(Refusing(number))

    stream.write("text")

    assert bool(stream.lost) == lost


def test_how_a_transaction_ended_is_not_changed_by_a_disk_that_is_full():
    """It is committed, whether anybody could read so or not."""
    looked = cli("status", given=Given(status=cluster_status()), out=Refusing(errno.ENOSPC))
    ended = cli("recover", given=Given(result=result()), out=Refusing(errno.ENOSPC))

    assert (looked.code, ended.code) == (ExitCode.OWN_ERROR, ExitCode.DONE)
    for run in (looked, ended):
        assert "standard output cannot be written: No space left on device" in run.err
