from __future__ import annotations

import pytest
from gausscert_agent.drivers import cm_texts
from gausscert_agent.drivers.cm_texts import Said
from gausscert_common.model import CmNode

VIEW = """NodeHeader:
version:301
time:1763900000
nodeCount:3
node:2
azName:AZ1
azPriority:1
node :1
nodeName:db1
ssh channel :
sshChannel 1:10.0.0.1
cmDataPath :/data/cm
cmServer 1:10.0.0.1
cmServer 2:10.9.0.1
port :5000
cmServerLocalHAIP 1:10.0.0.1
cmServerLocalHAPort :5001
cmServerPeerHAIP 1:10.0.0.2
cmServerPeerHAPort :5001
cmAgentIP :10.0.0.1
datanodeCount :1
datanode 1:
datanodeLocalDataPath :/data/dn
datanodeListenIP 1:10.0.0.1
datanodePort :26000
dn_replication_num: 3
azName:AZ1
azPriority:1
node :2
nodeName:db2
ssh channel :
sshChannel 1:10.0.0.2
cmDataPath :/data/cm
cmServer 1:10.0.0.2
port :5000
cmAgentIP :10.0.0.2
node :7
nodeName:db7
cmAgentIP 1:10.0.0.7
datanodePort :26000
"""

QUERY = """[  CMServer State   ]

node    instance state
-----------------------------------
1  db1 1        Primary
2  db2 2        Standby

[   Cluster State   ]

cluster_state   : Normal
redistributing  : No
balanced        : Yes
current_az      : AZ_ALL

[  Datanode State   ]

node    instance state            | node    instance state
----------------------------------------------------------------
1  db1 6001     P Primary Normal | 2  db2 6002     S Standby Normal
3  db3 6003 x   S Standby
"""


def test_view_tells_the_local_node_and_all_nodes():
    view = cm_texts.view(VIEW)
    assert view.topology.local_node_id == 2
    assert view.topology.nodes == (
        CmNode(1, "db1", "10.0.0.1", 5000, "10.0.0.1"),
        CmNode(2, "db2", "10.0.0.2", 5000, "10.0.0.2"),
        CmNode(7, "db7", "", 0, "10.0.0.7"),
    )
    assert view.data_paths == {1: "/data/cm", 2: "/data/cm"}


def test_view_needs_no_availability_zones_and_bears_blanks():
    text = "\n".join(f"  {line}  " for line in VIEW.splitlines() if not line.startswith("az"))
    assert cm_texts.view(text) == cm_texts.view(VIEW)


@pytest.mark.parametrize("text", ["", "cm_ctl: can't open cluster_static_config", "NodeHeader:\nnode:1\n"])
def test_view_of_something_else_has_no_nodes(text):
    assert cm_texts.view(text).topology.nodes == ()


def test_query_tells_the_state_and_the_roles_of_cm_servers_only():
    state = cm_texts.cluster_state(QUERY)
    assert state.cluster_state == "Normal"
    assert state.server_roles == {1: "Primary", 2: "Standby"}
    assert state.cause == ""


def test_query_with_an_address_column_is_read_as_well():
    text = QUERY.replace("1  db1 1        Primary", "1  db1 10.0.0.1 1  /data/cm/cm_server Primary")
    text = text.replace("2  db2 2        Standby", "2  db2 2 10.0.0.2 Down")
    assert cm_texts.cluster_state(text).server_roles == {1: "Primary", 2: "Down"}


def test_a_refused_query_tells_why():
    text = "cm_ctl: can't connect to cm_server.\nMaybe cm_server is not running, or timeout expired.\n"
    state = cm_texts.cluster_state(text)
    assert state.cluster_state == ""
    assert state.cause.startswith("cm_ctl: can't connect to cm_server. | Maybe")


def test_a_silent_query_tells_that():
    assert cm_texts.cluster_state("\n").cause == "cm_ctl query said nothing"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "cm_ctl: stop cluster. \n.......\ncm_ctl: stop cluster successfully.\n",
            Said.SUCCESS,
        ),
        ("....cm_ctl: stop node successfully.", Said.SUCCESS),
        ("cm_ctl: start cluster successfully.", Said.SUCCESS),
        ("cm_ctl: start node successfully.\nThere is a coordinator that has been deleted.", Said.SUCCESS),
        ("cm_ctl: stop cluster partly successfully.", Said.PARTLY),
        (
            "cm_ctl: stop cluster failed in (30)s!\n\nHINT: Maybe the cluster is ...",
            Said.FAILED,
        ),
        ("cm_ctl: stop node failed in (30)s!", Said.FAILED),
        ("cm_ctl: start cluster failed in (600)s!\nHINT: ...", Said.FAILED),
        ("cm_ctl: start node failed in (30)s!", Said.FAILED),
        ("cm_ctl: start cluster failed!", Said.FAILED),
        ("cm_ctl can't establish an SSL connection, please check certificate file", Said.FAILED),
        ("cm_ctl: start node successfully.\ncm_ctl: start cluster failed in (9)s!", Said.FAILED),
        ("cm_ctl: checking cluster status.\n.....", Said.UNKNOWN),
        ("", Said.UNKNOWN),
    ],
)
def test_what_stop_and_start_say(text, said):
    assert cm_texts.verdict(text) is said
