"""OM's cluster_config.xml, read as OM reads it (openGauss-OM, DbClusterInfo.py and cluster_config_file.py).

Only what is wanted is kept: such a file may hold a password. No document type is ever accepted, and with it
no entity, internal or external; OM refuses them, too, but by looking for words in lines.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from xml.parsers import expat

from gausscert_coordinator.imported import Imported, ImportedNode, Problems, as_number, endpoint, judge_nodes

if TYPE_CHECKING:
    from collections.abc import Mapping

SOURCE: Final = "cluster_config.xml"
DEEPEST: Final = 8
"""Elements within elements; the file has four."""
CM_SERVER_PORT: Final = 5000
"""Where cmServerPortBase is not set (openGauss installation guide)."""

_OF_CLUSTER: Final = ("clusterName", "nodeNames", "gaussdbAppPath")
_OF_DEVICE: Final = (
    "name",
    "backIp1",
    "sshIp1",
    "cmDir",
    "cmsNum",
    "cmServerPortBase",
    "cmServerListenIp1",
    "cmServerRelation",
)
_MEND: Final = "take the file that the cluster was installed with (gs_om, -X)"


class _Forbidden(Exception):
    """The document has what it must not have."""


@dataclass(slots=True)
class _Params:
    """The PARAMs of one element that are wanted."""

    line: int
    values: dict[str, str] = field(default_factory=dict)

    def get(self, name: str) -> str:
        return self.values.get(name, "").strip()

    def listed(self, name: str) -> list[str]:
        return [each.strip() for each in self.get(name).split(",") if each.strip()]


@dataclass(slots=True)
class _Tree:
    """What expat tells, kept as far as it is wanted."""

    problems: Problems
    clusters: list[_Params] = field(default_factory=list)
    devices: list[_Params] = field(default_factory=list)
    path: list[str] = field(default_factory=list)
    line: int = 0

    def begin(self, name: str, attributes: dict[str, str]) -> None:
        self.path.append(name)
        if len(self.path) > DEEPEST:
            raise _Forbidden(f"more than {DEEPEST} elements within each other")
        place = self.path[1:]
        if place == ["CLUSTER"]:
            self.clusters.append(_Params(self.line))
        elif place == ["DEVICELIST", "DEVICE"]:
            self.devices.append(_Params(self.line))
        elif place == ["CLUSTER", "PARAM"]:
            self._take(self.clusters[-1], attributes, _OF_CLUSTER)
        elif place == ["DEVICELIST", "DEVICE", "PARAM"]:
            self._take(self.devices[-1], attributes, _OF_DEVICE)

    def end(self, _: str) -> None:
        self.path.pop()

    def _take(self, into: _Params, attributes: Mapping[str, str], wanted: tuple[str, ...]) -> None:
        name, value = attributes.get("name"), attributes.get("value")
        if name is None or value is None:
            self.problems.wrong(
                f"line {self.line}: a PARAM without name or value", 'write <PARAM name="..." value="..."/>'
            )
        elif name in wanted and into.values.setdefault(name, value) != value:
            self.problems.wrong(f"line {self.line}: {name} is there twice", "leave one of them")


def read(body: bytes, problems: Problems) -> Imported:
    """The cluster of a file.

    Args:
        body: All of it.
        problems: Is told everything that is wrong.

    Raises:
        InvalidInput: CONFIG_INVALID; it is no XML, or has a document type.
    """
    tree = _parsed(body, problems)
    for what, found in (("CLUSTER", tree.clusters), ("DEVICELIST/DEVICE", tree.devices)):
        if not found:
            problems.wrong(f"no {what} in it", _MEND)
    cluster = tree.clusters[0] if tree.clusters else _Params(0)
    devices = _by_name(problems, tree.devices)
    names = _names(problems, cluster, devices)
    servers = _servers(tree.devices)
    nodes = tuple(_node(name, devices.get(name), servers) for name in names if name in devices)
    judge_nodes(problems, nodes, ("backIp1", "sshIp1"))
    return Imported(
        source=SOURCE,
        cluster=cluster.get("clusterName"),
        nodes=nodes,
        cm_home=cluster.get("gaussdbAppPath"),
        warnings=_warnings(nodes),
    )


def _parsed(body: bytes, problems: Problems) -> _Tree:
    tree = _Tree(problems)
    parser = expat.ParserCreate()

    def begin(name: str, attributes: dict[str, str]) -> None:
        tree.line = parser.CurrentLineNumber
        tree.begin(name, attributes)

    def refuse(*_: object) -> None:
        raise _Forbidden("a DOCTYPE, and with it perhaps entities, which no cluster_config.xml has")

    # An entity can only be declared in a document type, so nothing is ever expanded or fetched.
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = begin
    parser.EndElementHandler = tree.end
    try:
        parser.Parse(body, True)
    except _Forbidden as forbidden:
        problems.wrong(f"line {parser.CurrentLineNumber}: {forbidden}", _MEND)
        problems.raise_if_any()
    except (LookupError, ValueError):  # Python is asked for encodings that expat does not know itself
        problems.wrong("it says that it is in an encoding that is not known here", "save it as UTF-8")
        problems.raise_if_any()
    except expat.ExpatError as error:
        cause = f"not XML: line {error.lineno}: {expat.ErrorString(error.code)}"
        problems.wrong(cause, "mend the syntax, or hand in what `cm_ctl view` prints")
        problems.raise_if_any()
    return tree


def _by_name(problems: Problems, devices: list[_Params]) -> dict[str, _Params]:
    found: dict[str, _Params] = {}
    for device in devices:
        name = device.get("name")
        if not name:
            problems.wrong(
                f"line {device.line}: a DEVICE without name", 'add <PARAM name="name" value="..."/>'
            )
        elif name in found:
            problems.wrong(f"line {device.line}: DEVICE {name} is there twice", "leave one of them", name)
        else:
            found[name] = device
    return found


def _names(problems: Problems, cluster: _Params, devices: Mapping[str, _Params]) -> tuple[str, ...]:
    """In the order of nodeNames, which is that of CM's numbers."""
    listed = cluster.listed("nodeNames")
    known = frozenset(listed)
    if not listed:
        problems.wrong("no nodeNames in CLUSTER", "add the host names of all nodes")
    for name in sorted(name for name, count in Counter(listed).items() if count > 1):
        problems.wrong(f"nodeNames has {name} more than once", "leave one of them", name)
    for name in dict.fromkeys(listed):
        if name not in devices:
            problems.wrong(f"nodeNames has {name}, but there is no such DEVICE", f"add a DEVICE {name}", name)
    for name in devices if listed else ():
        if name not in known:
            problems.wrong(f"DEVICE {name} is not in nodeNames", f"add {name} to nodeNames", name)
    return tuple(dict.fromkeys(listed))


def _servers(devices: list[_Params]) -> dict[str, str]:
    """Where each cm_server listens, by node: the one DEVICE with cmsNum says it for all of them."""
    found: dict[str, str] = {}
    for device in devices:
        if device.get("cmsNum") not in ("", "0"):
            port = as_number(device.get("cmServerPortBase") or str(CM_SERVER_PORT))
            nodes, addresses = device.listed("cmServerRelation"), device.listed("cmServerListenIp1")
            if port:
                found |= {name: endpoint(host, port) for name, host in zip(nodes, addresses, strict=False)}
    return found


def _node(name: str, device: _Params | None, servers: Mapping[str, str]) -> ImportedNode:
    params = device or _Params(0)
    return ImportedNode(
        name=name,
        back=params.get("backIp1"),
        ssh=params.get("sshIp1"),
        server=servers.get(name, ""),
        cm_data_path=params.get("cmDir"),
    )


def _warnings(nodes: tuple[ImportedNode, ...]) -> tuple[str, ...]:
    without = [node.name for node in nodes if not node.cm_data_path]
    if not without:
        return ()
    if len(without) == len(nodes):
        return (
            "no node has cmDir: CM is not installed with this file, and gausscert is for clusters with CM",
        )
    return (f"no cmDir for {', '.join(without)}: OM installs CM on all nodes or on none",)
