"""What cm_ctl says, read: pure functions from text to values.

Exit codes are not used here, because they say nothing (facts sections 8 and 13). Texts are searched
for, never anchored: progress dots and a prefix may stand before any message (facts section 13).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from gausscert_common.model import ClusterState, CmNode, CmTopology

if TYPE_CHECKING:
    from collections.abc import Mapping


class Said(StrEnum):
    """What a text of `cm_ctl stop` or `start` amounts to."""

    SUCCESS = "success"
    PARTLY = "partly"
    """Some node did not answer; cm_ctl exits 0 all the same (ctl_stop.cpp:605-626)."""
    FAILED = "failed"
    UNKNOWN = "unknown"
    """None of the known texts, for example nothing at all after more than five refused
    handshakes (ctl_common.cpp:396-406)."""


_VERDICTS: Final[tuple[tuple[str, Said], ...]] = (
    # In this order: the worst that was said counts.
    (r"partly successfully", Said.PARTLY),
    (r"(?:stop|start) (?:cluster|node|availability zone|instance) failed", Said.FAILED),
    (r"can't establish an SSL connection", Said.FAILED),
    (r"(?:stop|start) (?:cluster|node) successfully", Said.SUCCESS),
)

_CMSERVER_ROW: Final = re.compile(
    r"^\s*(\d+)\s+\S+\s.*?\b(Primary|Standby|Down|Init|UNKNOWN)\s*$", re.IGNORECASE
)
"""Between the name and the role stand an id, and an address or a path where options ask for them."""
_CLUSTER_STATE: Final = re.compile(r"cluster_state\s*:\s*(\w+)")
_VIEW_LINE: Final = re.compile(r"^\s*([A-Za-z_][A-Za-z_ ]*?)\s*(\d*)\s*:\s*(.*?)\s*$")


@dataclass(frozen=True, slots=True)
class CmView:
    """`cm_ctl view`, read."""

    topology: CmTopology = CmTopology()
    data_paths: Mapping[int, str] = field(default_factory=dict)
    """cmDataPath by CM node id; printed for nodes with a cm_server only (cm_ctl.cpp, RecordCmsInfo)."""


def verdict(text: str) -> Said:
    """What a text of `cm_ctl stop` or `start` amounts to."""
    for pattern, said in _VERDICTS:
        if re.search(pattern, text):
            return said
    return Said.UNKNOWN


def cluster_state(text: str) -> ClusterState:
    """`cm_ctl query -Cv`. `cause` is set when there is no cluster_state in it."""
    found = _CLUSTER_STATE.search(text)
    return ClusterState(
        cluster_state=found[1] if found else "",
        server_roles=_server_roles(text),
        cause="" if found else _last_words(text),
    )


def view(text: str) -> CmView:
    """`cm_ctl view`. The header's `node` is the local one; every later `node` begins a node's block."""
    local, blocks = 0, []
    for key, value in _view_lines(text):
        if key == "node" and not local:
            local = _number(value)
        elif key == "node":
            blocks.append({"node": value})
        elif blocks:
            # The first of several addresses counts, and nothing of a later section overwrites it.
            blocks[-1].setdefault(key, value)
    nodes = tuple(_node(block) for block in blocks)
    paths = {_number(block["node"]): block["cmDataPath"] for block in blocks if block.get("cmDataPath")}
    return CmView(CmTopology(local, nodes), paths)


def _node(block: Mapping[str, str]) -> CmNode:
    address = block.get("cmServer", "")
    return CmNode(
        id=_number(block["node"]),
        name=block.get("nodeName", ""),
        server_address=address,
        server_port=_number(block.get("port", "")) if address else 0,
        agent_address=block.get("cmAgentIP", ""),
    )


def _view_lines(text: str) -> list[tuple[str, str]]:
    lines = (_VIEW_LINE.match(line) for line in text.splitlines())
    return [(found[1].strip(), found[3]) for found in lines if found]


def _server_roles(text: str) -> dict[int, str]:
    """Rows of the section [ CMServer State ]; those of [ Datanode State ] look much the same."""
    roles: dict[int, str] = {}
    inside = False
    for line in text.splitlines():
        if "[" in line:
            inside = "CMServer State" in line
        row = _CMSERVER_ROW.match(line) if inside else None
        if row is not None:
            roles[int(row[1])] = row[2]
    return roles


def _last_words(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(lines[-3:])[-400:] or "cm_ctl query said nothing"


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0
