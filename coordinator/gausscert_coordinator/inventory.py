"""The cluster as the operator wrote it down, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gausscert_common.findings import Finding


@dataclass(frozen=True, slots=True)
class Credentials:
    """Files of the caller's control-plane identity."""

    ca: Path
    cert: Path
    key: Path


@dataclass(frozen=True, slots=True)
class SshAccess:
    """How `gausscert agents` reaches a node; what is empty is left to ssh and its configuration."""

    user: str = ""
    host: str = ""
    """As in `address` when empty."""
    port: int = 0
    options: tuple[str, ...] = ()
    """"Key=value", as after `ssh -o`."""
    python: str = ""
    """A Python 3.11 or newer there; looked for when empty."""
    sudo: bool = False
    """Whether who logs in works there as root, by `sudo -n`."""


@dataclass(frozen=True, slots=True)
class AgentInstall:
    """What `gausscert agents` makes of an agent."""

    user: str = ""
    """The cluster's OS user; the owner of the certificates when empty."""
    directory: str = ""
    """All of the agent in one place; the usual places when empty."""
    settings: Path | None = None
    """What agent.toml says beside names and places; agent.toml beside the inventory when None."""
    listen: str = ""
    """"host:port"; all addresses and the port of `address` when empty."""


@dataclass(frozen=True, slots=True)
class InventoryNode:
    """One agent."""

    name: str
    address: str
    """"host:port"."""
    ssh: SshAccess = SshAccess()
    install: AgentInstall = AgentInstall()


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long things may take, in seconds."""

    connect_s: float = 10.0
    """First call to a node; handshakes are served unfairly under load (reference: measured)."""
    call_s: float = 30.0
    """Any quick call."""
    prepare_s: float = 120.0
    stop_s: float = 300.0
    start_s: float = 300.0
    verify_s: float = 60.0
    """How long the cluster gets to serve the certificate and reach its former state after Start."""
    retry_s: float = 120.0
    """Total budget for repeating a call that met UNAVAILABLE."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """A cluster, its agents, and the credentials to reach them."""

    cluster: str
    nodes: tuple[InventoryNode, ...]
    """Sorted by name."""
    credentials: Credentials
    timeouts: Timeouts = Timeouts()
    history: Path | None = None
    """File of the history; None: with the state of whoever runs gausscert (`history_file.place`)."""
    findings: tuple[Finding, ...] = ()
    """Warnings about the file it was read from."""
