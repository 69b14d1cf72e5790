"""What is found before CM is touched refuses for all nodes, and nothing has changed."""

from __future__ import annotations

import pytest
from gausscert_sim.faults import EncryptFault, Faults, QueryFault
from support.local_cluster import NODES, LocalCluster, on_each_node

pytestmark = pytest.mark.xdist_group("replace-refused")


@pytest.mark.parametrize(
    ("fault", "node"), on_each_node(EncryptFault.FAIL, EncryptFault.WRONG, EncryptFault.LIE)
)
def test_a_node_that_cannot_encrypt_refuses_for_all_without_an_outage(
    steady: LocalCluster, node: str, fault: EncryptFault
):
    pids = {each.pid for one in steady.nodes for each in one.processes()}
    steady.script(node, Faults(encrypt=fault))

    done = steady.replace()

    assert done.code == 2, done.err
    assert [failure["node"] for failure in done.document["result"]["failures"]] == [node]
    assert {each.pid for one in steady.nodes for each in one.processes()} == pids


@pytest.mark.parametrize("node", NODES)
def test_an_agent_that_is_down_refuses_before_anything_changes(steady: LocalCluster, node: str):
    steady.end_agent(node)
    try:
        done = steady.replace()
    finally:
        steady.start_agent(node)

    assert done.code == 4, done.err
    assert [error["node"] for error in done.document["plan"]["unreachable"]] == [node]


def test_a_cluster_that_is_not_normal_is_refused(steady: LocalCluster):
    for node in NODES:
        steady.script(node, Faults(query=QueryFault.DEGRADED))

    done = steady.replace()

    assert done.code == 2, done.err
    assert "CLUSTER_NOT_NORMAL" in {finding["code"] for finding in done.document["plan"]["findings"]}
