"""`cm_ctl view`: the topology as text (facts section 7)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gausscert_sim.ctl_options import Options
    from gausscert_sim.ctl_output import Output
    from gausscert_sim.settings import NodeRecord, Settings

_VERSION: Final = 1
_DATANODE_ID: Final = 6000
_DATANODE_PORT: Final = 400
"""Above cm_server's port; there is no database, only its line in the texts."""


def run(settings: Settings, options: Options, output: Output) -> int:
    """The command; its exit code."""
    if not output.redirect(options.text("-l")):
        output.say("Execution failed.")
        return 0
    output.report(_lines(settings, options))
    return 0


def datanode_path(node: NodeRecord) -> str:
    """Where the database of a node would be."""
    return str(node.data_path.parent / "dn1")


def _lines(settings: Settings, options: Options) -> Iterator[str]:
    yield "NodeHeader:"
    yield f"version:{_VERSION}"
    yield f"time:{int(time.time())}"
    yield f"nodeCount:{len(settings.nodes)}"
    yield f"node:{settings.node_id}"
    detailed = options.has("-v") or options.has("-n")
    for index, node in enumerate(settings.nodes, start=1):
        # -n selects by place in the list, not by id (cm_ctl.cpp:540).
        if options.has("-n") and index != options.number("-n"):
            continue
        if options.has("-N") and node.id != settings.node_id:
            continue
        yield from _node(settings, node, detailed=detailed)


def _node(settings: Settings, node: NodeRecord, *, detailed: bool) -> Iterator[str]:
    yield "azName:AZ1"
    yield "azPriority:1"
    yield f"node :{node.id}"
    yield f"nodeName:{node.name}"
    yield "ssh channel :"
    yield f"sshChannel 1:{node.address}"
    yield from _server(settings, node, detailed=detailed)
    yield f"cmAgentIP :{node.address}"
    yield from _datanode(node, detailed=detailed)


def _server(settings: Settings, node: NodeRecord, *, detailed: bool) -> Iterator[str]:
    if detailed:
        yield f"cmseverInstanceID :{node.id}"
    yield f"cmDataPath :{node.data_path}"
    yield f"cmServer 1:{node.address}"
    yield f"port :{node.port}"
    yield f"cmServerLocalHAIP 1:{node.address}"
    yield f"cmServerLocalHAPort :{node.ha_port}"
    peers = [peer for peer in settings.nodes if peer.id != node.id]
    for number, peer in enumerate(peers, start=1):
        yield f"cmServerPeerHAIP {number}:{peer.address}"
    yield f"cmServerPeerHAPort :{peers[0].ha_port if peers else 0}"


def _datanode(node: NodeRecord, *, detailed: bool) -> Iterator[str]:
    yield "datanodeCount :1"
    yield "datanode 1:"
    if detailed:
        yield f"datanodeInstanceID :{_DATANODE_ID + node.id}"
    yield f"datanodeLocalDataPath :{datanode_path(node)}"
    yield "datanodeXlogPath :"
    yield f"datanodeListenIP 1:{node.address}"
    yield f"datanodePort :{node.port + _DATANODE_PORT}"
