"""A node that does not stop or swap: all are as before, byte for byte, and serve it."""

from __future__ import annotations

import pytest
from gausscert_sim.faults import Faults, SetFault, StopFault
from support.local_cluster import EACH_NODE, LocalCluster, on_each_node

pytestmark = pytest.mark.xdist_group("replace-stop")

TIMEOUTS = {"stop_s": 12.0}
"""A node that does not stop is waited for as long as that; one that does needs a second or two."""


@pytest.mark.parametrize(("fault", "node"), on_each_node(StopFault.FAIL, StopFault.LIE))
def test_a_node_that_does_not_stop_turns_all_back(steady: LocalCluster, node: str, fault: StopFault):
    steady.script(node, Faults(stop=fault))

    done = steady.replace("--restart", "node")

    assert done.code == 1, done.err
    result = done.document["result"]
    assert (result["verdict"], result["last_stage"]) == ("rolled back", "stop")
    assert node in {failure["node"] for failure in result["failures"]}


def test_a_cluster_that_stops_only_partly_turns_back(steady: LocalCluster):
    steady.script("n1", Faults(stop=StopFault.PARTLY))

    done = steady.replace()

    assert done.code == 1, done.err
    assert done.document["result"]["last_stage"] == "stop"


@pytest.mark.parametrize("node", EACH_NODE)
def test_a_cm_server_that_survives_the_stop_is_seen_in_the_process_list(steady: LocalCluster, node: str):
    steady.script(node, Faults(server_survives_stop=True))

    done = steady.replace("--restart", "node", on={"rollback start started": lambda _: steady.mend()})

    assert done.code == 1, done.err
    assert done.document["result"]["last_stage"] == "stop"
    assert node in {failure["node"] for failure in done.document["result"]["failures"]}


def test_a_switch_of_ssl_alone_that_one_node_cannot_set_is_turned_back_to_the_byte(steady: LocalCluster):
    steady.script("n2", Faults(set_conf=SetFault.LIE))

    done = steady.run(
        "ssl",
        "off",
        "--yes",
        "--output",
        "json",
        on={"rollback stop started": lambda _: steady.mend()},
    )

    assert done.code == 1, done.err
    result = done.document["result"]
    assert (result["verdict"], result["last_stage"]) == ("rolled back", "swap")
    assert [failure["node"] for failure in result["failures"]] == ["n2"]


@pytest.mark.parametrize(("fault", "node"), on_each_node(SetFault.FAIL, SetFault.LIE))
def test_a_switch_that_cannot_be_set_turns_the_swap_back(steady: LocalCluster, node: str, fault: SetFault):
    steady.script(node, Faults(set_conf=fault))

    done = steady.replace("--enable-ssl", "off", on={"rollback stop started": lambda _: steady.mend()})

    assert done.code == 1, done.err
    result = done.document["result"]
    assert (result["verdict"], result["last_stage"]) == ("rolled back", "swap")
    assert [failure["node"] for failure in result["failures"]] == [node]
