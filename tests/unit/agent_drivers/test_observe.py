from __future__ import annotations

import hashlib
import os
import ssl
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from gausscert_agent.candidate import CandidateJudge
from gausscert_agent.cm import LocalCm
from gausscert_agent.config import AgentConfig, CmSettings, TlsFiles
from gausscert_agent.drivers.process import Completed
from gausscert_agent.looks import NotNow
from gausscert_agent.node import LocalNode
from gausscert_agent.node_findings import node_finding
from gausscert_agent.observe import Observer
from gausscert_agent.store import Contents, Store
from gausscert_agent.watch import Hub
from gausscert_common import VERSION, certset
from gausscert_common.certificates import describe
from gausscert_common.errors import NodeFailure, Reason
from gausscert_common.model import (
    CertificateKind,
    CmProcess,
    FactorBuild,
    Served,
    ServedState,
    SetState,
    SslSwitch,
    SslValue,
    TransactionReport,
)
from gausscert_common.protocol.commands import AcquireCommand
from gausscert_common.protocol.words import Fence, Phase, Step
from support import sim_certs

NOW = datetime(2026, 7, 1, tzinfo=UTC)
QUERY = "[  CMServer State   ]\n1  db1 1   Primary\n[   Cluster State   ]\ncluster_state   : Normal\n"


class FakeCmCtl:
    """A cm_ctl that answers, or fails as a whole when `broken`."""

    def __init__(self, data: Path) -> None:
        self.broken = False
        self.asked: list[str] = []
        self.texts = {
            "view": f"node:1\nnode :1\nnodeName:db1\ncmDataPath :{data}\n"
            "cmServer 1:10.0.0.1\nport :5000\ncmAgentIP :10.0.0.1\n",
            "--version": "cm_ctl 7.0.0\n",
            "query": QUERY,
        }

    def run(self, argv, **_):
        self.asked.append(argv[1])
        if self.broken:
            raise NodeFailure(Reason.CM_CTL_FAILED, "cannot be run")
        return Completed(0, self.texts[argv[1]], "")


class Bench:
    """A node on a real disk with a fake cm_ctl and an observer of it."""

    def __init__(self, root: Path) -> None:
        self.home, data, state = root / "home", root / "data", root / "state"
        (self.home / "bin").mkdir(parents=True)
        (self.home / "bin" / "cluster_static_config").touch()
        (self.home / "bin" / "cm_ctl").touch(0o700)
        self.live = self.home / "share" / "sslcert" / "cm"
        self.live.mkdir(parents=True)
        for folder in (self.live, self.live.parent):
            folder.chmod(0o700)
        for component in ("server", "agent"):
            (data / f"cm_{component}").mkdir(parents=True)
        self.conf = data / "cm_server" / "cm_server.conf"
        self.conf.write_text("enable_ssl = on\nssl_cert_expire_alert_threshold = 30\n")
        (data / "cm_agent" / "cm_agent.conf").write_text("enable_ssl = off\n")
        state.mkdir()
        self.log_path = root / "log"
        self.serves = ServedState.SSL_ON
        cm = CmSettings(self.home, log_path=self.log_path)
        tls = TlsFiles(root, root, root)
        self.config = AgentConfig("n1", "prod", "127.0.0.1:0", state, tls, cm)
        self.store = Store(cm)
        self.ctl = FakeCmCtl(data)
        self.cm = LocalCm(cm, self.ctl)
        self.transaction = TransactionReport()
        self.probed: list[tuple] = []
        self.more: tuple = ()

    def install(self, files: dict[str, bytes], mode: int = 0o400) -> None:
        for name, body in files.items():
            descriptor = os.open(self.live / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            os.write(descriptor, body)
            os.close(descriptor)

    @property
    def observer(self) -> Observer:
        return Observer(
            self.config,
            self.store,
            self.cm,
            transaction=lambda: self.transaction,
            more=lambda: self.more,
            clock=lambda: NOW,
            probe_all=self.probe_all,
        )

    def probe_all(self, *asked):
        self.probed.append(asked)
        return (Served(1, "10.0.0.1:5000", self.serves, chain_verified=True),)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def fingerprint(files, name="server.crt") -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(files[name].decode())).hexdigest()


def test_a_report_tells_what_the_node_is_and_holds(bench):
    files = sim_certs.old_set()
    bench.install(files)
    report = bench.observer.report()
    assert (report.cluster, report.name, report.agent_version, report.clock) == ("prod", "n1", VERSION, NOW)
    assert report.cm_version == "cm_ctl 7.0.0"
    assert report.live.state is SetState.WHOLE
    assert report.live.digest == certset.digest(files)
    assert report.live.bundle_digest == certset.bundle_digest(files)
    assert {(one.name, one.mode, one.size) for one in report.live.files} == {
        (name, 0o400, len(body)) for name, body in files.items()
    }
    assert report.live.fingerprint(CertificateKind.SERVER) == fingerprint(files)
    assert report.enable_ssl == SslSwitch(SslValue.ON, SslValue.OFF)
    assert report.topology.local.name == "db1"
    assert report.capabilities.cm_ctl
    assert report.capabilities.factor_build is FactorBuild.RELEASED
    assert report.capabilities.layout is bench.store.probe_layout().layout
    assert report.paths.set_directory == str(bench.live)
    assert report.processes == ()
    assert report.findings == ()


def test_a_node_without_a_set_is_reported(bench):
    bench.live.rmdir()
    report = bench.observer.report()
    assert report.live.state is SetState.ABSENT
    assert report.findings == ()


def test_the_stage_of_the_transaction_in_flight_is_reported(bench):
    bench.install(sim_certs.old_set())
    files = sim_certs.new_set()
    bench.store.write_stage("20260701-abcdef", Contents(files, dict.fromkeys(files, 0o400)))
    assert bench.observer.report().stage.state is SetState.ABSENT
    bench.transaction = TransactionReport("20260701-abcdef", Phase.PREPARED)
    report = bench.observer.report()
    assert report.transaction.phase is Phase.PREPARED
    assert report.stage.digest == certset.digest(files)


def test_retired_sets_are_reported(bench):
    old, new = sim_certs.old_set(), sim_certs.new_set()
    bench.install(old)
    bench.store.write_stage("20260701-abcdef", Contents(new, dict.fromkeys(new, 0o400)))
    bench.store.ensure_live("20260701-abcdef", certset.digest(new), certset.digest(old))
    bench.store.retire("20260701-abcdef", expected=certset.digest(old))
    (retired,) = bench.observer.report().retired
    assert retired.digest == certset.digest(old)
    assert retired.server_fingerprint == fingerprint(old)


def test_a_report_comes_even_when_cm_ctl_does_not_work(bench):
    bench.install(sim_certs.old_set())
    bench.ctl.broken = True
    report = bench.observer.report()
    assert report.live.state is SetState.WHOLE
    assert not report.capabilities.cm_ctl
    assert {finding.code for finding in report.findings} == {"NODE_NOT_OBSERVED"}
    assert {finding.node for finding in report.findings} == {"n1"}
    assert any("the topology: " in finding.cause for finding in report.findings)


def test_looks_at_a_cm_ctl_that_fails_run_it_once_and_not_each_time(bench):
    bench.ctl.broken = True
    findings = bench.observer.report().findings
    assert bench.observer.report(preflight=True).findings
    assert bench.observer.report().findings == findings
    assert sorted(bench.ctl.asked) == ["--version", "view"]


def test_a_quick_report_asks_no_cm_ctl_and_finds_no_fault_in_that(bench):
    bench.install(sim_certs.old_set())
    report = bench.observer.quick_report()
    assert bench.ctl.asked == []
    assert report.live.state is SetState.WHOLE
    assert (report.cm_version, report.topology.nodes, report.findings) == ("", (), ())


def test_a_quick_report_tells_what_cm_ctl_said_last_and_the_files_say_now(bench):
    bench.install(sim_certs.old_set())
    bench.observer.report()
    bench.ctl.asked.clear()
    bench.ctl.broken = True
    bench.conf.write_text("enable_ssl = off\n")
    for name in ("cluster_static_config", "cm_ctl"):
        (bench.home / "bin" / name).write_text("replaced, so it would be asked anew")
    report = bench.observer.quick_report()
    assert bench.ctl.asked == []
    assert report.cm_version == "cm_ctl 7.0.0"
    assert report.topology.local.name == "db1"
    assert report.enable_ssl == SslSwitch(SslValue.OFF, SslValue.OFF)
    assert report.findings == ()


def test_the_answer_to_acquire_asks_no_cm_ctl(bench):
    class Granting:
        def execute(self, command, given, *, is_active):
            pass

    bench.ctl.broken = True
    node = LocalNode(
        Granting(), bench.store, bench.observer, Hub(), CandidateJudge(bench.store, bench.cm, object())
    )
    report = node.acquire(AcquireCommand("tx-00000001", 1, Step.ACQUIRE, holder="a"), 5.0, lambda: True)
    assert report.name == "n1"
    assert bench.ctl.asked == []


def test_a_report_comes_even_when_the_set_cannot_be_read(bench):
    bench.live.rmdir()
    bench.live.write_text("no directory")
    report = bench.observer.report()
    assert report.live.state is SetState.ABSENT
    assert report.topology.local is not None
    assert any("the live set: " in finding.cause for finding in report.findings)


def test_a_report_comes_even_when_the_journal_cannot_be_read(bench):
    def fail():
        raise NodeFailure(Reason.JOURNAL_FAILED, "torn")

    observer = Observer(bench.config, bench.store, bench.cm, transaction=fail)
    (finding,) = [one for one in observer.report().findings if "transaction" in one.cause]
    assert finding.cause.endswith("the transaction: torn")


def test_the_live_sets_faults_are_reported(bench):
    files = {name: body for name, body in sim_certs.old_set().items() if name != "client.key"}
    bench.install(files, 0o600)
    codes = [finding.code for finding in bench.observer.report().findings]
    assert codes == ["NODE_SET_INCOMPLETE", "NODE_SET_MODE"]


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        ({}, []),
        ({"server.crt": b"garbage"}, [("NODE_SET_UNREADABLE", "server.crt")]),
        ({"client.crt": b""}, [("NODE_SET_UNREADABLE", "client.crt")]),
        ({"server.crl": b"garbage"}, [("NODE_SET_UNREADABLE", "server.crl")]),
        ({"server.crt": None}, [("NODE_SET_INCOMPLETE", "")]),
    ],
)
def test_a_live_set_that_cm_would_not_start_with_again_is_watched(bench, spoil, told):
    files = {name: body for name, body in (sim_certs.old_set() | spoil).items() if body is not None}
    bench.install(files)
    found = bench.observer.watched().findings
    assert [(one.code, one.file) for one in found if one.code.startswith("NODE_SET")] == told
    assert not [one for one in bench.observer.expiry().findings if one.code.startswith("NODE_SET")]


def test_one_ca_of_several_that_cannot_be_read_is_watched(bench):
    block = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    files = sim_certs.old_set()
    bench.install(files | {"cacert.pem": files["cacert.pem"] + block})
    found = [(one.code, one.file) for one in bench.observer.watched().findings]
    assert ("NODE_SET_UNREADABLE", "cacert.pem") in found


def test_only_a_preflight_looks_for_everything(bench):
    bench.install(sim_certs.old_set())
    (bench.home / "bin" / "cluster_manual_pause").touch()
    assert bench.observer.report().findings == ()
    codes = [finding.code for finding in bench.observer.report(preflight=True).findings]
    assert "NODE_PAUSED" in codes
    assert "NODE_SSL_UNEQUAL" in codes


def test_looking_leaves_the_sets_as_they_are(bench):
    bench.install(sim_certs.old_set())
    before = sorted(os.listdir(bench.live.parent)), bench.store.live_digest()
    bench.observer.report(preflight=True)
    assert (sorted(os.listdir(bench.live.parent)), bench.store.live_digest()) == before


def test_a_probe_verifies_with_the_live_ca_and_asks_for_the_state(bench):
    files = sim_certs.old_set()
    bench.install(files)
    report = bench.observer.probe(query=True, timeout_s=2.0)
    ((topology, _, ca, timeout_s),) = bench.probed
    assert topology.local.agent_address == "10.0.0.1"
    assert (ca, timeout_s) == (files["cacert.pem"], 2.0)
    assert report.served[0].state is ServedState.SSL_ON
    assert report.cluster.cluster_state == "Normal"
    assert report.cluster.server_roles == {1: "Primary"}


@pytest.mark.parametrize("state", [ServedState.UNREACHABLE, ServedState.REFUSED])
def test_a_probe_tells_what_cms_logs_say_while_a_cm_server_does_not_serve(bench, state):
    log = bench.log_path / "cm" / "cm_server" / "cm_server-1-current.log"
    log.parent.mkdir(parents=True)
    bench.cm.mark_logs()
    log.write_text("SSL init error: Unable to get private key.\n")
    bench.install(sim_certs.old_set())

    assert bench.observer.probe(query=True, timeout_s=2.0).findings == ()
    bench.serves = state
    (found,) = bench.observer.probe(query=False, timeout_s=2.0).findings

    assert (found.code, found.node) == ("CM_LOG_KEY_PASSWORD", "n1")


def test_a_query_without_an_answer_has_its_cause_looked_for_too(bench):
    log = bench.log_path / "cm" / "cm_ctl" / "cm_ctl-1-current.log"
    log.parent.mkdir(parents=True)
    bench.cm.mark_logs()
    log.write_text("SSL verify certificate failed: result code is 10, certificate has expired\n")
    bench.ctl.texts["query"] = "can't connect to cm_server.\n"

    assert bench.observer.probe(query=False, timeout_s=2.0).findings == ()
    (found,) = bench.observer.probe(query=True, timeout_s=2.0).findings

    assert found.code == "CM_LOG_EXPIRED"


def test_a_probe_asks_for_the_state_only_when_told_to(bench):
    assert bench.observer.probe(query=False, timeout_s=2.0).cluster is None
    assert bench.probed[0][2] == b""


def test_a_probe_that_does_not_know_the_cm_servers_fails_instead_of_proving_nothing(bench):
    bench.ctl.broken = True
    with pytest.raises(NodeFailure):
        bench.observer.probe(query=False, timeout_s=2.0)
    assert bench.probed == []


def test_the_expiry_report_uses_the_threshold_of_cm(bench):
    bench.install(sim_certs.old_set())
    report = bench.observer.expiry()
    assert (report.node, report.clock, report.alert_threshold_days) == ("n1", NOW, 30)
    assert len(report.certificates) == 3
    assert bench.observer.check_interval_s() is None


@pytest.mark.parametrize("line", ["", "ssl_cert_expire_alert_threshold = 1000"])
def test_without_a_usable_threshold_it_is_90_days(bench, line):
    bench.conf.write_text(line)
    assert bench.observer.expiry().alert_threshold_days == 90


def test_the_expiry_report_comes_even_when_the_configuration_does_not(bench):
    bench.install(sim_certs.old_set())
    bench.ctl.broken = True
    report = bench.observer.expiry()
    assert len(report.certificates) == 3
    assert report.findings[0].code == "NODE_NOT_OBSERVED"


def test_only_the_own_cm_server_is_asked_and_only_while_it_runs(bench, monkeypatch):
    bench.ctl.texts["view"] += "node:2\nnodeName:db2\ncmServer 1:10.0.0.2\nport :5000\ncmAgentIP :10.0.0.2\n"
    assert len(bench.observer.probe(query=False, timeout_s=2.0).served) == 1
    assert len(bench.probed.pop()[0].nodes) == 2

    down = bench.observer.served()
    assert (down.state, down.cause) == (ServedState.UNREACHABLE, "no cm_server runs here")
    running = (CmProcess("cm_server", 7, NOW), CmProcess("cm_agent", 8, NOW))
    monkeypatch.setattr(bench.cm, "processes", lambda: running)
    assert bench.observer.served().state is ServedState.SSL_ON
    ((topology, _, _, timeout_s),) = bench.probed
    assert [node.name for node in topology.nodes] == ["db1"]
    assert topology.local is topology.nodes[0]
    assert timeout_s == 5.0

    monkeypatch.setattr(bench.cm, "processes", lambda: running[1:])
    assert bench.observer.served().state is ServedState.UNREACHABLE
    assert len(bench.probed) == 1

    bench.ctl.texts["view"] = bench.ctl.texts["view"].replace("cmServer 1:10.0.0.1", "")
    bench.cm = LocalCm(bench.config.cm, bench.ctl)
    assert bench.observer.served() is None  # none belongs here
    assert bench.observer.served_now() is None


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("lease_left_s", [0.0, 30.0])
def test_what_is_served_is_looked_at_unless_somebody_restarts_cm(bench, monkeypatch, phase, lease_left_s):
    """A committed transaction that waits for excluded nodes may last for weeks, and so may one in doubt."""
    monkeypatch.setattr(bench.cm, "processes", lambda: (CmProcess("cm_server", 7, NOW),))
    bench.transaction = TransactionReport("tx-1", phase, Fence(3, Step.STOP), lease_left_s=lease_left_s)
    restarted = phase in (Phase.PREPARED, Phase.SWAPPED, Phase.ABORTED) and lease_left_s > 0
    assert (bench.observer.served() is None) is restarted
    with pytest.raises(NotNow) if restarted else nullcontext():
        bench.observer.served_now()


def test_whether_a_cm_server_belongs_here_is_not_known_while_cm_ctl_does_not_work(bench):
    bench.ctl.broken = True
    assert bench.observer.served() is None
    with pytest.raises(NotNow):
        bench.observer.served_now()


def test_what_is_served_is_part_of_the_expiry_report(bench, monkeypatch):
    """Described as what lies on the disk is, whether it lies there or not."""
    monkeypatch.setattr(bench.cm, "processes", lambda: (CmProcess("cm_server", 7, NOW),))
    bench.install(sim_certs.new_set())
    for files in (sim_certs.new_set(), sim_certs.old_set()):
        leaf = ssl.PEM_cert_to_DER_cert(files["server.crt"].decode())
        told = Served(1, "10.0.0.1:5000", ServedState.SSL_ON, fingerprint(files), leaf=leaf)
        monkeypatch.setattr(bench, "probe_all", lambda *_, told=told: (told,))
        report = bench.observer.expiry()
        (described,) = describe({"server.crt": files["server.crt"]})
        assert report.served == replace(described, file="served by cm_server")
        assert report.served_from_disk is (files is sim_certs.new_set())


def test_an_expiry_report_comes_although_cm_server_cannot_be_looked_at(bench, monkeypatch):
    bench.install(sim_certs.old_set())
    bench.ctl.broken = True
    unseen = "part of the node could not be looked at: what cm_server serves"
    told = bench.observer.expiry().findings
    assert not [one for one in told if one.cause.startswith(unseen)]  # nobody knows whether one belongs
    monkeypatch.setattr(bench.cm, "processes", lambda: (CmProcess("cm_server", 7, NOW),))
    told = bench.observer.expiry().findings
    assert len([one for one in told if one.cause.startswith(unseen)]) == 1


def test_what_is_to_be_said_of_the_agent_is_part_of_every_report(bench):
    said = node_finding("NODE_ORPHAN", "pid 7")
    bench.more = (said,)
    for report in (
        bench.observer.report(),
        bench.observer.quick_report(),
        bench.observer.report(preflight=True),
    ):
        assert said.at_node("n1") in report.findings


def test_an_idle_agent_loads_no_cryptography():
    script = (
        "import sys\n"
        "import gausscert_agent.observe, gausscert_agent.cm, gausscert_agent.expiry\n"
        "import gausscert_agent.drivers.rehearsal, gausscert_agent.drivers.cm_probe\n"
        "unwanted = {'cryptography', 'rich', 'tenacity', 'sqlite3'} & set(sys.modules)\n"
        "assert not unwanted, unwanted\n"
    )
    completed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert completed.stderr == ""
