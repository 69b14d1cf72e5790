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


def test_an_upgrade_is_found_by_an_agent_that_was_not_told_where_it_is_marked(steady: LocalCluster):
    """Without PGHOST in its configuration an agent saw no upgrade, and said nothing of that."""
    config = steady.root / "agent-n2.toml"
    told = config.read_text()
    mark = steady.node("n2").record.pghost / "binary_upgrade"
    config.write_text("\n".join(line for line in told.splitlines() if not line.startswith("PGHOST")))
    mark.touch()
    try:
        steady.end_agent("n2")
        steady.start_agent("n2")
        done = steady.replace()
    finally:
        mark.unlink()
        config.write_text(told)
        steady.end_agent("n2")
        steady.start_agent("n2")

    assert done.code == 2, done.err
    findings = [(one["node"], one["code"]) for one in done.document["plan"]["findings"]]
    assert ("n2", "NODE_UPGRADING") in findings
    assert "NODE_UPGRADE_UNKNOWN" not in {code for _, code in findings}
