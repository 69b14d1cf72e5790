from __future__ import annotations

import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from gausscert_agent.cm import LocalCm
from gausscert_agent.config import CmSettings
from gausscert_agent.drivers.cm_conf import Conf
from gausscert_agent.drivers.process import Completed
from gausscert_agent.layout_probe import EXCHANGE, LayoutProbe
from gausscert_agent.node_findings import NODE_FINDINGS
from gausscert_agent.preflight import (
    MIN_FREE_BYTES,
    DirectoryFacts,
    NodeFacts,
    judge,
    judge_live,
)
from gausscert_agent.preflight_look import look
from gausscert_common import certset
from gausscert_common.findings import Severity
from gausscert_common.model import Layout, SslValue

ON = Conf(SslValue.ON)
OFF = Conf(SslValue.OFF)
GOOD = NodeFacts(server_conf=("cm_server.conf", ON), agent_conf=("cm_agent.conf", ON))


def codes(facts: NodeFacts) -> list[str]:
    return [finding.code for finding in judge(facts)]


def test_a_good_node_has_no_findings():
    assert judge(GOOD) == ()


def test_a_node_without_cm_server_has_no_findings():
    assert judge(replace(GOOD, server_conf=("cm_server.conf", Conf()))) == ()


def conf(**changes):
    return {"server_conf": ("cm_server.conf", replace(ON, **changes))}


TABLE = [
    ("NODE_WRONG_USER", {"uid": 1000}),
    ("NODE_WRONG_USER", {"set_directory": DirectoryFacts("cm", uid=1000)}),
    ("NODE_DIRECTORY_MISSING", {"sslcert": DirectoryFacts("sslcert", exists=False)}),
    ("NODE_DIRECTORY_WRITABLE", {"sslcert": DirectoryFacts("sslcert", mode=0o770)}),
    ("NODE_DIRECTORY_WRITABLE", {"set_directory": DirectoryFacts("cm", mode=0o702)}),
    ("NODE_NO_SPACE", {"sslcert": DirectoryFacts("sslcert", free_bytes=MIN_FREE_BYTES - 1)}),
    ("NODE_NO_SPACE", {"state_directory": DirectoryFacts("state", free_inodes=3)}),
    ("NODE_CANNOT_SWAP", {"layout": LayoutProbe(None, "is a mount point")}),
    ("NODE_DATA_LINK", {"layout": LayoutProbe(Layout.DATA_LINK, "is a mount point")}),
    ("NODE_SETPRIV_MISSING", {"dies_with_us": False}),
    ("NODE_CM_CTL_MISSING", {"cm_ctl_exists": False, "version": ""}),
    ("NODE_CM_CTL_FAILS", {"cm_ctl_cause": "current user is the root user"}),
    ("NODE_STATIC_CONFIG_MISSING", {"static_config_exists": False, "cm_ctl_cause": "exit 255"}),
    ("NODE_CONF_UNREADABLE", {"conf_cause": "Permission denied"}),
    ("NODE_SSL_COMMENTED", conf(enable_ssl=SslValue.COMMENTED)),
    ("NODE_SSL_MISSING", conf(enable_ssl=SslValue.MISSING)),
    ("NODE_SSL_UNEQUAL", conf(enable_ssl=SslValue.OFF)),
    ("NODE_SSL_NOT_SETTABLE", {"ssl_obstacles": (("cm_agent.conf", "it stands 2 times"),)}),
    ("NODE_THRESHOLD_INVALID", conf(alert_threshold_days=6)),
    ("NODE_THRESHOLD_INVALID", conf(alert_threshold_days=181)),
    ("NODE_CM_CTL_RUNNING", {"foreign_cm_ctl": (12, 13)}),
    ("NODE_UPGRADING", {"upgrading": True}),
    ("NODE_UPGRADE_UNKNOWN", {"upgrade_cause": "nothing tells PGHOST"}),
    ("NODE_PAUSED", {"paused": True}),
    ("NODE_MANUALLY_STOPPED", {"manually_stopped": True}),
    ("NODE_VERSION_UNKNOWN", {"version": ""}),
]


@pytest.mark.parametrize(("code", "changes"), TABLE)
def test_each_thing_wrong_has_its_own_code_and_no_other(code, changes):
    assert set(codes(replace(GOOD, **changes))) == {code}


def test_every_code_of_the_table_is_reachable():
    elsewhere = {"NODE_SET_STRAYS", "NODE_SET_INCOMPLETE", "NODE_SET_MODE", "NODE_NOT_OBSERVED"}
    elsewhere |= {"NODE_CREDENTIAL_EXPIRED", "NODE_CREDENTIAL_EXPIRING", "NODE_NO_LIVE_SET"}
    elsewhere |= {"NODE_SET_UNREADABLE"}
    elsewhere |= {
        "NODE_ALARM",
        "NODE_NOT_SERVED",
        "NODE_DRIFT",
        "NODE_DRIFT_REFUSED",
        "NODE_CREDENTIAL_LAST_DAY",
    }
    # Of whom the agent lets in, and its own credential: test_credential_source, test_fitness, test_audit.
    elsewhere |= {"NODE_CREDENTIAL_CA_EXPIRED", "NODE_CREDENTIAL_CA_EXPIRING"}
    elsewhere |= {"NODE_DENY_LIST_UNUSABLE", "NODE_AUDIT_NOT_WRITTEN"}
    elsewhere |= {"NODE_STATE_NOT_WRITABLE", "NODE_JOURNAL_DAMAGED", "NODE_ORPHAN"}
    assert {code for code, _ in TABLE} | elsewhere == set(NODE_FINDINGS)


@pytest.mark.parametrize("days", [None, 7, 90, 180])
def test_thresholds_that_cm_takes_are_no_finding(days):
    assert judge(replace(GOOD, **conf(alert_threshold_days=days))) == ()


def test_a_missing_live_directory_is_no_finding():
    assert judge(replace(GOOD, set_directory=DirectoryFacts("cm", exists=False, uid=7, mode=0o777))) == ()


def test_everything_is_reported_at_once_in_the_order_of_the_table():
    facts = replace(
        GOOD,
        uid=1000,
        paused=True,
        upgrading=True,
        cm_ctl_cause="x",
        layout=LayoutProbe(None, "y"),
        sslcert=DirectoryFacts("sslcert", mode=0o777, free_bytes=0),
    )
    found = codes(facts)
    assert set(found) == {
        "NODE_WRONG_USER",
        "NODE_DIRECTORY_WRITABLE",
        "NODE_NO_SPACE",
        "NODE_CANNOT_SWAP",
        "NODE_CM_CTL_FAILS",
        "NODE_UPGRADING",
        "NODE_PAUSED",
    }
    assert found == sorted(found, key=list(NODE_FINDINGS).index)


def test_a_finding_names_the_file_the_cause_and_the_remedy():
    (finding,) = judge(replace(GOOD, **conf(enable_ssl=SslValue.COMMENTED)))
    assert finding.file == "cm_server.conf"
    assert finding.severity is Severity.ERROR
    assert "comment" in finding.cause
    assert "remove the #" in finding.remedy


@pytest.mark.parametrize(("code", "row"), NODE_FINDINGS.items())
def test_the_table_is_fit_for_print(code, row):
    assert re.fullmatch(r"NODE_[A-Z_]+", code)
    assert row.title
    assert row.remedy
    assert not row.title.endswith(".")
    assert not row.remedy.endswith(".")


WHOLE = dict.fromkeys(certset.NAMES, 0o400)


def test_a_whole_live_set_has_no_findings():
    assert judge_live(WHOLE, WHOLE, ()) == ()


def test_modes_that_cm_refuses_are_told_together():
    (finding,) = judge_live(WHOLE, WHOLE | {"server.key": 0o600, "cacert.pem": 0o440}, ())
    assert finding.code == "NODE_SET_MODE"
    assert finding.cause.endswith("cacert.pem 0440, server.key 0600")


def test_modes_that_cm_never_looks_at_are_no_finding():
    assert judge_live(WHOLE, WHOLE | {"server.key.rand": 0o600}, ()) == ()


def test_missing_files_and_strays_are_told():
    names = [name for name in WHOLE if name != "client.crt"]
    findings = judge_live(names, WHOLE, ("old", "link"))
    assert [(one.code, one.severity) for one in findings] == [
        ("NODE_SET_STRAYS", Severity.ERROR),
        ("NODE_SET_INCOMPLETE", Severity.WARNING),
    ]
    assert "client.crt" in findings[1].cause


class FakeCmCtl:
    """Answers `view` and `--version` with what it was given."""

    def __init__(self, view: str, version: str = "cm_ctl 7.0.0") -> None:
        self.texts = {"view": view, "--version": version}

    def run(self, argv, **_):
        return Completed(0, self.texts[argv[1]], "")


@pytest.fixture
def node(tmp_path):
    """A node with nothing wrong: home, data and state directory."""
    home, data, state = tmp_path / "home", tmp_path / "data", tmp_path / "state"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "cluster_static_config").touch()
    (home / "bin" / "cm_ctl").touch(0o700)
    (home / "share" / "sslcert" / "cm").mkdir(parents=True)
    for folder in (home / "share" / "sslcert", home / "share" / "sslcert" / "cm"):
        folder.chmod(0o700)
    for component in ("server", "agent"):
        (data / f"cm_{component}").mkdir(parents=True)
        (data / f"cm_{component}" / f"cm_{component}.conf").write_text("enable_ssl = on\n")
    state.mkdir()
    (tmp_path / "pg").mkdir()
    return tmp_path


def seen(node: Path, view: str | None = None, **settings) -> list[str]:
    view = f"node:1\nnode :1\ncmDataPath :{node}/data\n" if view is None else view
    settings = {"environment": {"PGHOST": str(node / "pg")}} | settings
    cm_settings = CmSettings(node / "home", **settings)
    facts = look(cm_settings, node / "state", LocalCm(cm_settings, FakeCmCtl(view)), EXCHANGE)
    return codes(facts)


def test_a_good_node_looks_good(node):
    assert seen(node) == []


def test_what_is_in_the_way_is_seen(node):
    home_bin = node / "home" / "bin"
    (home_bin / "cluster_manual_pause").touch()
    (home_bin / "cluster_manual_start").touch()
    (node / "pg" / "binary_upgrade").touch()
    (node / "home" / "share" / "sslcert").chmod(0o777)
    (node / "data" / "cm_agent" / "cm_agent.conf").write_text("#enable_ssl = on\n")
    assert seen(node) == [
        "NODE_DIRECTORY_WRITABLE",
        "NODE_SSL_COMMENTED",
        "NODE_UPGRADING",
        "NODE_PAUSED",
        "NODE_MANUALLY_STOPPED",
    ]


@pytest.mark.parametrize(
    ("pghost", "cause"),
    [
        ("", "neither the agent's configuration nor a running process of CM tells PGHOST"),
        ("{}/gone", "there is no such directory"),
        ("{}/state/file", "there is no such directory"),
        ("{}/loop", "Too many levels of symbolic links"),
    ],
)
def test_a_node_that_cannot_tell_whether_it_is_upgraded_says_so(node, pghost, cause):
    """It kept silent, which looked like a node that is not."""
    (node / "loop").symlink_to("loop")
    cm_settings = CmSettings(node / "home", environment={"PGHOST": pghost.format(node)} if pghost else {})
    view = f"node:1\nnode :1\ncmDataPath :{node}/data\n"
    cm = LocalCm(cm_settings, FakeCmCtl(view), proc=node / "state")
    (finding,) = judge(look(cm_settings, node / "state", cm, EXCHANGE))
    assert (finding.code, finding.severity) == ("NODE_UPGRADE_UNKNOWN", Severity.WARNING)
    assert cause in finding.cause
    assert "[cm.environment]" in finding.remedy


def test_an_agent_that_was_not_told_pghost_learns_it_from_a_running_process_of_cm(node):
    (node / "pg" / "binary_upgrade").touch()
    program = node / "home" / "bin" / "cm_agent"
    program.write_text("#!/bin/sh\necho\nread -r wait\n")
    program.chmod(0o700)
    with subprocess.Popen(
        [program],
        env={"SECRET": "x", "PGHOST": str(node / "pg")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as running:
        assert running.stdout is not None
        running.stdout.readline()
        found = seen(node, environment={})
        running.communicate(b"\n")
    assert found == ["NODE_UPGRADING"]


def test_what_is_missing_is_seen_and_each_only_once(node):
    (node / "home" / "bin" / "cluster_static_config").unlink()
    (node / "home" / "bin" / "cm_ctl").unlink()
    os.rmdir(node / "home" / "share" / "sslcert" / "cm")
    os.rmdir(node / "home" / "share" / "sslcert")
    assert seen(node, view="") == [
        "NODE_DIRECTORY_MISSING",
        "NODE_CM_CTL_MISSING",
        "NODE_STATIC_CONFIG_MISSING",
    ]


def test_a_cm_ctl_that_does_not_work_is_told_in_its_own_words(node):
    cm_settings = CmSettings(node / "home", environment={"PGHOST": str(node / "pg")})
    cm = LocalCm(cm_settings, FakeCmCtl("current user is the root user (uid = 0), exit."))
    (finding,) = judge(look(cm_settings, node / "state", cm, EXCHANGE))
    assert finding.code == "NODE_CM_CTL_FAILS"
    assert "current user is the root user" in finding.cause


def test_looking_changes_nothing(node):
    before = sorted((path, path.stat().st_mtime_ns) for path in node.rglob("*"))
    seen(node)
    assert sorted((path, path.stat().st_mtime_ns) for path in node.rglob("*")) == before
