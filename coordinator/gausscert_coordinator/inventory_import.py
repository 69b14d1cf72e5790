"""From what openGauss knows of a cluster to the text of a gausscert.toml. Pure: bytes in, text out.

Nobody but the operator knows the port of the agents and whose credential is used: these are told, and what
was taken from where stands beside each node.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gausscert_common import identity
from gausscert_common.errors import InvalidInput

from gausscert_coordinator import imported_view, imported_xml, inventory_file
from gausscert_coordinator.imported import Imported, Problems, endpoint, refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gausscert_coordinator.imported import ImportedNode

AGENT_PORT: Final = 7443
LARGEST: Final = 1024 * 1024
"""Bytes of a file that is taken; nine nodes need some ten thousand."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What the operator says, because the file does not, or otherwise."""

    cluster: str = ""
    """"" for the file's own name."""
    port: int = AGENT_PORT
    """Of every agent."""
    back: bool = False
    """Reach agents at the address within the cluster instead of the one for management."""
    operator: str = "operator"
    """Whose credential is used, as in `gausscert pki issue operator NAME`."""
    several: bool = False
    """Below [clusters.NAME], to stand beside others in one file."""


@dataclass(frozen=True, slots=True)
class WrittenNode:
    """One node of the text, and where it comes from."""

    name: str
    address: str
    taken: str
    """For a person: what the address was."""
    unknown: tuple[str, ...]
    """What the source does not tell, and what stands there instead."""


@dataclass(frozen=True, slots=True)
class Written:
    """A gausscert.toml, not yet written anywhere."""

    text: str
    cluster: str
    imported: Imported
    nodes: tuple[WrittenNode, ...]
    """In the order of CM's numbers."""


def make(body: bytes, file: str, choices: Choices) -> Written:
    """The inventory of a cluster_config.xml or of what `cm_ctl view` prints.

    Args:
        body: All of the file.
        file: Its name, for messages.
        choices: What it does not say.

    Raises:
        InvalidInput: CONFIG_INVALID, with a finding for everything that is wrong with it.
    """
    problems = Problems(file)
    found = _read(body, problems)
    cluster = choices.cluster or found.cluster
    if not cluster:
        problems.wrong("the name of the cluster is not told", "say it: --cluster NAME")
    if identity.NAME.fullmatch(choices.operator) is None:
        problems.wrong(
            f"{choices.operator[:80]!r} cannot be an operator's name", "say another: --operator NAME"
        )
    nodes = tuple(_written(node, found, choices) for node in found.nodes)
    text = "".join(_text(cluster or "unknown", found, nodes, choices))
    return Written(_judged(text, cluster, problems), cluster, found, nodes)


def _read(body: bytes, problems: Problems) -> Imported:
    if len(body) > LARGEST:
        problems.wrong(f"it has more than {LARGEST} bytes", "hand in the right file")
        problems.raise_if_any()
    if body.lstrip(b"\xef\xbb\xbf\xfe\xff \t\r\n").startswith((b"<", b"\0<")):
        return imported_xml.read(body, problems)
    if imported_view.HEADER.encode() in body:
        return imported_view.read(body.decode("utf-8", "replace"), problems)
    problems.wrong(
        f"it is neither a {imported_xml.SOURCE} nor what `{imported_view.SOURCE}` prints",
        "hand in the file that the cluster was installed with, or pipe `cm_ctl view` into it",
    )
    raise refusal(problems.file, problems.found)


def _judged(text: str, cluster: str, problems: Problems) -> str:
    """Whoever wrote it, it must be an inventory: that is looked at by who reads it."""
    try:
        inventory_file.parse(text, Path(problems.file), cluster=cluster or "unknown")
    except InvalidInput as error:
        told = bool(problems.found)
        for finding in error.findings:
            if not told or "is no name" in finding.cause:  # what is wrong with addresses is told already
                problems.wrong(finding.cause, finding.remedy)
    problems.raise_if_any()
    return text


def _written(node: ImportedNode, found: Imported, choices: Choices) -> WrittenNode:
    names = ("backIp1", "sshIp1") if found.source == imported_xml.SOURCE else ("cmAgentIP", "sshChannel 1")
    told = {names[0]: node.back, names[1]: node.ssh}
    order = names if choices.back else names[::-1]
    taken = next((name for name in order if told[name]), order[0])
    unknown = [f"the agent's port: {choices.port}"]
    if taken != order[0]:
        unknown.append(f"{order[0]}: {taken} instead")
    if not node.cm_data_path:
        unknown.append("where CM's data lies")
    return WrittenNode(
        node.name, endpoint(told[taken], choices.port), f"{taken} {told[taken]}", tuple(unknown)
    )


def _text(cluster: str, found: Imported, nodes: tuple[WrittenNode, ...], choices: Choices) -> Iterator[str]:
    below = f"clusters.{_key(cluster)}." if choices.several else ""
    yield f"# Made by `gausscert inventory import` from {found.source}.\n"
    yield "# openGauss does not know the port of the agents and your credential: look at these.\n"
    if not choices.several:
        yield f"\n[cluster]\nname = {_quoted(cluster)}\n"
    yield f"\n# Relative to this file; made by `gausscert pki issue operator {choices.operator}`.\n"
    yield f"[{below}credentials]\n"
    folder = f"pki-{cluster}" if choices.several else "pki"
    yield f"ca = {_quoted(f'{folder}/ca.crt')}\n"
    yield f"cert = {_quoted(f'{folder}/operator-{choices.operator}.crt')}\n"
    yield f"key = {_quoted(f'{folder}/operator-{choices.operator}.key')}\n"
    for node, source in zip(nodes, found.nodes, strict=True):
        yield f"\n[[{below}node]]\n"
        yield f"name = {_quoted(node.name)}\n"
        yield f"address = {_quoted(node.address)}\n"
        yield from (f"# {line}\n" for line in _beside(source, found))


def _beside(node: ImportedNode, found: Imported) -> Iterator[str]:
    """What agent.toml of that node will want."""
    if node.server:
        yield _plain(f"cm_server {node.server}")
    if found.cm_home:
        yield _plain(f"agent.toml: home = {_quoted(found.cm_home)}")
    if node.cm_data_path:
        yield _plain(f"agent.toml: data_path = {_quoted(node.cm_data_path)}")


def _plain(text: str) -> str:
    """Nothing of a file of somebody else's begins a line of ours, or steers a terminal."""
    return "".join(each if each.isprintable() else "?" for each in text)


def _quoted(text: str) -> str:
    """A basic string of TOML. JSON writes what lies outside of ASCII as UTF-16, so that is left as it is."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(text: str) -> str:
    return text if re.fullmatch(r"[A-Za-z0-9_-]+", text) else _quoted(text)
