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
class InventoryNode:
    """One agent."""

    name: str
    address: str
    """"host:port"."""


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
