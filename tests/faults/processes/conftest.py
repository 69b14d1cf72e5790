"""One cluster per worker, used by one run after the other; a run that failed takes its cluster with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from support.fault_cluster import FaultCluster


@pytest.fixture(scope="session")
def present_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], FaultCluster]]:
    running: list[FaultCluster] = []

    def present() -> FaultCluster:
        if running and running[-1].spoilt:
            running.pop().stop()
        if not running:
            running.append(FaultCluster.started(tmp_path_factory.mktemp("faults")))
        return running[-1]

    yield present
    for cluster in running:
        cluster.stop()
        assert cluster.left_over() == []


@pytest.fixture
def cluster(present_cluster: Callable[[], FaultCluster]) -> FaultCluster:
    return present_cluster()
