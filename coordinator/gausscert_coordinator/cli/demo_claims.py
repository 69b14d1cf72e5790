"""What the demo claims, each with its check: files by content and mode, and what a handshake shows."""

from __future__ import annotations

import hashlib
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from gausscert_common import certset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path


class SimulatedNode(Protocol):
    """What the demo uses of `gausscert_sim.node.SimulatedNode`."""

    @property
    def name(self) -> str:
        """As in the inventory."""

    @property
    def address(self) -> str:
        """Where its cm_server listens."""

    @property
    def home(self) -> Path:
        """GAUSSHOME."""

    @property
    def data_path(self) -> Path:
        """cmDataPath."""

    @property
    def log_path(self) -> Path:
        """GAUSSLOG."""

    @property
    def set_directory(self) -> Path:
        """Of the live set."""

    def environment(self) -> dict[str, str]:
        """In which its programs work."""

    def install(self, files: Mapping[str, bytes]) -> None:
        """Replace the live set."""

    def served_fingerprint(self) -> str:
        """SHA-256 of what its cm_server shows, or ""."""


class SimulatedCluster(Protocol):
    """What the demo uses of `gausscert_sim.cluster.SimulatedCluster`."""

    @property
    def nodes(self) -> tuple[SimulatedNode, ...]:
        """In their order."""

    def start(self, timeout_s: float = ...) -> None:
        """Until the cluster is Normal."""

    def destroy(self) -> None:
        """Kill every process."""


@dataclass(frozen=True, slots=True)
class OnDisk:
    """One file of a live set."""

    mode: int
    sha256: str


Disks = dict[str, dict[str, OnDisk]]
"""By node, by file."""

Served = dict[str, str]
"""By node: SHA-256 of the certificate in a handshake; "" without one."""


def disks(nodes: Iterable[SimulatedNode]) -> Disks:
    """Every live set, byte for byte and mode for mode."""
    return {node.name: _disk(node.set_directory) for node in nodes}


def _disk(directory: Path) -> dict[str, OnDisk]:
    return {
        path.name: OnDisk(stat.S_IMODE(path.stat().st_mode), hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(directory.iterdir())
        if path.is_file()
    }


def served(nodes: Iterable[SimulatedNode]) -> Served:
    """What every cm_server shows in a handshake now."""
    return {node.name: node.served_fingerprint() for node in nodes}


def holds_bundle(disk: Mapping[str, OnDisk], bundle: Path) -> bool:
    """Whether a live set has all nine files, 0400, and the bundle's PEM files to the byte."""
    names = set(certset.NAMES) <= disk.keys()
    modes = all(disk[name].mode == certset.FILE_MODE for name in certset.NAMES if name in disk)
    same = all(
        name in disk and disk[name].sha256 == hashlib.sha256((bundle / name).read_bytes()).hexdigest()
        for name in certset.PEM_NAMES
    )
    return names and modes and same


@dataclass(frozen=True, slots=True)
class Claim:
    """One thing that was said, and whether it held."""

    text: str
    holds: bool
    detail: str = ""


class NotSo(Exception):
    """A claim did not hold."""


@dataclass(slots=True)
class Claims:
    """All of them; each is told the moment it is checked."""

    tell: Callable[[Claim], None]
    made: list[Claim] = field(default_factory=list)

    def check(self, text: str, holds: bool, detail: str = "") -> None:
        """Claim something that has just been checked.

        Args:
            text: What is claimed.
            holds: Whether it is so.
            detail: What was found instead.

        Raises:
            NotSo: It does not hold, so nothing that follows would mean anything.
        """
        claim = Claim(text, holds, "" if holds else detail)
        self.made.append(claim)
        self.tell(claim)
        if not holds:
            raise NotSo(text)

    @property
    def all_hold(self) -> bool:
        """Whether there were any, and no one failed."""
        return bool(self.made) and all(claim.holds for claim in self.made)
