"""What the agent's health is made of: each thing makes it red, and its repair makes it green again."""

from __future__ import annotations

import logging
import os
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from gausscert_agent import fitness
from gausscert_agent.config import AgentConfig, CmSettings, TlsFiles
from gausscert_agent.credential_source import CredentialSource
from gausscert_agent.deny_list import DenyListFile
from gausscert_agent.drivers.process_list import start_ticks
from gausscert_agent.fitness import KEPT_S, Fitness
from gausscert_agent.journal import Journal
from gausscert_common.identity import Role
from gausscert_common.protocol.state import NodeState, Operation
from gausscert_coordinator import pki
from support.edges import copy_private

NOW = datetime.now(UTC)


class Bench:
    """An agent that could do its job, on a real disk, with a clock that a test turns."""

    def __init__(self, root) -> None:
        self.root, self.now = root, 0.0
        self.state_dir = root / "state"
        with Journal(self.state_dir) as journal:
            journal.lock()
            journal.save(NodeState())
        self.cm_ctl = root / "cm_ctl"
        self.cm_ctl.touch(0o700)
        self.ca = root / "ca"
        pki.init(self.ca, "prod", None)
        self.issued = self.issue("first")
        tls = TlsFiles(self.issued.ca, self.issued.cert, self.issued.key)
        config = AgentConfig("n1", "prod", "127.0.0.1:0", self.state_dir, tls, CmSettings(root))
        self.source = CredentialSource(
            config, lambda: NOW + timedelta(seconds=self.now), monotonic=lambda: self.now
        )
        self.source.first()
        self.operation = None
        self.fitness = Fitness(
            self.state_dir,
            Journal(self.state_dir),
            self.cm_ctl,
            credential=self.source.findings,
            orphan=lambda: self.operation,
            clock=lambda: self.now,
            access=DenyListFile(self.state_dir).findings,
        )

    def issue(self, name: str) -> pki.Issued:
        begin = NOW + timedelta(seconds=self.now)
        return pki.issue(self.ca, Role.NODE, "n1", days=90, out=self.root / name, now=begin)

    def look(self, after_s: float = KEPT_S) -> list[str]:
        self.now += after_s
        codes = [finding.code for finding in self.fitness.look()]
        assert self.fitness.fit is not bool(codes)
        return codes


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def test_an_agent_that_could_do_its_job_is_fit(bench):
    assert bench.look() == []
    assert bench.fitness.findings() == ()


def test_a_cm_ctl_that_cannot_even_be_looked_at(bench):
    missing = (
        bench.root / ("x" * 300) / "cm_ctl"
    )  # refused with ENAMETOOLONG, as a closed directory with EACCES
    fit = Fitness(
        bench.state_dir,
        Journal(bench.state_dir),
        missing,
        credential=tuple,
        orphan=lambda: None,
        clock=lambda: 0.0,
    )
    assert [finding.code for finding in fit.look()] == ["NODE_CM_CTL_MISSING"]


def test_a_missing_cm_ctl(bench):
    bench.cm_ctl.chmod(0o600)
    assert bench.look() == ["NODE_CM_CTL_MISSING"]
    bench.cm_ctl.unlink()
    assert bench.look() == ["NODE_CM_CTL_MISSING"]
    bench.cm_ctl.touch(0o700)
    assert bench.look() == []


def test_a_journal_that_is_not_what_was_written(bench):
    path = bench.state_dir / "journal.json"
    body = path.read_bytes()
    path.write_bytes(body[: len(body) // 2])
    assert bench.look() == ["NODE_JOURNAL_DAMAGED"]
    path.unlink()
    assert bench.look() == ["NODE_JOURNAL_DAMAGED"]
    path.touch(0o600)
    path.write_bytes(body)
    assert bench.look() == []


def test_a_state_directory_that_is_gone_or_full_or_not_ours_to_write(bench, monkeypatch):
    bench.state_dir.rename(bench.root / "away")
    assert "NODE_STATE_NOT_WRITABLE" in bench.look()
    (bench.root / "away").rename(bench.state_dir)
    assert bench.look() == []
    monkeypatch.setattr(fitness, "_ROOM_BYTES", 1 << 62)
    assert bench.look() == ["NODE_STATE_NOT_WRITABLE"]
    monkeypatch.undo()
    real = os.access  # root, who runs the tests in places, may write everywhere
    monkeypatch.setattr(
        os, "access", lambda path, *rest, **more: path != bench.state_dir and real(path, *rest)
    )
    assert bench.look() == ["NODE_STATE_NOT_WRITABLE"]


def test_the_own_credential_warns_first_then_makes_it_red_and_a_new_one_green(bench):
    assert bench.look(60.5 * 86_400) == []
    assert [finding.code for finding in bench.fitness.findings()] == ["NODE_CREDENTIAL_EXPIRING"]
    assert bench.look(28.6 * 86_400) == ["NODE_CREDENTIAL_LAST_DAY"]
    assert bench.look(2 * 86_400) == ["NODE_CREDENTIAL_EXPIRED"]

    renewed = bench.issue("renewed")
    for source, target in ((renewed.key, bench.issued.key), (renewed.cert, bench.issued.cert)):
        copy_private(source, target.with_suffix(".new")).replace(target)

    assert bench.look() == []  # without a connection, which would have it loaded, too
    assert bench.source.changed() is not None  # and gRPC is told all the same, once
    assert bench.source.changed() is None


def test_a_cm_ctl_that_outlives_its_command(bench):
    child = subprocess.Popen(["sleep", "60"])
    try:
        ticks = start_ticks(child.pid)
        bench.operation = Operation("stop", child.pid, ticks + 1, "boot")
        assert bench.look() == []  # the pid is somebody else's by now
        bench.operation = Operation("stop", child.pid, ticks, "boot")
        assert bench.look() == ["NODE_ORPHAN"]
    finally:
        child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert bench.look() == []  # it has ended, though nobody has collected it
    child.wait()


def test_everything_is_found_at_once(bench):
    bench.cm_ctl.unlink()
    (bench.state_dir / "journal.json").unlink()
    assert bench.look() == ["NODE_JOURNAL_DAMAGED", "NODE_CM_CTL_MISSING"]


def test_one_look_serves_all_who_ask_within_seconds(bench):
    assert bench.look() == []
    bench.cm_ctl.unlink()
    assert bench.look(KEPT_S / 2) == []
    assert bench.look(KEPT_S / 2) == ["NODE_CM_CTL_MISSING"]


def test_red_and_green_are_logged_once_each(bench, caplog):
    caplog.set_level(logging.INFO, "gausscert_agent.fitness")
    bench.look()
    bench.cm_ctl.unlink()
    for _ in range(3):
        bench.look()
    bench.cm_ctl.touch(0o700)
    for _ in range(3):
        bench.look()
    said = [(record.levelname, record.message, record.codes) for record in caplog.records]
    assert said == [
        ("ERROR", "health: NOT_SERVING", "NODE_CM_CTL_MISSING"),
        ("INFO", "health: SERVING", ""),
    ]


def test_an_agent_that_lets_nobody_in_is_not_fit_until_its_list_is_mended(bench):
    path = bench.state_dir / "deny.list"
    path.touch(0o600)
    assert bench.look() == []
    path.write_text("alice\n")
    assert bench.look() == ["NODE_DENY_LIST_UNUSABLE"]
    (found,) = bench.fitness.findings()
    assert (found.file, "line 1" in found.cause) == (str(path), True)
    path.write_text("# alice\n")
    assert bench.look() == []
