"""A node that does not serve the new set: all are as before, byte for byte, and serve it."""

from __future__ import annotations

import pytest
from gausscert_sim.faults import Faults, StartFault
from support.local_cluster import NODES, LocalCluster, Run, on_each_node

pytestmark = pytest.mark.xdist_group("replace-start")


@pytest.mark.parametrize("node", NODES)
def test_a_cm_server_that_refuses_the_new_set_turns_all_back(steady: LocalCluster, node: str):
    served = steady.node(node).served_fingerprint()
    steady.script(node, Faults(server_accepts_only=(served,)))

    done = steady.replace("--restart", "node")

    assert done.code == 1, done.err
    result = done.document["result"]
    assert result["verdict"] == "rolled back"
    assert node in {failure["node"] for failure in result["failures"]}
    assert {each["fingerprint"] for each in result["proof"]} == set(steady.picture().served.values())
    (run,) = steady.run("history", result["transaction_id"], "--output", "json").document["runs"]
    assert (run["verdict"], run["last_stage"]) == ("rolled back", result["last_stage"])
    assert [{**each, "findings": []} for each in run["failures"]] == result["failures"]
    assert {each["stage"] for each in run["evidence"]} >= {"prepare", "rollback verify"}


@pytest.mark.parametrize(("fault", "node"), on_each_node(StartFault.LIE, StartFault.FAIL, StartFault.SILENT))
def test_a_start_that_fails_or_lies_turns_all_back(steady: LocalCluster, node: str, fault: StartFault):
    steady.script(node, Faults(start=fault))

    done = steady.replace("--restart", "node", on={"rollback stop started": lambda _: steady.mend()})

    assert done.code == 1, done.err
    result = done.document["result"]
    assert result["verdict"] == "rolled back"
    assert result["last_stage"] in ("start", "verify")


@pytest.mark.parametrize("node", NODES)
def test_a_cm_server_that_serves_nothing_is_not_believed(steady: LocalCluster, node: str):
    def break_it(_: Run) -> None:
        steady.script(node, Faults(server_serves_nothing=True))

    done = steady.replace(on={"swap started": break_it, "rollback stop started": lambda _: steady.mend()})

    assert done.code == 1, done.err
    assert done.document["result"]["last_stage"] in ("start", "verify")
