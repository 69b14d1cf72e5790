"""A client in another language, made from the .proto files alone: Node, with packages of the npm registry."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from gausscert_common.errors import NodeFailure, Reason
from gausscert_common.identity import Role, node_dns_name
from gausscert_coordinator import pki
from support.edge_calls import edge
from support.edges import CLUSTER, NODE, no_threads_are_left

__all__ = ["edge", "no_threads_are_left"]

ROOT = Path(__file__).parents[2]
MISSING = [name for name in ("node", "npm") if shutil.which(name) is None]

pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (Debian: nodejs npm)"),
    pytest.mark.xdist_group("clients"),  # one cluster, and one installation of its packages
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """The example, copied away from the sources with nothing but the .proto files, and installed."""
    place = tmp_path_factory.mktemp("node")
    shutil.copytree(ROOT / "examples/node", place / "client", ignore=shutil.ignore_patterns("node_modules"))
    for proto in (ROOT / "protos").rglob("*.proto"):
        copy = place / "protos" / proto.relative_to(ROOT / "protos")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(proto, copy)
    subprocess.run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"],
        cwd=place / "client",
        check=True,
        capture_output=True,
        timeout=250,
    )
    return place / "client"


def look(client, address, cluster, node, credential, **changes):
    options = {
        "address": address,
        "cluster": cluster,
        "node": node,
        "ca": credential.ca,
        "cert": credential.cert,
        "key": credential.key,
        "protos": client.parent / "protos",
    } | changes
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return subprocess.run(
        ["node", "look.js", *words], cwd=client, capture_output=True, text=True, timeout=60, check=False
    )


def refused(done):
    assert (done.returncode, done.stdout) == (1, "")
    return json.loads(done.stderr)


def test_an_observer_reads_status_and_expiry_of_a_running_cluster(client, cluster):
    credential = pki.issue(cluster.root / "pki", Role.OBSERVER, "grafana", out=cluster.root / "grafana")
    node = cluster.node("n2")
    address = f"{node.address}:{cluster.agent_port}"

    done = look(client, address, "demo", "n2", credential)

    assert (done.returncode, done.stderr) == (0, "")
    said = json.loads(done.stdout)
    status = next(
        each["report"]
        for each in cluster.run("status", "--output", "json").document["nodes"]
        if each["node"] == "n2"
    )
    assert (said["cluster"], said["node"]) == ("demo", "n2")
    assert said["agent_version"] == status["agent_version"]
    assert said["live"] == {"state": "SET_STATE_WHOLE", "bundle_digest": status["live"]["bundle_digest"]}
    assert (said["enable_ssl"], said["phase"]) == ("SSL_VALUE_ON", "PHASE_NONE")
    assert said["processes"] == ["cm_agent", "cm_server", "om_monitor"]
    told = cluster.run("expiry", "--output", "json").document
    expiry = [
        (each["file"], each["fingerprint"], each["days_left"])
        for each in (*told["certificates"], *told["control_plane"])
        if each["node"] == "n2"
    ]
    assert sorted(
        (each["file"], each["fingerprint"], each["days_left"]) for each in said["certificates"]
    ) == (sorted(expiry))
    assert "served by cm_server" in {file for file, _, _ in expiry}


@pytest.mark.parametrize("node", ["n1", "N_1", "DB--server..7", "a" * 64, "Really.Long_Name-" * 3 + "x"])
def test_it_expects_the_name_that_is_in_a_nodes_certificate(client, node):
    script = f"import {{ nodeDnsName }} from './agent.js'; console.log(nodeDnsName('prod', '{node}'))"

    done = subprocess.run(
        ["node", "--input-type=module", "-e", script], cwd=client, capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == node_dns_name("prod", node)


def test_another_node_than_the_one_that_is_meant_is_not_talked_to(client, edge):
    observer = edge.person(Role.OBSERVER, "grafana")

    for cluster, node in ((CLUSTER, "another"), ("another", NODE), (CLUSTER, NODE[:-1])):
        found = refused(look(client, edge.address, cluster, node, observer))
        assert found["code"] == "UNAVAILABLE"
        assert found["reason"] == ""
    assert edge.node.seen == []
    assert look(client, edge.address, CLUSTER, NODE, observer).returncode == 0


def test_a_credential_of_another_control_plane_is_refused(client, edge, tmp_path):
    other = tmp_path / "other"
    pki.init(other, CLUSTER, None)
    stranger = pki.issue(other, Role.OBSERVER, "mallory", out=tmp_path / "mallory")

    found = refused(look(client, edge.address, CLUSTER, NODE, stranger, ca=edge.issued.ca))

    assert found["code"] == "UNAVAILABLE"
    assert edge.node.seen == []


def test_the_reason_of_a_failure_arrives_with_its_remedy(client, edge):
    failure = NodeFailure(Reason.STORE_FAILED, "no space", file="server.crt", remedy="make room")
    edge.node.raises = [failure, failure]

    found = refused(look(client, edge.address, CLUSTER, NODE, edge.person(Role.OBSERVER, "grafana")))

    assert found == {
        "code": "INTERNAL",
        "message": "no space",
        "reason": "STORE_FAILED",
        "node": NODE,
        "file": "server.crt",
        "remedy": "make room",
    }
    assert len(edge.node.seen) == 2  # both questions, none of them repeated


def test_what_the_node_has_not_looked_at_is_repeated(client, edge):
    busy = [NodeFailure(Reason.BUSY, "one at a time") for _ in range(2)]
    edge.node.raises = [*busy]

    done = look(client, edge.address, CLUSTER, NODE, edge.person(Role.OBSERVER, "grafana"))

    assert done.returncode == 0
    assert len(edge.node.seen) == 4
