"""What `cm_ctl view` prints, read (CM, cm_ctl.cpp:470-619). Lines are searched for, never counted: a prefix,
dots or messages may stand before them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from gausscert_coordinator.imported import Imported, ImportedNode, Problems, as_number, endpoint, judge_nodes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SOURCE: Final = "cm_ctl view"
HEADER: Final = "NodeHeader:"
_KEY: Final = re.compile(r"([A-Za-z_][A-Za-z_ ]*)\d*")
_MEND: Final = "hand in all that `cm_ctl view` prints, without -N and -n"


def read(text: str, problems: Problems) -> Imported:
    """The cluster of a text; it does not tell its name.

    Args:
        text: All that was printed.
        problems: Is told everything that is wrong.
    """
    count, blocks = _blocks(text)
    if count != len(blocks):
        problems.wrong(f"the header says {count} nodes, and {len(blocks)} are in it", _MEND)
    nodes = tuple(_node(block) for block in blocks)
    seen: set[str] = set()
    for number, node in enumerate(nodes, start=1):
        if not node.name:
            problems.wrong(f"block {number}, node {blocks[number - 1]['node']}, has no nodeName", _MEND)
        elif node.name in seen:
            problems.wrong(f"{node.name} is there twice", _MEND, node.name)
        seen.add(node.name)
    judge_nodes(problems, nodes, ("cmAgentIP", "sshChannel 1"))
    return Imported(source=SOURCE, cluster="", nodes=nodes)


def _blocks(text: str) -> tuple[int, list[dict[str, str]]]:
    """The number of nodes in the header, and what is said of each. The header's `node` is the local one;
    every later `node` begins a block."""
    count, header, blocks = 0, True, list[dict[str, str]]()
    for key, value in _lines(text):
        if key == "nodeCount" and not blocks:
            count = as_number(value)
        elif key == "node" and header:
            header = False
        elif key == "node":
            blocks.append({"node": value})
        elif blocks:
            # The first of several addresses counts, and nothing of a later section overwrites it.
            blocks[-1].setdefault(key, value)
    return count, blocks


def _lines(text: str) -> Iterator[tuple[str, str]]:
    _, _, after = text.partition(HEADER)
    for line in after.splitlines():
        key, colon, value = line.partition(":")
        found = _KEY.fullmatch(key.strip())
        if colon and found is not None:
            yield found[1].strip(), value.strip()


def _node(block: Mapping[str, str]) -> ImportedNode:
    server, port = block.get("cmServer", ""), as_number(block.get("port", ""))
    return ImportedNode(
        name=block.get("nodeName", ""),
        back=block.get("cmAgentIP", ""),
        ssh=block.get("sshChannel", ""),
        server=endpoint(server, port) if server and port else "",
        cm_data_path=block.get("cmDataPath", ""),
    )
