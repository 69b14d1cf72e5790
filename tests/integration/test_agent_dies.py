"""An agent is killed in the middle: whatever comes of it, it is whole."""

from __future__ import annotations

import signal
import threading
import time

import pytest
from support.local_cluster import EACH_NODE, LocalCluster, Run, wait_until

pytestmark = pytest.mark.xdist_group("agent-dies")


@pytest.mark.parametrize("node", EACH_NODE)
def test_an_agent_killed_at_swap_and_started_again_takes_part_in_the_rollback_or_the_swap(
    steady: LocalCluster, node: str
):
    """The coordinator repeats what is safe to repeat; whatever comes of it, it is whole."""
    before = steady.picture()
    restarted = threading.Event()

    def kill(_: Run) -> None:
        steady.end_agent(node, signal.SIGKILL)
        time.sleep(0.5)
        steady.start_agent(node)
        restarted.set()

    done = steady.replace(on={"swap started": kill})

    assert restarted.is_set()
    assert done.code in (0, 1), done.err
    after = steady.picture()
    if done.code == 0:
        assert len(set(after.served.values())) == 1
        assert set(after.served.values()).isdisjoint(before.served.values())
        put_back(steady, before)


def put_back(cluster: LocalCluster, before) -> None:
    """A committed replacement, undone by hand so that the next test finds what it knows."""
    cluster.simulated.stop()
    for node in cluster.nodes:
        parent = node.set_directory.parent
        retired = next(path for path in parent.iterdir() if path.name.startswith(".cm.retired."))
        for path in node.set_directory.iterdir():
            path.unlink()
        node.set_directory.rmdir()
        retired.rename(node.set_directory)
    cluster.simulated.start()
    wait_until(lambda: cluster.picture() == before)
