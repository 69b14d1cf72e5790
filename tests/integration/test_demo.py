"""`gausscert demo`: true to its word, quick enough, and gone without a trace."""

from __future__ import annotations

import contextlib
import json
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest
from gausscert_coordinator.cli.demo_cluster import GAUSSCERT
from support.documents import only_document

pytestmark = [pytest.mark.xdist_group("demo"), pytest.mark.timeout(180)]


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def left_over(place):
    """Processes that know the directory, and files in it."""
    found = [str(path) for path in place.iterdir()]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(place).encode() in line:
                found.append(line.decode())
    return found


def demo(*args):
    return subprocess.Popen(
        [*GAUSSCERT, "demo", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )


def test_every_claim_holds_and_nothing_is_left(place):
    began = time.monotonic()
    process = demo("--output", "json")
    out, err = process.communicate(timeout=150)
    document = only_document(out.decode())

    assert process.returncode == 0, err
    assert document["simulated"] is True
    assert document["ok"] is True
    assert len(document["claims"]) == 20
    assert all(claim["holds"] for claim in document["claims"])
    moments = {each["moment"]: set(each["fingerprints"].values()) for each in document["served"]}
    assert all(len(shown) == 1 for shown in moments.values())
    assert moments["at first"] != moments["replaced"] == moments["after the failure"] == moments["at the end"]
    assert left_over(place) == []
    # Under 60 s is the promise for a machine of its own; tests share theirs.
    assert time.monotonic() - began < 120


@pytest.mark.parametrize(
    ("words", "number"),
    [
        (b"1. 3 nodes", signal.SIGINT),
        (b"swap started", signal.SIGTERM),
        *(
            pytest.param(b"swap started", each, marks=pytest.mark.soak)
            for each in (signal.SIGINT, signal.SIGHUP)
        ),
        *(
            pytest.param(b"1. 3 nodes", each, marks=pytest.mark.soak)
            for each in (signal.SIGTERM, signal.SIGHUP)
        ),
    ],
)
def test_stopped_at_any_time_nothing_is_left(place, number, words):
    process = demo()
    for line in process.stdout:
        if words in line:
            break
    process.send_signal(number)
    process.stdout.read()
    process.communicate(timeout=60)

    assert process.returncode == 2
    assert left_over(place) == []


@pytest.mark.soak
def test_kept_files_have_the_logs_and_no_process_stays(place):
    process = demo("--keep", "--fail", "prepare:wrong", "--nodes", "1")
    _, err = process.communicate(timeout=150)
    (root,) = place.iterdir()

    assert process.returncode == 0, err
    assert (root / "agent-n1.log").is_file()
    assert len(left_over(place)) == 1


def test_a_cluster_to_try_the_commands_on_works_as_it_says_and_leaves_nothing(place):
    process = demo("--stay", "--output", "json")
    document = _document(process)
    ends = {}
    for line in document["commands"]:
        words = shlex.split(line)
        assert words[0] == "gausscert"
        asks = words[1] in ("replace", "rollback")
        done = subprocess.run(
            [*GAUSSCERT, *words[1:], *(["--yes"] if asks else [])],
            cwd=document["directory"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=100,
            check=False,
        )
        ends[words[1]] = done.returncode
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)

    assert document["simulated"] is True
    assert set(ends.values()) == {0}, ends
    assert "rollback" in ends
    assert process.returncode == 0
    assert left_over(place) == []


def _document(process):
    """All that it writes before it waits."""
    written = ""
    for line in process.stdout:
        written += line.decode()
        with contextlib.suppress(json.JSONDecodeError):
            return json.loads(written)
    raise AssertionError(written)


def test_a_claim_that_does_not_hold_ends_with_five_and_says_so(place, monkeypatch, capsys):
    from gausscert_coordinator.cli import demo_claims
    from gausscert_coordinator.cli.main import run

    monkeypatch.setattr(demo_claims, "holds_bundle", lambda disk, bundle: False)

    code = run(["demo", "--nodes", "1", "--output", "json"])

    document = only_document(capsys.readouterr().out)
    assert code == 5
    assert document["ok"] is False
    assert [claim["claim"] for claim in document["claims"] if not claim["holds"]] == [
        "every node holds all 9 files of new-bundle, mode 0400"
    ]
    assert left_over(place) == []
