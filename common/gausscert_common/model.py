"""What nodes report, as values. The wire has messages of the same names; `wire` turns one into the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from gausscert_common.findings import Finding
from gausscert_common.protocol.words import (
    Fence,
    LiveState,
    Phase,
    RestartScope,
    SslWish,
    Tombstone,
)


class CertificateKind(StrEnum):
    """What a certificate is for."""

    SERVER = "server"
    CLIENT = "client"
    CA = "ca"
    CRL = "crl"
    EXTRA = "extra"
    """A further certificate in a .crt file, which CM ignores (cs_ssl.cpp:1117-1152)."""
    CREDENTIAL = "credential"
    """An agent's own, which has nothing to do with the set."""
    CREDENTIAL_CA = "credential ca"
    """A CA of the control plane that an agent trusts."""


class SetState(StrEnum):
    """Whether a directory holds a set."""

    ABSENT = "absent"
    WHOLE = "whole"
    INCOMPLETE = "incomplete"


class ServedState(StrEnum):
    """Result of a probe of one cm_server."""

    SSL_ON = "ssl on"
    SSL_OFF = "ssl off"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"


class SslValue(StrEnum):
    """`enable_ssl` in one configuration file."""

    ON = "on"
    OFF = "off"
    MISSING = "missing"
    COMMENTED = "commented"
    """Only a commented line exists: `cm_ctl set` would edit the comment and report success."""
    ABSENT = "absent"
    """There is no such file on this node."""


class FactorBuild(StrEnum):
    """The layout of .cipher and .rand files (facts section 3.5)."""

    RELEASED = "released"
    """ENABLE_LIBPQ on: 56 and 24 bytes, AES-128-CBC."""
    LIBPQ_OFF = "libpq-off"
    """ENABLE_LIBPQ off: 104 and 40 bytes, AES-256-CBC."""


class Layout(StrEnum):
    """How the live set of a node is swapped in one step (design section 4)."""

    EXCHANGE = "exchange"
    """`cm` and the stage beside it swap places."""
    DATA_LINK = "data link"
    """The files in `cm` are links through `..data`, which is replaced by one rename."""


SERVED_FILE: Final = "served by cm_server"
"""Stands for the file of a certificate that was seen in a handshake."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate or CRL and the dates that decide about it."""

    file: str
    index: int
    """Its place in the file, from 0."""
    kind: CertificateKind
    subject: str
    """RFC 4514; the issuer for a CRL."""
    issuer: str
    serial: str
    """Hex without leading zeros; "" for a CRL without a number."""
    fingerprint: str
    """SHA-256 over the DER encoding, hex."""
    not_before: datetime
    not_after: datetime
    """nextUpdate for a CRL."""


@dataclass(frozen=True, slots=True)
class SetFile:
    """One file of a set."""

    name: str
    mode: int
    size: int


@dataclass(frozen=True, slots=True)
class CertificateSet:
    """The files of one directory that together make a set."""

    state: SetState = SetState.ABSENT
    digest: str = ""
    bundle_digest: str = ""
    files: tuple[SetFile, ...] = ()
    certificates: tuple[Certificate, ...] = ()

    def fingerprint(self, kind: CertificateKind) -> str:
        """SHA-256 of the first certificate of that kind, or ""."""
        for certificate in self.certificates:
            if certificate.kind is kind:
                return certificate.fingerprint
        return ""


class Side(StrEnum):
    """One of the two sets between which handshakes are rehearsed, and the nodes that have it."""

    FORMER = "former"
    NEW = "new"

    @property
    def other(self) -> Side:
        """The other one."""
        return Side.NEW if self is Side.FORMER else Side.FORMER


@dataclass(frozen=True, slots=True)
class OverlapRefusal:
    """Handshakes between the former and the new set that fail in the same way."""

    connecting: Side
    """Who begins them: the direction."""
    refusing: Side
    """Who ends them, or cannot even begin."""
    detail: str
    """OpenSSL's word for it."""
    cause: str = ""
    """In plain words; "" where only OpenSSL's are known."""
    links: tuple[str, ...] = ()
    """Who would talk to whom."""
    versions: tuple[str, ...] = ()
    """Of TLS."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """Whether a node with the former set and one with the new set could talk to each other, as rehearsed
    with the files of both."""

    refusals: tuple[OverlapRefusal, ...] = ()
    """What fails between them; () when nothing does."""
    unknown: str = "not rehearsed"
    """Why it is not known; "" when it is."""
    same_ca: bool = False
    """Both sets trust the same CAs: of the same names and keys."""

    @property
    def can_talk(self) -> bool | None:
        """None: not known."""
        return None if self.unknown else not self.refusals


@dataclass(frozen=True, slots=True)
class PreparedSet:
    """What Prepare answers."""

    stage: CertificateSet
    findings: tuple[Finding, ...] = ()
    """Warnings only."""
    overlap: Overlap = Overlap()


@dataclass(frozen=True, slots=True)
class RetiredSet:
    """A set that was live once."""

    generation: str
    digest: str
    server_fingerprint: str
    retired_at: datetime | None = None
    """By the node's clock then."""


@dataclass(frozen=True, slots=True)
class JudgedSet:
    """What a node would stage of a source now."""

    set: CertificateSet = CertificateSet()
    """ABSENT where nothing can be made of the source, or there is no such generation. Of a bundle that brings
    no factor files the digest is "": they are made for a stage, and never twice the same."""
    findings: tuple[Finding, ...] = ()
    """Errors would refuse it at Prepare."""
    overlap: Overlap = Overlap()
    """With the live set."""


@dataclass(frozen=True, slots=True)
class SslSwitch:
    """`enable_ssl` in both configuration files."""

    server: SslValue = SslValue.ABSENT
    agent: SslValue = SslValue.ABSENT


@dataclass(frozen=True, slots=True)
class CmProcess:
    """A running CM process of one node."""

    name: str
    pid: int
    started_at: datetime
    """By the node's clock now; it moves when that is set."""
    start_ticks: int = 0
    """Clock ticks between boot and its start; 0: not told."""
    boot: str = ""
    """What pid and ticks mean something in; see `boots`. "": not told."""


@dataclass(frozen=True, slots=True)
class CmNode:
    """One node in CM's own words."""

    id: int
    name: str
    server_address: str = ""
    """"" on a node without cm_server."""
    server_port: int = 0
    agent_address: str = ""


@dataclass(frozen=True, slots=True)
class CmTopology:
    """What `cm_ctl view` says."""

    local_node_id: int = 0
    nodes: tuple[CmNode, ...] = ()

    @property
    def local(self) -> CmNode | None:
        """The node itself, or None if CM does not list it."""
        return next((node for node in self.nodes if node.id == self.local_node_id), None)


@dataclass(frozen=True, slots=True)
class Served:
    """What one cm_server shows, seen from one node."""

    cm_node_id: int
    target: str
    """"address:port"."""
    state: ServedState
    fingerprint: str = ""
    chain_verified: bool = False
    not_after: datetime | None = None
    cause: str = ""
    leaf: bytes = field(default=b"", repr=False)
    """The certificate itself, DER."""


@dataclass(frozen=True, slots=True)
class ClusterState:
    """`cm_ctl query`, read."""

    cluster_state: str = ""
    """The word behind cluster_state; "" when query failed."""
    server_roles: dict[int, str] = field(default_factory=dict)
    cause: str = ""


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What one node sees of the running cluster."""

    served: tuple[Served, ...] = ()
    cluster: ClusterState | None = None
    findings: tuple[Finding, ...] = ()
    """What CM's own logs on this node say went wrong since its last start; only looked for while something
    is not as it should be."""


RESTARTED_IN: Final = frozenset({Phase.PREPARED, Phase.SWAPPED, Phase.ABORTED})
"""Phases in which CM is stopped and started. PREPARED from its beginning: with `--restart cluster` the
executor stops all nodes, whatever these have been told. What is COMMITTED is proven, however long it waits
for excluded nodes."""


@dataclass(frozen=True, slots=True)
class TransactionReport:
    """A node's durable state as it tells it."""

    transaction_id: str = ""
    phase: Phase = Phase.NONE
    fence: Fence = Fence()
    holder: str = ""
    held_since: datetime | None = None
    lease_left_s: float = 0.0
    participants: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    """Nodes that the transaction was begun, or is recovered, without."""
    joins: str = ""
    """The transaction whose excluded nodes this one brings over."""
    begun_by: str = ""
    """Who prepared it; "" where an older release did. `holder` has the fence now."""
    old_digest: str = ""
    new_digest: str = ""
    live_state: LiveState | None = None
    tombstones: tuple[Tombstone, ...] = ()
    restart: RestartScope | None = None
    ssl_wish: SslWish = SslWish.KEEP
    begun_at: datetime | None = None
    reached: Fence = Fence()
    """The last command of it but Acquire; `Fence()` where there is none, or it is not known."""

    @property
    def restarting(self) -> bool:
        """Whether somebody is at work between Stop and the end of the proof, so that what lies on the disk
        and what cm_server serves differ on purpose. Where no lease runs nobody is at work, and what is to be
        seen must be told."""
        return bool(self.transaction_id) and self.lease_left_s > 0 and self.phase in RESTARTED_IN


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a node can do."""

    layout: Layout | None = None
    """How its live set can be swapped; None: not in one step."""
    cm_ctl: bool = False
    factor_build: FactorBuild | None = None


@dataclass(frozen=True, slots=True)
class Paths:
    """Where things are on a node."""

    cm_home: str = ""
    set_directory: str = ""
    state_directory: str = ""


@dataclass(frozen=True, slots=True)
class NodeReport:
    """One node as its agent sees it at one moment."""

    cluster: str
    name: str
    agent_version: str
    clock: datetime
    cm_version: str = ""
    paths: Paths = Paths()
    capabilities: Capabilities = Capabilities()
    transaction: TransactionReport = TransactionReport()
    live: CertificateSet = CertificateSet()
    stage: CertificateSet = CertificateSet()
    retired: tuple[RetiredSet, ...] = ()
    enable_ssl: SslSwitch = SslSwitch()
    processes: tuple[CmProcess, ...] = ()
    manually_stopped: bool = False
    paused: bool = False
    upgrading: bool = False
    topology: CmTopology = CmTopology()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class ExpiryReport:
    """Every certificate of one node's live set."""

    node: str
    clock: datetime
    certificates: tuple[Certificate, ...]
    """Soonest first."""
    alert_threshold_days: int
    findings: tuple[Finding, ...] = ()
    served: Certificate | None = None
    """What the node's own cm_server serves; None where none serves one, and while it is being restarted. Its
    `file` is SERVED_FILE."""
    control_plane: tuple[Certificate, ...] = ()
    """The agent's own credential, and the CAs of the control plane that it trusts; their dates have alarms of
    their own (NODE_CREDENTIAL_...)."""

    @property
    def everything(self) -> tuple[Certificate, ...]:
        """Those on the disk and the served one, soonest first."""
        shown = () if self.served is None else (self.served,)
        return tuple(sorted((*self.certificates, *shown), key=lambda one: one.not_after))

    @property
    def served_from_disk(self) -> bool:
        """Whether the served one is a certificate that lies on the disk, too: what is to be said of it is
        said already."""
        return self.served is not None and any(
            one.fingerprint == self.served.fingerprint for one in self.certificates
        )


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One thing that happened at a node."""

    transaction_id: str
    phase: Phase
    fence: Fence
    activity: str
    at: datetime
