"""A machine dies for good in the middle, with the coordinator that ran on it: on real processes."""

from __future__ import annotations

import pytest
from gausscert_agent.journal import Journal
from gausscert_common.protocol.words import Outcome, Phase
from support.local_cluster import NODES, LocalCluster, Picture
from support.sim_run import pids

pytestmark = pytest.mark.xdist_group("dies in the middle")

DEAD, LEFT = "n3", ("n1", "n2")


def journal(cluster: LocalCluster, name: str):
    return Journal(cluster.root / f"agent-{name}").load()


def die(cluster: LocalCluster, at: str) -> None:
    """Coordinator and machine, at the first line of progress with these words."""

    def both(run) -> None:
        run.process.kill()
        cluster.power_off(DEAD)

    run = cluster.launch("replace", "fresh", "--yes", "--restart", "node", *cluster.passwords, on={at: both})
    assert run.done().acted == [at]


def served(picture: Picture, *names: str) -> set[str]:
    return {picture.served[name] for name in names}


def running(cluster: LocalCluster) -> dict[str, set[int]]:
    return {name: pids(cluster.node(name), "cm_server") for name in LEFT}


@pytest.mark.faults
def test_before_anybody_was_told_to_start_the_others_go_back_and_it_follows(cluster: LocalCluster):
    before = cluster.picture()
    die(cluster, "swap started")
    refused = cluster.run("recover")
    assert refused.code == 4, refused.err

    done = cluster.run("recover", "--exclude", DEAD, "--finish", "--output", "json")

    assert done.code == 1, done.err
    result = done.document
    assert [each["node"] for each in result["findings"] if each["code"] == "NODES_EXCLUDED"] == [DEAD]
    after = cluster.picture()
    for name in LEFT:
        assert (after.disks[name], after.served[name]) == (before.disks[name], before.served[name])
        assert journal(cluster, name).tombstones[0].outcome is Outcome.ABORTED
    assert cluster.in_flight() == [DEAD]

    cluster.power_on(DEAD)  # CM stays down: Stop was carried out there
    assert cluster.run("status").code == 3
    others = running(cluster)
    back = cluster.run("recover", "--output", "json")

    assert back.code == 1, back.err
    assert running(cluster) == others
    assert cluster.picture() == before
    assert cluster.in_flight() == []


def test_once_all_were_told_to_start_the_others_go_on_and_it_follows(cluster: LocalCluster):
    before = cluster.picture()
    die(cluster, "verify started")

    done = cluster.run("recover", "--exclude", DEAD, "--output", "json")

    assert done.code == 0, done.err
    result = done.document
    assert (result["verdict"], result["waiting"]) == ("committed", [DEAD])
    for name in LEFT:
        state = journal(cluster, name)
        assert (state.phase, state.transaction.excluded) == (Phase.COMMITTED, (DEAD,))
    status = cluster.run("status")
    assert status.code == 4
    assert f"committed, waiting for {DEAD} (excluded, does not answer)" in " ".join(status.out.split())

    cluster.power_on(DEAD)
    back = cluster.run("recover", "--output", "json")

    assert back.code == 0, back.err
    after = cluster.picture()
    assert len(served(after, *NODES)) == 1
    assert not served(after, *NODES) & set(before.served.values())
    assert cluster.in_flight() == []
    for name in NODES:
        assert journal(cluster, name).tombstones[0].outcome is Outcome.COMMITTED
