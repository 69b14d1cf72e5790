"""A cm_ctl that neither ends nor says anything is given up at its deadline, and all is as before."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from gausscert_sim.faults import Faults, StartFault, StopFault
from support.local_cluster import LocalCluster

pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("hang")]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    root = tmp_path_factory.mktemp("cluster")
    times = {"stop_s": 9.0, "start_s": 10.0, "verify_s": 10.0}
    with LocalCluster.started(root, time_scale=0.3, timeouts=times) as running:
        running.new_bundle("fresh")
        yield running
    assert running.left_over() == []


@pytest.mark.parametrize(("node", "scope"), [("n1", ()), ("n2", ("--restart", "node"))])
@pytest.mark.parametrize(
    ("fault", "stage"), [(Faults(stop=StopFault.HANG), "stop"), (Faults(start=StartFault.HANG), "start")]
)
def test_a_cm_ctl_that_hangs_turns_all_back(
    steady: LocalCluster, node: str, scope: tuple[str, ...], fault: Faults, stage: str
):
    steady.script(node, fault)

    done = steady.replace(*scope, on={"rollback stop started": lambda _: steady.mend()})

    assert done.code == 1, done.err
    result = done.document["result"]
    assert (result["verdict"], result["last_stage"]) == ("rolled back", stage)
    assert "CM_CTL_TIMEOUT" in {each["reason"] for each in result["failures"] if each["node"] == node}
    assert steady.simulated.state() == "Normal"
