"""A child tells what certificates a set holds, and the agent stays without the library for that."""

from __future__ import annotations

import functools
import subprocess
import sys

import pytest
from gausscert_agent import describe
from gausscert_agent.describe import Describer, in_child
from gausscert_common import certificates
from support import pki, sim_certs


@functools.cache
def full_set() -> dict[str, bytes]:
    """Two CAs, leaves with another certificate behind them, CRLs."""
    other = pki.ca("other CA")
    files = dict(sim_certs.old_set())
    files["cacert.pem"] += other.pem
    files["server.crt"] += other.pem
    files["server.crl"] = pki.crl(other)
    return files


def test_the_child_tells_what_the_library_tells_here():
    files = full_set()
    told = in_child(files)
    assert told == certificates.describe(files)
    assert len({one.kind for one in told}) == 5


@pytest.mark.parametrize("body", [b"", b"\xff\xfe no certificate", b"-----BEGIN CERTIFICATE-----\nQUJD\n"])
def test_what_cannot_be_read_is_left_out(body):
    files = full_set() | {"cacert.pem": body}
    assert in_child(files) == certificates.describe(files)


class Asked:
    def __init__(self, fails: Exception | None = None) -> None:
        self.seen: list[dict[str, bytes]] = []
        self.fails = fails

    def __call__(self, files):
        self.seen.append(dict(files))
        if self.fails is not None:
            raise self.fails
        return ()


@pytest.fixture
def idle(monkeypatch):
    """As in an agent that has not loaded the library; here the tests themselves have."""
    monkeypatch.setattr(describe, "_LIBRARY", "no.such.module")


@pytest.mark.usefixtures("idle")
def test_nothing_but_public_files_is_handed_over():
    asked = Asked()
    Describer(asked)(full_set() | {"notes.txt": b"x"})
    assert set(asked.seen[0]) == {"cacert.pem", "server.crt", "client.crt", "server.crl"}


@pytest.mark.usefixtures("idle")
def test_the_same_files_are_described_once_and_without_any_there_is_no_child():
    asked = Asked()
    describer = Describer(asked)
    for files in (full_set(), full_set(), full_set() | {"server.key": b"new"}, {}, {"server.key": b"x"}):
        describer(files)
    assert len(asked.seen) == 1
    describer(full_set() | {"client.crt": b"changed"})
    assert len(asked.seen) == 2


@pytest.mark.usefixtures("idle")
def test_what_is_remembered_is_bounded():
    asked = Asked()
    describer = Describer(asked)
    for number in range(100):
        describer({"server.crt": b"%d" % number})
    assert len(describer._known) == 8


@pytest.mark.usefixtures("idle")
@pytest.mark.parametrize(
    "failure", [FileNotFoundError("python"), subprocess.TimeoutExpired("python", 1), ValueError("no JSON")]
)
def test_without_a_child_the_agent_does_it_itself(failure, caplog):
    files = full_set()
    assert Describer(Asked(failure))(files) == certificates.describe(files)
    assert "needs more memory" in caplog.text


def test_an_agent_that_has_the_library_anyway_starts_no_child():
    asked = Asked()
    assert Describer(asked)(full_set()) == certificates.describe(full_set())
    assert asked.seen == []


def test_a_report_and_the_daily_check_leave_the_library_out(tmp_path):
    """In a process of its own, because this one has it."""
    directory = tmp_path / "set"
    directory.mkdir()
    for name, body in full_set().items():
        (directory / name).write_bytes(body)
    script = (
        "import sys, pathlib\n"
        "from gausscert_agent.described import describe_set\n"
        f"files = {{p.name: p.read_bytes() for p in pathlib.Path({str(directory)!r}).iterdir()}}\n"
        "class Found:\n"
        "    modes = dict.fromkeys(files, 0o400); digest = 'd'\n"
        "Found.files = files\n"
        "print(len(describe_set(Found).certificates), describe_set(None).certificates)\n"
        "assert not {name for name in sys.modules if name.startswith('cryptography')}\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "6 ()\n")
