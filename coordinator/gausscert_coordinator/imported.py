"""What openGauss's own files and commands say of a cluster, as values, and everything wrong with it. Pure."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gausscert_common.errors import InvalidInput, Reason
from gausscert_common.findings import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class ImportedNode:
    """One node. What is not told is ""."""

    name: str
    back: str = ""
    """Address in the network of the cluster: backIp1, cmAgentIP."""
    ssh: str = ""
    """Address for whoever manages it: sshIp1, sshChannel 1."""
    server: str = ""
    """ "host:port" of its cm_server."""
    cm_data_path: str = ""
    """cmDir, cmDataPath."""


@dataclass(frozen=True, slots=True)
class Imported:
    """One cluster."""

    source: str
    """For a person: what it was taken from."""
    cluster: str
    """"" where the source does not tell."""
    nodes: tuple[ImportedNode, ...]
    cm_home: str = ""
    """gaussdbAppPath, which GAUSSHOME leads to."""
    warnings: tuple[str, ...] = ()


@dataclass(slots=True)
class Problems:
    """Collects what is wrong with a file instead of stopping at the first."""

    file: str
    found: list[Finding] = field(default_factory=list)

    def wrong(self, cause: str, remedy: str, node: str = "") -> None:
        """One thing is."""
        self.found.append(Finding("CONFIG_INVALID", Severity.ERROR, cause, remedy, node, self.file))

    def raise_if_any(self) -> None:
        """Raise an InvalidInput, CONFIG_INVALID, with all of them."""
        if self.found:
            raise refusal(self.file, self.found)


def refusal(file: str, found: Sequence[Finding]) -> InvalidInput:
    """All that is wrong with a file as one error."""
    causes = "; ".join(finding.cause for finding in found)
    remedy = "; ".join(dict.fromkeys(finding.remedy for finding in found))
    return InvalidInput(Reason.CONFIG_INVALID, causes, file=file, remedy=remedy, findings=found)


def is_address(text: str) -> bool:
    """Whether it is an IPv4 or IPv6 address; OM takes nothing else (DbClusterInfo.compress_ips).

    Python takes anything for the zone of an IPv6 address; an interface's name has no controls and quotes."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return re.fullmatch(r"[0-9A-Za-z.:]+(%[0-9A-Za-z._-]+)?", text) is not None


def as_number(text: str) -> int:
    """A port or a count; 0 for what is none."""
    return int(text) if re.fullmatch(r"[0-9]{1,5}", text) else 0


def endpoint(host: str, port: int) -> str:
    """ "host:port", IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def judge_nodes(problems: Problems, nodes: Sequence[ImportedNode], names: tuple[str, str]) -> None:
    """What must hold of nodes wherever they come from.

    Args:
        problems: Is told.
        nodes: All of them.
        names: What the source calls the address in the cluster and the one for management.
    """
    for what, key in (("back", names[0]), ("ssh", names[1])):
        seen: dict[str, str] = {}
        for node in nodes:
            address = getattr(node, what)
            if address and not is_address(address):
                problems.wrong(
                    f"{node.name}: {key} {address!r} is no IP address", f"correct {key}", node.name
                )
            if address and address in seen:
                cause = f"{node.name}: {key} {address} is that of {seen[address]}, too"
                problems.wrong(cause, f"give each node its own {key}", node.name)
            seen.setdefault(address, node.name)
    for node in nodes:
        if not (node.back or node.ssh):
            problems.wrong(f"{node.name}: neither {names[0]} nor {names[1]}", f"add {names[0]}", node.name)
