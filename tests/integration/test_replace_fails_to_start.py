"""A node that does not serve the new set: all are as before, byte for byte, and serve it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from gausscert_sim.faults import Faults, StartFault
from support.local_cluster import EACH_NODE, NODES, LocalCluster, Run, on_each_node

pytestmark = pytest.mark.xdist_group("replace-start")

TIMEOUTS = {"start_s": 25.0, "verify_s": 8.0}
"""What does not start, or serve, is waited for as long as that; what does needs a second or two."""


@pytest.mark.parametrize("node", EACH_NODE)
def test_a_cm_server_that_refuses_the_new_set_turns_all_back(steady: LocalCluster, node: str):
    served = steady.node(node).served_fingerprint()
    steady.script(node, Faults(server_accepts_only=(served,)))

    done = steady.replace("--restart", "node")

    assert done.code == 1, done.err
    result = done.document["result"]
    assert result["verdict"] == "rolled back"
    assert node in {failure["node"] for failure in result["failures"]}
    causes = {(each["node"], each["code"]) for each in result["findings"] if "CM_LOG" in each["code"]}
    assert causes == {(node, "CM_LOG_DCC")}
    assert f"{node} " in done.err
    assert "the link between the cm_servers (DCC) does not start" in done.err
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


@pytest.mark.parametrize("node", EACH_NODE)
def test_a_cm_server_that_serves_nothing_is_not_believed(steady: LocalCluster, node: str):
    def break_it(_: Run) -> None:
        steady.script(node, Faults(server_serves_nothing=True))

    done = steady.replace(on={"swap started": break_it, "rollback stop started": lambda _: steady.mend()})

    assert done.code == 1, done.err
    assert done.document["result"]["last_stage"] in ("start", "verify")


def test_a_start_that_succeeds_and_runs_the_old_certificate_turns_all_back(
    steady: LocalCluster, tmp_path: Path
):
    """Files are new, cm_ctl says success, processes run anew: only the handshake tells."""
    old = tmp_path / "old"
    shutil.copytree(steady.node("n2").set_directory, old)
    served = steady.node("n2").served_fingerprint()
    steady.script("n2", Faults(server_loads_from=str(old)))

    done = steady.replace("--restart", "node")

    assert done.code == 1, done.err
    result = done.document["result"]
    assert (result["verdict"], result["last_stage"]) == ("rolled back", "verify")
    stale = f"cm_server 2 at {steady.node('n2').address}:{steady.node('n2').port} serves {served[:16]}"
    assert {each["node"] for each in result["failures"] if stale in each["message"]} == set(NODES)
    assert any(stale in line for line in done.err.splitlines() if "waiting:" in line), "named while it waits"
