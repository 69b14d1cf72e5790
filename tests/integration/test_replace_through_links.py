"""A cluster of which two nodes have the data link layout: every node, or none, as ever."""

from __future__ import annotations

import pytest
from gausscert_agent.config import CmSettings
from gausscert_agent.store import Store
from gausscert_coordinator.cli import demo_claims
from gausscert_sim.faults import Faults
from support.agent_core import NoExchange
from support.local_cluster import LocalCluster

pytestmark = pytest.mark.xdist_group("replace-links")

LINKED = ("n2", "n3")


@pytest.fixture(scope="module", autouse=True)
def linked(cluster: LocalCluster):
    """While CM runs, as Prepare would do it."""
    before = cluster.picture()
    for name in LINKED:
        home = cluster.node(name).set_directory.parents[2]
        Store(CmSettings(home=home), disk=NoExchange()).make_room("converting-1")
        assert (home / "share" / "sslcert" / "cm" / "server.key").is_symlink()
    assert cluster.picture() == before


def test_it_is_replaced_and_the_plan_tells_of_the_links(cluster: LocalCluster):
    plan = cluster.run("plan", "fresh", "--output", "json", *cluster.passwords)
    assert plan.code == 0, plan.err
    assert plan.out.count('"NODE_DATA_LINK"') == len(LINKED)

    done = cluster.replace()

    assert done.code == 0, done.err
    picture = cluster.picture()
    assert all(demo_claims.holds_bundle(disk, cluster.root / "fresh") for disk in picture.disks.values())
    assert len(set(picture.served.values())) == 1
    for name in LINKED:
        assert (cluster.node(name).set_directory / "server.key").is_symlink()


@pytest.mark.soak
def test_a_node_that_does_not_serve_turns_all_back(cluster: LocalCluster):
    bundle = cluster.new_bundle("another")
    before = cluster.picture()
    served = cluster.node("n3").served_fingerprint()
    cluster.script("n3", Faults(server_accepts_only=(served,)))

    done = cluster.replace("--restart", "node", bundle=bundle)

    assert done.code == 1, done.err
    cluster.mend()
    assert cluster.picture() == before
    assert cluster.in_flight() == []
