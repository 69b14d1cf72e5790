"""A whole simulated cluster: stop, start, rotation, scripted faults (facts sections 8 and 17)."""

import os
import re
import shutil
import signal
import subprocess
import time

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from gausscert_sim.cluster import SimulatedCluster
from gausscert_sim.faults import (
    EncryptFault,
    Faults,
    QueryFault,
    SetFault,
    StartFault,
    StopFault,
)
from support import sim_certs, sim_run
from support.sim_run import cm_ctl, pids, until

FAST = 0.02
SERVER_ONLY = (ExtendedKeyUsageOID.SERVER_AUTH,)
CLIENT_ONLY = (ExtendedKeyUsageOID.CLIENT_AUTH,)
NOTHING_RUNS = {"cm_agent": set(), "cm_server": set()}


@pytest.fixture
def cluster(tmp_path):
    with SimulatedCluster.create(tmp_path, nodes=3, time_scale=FAST) as cluster:
        install(cluster, sim_certs.old_set())
        cluster.start()
        yield cluster
    assert [node.processes() for node in cluster.nodes] == [(), (), ()]


@pytest.fixture
def single(tmp_path):
    with SimulatedCluster.create(tmp_path, nodes=1, time_scale=FAST) as cluster:
        install(cluster, sim_certs.old_set())
        cluster.start()
        yield cluster.nodes[0]


def install(cluster, files):
    for node in cluster.nodes:
        node.install(files)


def running(node):
    return {name: pids(node, name) for name in NOTHING_RUNS}


def served(cluster):
    return {node.served_fingerprint() for node in cluster.nodes}


def rows(out):
    return re.findall(r"^\d+\s+n\d\s+\d+\s+(\w+)\s*$", out, re.MULTILINE)


def test_three_nodes_are_up_in_two_seconds_at_the_usual_scale(tmp_path):
    with SimulatedCluster.create(tmp_path, nodes=3) as cluster:
        install(cluster, sim_certs.old_set())
        began = time.monotonic()
        cluster.start()
        # The machine may be busy: twice the time it is meant to take.
        assert time.monotonic() - began < 4


def test_two_clusters_of_one_process_do_not_meet(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with (
        SimulatedCluster.create(tmp_path / "a", nodes=1) as one,
        SimulatedCluster.create(tmp_path / "b", nodes=1) as other,
    ):
        assert one.nodes[0].port != other.nodes[0].port


def test_every_process_names_its_home(cluster):
    node = cluster.nodes[1]
    for process in node.processes():
        with open(f"/proc/{process.pid}/cmdline", "rb") as stream:
            assert stream.read().split(b"\0")[1].decode() == str(node.home / "bin" / process.name)


def test_stop_and_start_of_the_cluster(cluster):
    done = cm_ctl(cluster.nodes[0], "stop")
    assert (done.code, "cm_ctl: stop cluster successfully.\n" in done.out) == (0, True)
    for node in cluster.nodes:
        assert running(node) == NOTHING_RUNS
        assert node.record.manual_stop.stat().st_mode & 0o777 == 0o600
    time.sleep(0.3)
    assert [running(node) for node in cluster.nodes] == [NOTHING_RUNS] * 3
    done = cm_ctl(cluster.nodes[2], "start")
    assert (done.code, "cm_ctl: start cluster successfully.\n" in done.out) == (0, True)
    assert not any(node.record.manual_stop.exists() for node in cluster.nodes)


def test_dots_are_bare_and_end_before_the_next_message(cluster):
    assert re.search(
        r"^\.+\ncm_ctl: stop cluster successfully\.$", cm_ctl(cluster.nodes[0], "stop").out, re.MULTILINE
    )


def test_a_new_set_is_served_after_stop_swap_start_and_not_before(cluster):
    before = served(cluster)
    cm_ctl(cluster.nodes[0], "stop")
    install(cluster, sim_certs.new_set())
    cm_ctl(cluster.nodes[0], "start")
    after = served(cluster)
    assert (len(before), len(after), before & after) == (1, 1, set())


def test_a_new_ca_under_a_running_cluster_shuts_cm_ctl_out(cluster):
    install(cluster, sim_certs.new_set())
    done = cm_ctl(cluster.nodes[1], "query", "-Cv")
    assert (done.code, "can't connect to cm_server." in done.out) == (255, True)
    assert "SSL verify certificate failed: result code is" in done.out
    assert rows(done.out) == ["Down"] * 3


def test_stop_needs_no_ssl(cluster):
    install(cluster, sim_certs.new_set())
    done = cm_ctl(cluster.nodes[1], "stop")
    assert (done.code, "stop cluster successfully." in done.out) == (0, True)
    assert "create ssl connection failed." in done.out


def test_one_restarted_node_with_another_ca_is_cut_off_and_two_of_three_turn_the_majority(cluster):
    install(cluster, sim_certs.new_set())
    os.kill(pids(cluster.nodes[0], "cm_server").pop(), signal.SIGKILL)
    until(lambda: len(served(cluster) - {""}) == 2, "the first serves the new set")
    time.sleep(0.3)
    assert cm_ctl(cluster.nodes[0], "query", "-Cv").code == 255
    os.kill(pids(cluster.nodes[1], "cm_server").pop(), signal.SIGKILL)
    until(lambda: cm_ctl(cluster.nodes[0], "query", "-Cv").code == 0, "two new ones elect a primary")


def test_mixed_leaves_of_one_ca_work_together(cluster):
    install(cluster, sim_certs.bent(serial=7))
    old = pids(cluster.nodes[2], "cm_server").pop()
    os.kill(old, signal.SIGKILL)
    until(lambda: pids(cluster.nodes[2], "cm_server") - {old}, "cm_agent starts another one")
    cluster.wait_for("Normal")
    assert len(served(cluster)) == 2


def test_a_killed_primary_is_replaced_and_a_killed_agent_too(cluster):
    for name in ("cm_server", "cm_agent"):
        (old,) = pids(cluster.nodes[0], name)
        os.kill(old, signal.SIGKILL)
        until(lambda name=name, old=old: pids(cluster.nodes[0], name) - {old}, f"another {name}")
    cluster.wait_for("Normal")
    assert sim_run.zombie_children() == []


def test_the_cluster_is_degraded_without_a_node_and_has_no_primary_without_two(cluster):
    cm_ctl(cluster.nodes[0], "stop", "-n", "1")
    cluster.wait_for("Degraded")
    done = cm_ctl(cluster.nodes[1], "query", "-Cv")
    assert (done.code, sorted(rows(done.out))) == (0, ["Down", "Primary", "Standby"])
    cm_ctl(cluster.nodes[1], "stop", "-n", "2")
    until(lambda: cm_ctl(cluster.nodes[2], "query").code == 255, "the last one is no primary")


def test_servers_without_both_purposes_elect_nobody_but_one_alone_works(cluster, tmp_path):
    bad = sim_certs.bent(server_usage=SERVER_ONLY)
    cm_ctl(cluster.nodes[0], "stop")
    install(cluster, bad)
    done = cm_ctl(cluster.nodes[0], "start", "-t", "40")
    assert (done.code, "start cluster failed in (40)s!" in done.out) == (0, True)
    assert set(rows(cm_ctl(cluster.nodes[0], "query", "-Cv").out)) == {"Standby"}
    (tmp_path / "alone").mkdir()
    with SimulatedCluster.create(tmp_path / "alone", nodes=1, time_scale=FAST) as alone:
        install(alone, bad)
        alone.start()


def test_a_client_certificate_without_server_purpose_breaks_the_agents_mesh_alone(cluster):
    cm_ctl(cluster.nodes[0], "stop")
    install(cluster, sim_certs.bent(client_usage=CLIENT_ONLY))
    assert "start cluster successfully." in cm_ctl(cluster.nodes[0], "start").out
    until(lambda: "result code is 26" in sim_run.agent_log(cluster.nodes[0]), "the mesh says why")


def test_spoilt_files_make_cm_server_loop_until_they_are_mended(cluster):
    node = cluster.nodes[0]
    node.put("server.crt", b"garbage")
    os.kill(pids(node, "cm_server").pop(), signal.SIGKILL)
    until(lambda: sim_run.server_log(node).count("Failed to start dcc.") >= 2, "it tries again and again")
    node.install(sim_certs.old_set())
    cluster.wait_for("Normal")


def test_spoilt_client_files_stop_the_agent(single):
    cm_ctl(single, "stop")
    single.put("client.key.rand", b"")
    done = cm_ctl(single, "start", "-n", "1", "-t", "30")
    assert (done.code, "start node failed in (30)s!\n\nHINT:" in done.out) == (0, True)
    assert "init cma heartbeat conn by mes failed" in sim_run.agent_log(single)
    assert not single.record.manual_stop.exists()


def test_without_ssl_everything_talks_in_clear(tmp_path):
    with SimulatedCluster.create(tmp_path, nodes=2, enable_ssl=False, time_scale=FAST) as cluster:
        cluster.start()
        assert served(cluster) == {""}
        assert "ssl is not enable." in sim_run.server_log(cluster.nodes[0])
        assert rows(cm_ctl(cluster.nodes[1], "query", "-Cv").out) == ["Primary", "Standby"]


def test_servers_that_differ_in_enable_ssl_do_not_meet(cluster):
    cm_ctl(cluster.nodes[0], "stop")
    done = cm_ctl(cluster.nodes[0], "set", "--param", "--server", "-n", "1", "-k", "enable_ssl=off")
    assert done.code == 0
    cluster.launch()
    cluster.wait_for("Degraded")
    assert cluster.nodes[0].served_fingerprint() == ""


# stop and start of one node


def test_stop_of_a_node_believes_the_agent_and_misses_a_cm_server(single):
    single.faults = Faults(server_survives_stop=True)
    done = cm_ctl(single, "stop", "-n", "1")
    assert (done.code, "cm_ctl: stop node successfully." in done.out) == (0, True)
    assert len(pids(single, "cm_server")) == 1
    assert pids(single, "cm_agent") == set()


def test_a_cm_server_that_hides_from_the_stop_is_the_same_process_after_the_start(single):
    (pid,) = pids(single, "cm_server")
    single.faults = Faults(server_hides_from_stop=True)
    assert cm_ctl(single, "stop", "-n", "1").code == 0
    assert running(single) == NOTHING_RUNS
    assert single.served_fingerprint() != "", "it still serves"
    assert cm_ctl(single, "start", "-n", "1", "-t", "60").code == 0
    until(lambda: pids(single, "cm_server") == {pid}, "it is in the process list again")


def test_stop_that_runs_into_its_timeout(single):
    single.faults = Faults(agent_ignores_stop=True)
    done = cm_ctl(single, "stop", "-n", "1", "-t", "5")
    assert (done.code, "stop node failed in (5)s!" in done.out) == (255, True)
    single.faults = Faults()
    until(lambda: running(single) == NOTHING_RUNS, "it stops in the background")


def test_check_tells_the_four_states(single):
    def code():
        return cm_ctl(single, "check", "-B", "cm_agent", "-T", "/x").code

    assert code() == 2
    single.faults = Faults(agent_ignores_stop=True)
    cm_ctl(single, "stop", "-n", "1", "-t", "1")
    assert code() == 3
    single.faults = Faults()
    until(lambda: running(single) == NOTHING_RUNS, "it stops")
    assert code() == 0
    single.faults = Faults(agent_refuses=True)
    single.record.manual_stop.unlink()
    until(lambda: code() == 4, "nobody stopped it and it does not run")


@pytest.mark.parametrize("command", ["stop", "start"])
def test_a_node_that_does_not_exist(single, command):
    done = cm_ctl(single, command, "-n", "9")
    assert "node_id specified is illegal." in done.out
    assert done.code == (255 if command == "stop" else 0)


# SSL trouble of cm_ctl


def test_start_that_fails_at_ssl_six_times_says_neither_and_exits_0(single):
    cm_ctl(single, "stop")
    # cm_server serves its old leaf whatever CA lies beside it; every client misses the old CA.
    single.put("cacert.pem", sim_certs.new_set()["cacert.pem"])
    done = cm_ctl(single, "start")
    assert done.code == 0
    assert "can't establish an SSL connection, please check certificate file" in done.out
    assert done.out.count("cm_ctl: create ssl connection failed.") == 6
    assert not re.search(r"successfully|failed in", done.out)


def test_a_refusal_after_the_handshake_makes_query_wait(single):
    single.configure(single.settings._replace(refused_wait_s=60))
    for name, body in sim_certs.bent(client_authority="new").items():
        if name.startswith("client"):
            single.put(name, body)
    done = cm_ctl(single, "query", "-Cv")
    assert (done.code, "can't connect to cm_server." in done.out) == (255, True)
    assert done.took_s >= 60 * FAST


# pause


def test_pause_shows_in_query_and_resume_ends_it(cluster):
    done = cm_ctl(cluster.nodes[0], "pause")
    assert (done.code, "cm_ctl: The cluster has been paused." in done.out) == (0, True)
    assert "pausing         : Yes" in cm_ctl(cluster.nodes[2], "query", "-Cv").out
    assert "has been resumed." in cm_ctl(cluster.nodes[1], "resume").out
    assert "pausing" not in cm_ctl(cluster.nodes[2], "query", "-Cv").out
    cluster.nodes[0].faults = Faults(unreachable=(2,))
    assert cm_ctl(cluster.nodes[0], "pause").code == 255


# Scripted faults


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        (StopFault.LIE, 0, "stop node successfully."),
        (StopFault.FAIL, 255, "stop node failed in (3)s!"),
    ],
)
def test_stops_that_stop_nothing(single, fault, code, words):
    before = running(single)
    single.faults = Faults(stop=fault)
    done = cm_ctl(single, "stop", "-n", "1", "-t", "3")
    assert (done.code, words in done.out) == (code, True)
    assert running(single) == before
    assert not single.record.manual_stop.exists()


def test_a_broken_trust_makes_stop_partly_successful_with_exit_0(cluster):
    cluster.nodes[0].faults = Faults(unreachable=(3,))
    done = cm_ctl(cluster.nodes[0], "stop")
    assert (done.code, "stop cluster partly successfully." in done.out) == (0, True)
    assert running(cluster.nodes[1]) == NOTHING_RUNS
    assert running(cluster.nodes[2])["cm_server"] != set()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (StartFault.LIE, "start node successfully."),
        (StartFault.FAIL, "start node failed in (3)s!"),
        (StartFault.SILENT, "start the node:1."),
    ],
)
def test_starts_that_start_nothing(single, fault, words):
    cm_ctl(single, "stop", "-n", "1")
    single.faults = Faults(start=fault)
    done = cm_ctl(single, "start", "-n", "1", "-t", "3")
    assert (done.code, words in done.out) == (0, True)
    assert running(single) == NOTHING_RUNS


@pytest.mark.parametrize(
    ("fault", "arguments"),
    [
        (Faults(stop=StopFault.HANG), ("stop",)),
        (Faults(start=StartFault.HANG), ("start",)),
        (Faults(query=QueryFault.HANG), ("query",)),
        (Faults(set_conf=SetFault.HANG), ("set", "--param", "--server", "-n", "1", "-k", "enable_ssl=on")),
    ],
)
def test_commands_that_hang_until_they_are_killed(single, fault, arguments):
    single.faults = fault
    with pytest.raises(subprocess.TimeoutExpired):
        cm_ctl(single, *arguments, timeout_s=0.8)


def test_scripted_queries(single):
    for fault in (QueryFault.DEGRADED, QueryFault.UNAVAILABLE, QueryFault.STARTING, QueryFault.UNKNOWN):
        word = fault.value.capitalize()
        single.faults = Faults(query=fault)
        done = cm_ctl(single, "query", "-Cv")
        assert (done.code, f"cluster_state   : {word}" in done.out) == (0, True)
    single.faults = Faults(query=QueryFault.REFUSED)
    assert cm_ctl(single, "query", "-Cv").code == 255


def test_a_set_that_lies_or_fails_changes_nothing(single):
    conf = single.record.conf("cm_server")
    before = conf.read_text()
    for fault, code in ((SetFault.LIE, 0), (SetFault.FAIL, 255)):
        single.faults = Faults(set_conf=fault)
        done = cm_ctl(single, "set", "--param", "--server", "-n", "1", "-k", "enable_ssl=off")
        assert (done.code, conf.read_text()) == (code, before)


@pytest.mark.parametrize(
    ("fault", "code", "left"),
    [
        (EncryptFault.FAIL, 1, ["server.key.cipher"]),
        (EncryptFault.LIE, 0, []),
        (EncryptFault.WRONG, 0, ["server.key.cipher", "server.key.rand"]),
    ],
)
def test_scripted_encryptions(single, tmp_path, fault, code, left):
    single.faults = Faults(encrypt=fault)
    target = tmp_path / "stage"
    target.mkdir()
    done = cm_ctl(single, "encrypt", "-D", str(target), stdin="Gauss#9Test\n" * 2)
    assert (done.code, sorted(os.listdir(target))) == (code, left)


def test_a_server_that_loads_another_set_serves_that_one(single, tmp_path):
    before = single.served_fingerprint()
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(single.set_directory, elsewhere)
    single.faults = Faults(server_loads_from=str(elsewhere))
    cm_ctl(single, "stop")
    single.install(sim_certs.bent(serial=9))
    assert "start node successfully." in cm_ctl(single, "start", "-n", "1").out
    until(lambda: single.served_fingerprint() == before, "it serves what lies elsewhere")


def test_a_server_that_serves_nothing_still_runs(single):
    cm_ctl(single, "stop")
    single.faults = Faults(server_serves_nothing=True)
    assert "start node successfully." in cm_ctl(single, "start", "-n", "1").out
    assert single.served_fingerprint() == ""
    assert cm_ctl(single, "query", "-Cv").code == 255


def test_a_server_that_starts_slowly_or_never(single):
    cm_ctl(single, "stop")
    single.faults = Faults(server_refuses=True)
    single.record.manual_stop.unlink()
    until(lambda: sim_run.server_log(single).count("ssl init failed.") >= 2, "it refuses again and again")
    single.faults = Faults(server_start_delay_s=0.5)
    until(lambda: single.served_fingerprint() != "", "it serves in the end")


# Root, and the end


def test_root_is_refused_unless_the_settings_say_otherwise(single):
    if os.getuid() != 0:
        pytest.skip("only root can be refused as root")
    single.configure(single.settings._replace(allow_root=False))
    for argument in ("query", "--version"):
        done = cm_ctl(single, argument)
        assert done.code == 1
        assert done.out == "current user is the root user (uid = 0), exit.\n"


def test_destroy_leaves_nothing_even_of_a_torn_node(tmp_path):
    cluster = SimulatedCluster.create(tmp_path, nodes=2, time_scale=FAST)
    install(cluster, sim_certs.old_set())
    cluster.start()
    first, second = cluster.nodes
    os.kill(pids(first, "om_monitor").pop(), signal.SIGKILL)
    os.kill(pids(first, "cm_agent").pop(), signal.SIGKILL)
    os.kill(pids(second, "cm_server").pop(), signal.SIGSTOP)
    second.faults = Faults(agent_ignores_stop=True)
    cluster.destroy()
    assert (first.processes(), second.processes()) == ((), ())
    assert sim_run.zombie_children() == []
    cluster.destroy()


@pytest.mark.parametrize("nodes", [0, 10])
def test_a_cluster_has_one_to_nine_nodes(tmp_path, nodes):
    with pytest.raises(ValueError, match="1 to 9"):
        SimulatedCluster.create(tmp_path, nodes)
    assert list(tmp_path.iterdir()) == []


def test_a_cluster_that_does_not_come_up_says_so(tmp_path):
    with (
        SimulatedCluster.create(tmp_path, nodes=1, time_scale=FAST) as cluster,
        pytest.raises(TimeoutError, match="without a primary"),
    ):
        cluster.start(timeout_s=0.5)
