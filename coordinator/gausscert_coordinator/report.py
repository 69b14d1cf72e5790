"""What the coordinator tells its callers: plans, progress, results. Values only; `cli.render` prints them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from gausscert_common.errors import GausscertError
from gausscert_common.findings import Finding
from gausscert_common.model import (
    Certificate,
    ClusterState,
    CmNode,
    ExpiryReport,
    NodeReport,
    Overlap,
    OverlapRefusal,
    Served,
    ServedState,
    Side,
    SslSwitch,
)
from gausscert_common.protocol.coordinator import Stage, Verdict
from gausscert_common.protocol.exclusion import Return
from gausscert_common.protocol.words import LiveState, Outcome, Phase, RestartScope, SslWish, Step


@dataclass(frozen=True, slots=True)
class ReplaceOptions:
    """What the operator may choose."""

    ssl_wish: SslWish = SslWish.KEEP
    restart: RestartScope = RestartScope.CLUSTER
    drop_crls: bool = False
    take_over: bool = False
    accept_state: bool = False
    """Also on a cluster that is not Normal, is upgraded, paused or stopped; as it is is what "as good as
    before" is measured by then."""
    exclude: tuple[str, ...] = ()
    """Nodes that are left out because they do not answer."""


@dataclass(frozen=True, slots=True)
class PlannedNode:
    """What would happen on one node."""

    node: str
    old_server: Certificate | None
    """None when the node has no live set."""
    new_server: Certificate | None
    """None when the bundle or the generation cannot be read."""
    old_digest: str
    enable_ssl: SslSwitch
    promised_epoch: int
    new_digest: str = ""
    """Of the set it would stage; "" for a bundle, of which it is known only then."""
    cm_node_id: int = 0
    """Its number in CM; 0 where CM does not tell."""


@dataclass(frozen=True, slots=True)
class InFlight:
    """A transaction that has begun on some node and is not over."""

    transaction_id: str
    holder: str
    """Who began it, as far as the nodes know; else who has the fence."""
    since: datetime | None
    phases: tuple[tuple[str, Phase], ...]
    """Of each node that takes part in it, by name."""
    lease_left_s: float
    """How much longer its coordinator holds a node at most; 0 when it is known to be gone or to have lost
    them: then the transaction is in doubt."""
    excluded: tuple[tuple[str, Return], ...] = ()
    """Nodes that it was begun without, and what has become of them, by name."""
    held_by: str = ""
    """Who has the fence now, if that is somebody else."""
    missing: tuple[str, ...] = ()
    """Excluded nodes that are part of it: they went away in the middle."""

    @property
    def waits(self) -> bool:
        """Whether it is not in doubt, but committed wherever it is seen, and waits for excluded nodes."""
        return bool(self.excluded) and all(phase is Phase.COMMITTED for _, phase in self.phases)


class Meeting(StrEnum):
    """What would come of it if a node with the old set met one with the new set."""

    SAME_CA = "same CA"
    """They can talk."""
    OVERLAPPING_CAS = "overlapping CAs"
    """They can talk: each side trusts the other's CA."""
    ONE_WAY = "one way"
    """One side refuses the other, which would have it."""
    REFUSED = "refused"
    """Each side refuses the other."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class NodesRefusal:
    """What fails in the same way on these nodes."""

    refusal: OverlapRefusal
    nodes: tuple[str, ...] = ()
    """() for all of them."""


@dataclass(frozen=True, slots=True)
class OverlapVerdict:
    """Whether old and new nodes could talk, as the nodes have rehearsed it."""

    meeting: Meeting
    accepting: Side | None = None
    """With ONE_WAY, who would have the other."""
    refusals: tuple[NodesRefusal, ...] = ()
    """What fails."""
    unknown: tuple[str, ...] = ()
    """Why it is not known; with the node where nodes differ."""
    meaning: str = ""
    """For a person: what follows for this replacement."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What `replace`, `rollback` or `ssl` would do, and everything that speaks against it. Making one
    changes nothing."""

    cluster: str
    bundle_digest: str
    """"" for a rollback to sets that are not of one bundle."""
    options: ReplaceOptions
    nodes: tuple[PlannedNode, ...]
    findings: tuple[Finding, ...]
    """All of them, worst first; any ERROR refuses."""
    unreachable: tuple[GausscertError, ...]
    """One per node that does not answer and is not excluded; any refuses."""
    blocked: tuple[GausscertError, ...]
    """Nodes in a transaction in doubt or held by another coordinator; any refuses."""
    served: tuple[Served, ...] = ()
    """What the cm_servers serve now, as seen from the first node that could look."""
    cluster_state: ClusterState | None = None
    outage: str = ""
    """For a person: what will be down, and for about how long."""
    overlap: OverlapVerdict | None = None
    """None where no set changes, or no node could judge one."""
    in_flight: tuple[InFlight, ...] = ()
    """Transactions that are not over. While there is one, the findings describe a cluster in the middle of
    a replacement, and what they advise would be wrong."""
    only_ssl: bool = False
    """The sets stay as they are; only enable_ssl changes."""
    stopped: frozenset[str] = frozenset()
    """Nodes on which CM was stopped on purpose."""
    generation: str | None = None
    """What a rollback goes back to, "" where no generation is on all nodes; None for a replacement."""
    excluded: tuple[GausscertError, ...] = ()
    """One per node that is left out: why it does not answer."""
    absent: frozenset[int] = frozenset()
    """CM's numbers of the nodes that are left out, as far as CM tells."""
    topology: tuple[CmNode, ...] = ()
    """What CM lists, by number; a node is in it twice where nodes do not agree about it."""

    @property
    def feasible(self) -> bool:
        """Whether nothing speaks against it."""
        return not (self.unreachable or self.blocked or self.errors)

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that refuse."""
        return tuple(finding for finding in self.findings if finding.severity.value == "error")


class Mark(StrEnum):
    """How one stage goes at one node."""

    STARTED = "started"
    DONE = "done"
    FAILED = "failed"
    RETRYING = "retrying"
    NOTE = "note"
    WAITING = "waiting"
    """Nothing has happened for a while; the detail says what is waited for, and how long at most."""


@dataclass(frozen=True, slots=True)
class Progress:
    """One thing that happened in a running transaction."""

    at_s: float
    """Seconds since the transaction began."""
    stage: Stage
    mark: Mark
    node: str = ""
    """"" when it concerns the whole stage."""
    detail: str = ""
    urgent: bool = False
    """The answer to an interruption: whoever pressed Ctrl-C must see it, even with --quiet."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What a running cm_server was seen to serve at the end, from one node."""

    seen_from: str
    served: Served


@dataclass(frozen=True, slots=True)
class NodeRecovery:
    """One node in a recovery."""

    node: str
    phase: Phase
    """As all else but `did`, when the recovery began."""
    transaction_id: str
    live: LiveState | None
    """Which of the two sets; of a node in no transaction, by what the others hold. None: not comparable."""
    outcome: Outcome | None
    """How the transaction that others are in ended here."""
    holder: str
    """Who has the fence."""
    lease_left_s: float
    begun_by: str = ""
    """Who began the transaction, "" if there is none or that is not known."""
    did: tuple[Step, ...] = ()
    """What this recovery had it carry out, in order."""


@dataclass(frozen=True, slots=True)
class Result:
    """How a transaction ended, and the evidence."""

    transaction_id: str
    verdict: Verdict
    failures: tuple[GausscertError, ...] = ()
    """Why it did not go forward; when committed, only excluded nodes that are still away."""
    proof: tuple[Proof, ...] = ()
    """Empty when nothing was restarted; with SSL off, who was told so by which cm_server."""
    cluster_state: ClusterState | None = None
    findings: tuple[Finding, ...] = ()
    """Warnings of the nodes."""
    duration_s: float = 0.0
    last_stage: Stage | None = None
    """Where it turned back or stopped."""
    overlaps: Mapping[str, Overlap] = field(default_factory=dict)
    """By node: whether its former and its new set could talk, as it rehearsed at Prepare."""
    interrupted: bool = False
    taken_over: bool = False
    """Another coordinator has the transaction now, or had it and ended it."""
    why: str = ""
    """Recovery only: what the nodes' answers showed."""
    waiting: tuple[str, ...] = ()
    """Committed, but without these nodes, which it waits for."""
    nodes: tuple[NodeRecovery, ...] = ()
    """Recovery only: what was seen of each node that answered, and done there."""


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """One node of `status`: its report or why there is none."""

    node: str
    address: str
    report: NodeReport | None = None
    error: GausscertError | None = None
    served: Served | None = None
    """What the node's own cm_server serves, as seen from the node itself; None without cm_server."""

    @property
    def drift(self) -> bool:
        """The running cm_server does not serve the certificate that lies on disk."""
        if self.report is None or self.served is None or not self.served.fingerprint:
            return False
        live = [c.fingerprint for c in self.report.live.certificates if c.kind.value == "server"]
        return self.served.fingerprint not in live

    @property
    def drift_known(self) -> bool:
        """Whether `drift` is an answer: something was asked, or there is no cm_server to ask."""
        if self.report is None:
            return False
        if self.served is None:
            local = self.report.topology.local
            return local is not None and not local.server_address
        return bool(self.served.fingerprint) or self.served.state is ServedState.SSL_OFF


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """All nodes, in the order of the inventory."""

    cluster: str
    nodes: tuple[NodeStatus, ...]
    gone: frozenset[str] = frozenset()
    """Holders of leases that are known to have ended."""


@dataclass(frozen=True, slots=True)
class NodeExpiry:
    """One node of `expiry`."""

    node: str
    report: ExpiryReport | None = None
    error: GausscertError | None = None
