"""The traps of the live cluster, each as a whole transaction: what looks like success and is none ends in a
rollback that names node and cause, and what only takes long ends committed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gausscert_sim.faults import Faults, QueryFault
from support.local_cluster import NODES, Done, LocalCluster, Run

pytestmark = pytest.mark.xdist_group("false-success")

SLOW = pytest.mark.soak

DEFAULT = ()
"""The default scope, `cluster`: cm_ctl on one node, which knows nothing of what others serve."""
BY_NODE = ("--restart", "node")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    root = tmp_path_factory.mktemp("cluster")
    with LocalCluster.started(root, timeouts={"start_s": 40.0, "verify_s": 6.0}) as running:
        running.new_bundle("fresh")
        yield running
    assert running.left_over() == []


def rolled_back(done: Done) -> dict[str, Any]:
    assert done.code == 1, done.err
    result: dict[str, Any] = done.document["result"]
    assert result["verdict"] == "rolled back"
    return result


def stale(cluster: LocalCluster, name: str, where: Path) -> str:
    """Its cm_server loads what lies there now, whatever is live; answers how that is told."""
    node = cluster.node(name)
    shutil.copytree(node.set_directory, where)
    cluster.script(name, Faults(server_loads_from=str(where)))
    where_it_is = f"cm_server {NODES.index(name) + 1} at {node.address}:{node.port}"
    return f"{where_it_is} serves {node.served_fingerprint()[:16]}, must serve"


def assert_named(done: Done, node: str, said: str) -> None:
    """In the progress before anything is turned back, and in the result."""
    lines = done.err.splitlines()
    turned = next(number for number, line in enumerate(lines) if "rollback stop started" in line)
    assert any(f"{node}: {said}" in line or f"{node} note: {said}" in line for line in lines[:turned]), (
        done.err
    )
    assert node in {each["node"] for each in done.document["result"]["failures"] if said in each["message"]}


@pytest.mark.parametrize("node", ["n2", pytest.param("n1", marks=SLOW)])
def test_the_old_certificate_behind_a_start_is_named_by_node_and_leaf(
    steady: LocalCluster, tmp_path: Path, node: str
):
    """Also where it is the one whose cm_ctl has failed."""
    said = stale(steady, node, tmp_path / "old")

    done = steady.replace()

    rolled_back(done)
    assert_named(done, node, said)


def test_a_cm_server_that_does_not_listen_is_named_while_cm_ctl_waits_for_it(steady: LocalCluster):
    steady.script("n2", Faults(server_serves_nothing=True))

    done = steady.replace(on={"rollback stop started": lambda _: steady.mend()})

    assert rolled_back(done)["last_stage"] == "start"
    node = steady.node("n2")
    assert_named(done, "n2", f"cm_server 2 at {node.address}:{node.port} is unreachable: Connection refused")


@pytest.mark.parametrize(("wish", "kept"), [("off", "on"), pytest.param("on", "off", marks=SLOW)])
def test_a_cm_server_that_keeps_its_old_ssl_answer_turns_the_switch_back(
    cluster: LocalCluster, wish: str, kept: str
):
    if wish == "on":
        assert cluster.run("ssl", "off", "--yes").code == 0
    before = cluster.picture()
    cluster.script("n2", Faults(server_ssl=kept))
    try:
        done = cluster.run("ssl", wish, "--yes", "--output", "json")
        rolled_back(done)
        node = cluster.node("n2")
        what = "has SSL off, must serve" if kept == "off" else "serves"
        assert_named(done, "n2", f"cm_server 2 at {node.address}:{node.port} {what}")
        assert cluster.picture() == before
    finally:
        cluster.mend()
        if wish == "on":
            assert cluster.run("ssl", "on", "--yes").code == 0


def test_a_cluster_that_is_degraded_afterwards_is_turned_back(steady: LocalCluster):
    def degrade(_: Run) -> None:
        for node in NODES:
            steady.script(node, Faults(query=QueryFault.DEGRADED))

    done = steady.replace(
        *BY_NODE, on={"start started": degrade, "rollback stop started": lambda _: steady.mend()}
    )

    result = rolled_back(done)
    assert result["last_stage"] == "verify"
    assert {each["node"] for each in result["failures"]} == set(NODES)
    assert all("cm_ctl query says Degraded" in each["message"] for each in result["failures"])


@pytest.mark.parametrize("at", ["plan", "prepare"])
def test_a_pause_that_begins_after_the_plan_is_not_run_over(steady: LocalCluster, at: str):
    mark = steady.node("n3").home / "bin" / "cluster_manual_pause"
    pids = {each.pid for one in steady.nodes for each in one.processes()}
    words = {"plan": "acquire started", "prepare": "prepare started"}[at]
    try:
        done = steady.replace(on={words: lambda _: mark.touch()})
        assert mark.exists(), "nobody but who paused it ends a pause"
    finally:
        mark.unlink(missing_ok=True)

    assert done.code == 2, done.err
    (failure,) = done.document["result"]["failures"]
    assert (failure["node"], failure["reason"]) == ("n3", "NODE_UNFIT")
    assert "has paused CM" in failure["message"]
    assert {each.pid for one in steady.nodes for each in one.processes()} == pids


@pytest.mark.parametrize(("scope", "delay_s"), [(DEFAULT, 2.0), pytest.param(BY_NODE, 4.0, marks=SLOW)])
def test_a_start_that_is_only_slow_ends_committed(
    cluster: LocalCluster, scope: tuple[str, ...], delay_s: float
):
    cluster.script("n2", Faults(server_start_delay_s=delay_s))
    try:
        done = cluster.replace(*scope, bundle=cluster.new_bundle(f"slow-{delay_s:.0f}"))
    finally:
        cluster.mend()

    assert done.code == 0, done.err
    assert done.document["result"]["verdict"] == "committed"
    assert not any("must serve" in line for line in done.err.splitlines()), "slow is not wrong"


@pytest.mark.faults
@pytest.mark.parametrize("scope", [DEFAULT, pytest.param(BY_NODE, marks=SLOW)])
def test_a_rollback_meets_the_same_trap(cluster: LocalCluster, tmp_path: Path, scope: tuple[str, ...]):
    """The set that it leaves is served on by one cm_server; nothing of it is kept but by name."""
    assert cluster.replace(*BY_NODE, bundle=cluster.new_bundle(tmp_path.name)).code == 0
    before = cluster.picture()
    said = stale(cluster, "n3", tmp_path / "replaced")
    try:
        done = cluster.run("rollback", "--yes", "--output", "json", *scope)
    finally:
        cluster.mend()

    rolled_back(done)
    assert_named(done, "n3", said)
    assert cluster.picture() == before
