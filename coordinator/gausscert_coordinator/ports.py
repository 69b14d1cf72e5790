"""What the coordinator needs from an agent. `agents` has the real one over gRPC; tests have a fake."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol

from gausscert_common.auditing import Head
from gausscert_common.model import (
    Certificate,
    CertificateSet,
    ExpiryReport,
    JudgedSet,
    NodeReport,
    PreparedSet,
    ProbeReport,
    WatchEvent,
)
from gausscert_common.protocol.commands import Command
from gausscert_common.protocol.words import RestartScope, SslWish
from gausscert_common.source import Source


@dataclass(frozen=True, slots=True)
class Preparation:
    """What Prepare carries beside the command."""

    participants: tuple[str, ...]
    expected_live_digest: str
    source: Source
    ssl_wish: SslWish
    restart: RestartScope
    drop_crls: bool = False
    """With a bundle: the new set has only its CRLs; else those of the live set are carried over.
    With a generation: the new set has none; else it has those of the generation."""
    excluded: tuple[str, ...] = ()
    joins: str = ""


@dataclass(frozen=True, slots=True)
class RestartOrders:
    """What Stop and Start carry beside the command."""

    scope: RestartScope
    executor: bool
    """With scope CLUSTER: the one node that runs cm_ctl."""
    timeout_s: float


class AgentClient(Protocol):
    """One agent. Every method raises a `GausscertError` whose `node` is set, after the retries of
    `policy`; Unreachable means that nobody knows whether a command was carried out."""

    @property
    def name(self) -> str:
        """The node's name in the inventory."""

    @property
    def audit_head(self) -> Head | None:
        """The newest line of the node's audit log that an answer has carried; None before there was one."""

    async def get_node(self, *, preflight: bool = False) -> NodeReport: ...
    async def judge(self, source: Source, *, drop_crls: bool) -> JudgedSet: ...
    async def get_expiry(self) -> ExpiryReport: ...
    async def probe(self, *, query: bool, timeout_s: float) -> ProbeReport: ...
    async def acquire(
        self,
        command: Command,
        *,
        holder: str,
        lease_s: float,
        take_over: bool,
        excluded: tuple[str, ...] = (),
    ) -> NodeReport: ...
    async def prepare(self, command: Command, preparation: Preparation) -> PreparedSet: ...
    async def stop(self, command: Command, orders: RestartOrders) -> None: ...
    async def swap(self, command: Command) -> CertificateSet: ...
    async def start(self, command: Command, orders: RestartOrders) -> None: ...
    async def commit(self, command: Command) -> None: ...
    async def purge(self, command: Command) -> None: ...
    async def abort(self, command: Command) -> CertificateSet: ...
    async def clean(self, command: Command) -> None: ...
    def watch(self) -> AsyncIterator[WatchEvent]: ...
    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Asked:
    """What an agent answers to the first half of a renewal."""

    request: bytes
    """PKCS #10, PEM."""
    certificate: bytes
    """The one that it has now, PEM."""


class ControlPlaneClient(Protocol):
    """What is asked of an agent about itself, apart from sets and CM. Errors as of `AgentClient`."""

    @property
    def name(self) -> str:
        """The node's name in the inventory."""

    async def begin_renewal(self, request_id: str) -> Asked: ...
    async def finish_renewal(self, request_id: str, certificate: bytes) -> Certificate: ...
    async def extend_deny_list(self, entries: bytes) -> tuple[int, int]: ...
    async def read_audit(self, after: int) -> tuple[list[str], int]: ...
    async def get_expiry(self) -> ExpiryReport: ...
    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class RetryNotice:
    """A call is about to be repeated."""

    node: str
    rpc: str
    attempt: int
    cause: str
    wait_s: float


OnRetry = Callable[[RetryNotice], None]
