"""Who may do what, and who did what, on real processes: renewal, revocation and the chains of a cluster."""

from __future__ import annotations

import json
import subprocess
import threading
from pathlib import Path

import pytest
from gausscert_coordinator.cli.demo_cluster import AGENT
from support.local_cluster import NODES, Done, LocalCluster

pytestmark = pytest.mark.xdist_group("access")


def verify(cluster: LocalCluster, *options: str) -> Done:
    return cluster.run("history", "--verify", "--output", "json", *options)


def log_of(cluster: LocalCluster, node: str) -> Path:
    (path,) = (cluster.root / f"agent-{node}" / "audit").iterdir()
    return path


def at_the_node(cluster: LocalCluster, node: str) -> subprocess.CompletedProcess[str]:
    config = cluster.root / f"agent-{node}.toml"
    return subprocess.run(
        [*AGENT, "verify-audit", "--config", str(config)], capture_output=True, text=True, check=False
    )


def test_credentials_are_renewed_while_a_transaction_runs_and_all_of_it_is_written_down(
    cluster: LocalCluster,
) -> None:
    renewed: list[Done] = []

    def renew(_: object) -> None:
        renew_all = cluster.run("pki", "renew", "--all-nodes", "--dir", "pki", "--output", "json")
        renewed.append(renew_all)

    thread: list[threading.Thread] = []

    def in_the_background(run: object) -> None:
        thread.append(threading.Thread(target=renew, args=(run,)))
        thread[0].start()

    done = cluster.replace(on={"prepare": in_the_background})
    thread[0].join()

    assert done.code == 0, done.err
    assert renewed[0].code == 0, renewed[0].out + renewed[0].err
    fingerprints = {each["node"]: each["credential"]["fingerprint"] for each in renewed[0].document["nodes"]}
    assert sorted(fingerprints) == list(NODES)
    listed = cluster.run("pki", "list", "--dir", "pki", "--nodes", "--output", "json").document
    for agent in listed["agents"]:
        own, ca = agent["certificates"]
        assert (own["kind"], own["known"], ca["kind"]) == ("credential", True, "credential ca")
        assert own["fingerprint"] == fingerprints[agent["node"]]
    shown = cluster.run("expiry", "--output", "json").document["control_plane"]
    assert sum(each["kind"] == "credential" for each in shown) == len(NODES)

    found = verify(cluster)
    assert found.code == 0, found.out + found.err
    assert found.document["history"]["intact"]
    assert [each["intact"] for each in found.document["nodes"]] == [True] * len(NODES)
    lines = [json.loads(line.partition(" ")[2]) for line in log_of(cluster, "n1").read_text().splitlines()]
    rpcs = [line["rpc"] for line in lines]
    assert {"Acquire", "Prepare", "Swap", "Commit", "Purge", "BeginRenewal", "FinishRenewal"} <= set(rpcs)
    assert {line["who"] for line in lines} == {"gausscert://demo/operator/demo"}


def test_a_revoked_operator_is_refused_by_every_node(cluster: LocalCluster) -> None:
    assert cluster.run("pki", "issue", "operator", "bob", "--dir", "pki", "--out", "bob").code == 0
    as_bob = (cluster.root / "gausscert.toml").read_text().replace("pki/operator-demo", "bob/operator-bob")
    (cluster.root / "bob.toml").write_text(as_bob)
    assert cluster.run("status", "--inventory", "bob.toml").code == 0

    done = cluster.run("pki", "revoke", "bob", "--dir", "pki", "--output", "json")

    assert done.code == 0, done.out + done.err
    assert [each["total"] for each in done.document["nodes"]] == [1] * len(NODES)
    refused = cluster.run("status", "--inventory", "bob.toml", "--output", "json")
    assert [each["error"]["reason"] for each in refused.document["nodes"]] == ["REVOKED"] * len(NODES)
    assert cluster.run("status").code == 0


def test_whatever_is_done_to_a_nodes_log_is_named(cluster: LocalCluster) -> None:
    altered, cut = log_of(cluster, "n2"), log_of(cluster, "n3")
    lines = altered.read_bytes().splitlines(keepends=True)
    altered.write_bytes(b"".join([lines[0], lines[1].replace(b"operator", b"observer"), *lines[2:]]))
    cut.write_bytes(b"".join(cut.read_bytes().splitlines(keepends=True)[:3]))

    done = verify(cluster)

    assert done.code == 2
    one, two, three = done.document["nodes"]
    assert (one["intact"], one["fault"]) == (True, None)
    assert two["fault"]["line"] == 2
    assert three["fault"]["line"] == 4
    assert "end is missing" in three["fault"]["cause"]
    assert done.document["history"]["intact"]
    assert verify(cluster, "--no-nodes").code == 0
    assert at_the_node(cluster, "n1").returncode == 0
    wrong = at_the_node(cluster, "n2")
    assert wrong.returncode == 2
    assert "line 2" in wrong.stderr
