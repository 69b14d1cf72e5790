"""A cluster for a whole module: failures leave it as it was, and each test makes sure of that. A module whose
tests wait for what never comes may have `TIMEOUTS` of its own in the inventory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.local_cluster import LocalCluster


@pytest.fixture(scope="module")
def cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalCluster]:
    root = tmp_path_factory.mktemp("cluster")
    timeouts = getattr(request.module, "TIMEOUTS", None)
    with LocalCluster.started(root, timeouts=timeouts) as running:
        running.new_bundle("fresh")
        yield running
    assert running.left_over() == []


@pytest.fixture
def steady(cluster: LocalCluster) -> Iterator[LocalCluster]:
    """The module's cluster; whatever the test does, everything is as before afterwards."""
    cluster.mend()
    before = cluster.picture()
    assert all(before.served.values())
    yield cluster
    cluster.mend()
    assert cluster.picture() == before
    assert cluster.in_flight() == []
