"""`gausscert-agent check-config` and `status`: what a new user meets first."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from gausscert_agent import audit, cli, config_check, config_file
from gausscert_agent.audit import AuditLog
from gausscert_common import hardening
from gausscert_common.auditing import Event
from gausscert_common.findings import Severity
from gausscert_common.identity import Role
from gausscert_coordinator import pki

OTHER_UID = 64_123


@dataclass(frozen=True)
class Node:
    """Everything that a configuration names, as it should be."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "agent.toml"

    @property
    def home(self) -> Path:
        return self.root / "app"

    @property
    def state(self) -> Path:
        return self.root / "state"

    def loaded(self):
        return config_file.load(self.config)

    def problems(self, uid: int = OTHER_UID) -> list[tuple[str, str]]:
        """Key and path of each error, as another user than root would get them."""
        found = config_check.look(self.loaded(), uid)
        return [(each.cause.split(":")[0], each.file) for each in found if each.severity is Severity.ERROR]


@pytest.fixture
def node(tmp_path):
    made = Node(tmp_path)
    (made.home / "bin").mkdir(parents=True)
    (made.home / "bin" / "cm_ctl").touch(mode=0o755)
    (made.home / "share" / "sslcert").mkdir(parents=True)
    (tmp_path / "cm").mkdir()
    (tmp_path / "log").mkdir()
    made.state.mkdir(mode=0o700)
    now = datetime.now(UTC)
    pki.init(tmp_path / "pki", "prod", None, now=now)
    issued = pki.issue(tmp_path / "pki", Role.NODE, "n1", now=now)
    made.config.write_text(
        f"""
[agent]
name = "n1"
cluster = "prod"
listen = "127.0.0.1:7443"
state_dir = "{made.state}"
[tls]
ca = "{issued.ca}"
cert = "{issued.cert}"
key = "{issued.key}"
[cm]
home = "{made.home}"
data_path = "{tmp_path / "cm"}"
log_path = "{tmp_path / "log"}"
"""
    )
    return made


@pytest.fixture
def run(monkeypatch, capsys):
    # There is no way back from it, and this is the process of other tests, too (test_hardening has its own).
    monkeypatch.setattr(hardening, "harden", lambda: None)

    def run(*args: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["gausscert-agent", *args])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def test_a_node_that_is_as_it_should_be_is_good(node, run):
    code, out, err = run("check-config", "--config", str(node.config))

    assert code == 0, err
    assert "good" in out
    assert node.problems(os.geteuid()) == []


def test_root_is_warned_and_not_refused(node):
    (warning,) = config_check.look(node.loaded(), 0)

    assert warning.severity is Severity.WARNING
    assert "root" in warning.cause
    assert "cluster's OS user" in warning.remedy


def test_files_of_another_user_are_refused(node):
    assert node.problems(OTHER_UID) == [
        ("agent.state_dir", str(node.state)),
        ("cm.home", str(node.home / "share" / "sslcert")),
    ]


@pytest.mark.parametrize(
    ("spoil", "key", "where"),
    [
        (lambda n: (n.home / "bin" / "cm_ctl").unlink(), "cm.home", "app/bin/cm_ctl"),
        (lambda n: (n.home / "share" / "sslcert").rmdir(), "cm.home", "app/share/sslcert"),
        (lambda n: (n.home / "bin" / "cm_ctl").chmod(0o644), "cm.home", "app/bin/cm_ctl"),
        (lambda n: n.home.rename(n.root / "elsewhere"), "cm.home", "app"),
        (lambda n: (n.root / "cm").rmdir(), "cm.data_path", "cm"),
        (lambda n: (n.root / "log").rmdir(), "cm.log_path", "log"),
        (lambda n: n.state.chmod(0o755), "agent.state_dir", "state"),
        (lambda n: (n.state.rmdir(), n.state.touch()), "agent.state_dir", "state"),
    ],
)
def test_what_is_missing_or_unfit_is_named_with_its_path(node, run, spoil, key, where):
    spoil(node)

    assert node.problems(os.geteuid()) == [(key, str(node.root / where))]
    code, out, err = run("check-config", "--config", str(node.config))
    assert code == 2
    assert out == ""
    assert err.count(str(node.root / where)) >= 1


def test_a_state_directory_that_is_not_there_yet_needs_a_parent(node):
    node.state.rmdir()
    assert node.problems(os.geteuid()) == []

    node.config.write_text(node.config.read_text().replace(str(node.state), f"{node.root}/absent/state"))
    assert node.problems(os.geteuid()) == [("agent.state_dir", f"{node.root}/absent/state")]


def test_everything_is_told_at_once_and_each_thing_once(node, run):
    (node.root / "log").rmdir()
    (node.home / "bin" / "cm_ctl").unlink()
    for kind in ("ca", "cert", "key"):
        (path,) = re.findall(rf'^{kind} = "(.*)"', node.config.read_text(), re.MULTILINE)
        Path(path).unlink()

    code, _, err = run("check-config", "--config", str(node.config))

    assert code == 2
    assert "5 things are wrong" in err
    assert err.count("there is no such directory") == 1
    assert err.count("does not exist") == 3
    assert err.count("there is no cm_ctl") == 1


def test_a_syntax_error_and_wrong_keys_are_told_once(node, run):
    node.config.write_text(node.config.read_text().replace("listen", "lissen"))
    _, _, wrong = run("check-config", "--config", str(node.config))
    node.config.write_text("[agent\n")
    code, _, torn = run("check-config", "--config", str(node.config))

    assert wrong.count("agent.lissen") == 1
    assert wrong.count("agent.listen") == 1
    assert (code, torn.count("no TOML")) == (2, 1)


def test_status_without_a_state_directory_says_where_it_looked(node, run):
    node.state.rmdir()

    code, out, err = run("status", "--config", str(node.config))

    assert code == 2
    assert "NONE" not in out
    assert "there is no state directory" in err
    assert str(node.state) in err


def test_status_without_a_journal_says_that_nothing_was_ever_here(node, run):
    code, out, _ = run("status", "--config", str(node.config))

    assert code == 0
    assert "no transaction has ever been here" in out
    assert "NONE" not in out


@pytest.mark.parametrize(
    ("host", "warned"),
    [
        ("127.0.0.1", False),
        ("127.0.0.9", False),
        ("[::1]", False),
        ("localhost", False),
        ("192.0.2.7", True),
        ("[::]", True),
        ("db1", True),
    ],
)
def test_an_endpoint_that_others_reach_is_warned_of(node, host, warned):
    with node.config.open("a") as config:
        config.write(f'[metrics]\nenabled = true\nlisten = "{host}:9747"\n')
    found = [each for each in config_check.look(node.loaded(), OTHER_UID) if "metrics.listen" in each.cause]
    assert [each.severity for each in found] == [Severity.WARNING] * warned


# ---- verify-audit


def test_a_log_is_followed_on_its_node(node, run):
    log = AuditLog(node.state)
    for _ in range(3):
        who = "gausscert://prod/operator/a"
        log.note(Event("", who, "1f", "", "Commit", "tx-00000001", 1, "COMMIT", "OK"))
    log.close()

    code, out, err = run("verify-audit", "--config", str(node.config))

    assert (code, err) == (0, "")
    assert "intact, lines 1 to 3" in out
    (path,) = (node.state / "audit").iterdir()
    path.write_bytes(path.read_bytes().replace(b"operator", b"observer", 1))
    code, _, err = run("verify-audit", "--config", str(node.config))
    assert code == 2
    assert "line 1" in err
    assert str(node.state / "audit") in err


def test_a_file_that_goes_while_the_log_is_read_is_no_fault(node, run, monkeypatch):
    log = AuditLog(node.state)
    log.note(Event("", "gausscert://prod/operator/a", "1f", "", "Commit", "tx-00000001", 1, "COMMIT", "OK"))
    log.close()
    real, met = audit.numbered, [FileNotFoundError(2, "No such file or directory")]

    def numbered(path, after=0):
        if met:
            raise met.pop()
        yield from real(path, after)

    monkeypatch.setattr(audit, "numbered", numbered)
    code, out, _ = run("verify-audit", "--config", str(node.config))

    assert (code, met) == (0, [])
    assert "intact, lines 1 to 1" in out


def test_a_log_that_was_never_written_is_intact(node, run):
    code, out, _ = run("verify-audit", "--config", str(node.config))

    assert code == 0
    assert "nothing was asked" in out
