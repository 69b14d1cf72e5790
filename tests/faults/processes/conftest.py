"""One cluster per worker, used by one run after the other; a run that failed takes its cluster with it.

It lies on the disk, not in memory: what is to be hit must not be over at once, and without fsync a Purge is.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.fault_cluster import FaultCluster


@pytest.fixture(scope="session")
def present_cluster() -> Iterator[Callable[[], FaultCluster]]:
    running: list[FaultCluster] = []

    def present() -> FaultCluster:
        if running and running[-1].spoilt:
            running.pop().stop()
        if not running:
            running.append(FaultCluster.started(Path(tempfile.mkdtemp(prefix="gausscert-faults-"))))
        return running[-1]

    yield present
    for cluster in running:
        cluster.stop()
        assert cluster.left_over() == []
        if not cluster.spoilt:
            shutil.rmtree(cluster.root)


@pytest.fixture
def cluster(present_cluster: Callable[[], FaultCluster]) -> FaultCluster:
    return present_cluster()
