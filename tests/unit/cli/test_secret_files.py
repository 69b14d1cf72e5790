"""What is no file of the caller's own is no password file, and nothing is waited for without an end."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from gausscert_common.errors import InvalidInput, Reason
from gausscert_coordinator.cli import secret_files
from support.cli_fakes import cli

SECRET = b"Canary#7pw\n"
LONGEST = 100


def never(said: str) -> NoReturn:
    raise AssertionError(said)


def refused(path: Path, **limits: float) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        secret_files.read(path, LONGEST, never, **limits)
    assert caught.value.reason is Reason.ARGUMENT_INVALID
    assert caught.value.file == str(path)
    return caught.value


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe", 0o600)
    return tmp_path / "pipe"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    for descriptor in (reading, writing):
        try:
            os.close(descriptor)
        except OSError:
            continue  # the test has


def test_a_named_pipe_without_a_writer_is_refused_at_once(fifo: Path):
    """It was a bug: it was waited for until Ctrl-C."""
    error = refused(fifo)

    assert "named pipe" in error.message
    assert error.remedy == f"open it yourself: /dev/fd/3 3<{fifo}"


def test_a_named_pipe_is_refused_also_with_a_writer_and_through_a_link(fifo: Path, tmp_path: Path):
    keeps_open = os.open(fifo, os.O_RDWR)
    (tmp_path / "link").symlink_to(fifo)
    try:
        os.write(keeps_open, SECRET)
        for path in (fifo, tmp_path / "link"):
            assert "named pipe" in refused(path).message
    finally:
        os.close(keeps_open)


@pytest.mark.parametrize("option", ["--passphrase-file"])
def test_the_command_ends_with_a_named_pipe(fifo: Path, tmp_path: Path, option: str):
    run = cli("pki", "init", "--dir", str(tmp_path / "pki"), "--cluster", "prod", option, str(fifo))

    assert run.code == 2, run.err
    assert "named pipe" in run.err
    assert not (tmp_path / "pki").exists()


@pytest.mark.parametrize(("path", "said"), [("/dev/null", "is a device"), ("/proc", "is a directory")])
def test_devices_and_directories_are_refused(path: str, said: str):
    assert said in refused(Path(path)).message


def test_a_socket_is_refused(tmp_path: Path):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        refused(tmp_path / "s")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can read, and give away, what is somebody else's")
def test_a_file_of_another_user_is_refused(tmp_path: Path):
    """Who owns it can change it, and let anybody read it."""
    path = tmp_path / "pw"
    path.write_bytes(SECRET)
    path.chmod(0o600)
    os.chown(path, 1500, 1500)

    error = refused(path)

    assert "belongs to another user" in error.message
    assert "chown" in error.remedy
    os.chown(path, 0, 0)
    assert secret_files.read(path, LONGEST, never) == SECRET


def test_roots_file_may_be_read_by_whoever_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "pw"
    path.write_bytes(SECRET)
    path.chmod(0o600)
    mine = os.geteuid()
    monkeypatch.setattr(secret_files.os, "geteuid", lambda: mine + 1)

    if mine == 0:
        assert secret_files.read(path, LONGEST, never) == SECRET
    else:
        assert "belongs to another user" in refused(path).message


def test_a_descriptor_is_read_to_its_end_in_however_many_pieces(pipe: tuple[int, int]):
    reading, writing = pipe

    def write() -> None:
        for byte in SECRET:
            os.write(writing, bytes([byte]))
        os.close(writing)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert secret_files.read(Path(f"/dev/fd/{reading}"), LONGEST, never) == SECRET
    finally:
        writer.join()


def test_a_descriptor_whose_other_end_is_closed_already_is_at_its_end(pipe: tuple[int, int]):
    reading, writing = pipe
    os.write(writing, SECRET)
    os.close(writing)

    for expected in (SECRET, b""):
        assert secret_files.read(Path(f"/proc/self/fd/{reading}"), LONGEST, never) == expected


def test_no_more_is_read_than_was_asked_for(pipe: tuple[int, int]):
    reading, writing = pipe
    os.write(writing, b"x" * (LONGEST + 50))

    assert secret_files.read(Path(f"/dev/fd/{reading}"), LONGEST, never) == b"x" * LONGEST


def test_a_descriptor_that_is_waited_for_is_told_once_and_then_read(pipe: tuple[int, int]):
    reading, writing = pipe
    said: list[str] = []

    def told(text: str) -> None:
        said.append(text)
        os.write(writing, SECRET)
        os.close(writing)

    path = Path(f"/dev/fd/{reading}")
    assert secret_files.read(path, LONGEST, told, quiet_s=0.05) == SECRET
    assert said == [f"waiting for {path} to be written and closed (Ctrl-C gives up)"]


@pytest.mark.parametrize(("body", "said"), [(b"", "and empty"), (SECRET, "not closed")])
def test_a_descriptor_that_is_never_closed_is_given_up(pipe: tuple[int, int], body: bytes, said: str):
    reading, writing = pipe
    os.write(writing, body)

    error = refused(Path(f"/dev/fd/{reading}"), patience_s=0.2)

    assert said in error.message
    assert SECRET.decode().strip() not in str(error)


def test_a_shells_process_substitution_is_one(tmp_path: Path):
    """What `<(command)` of bash is given as: /dev/fd/63, of a pipe."""
    words = f'pki init --dir {tmp_path}/pki --cluster prod --passphrase-file <(sleep 0.1; echo "some words")'
    run = "import sys; from gausscert_coordinator.cli.main import main; main()"
    done = subprocess.run(
        ["bash", "-c", f'"$0" -c "$1" {words}', sys.executable, run],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )

    assert done.returncode == 0, done.stderr
    assert b"ENCRYPTED" in (tmp_path / "pki" / "ca.key").read_bytes()


def test_the_descriptor_of_a_device_is_no_pipe():
    descriptor = os.open("/dev/zero", os.O_RDONLY)
    try:
        assert "is a device" in refused(Path(f"/dev/fd/{descriptor}")).message
    finally:
        os.close(descriptor)


def test_of_a_descriptor_that_is_written_bit_by_bit_it_is_told_once(pipe: tuple[int, int], monkeypatch):
    reading, writing = pipe
    said, parts, really = list[str](), [b"a", b"b", b"c"], secret_files._wait

    def waits(descriptor: int, timeout_s: float) -> None:
        if parts:
            os.write(writing, parts.pop(0))
        else:
            os.close(writing)
        really(descriptor, timeout_s)

    monkeypatch.setattr(secret_files, "_wait", waits)

    assert secret_files.read(Path(f"/dev/fd/{reading}"), LONGEST, said.append, quiet_s=0.0) == b"abc"
    assert len(said) == 1
