"""The agent's hands on a simulated CM of two nodes: every command, every way it is known to fail."""

from __future__ import annotations

import os
import stat
import time

import pytest
from gausscert_agent import preflight, preflight_look
from gausscert_agent.cm import LocalCm
from gausscert_agent.config import CmSettings
from gausscert_agent.drivers.cm_ctl import os_user
from gausscert_agent.drivers.cm_packets import Caller
from gausscert_agent.drivers.cm_probe import probe, probe_all
from gausscert_agent.drivers.process_list import read_stat
from gausscert_agent.drivers.rehearsal import rehearse
from gausscert_agent.layout_probe import EXCHANGE
from gausscert_common import factors
from gausscert_common.errors import NodeFailure, Reason
from gausscert_common.model import FactorBuild, ServedState, SslSwitch, SslValue
from gausscert_common.protocol.words import RestartScope
from gausscert_sim.cluster import SimulatedCluster
from gausscert_sim.faults import EncryptFault, Faults, QueryFault, SetFault, StartFault, StopFault
from support import sim_certs

PASSWORD = "Gauss#9Test"


def nobody(pid: int, ticks: int) -> None:
    """Nothing to write down."""


def names(cm: LocalCm) -> list[str]:
    return sorted(process.name for process in cm.processes() if process.name != "om_monitor")


def cm_of(node, **settings) -> LocalCm:
    return LocalCm(CmSettings(node.home, log_path=node.log_path, **settings))


@pytest.fixture
def laid_out(tmp_path):
    """Two nodes with the old set; nothing runs."""
    with SimulatedCluster.create(tmp_path, nodes=2) as cluster:
        for node in cluster.nodes:
            node.install(sim_certs.old_set())
        yield cluster


@pytest.fixture
def node(laid_out):
    return laid_out.nodes[0]


@pytest.fixture
def running(laid_out):
    laid_out.start()
    return laid_out


def test_the_topology_and_the_version_are_read(laid_out):
    for node in laid_out.nodes:
        topology = cm_of(node).topology()
        assert topology.local_node_id == node.id
        assert [(one.name, one.server_address, one.server_port) for one in topology.nodes] == [
            (one.name, one.address, one.port) for one in laid_out.nodes
        ]
        assert "simulated" in cm_of(node).version()


def test_a_node_of_the_simulated_cluster_passes_the_preflight(node, tmp_path):
    # Nothing runs, of which the agent could learn where an upgrade is marked.
    cm = cm_of(node, environment={"PGHOST": str(node.record.pghost)})
    assert preflight.judge(preflight_look.look(cm.settings, tmp_path, cm, EXCHANGE)) == ()


def test_encrypt_makes_factor_files_that_hold_the_password(node, tmp_path):
    stage = tmp_path / "stage"
    stage.mkdir(mode=0o700)
    for mode in ("server", "client"):
        cm_of(node).encrypt(mode, stage, PASSWORD)
        bodies = [(stage / f"{mode}.key.{kind}").read_bytes() for kind in ("cipher", "rand")]
        assert factors.read(*bodies) == PASSWORD
    assert {stat.S_IMODE(path.stat().st_mode) for path in stage.iterdir()} == {0o600}


@pytest.mark.parametrize("password", ["short1!", "nodigitsorupper", "far#too#Long#9999"])
def test_a_password_that_cm_refuses_is_a_failure_that_does_not_show_it(node, tmp_path, password):
    with pytest.raises(NodeFailure) as caught:
        cm_of(node).encrypt("server", tmp_path, password)
    assert caught.value.reason is Reason.CM_CTL_FAILED
    assert password not in str(caught.value)
    assert not list(tmp_path.glob("server.key.*"))


def test_a_failing_encrypt_is_a_failure(node, tmp_path):
    node.faults = Faults(encrypt=EncryptFault.FAIL)
    with pytest.raises(NodeFailure, match=r"encrypt fail\."):
        cm_of(node).encrypt("server", tmp_path, PASSWORD)


@pytest.mark.parametrize("live", [False, True])
def test_the_build_is_learnt_from_the_files_or_by_trying_cm_ctl_once(node, tmp_path, live):
    cm = cm_of(node)
    if not live:
        for path in node.set_directory.iterdir():
            path.unlink()
        assert cm.factor_build() is None
    scratch = tmp_path / "scratch"
    scratch.mkdir(mode=0o700)
    assert cm.learn_factor_build(scratch) is FactorBuild.RELEASED
    assert bool(list(scratch.iterdir())) is not live
    for path in scratch.iterdir():
        path.unlink()
    assert cm.factor_build() is cm.learn_factor_build(scratch) is FactorBuild.RELEASED
    assert not list(scratch.iterdir())


def test_a_hanging_encrypt_ends_at_the_deadline(node, tmp_path):
    node.faults = Faults(encrypt=EncryptFault.HANG)
    cm = cm_of(node, command_timeout_s=1.0)
    with pytest.raises(NodeFailure) as caught:
        cm.encrypt("server", tmp_path, PASSWORD)
    assert caught.value.reason is Reason.CM_CTL_TIMEOUT
    assert cm.processes() == ()


def test_enable_ssl_is_set_on_this_node_alone(laid_out):
    here, there = (cm_of(node) for node in laid_out.nodes)
    here.set_ssl("server", False)
    here.set_ssl("agent", False)
    assert here.read_ssl() == SslSwitch(SslValue.OFF, SslValue.OFF)
    assert there.read_ssl() == SslSwitch(SslValue.ON, SslValue.ON)
    here.set_ssl("server", True)
    assert here.read_ssl() == SslSwitch(SslValue.ON, SslValue.OFF)


@pytest.mark.parametrize(
    ("fault", "reason"), [(SetFault.FAIL, Reason.CM_CTL_FAILED), (SetFault.LIE, Reason.CONF_FAILED)]
)
def test_a_value_that_was_not_set_is_a_failure_whatever_was_said(node, fault, reason):
    node.faults = Faults(set_conf=fault)
    with pytest.raises(NodeFailure) as caught:
        cm_of(node).set_ssl("server", False)
    assert caught.value.reason is reason
    assert cm_of(node).read_ssl().server is SslValue.ON


def test_the_factor_build_is_told(node):
    assert cm_of(node).factor_build() is FactorBuild.RELEASED


def test_the_cluster_is_stopped_and_started_from_one_node(running):
    first, second = (cm_of(node) for node in running.nodes)
    assert names(first) == names(second) == ["cm_agent", "cm_server"]
    told = []
    first.stop(RestartScope.CLUSTER, 30, lambda pid, ticks: told.append((pid, ticks)))
    assert names(first) == names(second) == []
    assert first.manually_stopped()
    assert second.manually_stopped()
    first.start(RestartScope.CLUSTER, 30, nobody)
    assert names(first) == names(second) == ["cm_agent", "cm_server"]
    assert not second.manually_stopped()
    assert len(told) == 1
    assert first.query(10).cluster_state == "Normal"


def test_each_node_is_stopped_and_started_for_itself(running):
    first, second = (cm_of(node) for node in running.nodes)
    first.stop(RestartScope.NODE, 30, nobody)
    assert (names(first), names(second)) == ([], ["cm_agent", "cm_server"])
    assert not second.manually_stopped()
    first.start(RestartScope.NODE, 30, nobody)
    assert names(first) == ["cm_agent", "cm_server"]


@pytest.mark.parametrize("fault", [StopFault.FAIL, StopFault.PARTLY])
def test_a_stop_that_does_not_plainly_succeed_is_a_failure(running, fault):
    running.nodes[0].faults = Faults(stop=fault)
    with pytest.raises(NodeFailure) as caught:
        cm_of(running.nodes[0]).stop(RestartScope.CLUSTER, 30, nobody)
    assert caught.value.reason is Reason.CM_CTL_FAILED
    assert names(cm_of(running.nodes[1])) == ["cm_agent", "cm_server"]


def test_a_stop_that_lies_is_seen_in_the_process_list(running):
    running.nodes[0].faults = Faults(stop=StopFault.LIE)
    cm = cm_of(running.nodes[0])
    cm.stop(RestartScope.CLUSTER, 30, nobody)
    assert names(cm) == ["cm_agent", "cm_server"]


@pytest.mark.parametrize("fault", [StartFault.FAIL, StartFault.SILENT])
def test_a_start_that_exits_0_without_success_is_a_failure(node, fault):
    node.faults = Faults(start=fault)
    with pytest.raises(NodeFailure) as caught:
        cm_of(node).start(RestartScope.CLUSTER, 30, nobody)
    assert caught.value.reason is Reason.CM_NOT_STARTED
    assert "exit code 0" in caught.value.message


@pytest.mark.parametrize("verb", ["stop", "start"])
def test_a_hanging_stop_or_start_is_gone_after_the_deadline(node, verb):
    node.faults = Faults(stop=StopFault.HANG, start=StartFault.HANG)
    cm = cm_of(node)
    pids = []
    with pytest.raises(NodeFailure) as caught:
        getattr(cm, verb)(RestartScope.NODE, 1.0, lambda pid, ticks: pids.append(pid))
    assert caught.value.reason is Reason.CM_CTL_TIMEOUT
    assert read_stat(pids[0]) is None
    assert cm.processes() == ()


@pytest.mark.parametrize("fault", [QueryFault.REFUSED, QueryFault.HANG])
def test_a_query_that_gets_no_answer_tells_why_in_time(running, fault):
    running.nodes[0].faults = Faults(query=fault)
    started = time.monotonic()
    state = cm_of(running.nodes[0]).query(1.5)
    assert state.cluster_state == ""
    assert state.cause
    assert time.monotonic() - started < 10


def test_a_degraded_cluster_is_told_although_cm_ctl_exits_0(running):
    running.nodes[0].faults = Faults(query=QueryFault.DEGRADED)
    assert cm_of(running.nodes[0]).query(10).cluster_state == "Degraded"


def test_every_cm_server_is_probed_from_every_node(running):
    for node in running.nodes:
        served = probe_all(cm_of(node).topology(), os_user(), sim_certs.old_set()["cacert.pem"], 10)
        assert [one.cm_node_id for one in served] == [1, 2]
        assert {one.state for one in served} == {ServedState.SSL_ON}
        assert {one.fingerprint for one in served} == {node.served_fingerprint()}
        assert all(one.chain_verified for one in served)


def test_what_lies_on_disk_is_not_what_is_served_before_a_restart(running):
    node = running.nodes[0]
    before = node.served_fingerprint()
    node.install(sim_certs.new_set())
    served = probe_all(cm_of(node).topology(), os_user(), sim_certs.new_set()["cacert.pem"], 10)[0]
    assert served.fingerprint == before
    assert not served.chain_verified


def test_a_stranger_is_refused_in_cms_own_words(running):
    topology = cm_of(running.nodes[0]).topology()
    local = topology.local
    caller = Caller("stranger", local.name, local.id, local.agent_address)
    served = probe(local, caller, b"", 10)
    assert served.state is ServedState.REFUSED
    assert "invalid connection" in served.cause


def test_ssl_off_is_seen(laid_out):
    for node in laid_out.nodes:
        for component in ("server", "agent"):
            cm_of(node).set_ssl(component, False)
    laid_out.start()
    served = probe_all(cm_of(laid_out.nodes[1]).topology(), os_user(), b"", 10)
    assert {one.state for one in served} == {ServedState.SSL_OFF}


def test_stopped_servers_are_unreachable(node):
    served = probe_all(cm_of(node).topology(), os_user(), b"", 10)
    assert {one.state for one in served} == {ServedState.UNREACHABLE}


def test_the_rehearsal_says_yes_to_what_runs_and_no_to_what_does_not(laid_out):
    good = sim_certs.new_set()
    bad = sim_certs.bent(server_usage=(sim_certs.BOTH[0],))
    assert rehearse(good) == ()
    assert rehearse(bad) != ()
    for files, state in ((bad, ""), (good, "Normal")):
        for node in laid_out.nodes:
            node.install(files)
        laid_out.launch()
        if state:
            laid_out.wait_for(state)
        else:
            time.sleep(1.5)
        assert laid_out.state() == state
        live = {path.name: path.read_bytes() for path in laid_out.nodes[0].set_directory.iterdir()}
        assert bool(rehearse(live)) is not bool(state)
        laid_out.stop()


def test_no_password_is_left_in_any_file_of_the_node(node, tmp_path):
    stage = tmp_path / "stage"
    stage.mkdir(mode=0o700)
    cm_of(node).encrypt("server", stage, PASSWORD)
    for folder, _, files in os.walk(tmp_path):
        for name in files:
            with open(os.path.join(folder, name), "rb") as file:
                assert PASSWORD.encode() not in file.read(), name
