"""Whatever fails, on whatever node: all nodes are as before, byte for byte, and serve it."""

from __future__ import annotations

import signal
import threading
import time

import pytest
from gausscert_sim.faults import EncryptFault, Faults, QueryFault, SetFault, StartFault, StopFault
from support.local_cluster import LocalCluster, Run, wait_until

pytestmark = pytest.mark.xdist_group("replace-fails")

NODES = ("n1", "n2", "n3")


def replace(cluster: LocalCluster, *options: str, on=None):
    return cluster.run("replace", "fresh", "--yes", "--output", "json", *options, *cluster.passwords, on=on)


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("fault", [EncryptFault.FAIL, EncryptFault.WRONG, EncryptFault.LIE])
def test_a_node_that_cannot_encrypt_refuses_for_all_without_an_outage(
    steady: LocalCluster, node: str, fault: EncryptFault
):
    pids = {each.pid for one in steady.nodes for each in one.processes()}
    steady.script(node, Faults(encrypt=fault))

    done = replace(steady)

    assert done.code == 2, done.err
    assert [failure["node"] for failure in done.document["result"]["failures"]] == [node]
    assert {each.pid for one in steady.nodes for each in one.processes()} == pids


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("fault", [StopFault.FAIL, StopFault.LIE])
def test_a_node_that_does_not_stop_turns_all_back(steady: LocalCluster, node: str, fault: StopFault):
    steady.script(node, Faults(stop=fault))

    done = replace(steady, "--restart", "node")

    assert done.code == 1, done.err
    result = done.document["result"]
    assert (result["verdict"], result["last_stage"]) == ("rolled back", "stop")
    assert node in {failure["node"] for failure in result["failures"]}


def test_a_cluster_that_stops_only_partly_turns_back(steady: LocalCluster):
    steady.script("n1", Faults(stop=StopFault.PARTLY))

    done = replace(steady)

    assert done.code == 1, done.err
    assert done.document["result"]["last_stage"] == "stop"


@pytest.mark.parametrize("node", NODES)
def test_a_cm_server_that_survives_the_stop_is_seen_in_the_process_list(steady: LocalCluster, node: str):
    steady.script(node, Faults(server_survives_stop=True))

    done = replace(steady, "--restart", "node", on={"rollback start started": lambda _: steady.mend()})

    assert done.code == 1, done.err
    assert done.document["result"]["last_stage"] == "stop"
    assert node in {failure["node"] for failure in done.document["result"]["failures"]}


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("fault", [SetFault.FAIL, SetFault.LIE])
def test_a_switch_that_cannot_be_set_turns_the_swap_back(steady: LocalCluster, node: str, fault: SetFault):
    steady.script(node, Faults(set_conf=fault))

    done = replace(steady, "--enable-ssl", "off", on={"rollback stop started": lambda _: steady.mend()})

    assert done.code == 1, done.err
    result = done.document["result"]
    assert (result["verdict"], result["last_stage"]) == ("rolled back", "swap")
    assert [failure["node"] for failure in result["failures"]] == [node]


@pytest.mark.parametrize("node", NODES)
def test_a_cm_server_that_refuses_the_new_set_turns_all_back(steady: LocalCluster, node: str):
    served = steady.node(node).served_fingerprint()
    steady.script(node, Faults(server_accepts_only=(served,)))

    done = replace(steady, "--restart", "node")

    assert done.code == 1, done.err
    result = done.document["result"]
    assert result["verdict"] == "rolled back"
    assert node in {failure["node"] for failure in result["failures"]}
    assert {each["fingerprint"] for each in result["proof"]} == set(steady.picture().served.values())


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("fault", [StartFault.FAIL, StartFault.LIE, StartFault.SILENT])
def test_a_start_that_fails_or_lies_turns_all_back(steady: LocalCluster, node: str, fault: StartFault):
    steady.script(node, Faults(start=fault))

    done = replace(steady, "--restart", "node", on={"rollback stop started": lambda _: steady.mend()})

    assert done.code == 1, done.err
    result = done.document["result"]
    assert result["verdict"] == "rolled back"
    assert result["last_stage"] in ("start", "verify")


@pytest.mark.parametrize("node", NODES)
def test_a_cm_server_that_serves_nothing_is_not_believed(steady: LocalCluster, node: str):
    def break_it(_: Run) -> None:
        steady.script(node, Faults(server_serves_nothing=True))

    done = replace(steady, on={"swap started": break_it, "rollback stop started": lambda _: steady.mend()})

    assert done.code == 1, done.err
    assert done.document["result"]["last_stage"] in ("start", "verify")


@pytest.mark.parametrize("node", NODES)
def test_an_agent_killed_at_swap_and_started_again_takes_part_in_the_rollback_or_the_swap(
    steady: LocalCluster, node: str
):
    """The coordinator repeats what is safe to repeat; whatever comes of it, it is whole."""
    before = steady.picture()
    restarted = threading.Event()

    def kill(_: Run) -> None:
        steady.end_agent(node, signal.SIGKILL)
        time.sleep(0.5)
        steady.start_agent(node)
        restarted.set()

    done = replace(steady, on={"swap started": kill})

    assert restarted.is_set()
    assert done.code in (0, 1), done.err
    after = steady.picture()
    if done.code == 0:
        assert len(set(after.served.values())) == 1
        assert set(after.served.values()).isdisjoint(before.served.values())
        put_back(steady, before)


def put_back(cluster: LocalCluster, before) -> None:
    """A committed replacement, undone by hand so that the next test finds what it knows."""
    cluster.simulated.stop()
    for node in cluster.nodes:
        parent = node.set_directory.parent
        retired = next(path for path in parent.iterdir() if path.name.startswith(".cm.retired."))
        for path in node.set_directory.iterdir():
            path.unlink()
        node.set_directory.rmdir()
        retired.rename(node.set_directory)
    cluster.simulated.start()
    wait_until(lambda: cluster.picture() == before)


@pytest.mark.parametrize("node", NODES)
def test_an_agent_that_is_down_refuses_before_anything_changes(steady: LocalCluster, node: str):
    steady.end_agent(node)
    try:
        done = replace(steady)
    finally:
        steady.start_agent(node)

    assert done.code == 4, done.err
    assert [error["node"] for error in done.document["plan"]["unreachable"]] == [node]


def test_a_cluster_that_is_not_normal_is_refused(steady: LocalCluster):
    for node in NODES:
        steady.script(node, Faults(query=QueryFault.DEGRADED))

    done = replace(steady)

    assert done.code == 2, done.err
    assert "CLUSTER_NOT_NORMAL" in {finding["code"] for finding in done.document["plan"]["findings"]}
