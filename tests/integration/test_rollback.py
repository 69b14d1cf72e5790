"""Back to a former set on real processes, with no bundle and no password at hand, and forward again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from gausscert_common import factors
from gausscert_coordinator.cli import demo_claims
from gausscert_sim.faults import Faults
from support import pki
from support.agent_core import write_set
from support.local_cluster import NODES, Done, LocalCluster

pytestmark = pytest.mark.xdist_group("rollback")


def rollback(cluster: LocalCluster, *options: str) -> Done:
    return cluster.run("rollback", "--yes", "--output", "json", *options)


def retired(cluster: LocalCluster, node: str, generation: str) -> Path:
    return cluster.node(node).set_directory.parent / f".cm.retired.{generation}"


def kept(cluster: LocalCluster) -> dict[str, list[str]]:
    report = cluster.run("status", "--output", "json").document["nodes"]
    return {each["node"]: [one["generation"] for one in each["report"]["retired"]] for each in report}


def assert_serves(cluster: LocalCluster, disks: demo_claims.Disks, done: Done) -> None:
    """Each node has its own former files again, byte for byte and mode for mode, and that was proven."""
    assert done.code == 0, done.err
    result, picture = done.document["result"], cluster.picture()
    assert result["verdict"] == "committed"
    assert len(result["proof"]) == 9
    assert {each["fingerprint"] for each in result["proof"]} == set(picture.served.values())
    assert picture.disks == disks
    assert cluster.in_flight() == []


def test_back_and_forward_again_and_further_back(cluster: LocalCluster):
    first = cluster.picture()
    one = cluster.replace(bundle=cluster.new_bundle("second"))
    second = cluster.picture()
    assert one.code == 0, one.err

    back = rollback(cluster)

    generation = one.document["result"]["transaction_id"]
    assert_serves(cluster, first.disks, back)
    assert cluster.picture().served == first.served
    assert back.document["plan"]["generation"] == generation
    (run,) = cluster.run("history", back.document["result"]["transaction_id"], "--output", "json").document[
        "runs"
    ]
    assert (run["kind"], run["verdict"], run["generation"]) == ("rollback", "committed", generation)

    forward = rollback(cluster)

    assert_serves(cluster, second.disks, forward)
    assert forward.document["plan"]["generation"] == back.document["result"]["transaction_id"]
    newest = [each.document["result"]["transaction_id"] for each in (forward, back)]
    assert all(generations == newest for generations in kept(cluster).values())

    further = rollback(cluster, "--to", back.document["result"]["transaction_id"], "--restart", "node")

    assert further.code == 2  # that is what is live: the second rollback has made it so
    assert {"SET_UNCHANGED"} == {each["code"] for each in further.document["plan"]["findings"]}
    older = rollback(cluster, "--to", forward.document["result"]["transaction_id"], "--restart", "node")
    assert_serves(cluster, first.disks, older)


@contextmanager
def aside(path: Path, *others: Path) -> Iterator[None]:
    """Retired sets that are out of the way for a while."""
    places = {each: each.with_name(f"aside-{each.name}") for each in (path, *others)}
    for place, elsewhere in places.items():
        place.rename(elsewhere)
    try:
        yield
    finally:
        for place, elsewhere in places.items():
            shutil.rmtree(place, ignore_errors=True)
            elsewhere.rename(place)


def expired() -> dict[str, bytes]:
    """A set whose server certificate was good until yesterday."""
    made = pki.bundle(server=pki.leaf(pki.good_ca(), "server", end=pki.NOW - timedelta(days=1)))
    files = dict(made.pem)
    for role, password in (("server", made.server_password), ("client", made.client_password)):
        assert password is not None
        pair = factors.write(password)
        files |= dict(zip((f"{role}.key.cipher", f"{role}.key.rand"), pair, strict=True))
    return files


@pytest.fixture
def generation(cluster: LocalCluster) -> str:
    """The newest one; made where the test is the first."""
    if not kept(cluster)["n1"]:
        made = cluster.replace()
        assert made.code == 0, made.err
    return kept(cluster)["n1"][0]


def test_what_is_missing_or_has_expired_is_refused_with_nothing_changed(
    cluster: LocalCluster, generation: str
):
    before = cluster.picture()

    with aside(retired(cluster, "n2", generation)):
        lacking = rollback(cluster, "--to", generation)
    with aside(*(retired(cluster, name, generation) for name in NODES)):
        for name in NODES:
            write_set(retired(cluster, name, generation), expired())
        late = rollback(cluster, "--to", generation)

    assert lacking.code == late.code == 2
    (found,) = (each for each in lacking.document["plan"]["findings"] if each["code"] == "GENERATION_UNKNOWN")
    assert f"{generation} is not on n2; there are: n1, n3: {generation}" in found["cause"]
    assert "; n2: " in found["cause"]
    assert "CERTIFICATE_EXPIRED" in {each["code"] for each in late.document["plan"]["findings"]}
    assert lacking.document["result"] is late.document["result"] is None
    assert cluster.picture() == before
    assert cluster.in_flight() == []


@pytest.mark.soak
@pytest.mark.usefixtures("generation")  # before what `steady` compares with
def test_a_cm_server_that_refuses_the_former_set_turns_all_back(steady: LocalCluster):
    served = steady.node("n2").served_fingerprint()
    steady.script("n2", Faults(server_accepts_only=(served,)))

    done = rollback(steady, "--restart", "node")

    assert done.code == 1, done.err
    result = done.document["result"]
    assert result["verdict"] == "rolled back"
    assert {each["fingerprint"] for each in result["proof"]} == set(steady.picture().served.values())
