"""Only what is new, only the end of it, only fixed regular files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from gausscert_agent.drivers.cm_logs import TAIL_BYTES, CmLogs

PURPOSE = "SSL verify certificate failed: result code is 26, unsupported certificate purpose\n"
MISMATCH = "SSL init error: Private key does not match the certificate public key.\n"


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    for folder in ("cm_server", "cm_agent", "cm_ctl", "dcc/run"):
        (tmp_path / "cm" / folder).mkdir(parents=True)
    return tmp_path


def server_log(logs: Path, name: str = "cm_server-2026-07-01_100000-current.log") -> Path:
    return logs / "cm" / "cm_server" / name


def codes(read: CmLogs) -> list[str]:
    return [finding.code for finding in read.causes()]


def append(path: Path, text: str) -> None:
    with path.open("a") as stream:
        stream.write(text)


def test_what_was_logged_before_the_mark_is_not_the_cause(logs):
    append(server_log(logs), PURPOSE)
    read = CmLogs(logs)
    read.mark()
    assert read.causes() == ()

    append(server_log(logs), MISMATCH)

    assert codes(read) == ["CM_LOG_KEY_MISMATCH"]


def test_without_a_mark_nothing_is_read(logs):
    append(server_log(logs), PURPOSE)
    assert CmLogs(logs).causes() == ()


def test_without_gausslog_nothing_is_read():
    read = CmLogs(None)
    read.mark()
    assert read.causes() == ()


@pytest.mark.parametrize(
    "place",
    [
        "cm/cm_agent/cm_agent-1-current.log",
        "cm/cm_ctl/cm_ctl-1-current.log",
        "cm/dcc/run/run.log",
        "cm/cm_server/cm_server-1-current.log",
    ],
)
def test_each_log_is_read_also_one_that_was_not_there_before(logs, place):
    read = CmLogs(logs)
    read.mark()
    append(logs / place, PURPOSE)
    assert codes(read) == ["CM_LOG_PURPOSE"]


def test_a_log_that_was_begun_anew_is_read_from_its_start(logs):
    append(server_log(logs), "x" * 1000)
    read = CmLogs(logs)
    read.mark()
    server_log(logs).unlink()
    append(server_log(logs, "cm_server-2026-07-02_100000-current.log"), PURPOSE)
    assert codes(read) == ["CM_LOG_PURPOSE"]


def test_a_log_that_was_cut_is_read_from_its_start(logs):
    append(server_log(logs), "x" * 1000)
    read = CmLogs(logs)
    read.mark()
    server_log(logs).write_text(PURPOSE)
    assert codes(read) == ["CM_LOG_PURPOSE"]


def test_only_the_end_of_a_long_log_is_read(logs):
    read = CmLogs(logs)
    read.mark()
    append(server_log(logs), PURPOSE + "x" * TAIL_BYTES)
    assert read.causes() == ()
    append(server_log(logs), MISMATCH)
    assert codes(read) == ["CM_LOG_KEY_MISMATCH"]


def test_former_logs_and_other_files_are_not_read(logs):
    read = CmLogs(logs)
    read.mark()
    for name in ("cm_server-2026-06-01_100000.log", "core.1", "other-current.log"):
        append(server_log(logs, name), PURPOSE)
    assert read.causes() == ()


def test_links_and_pipes_are_not_followed(logs, tmp_path):
    secret = tmp_path / "elsewhere"
    secret.write_text(PURPOSE)
    server_log(logs).symlink_to(secret)
    os.mkfifo(logs / "cm" / "dcc" / "run" / "run.log")
    read = CmLogs(logs)
    read.mark()
    assert read.causes() == ()
