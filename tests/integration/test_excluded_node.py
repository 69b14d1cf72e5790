"""A machine dies, the certificates are replaced without it, it comes back: on real processes."""

from __future__ import annotations

import pytest
from gausscert_agent.journal import Journal
from gausscert_common.protocol.words import Outcome, Phase
from gausscert_coordinator.cli import demo_claims
from support import sim_certs
from support.local_cluster import NODES, Done, LocalCluster, Picture, wait_until

pytestmark = pytest.mark.xdist_group("excluded")

DEAD, LEFT = "n3", ("n1", "n2")


@pytest.fixture(scope="module")
def degraded(cluster: LocalCluster) -> LocalCluster:
    """One machine is dead."""
    cluster.power_off(DEAD)
    cluster.simulated.wait_for("Degraded")
    return cluster


def served(picture: Picture, *names: str) -> set[str]:
    return {picture.served[name] for name in names}


def side_by_side(cluster: LocalCluster, *commands: tuple[str, ...]) -> list[Done]:
    """Commands of which none waits for another one."""
    runs = [cluster.launch(*command) for command in commands]
    return [run.done() for run in runs]


def journal(cluster: LocalCluster, name: str):
    return Journal(cluster.root / f"agent-{name}").load()


def test_from_the_death_of_a_machine_to_one_set_everywhere(degraded: LocalCluster):
    cluster = degraded
    before = cluster.picture()
    other = cluster.new_bundle("other")

    # Refused, until it is asked for.
    refused = cluster.replace()
    assert refused.code == 4, refused.err
    assert refused.document["error"]["reason"] == "UNREACHABLE"
    assert "--exclude" in refused.document["error"]["remedy"]
    assert cluster.picture() == before
    assert cluster.in_flight() == []

    done = cluster.replace("--exclude", DEAD)
    assert done.code == 0, done.err
    result = done.document["result"]
    assert (result["verdict"], result["waiting"]) == ("committed", [DEAD])
    assert {each["seen_from"] for each in result["proof"]} == set(LEFT)
    after = cluster.picture()
    assert served(after, *LEFT) == {each["fingerprint"] for each in result["proof"]}
    assert not served(after, *LEFT) & set(before.served.values())
    assert after.disks[DEAD] == before.disks[DEAD]
    name = result["transaction_id"]
    for node in LEFT:
        state = journal(cluster, node)
        assert (state.phase, state.transaction.excluded) == (Phase.COMMITTED, (DEAD,))
        assert (
            demo_claims._disk(cluster.node(node).set_directory.parent / f".cm.{name}") == before.disks[node]
        )

    # While it stands. All of these change nothing, and each waits for the dead machine: side by side.
    status, again, recovered, *other_ways, checked = side_by_side(
        cluster,
        ("status",),
        ("replace", other, "--exclude", DEAD, "--yes", "--output", "json", *cluster.passwords),
        ("recover",),
        ("rollback", "--yes", "--output", "json"),
        ("ssl", "off", "--yes", "--output", "json"),
        ("check",),
    )
    assert status.code == 4
    assert f"committed, waiting for {DEAD} (excluded, does not answer)" in " ".join(status.out.split())
    assert again.code == 2
    assert again.document["error"]["reason"] == "NODES_EXCLUDED"
    assert {each["node"] for each in again.document["plan"]["blocked"]} == set(LEFT)
    assert recovered.code == 4
    for other_way in other_ways:
        assert other_way.code == 2, other_way.err
        assert other_way.document["error"]["reason"] == "NODES_EXCLUDED"
    assert checked.code == 2  # a node that does not answer
    assert "NODES_EXCLUDED" in checked.out
    assert "DRIFT" not in checked.out
    assert cluster.picture() == after

    # It may stand for weeks: what is served is looked at all the same.
    kept = cluster.node("n1").installed()
    cluster.node("n1").install(sim_certs.old_set())
    drifting, expiry = side_by_side(cluster, ("check",), ("expiry", "--output", "json"))
    cluster.node("n1").install(kept)
    assert "CRITICAL DRIFT n1" in drifting.out
    certificates = expiry.document["certificates"]
    shown = {each["node"]: each["fingerprint"] for each in certificates if "served" in each["file"]}
    assert shown == {node: after.served[node] for node in LEFT}
    assert cluster.picture() == after

    # It is back, with the old set: om_monitor was quicker than everybody.
    cluster.power_on(DEAD)
    wait_until(lambda: cluster.node(DEAD).served_fingerprint() != "")
    here = cluster.picture()
    back, checked, without, wrong = side_by_side(
        cluster,
        ("status",),
        ("check",),
        ("recover",),
        ("recover", "--bundle", other, "--output", "json", *cluster.passwords),
    )
    assert back.code == 3
    assert "is back and holds another set" in " ".join(back.out.split())
    assert f"CRITICAL NODES_EXCLUDED {DEAD}: CM runs here" in checked.out
    assert without.code == 2
    assert wrong.code == 2
    assert "its digest is" in wrong.document["failures"][0]["message"]
    assert cluster.picture() == here

    over = cluster.run("recover", "--bundle", "fresh", "--output", "json", *cluster.passwords)
    assert over.code == 0, over.err
    assert over.document["verdict"] == "committed"
    assert "JOIN_RUNS_OLD" in {each["code"] for each in over.document["findings"]}
    assert {each["seen_from"] for each in over.document["proof"]} >= set(LEFT)
    end = cluster.picture()
    assert served(end, *NODES) == served(after, *LEFT)
    assert cluster.in_flight() == []
    assert all(demo_claims.holds_bundle(disk, cluster.root / "fresh") for disk in end.disks.values())
    for node in NODES:  # retired under one name everywhere, so that a rollback finds it everywhere
        retired = cluster.node(node).set_directory.parent / f".cm.retired.{name}"
        assert demo_claims._disk(retired) == before.disks[node]
        assert not (cluster.node(node).set_directory.parent / f".cm.{name}").exists()
    assert {journal(cluster, node).outcome_of(name) for node in LEFT} == {Outcome.COMMITTED}
    assert cluster.run("status").code == 0
    kinds = [each["kind"] for each in cluster.run("history", "--output", "json").document["runs"]]
    assert kinds[:3] == ["recover", "join", "replace"]

    # What was retired by the transaction and by the join is one generation.
    way_back = cluster.run("rollback", "--to", name, "--yes", "--output", "json")
    assert way_back.code == 0, way_back.err
    assert cluster.picture().disks == before.disks
    assert served(cluster.picture(), *NODES) == served(before, *LEFT)

    # And the next one is as any other.
    last = cluster.replace(bundle=other)
    assert last.code == 0, last.err
    assert len(served(cluster.picture(), *NODES)) == 1
