"""What one run of the engine is about, as a value, and in which order a stage visits the nodes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from gausscert_common.model import CertificateKind
from gausscert_common.protocol.coordinator import Stage
from gausscert_common.protocol.words import RestartScope, SslWish

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gausscert_common.findings import Finding
    from gausscert_common.model import CertificateSet, ClusterState, NodeReport
    from gausscert_common.source import Source

    from gausscert_coordinator.inventory import Timeouts

SHORTEST_LEASE_S: Final = 120.0
LONGEST_LEASE_S: Final = 3600.0
"""The wire's limit (agent_service.proto, AcquireRequest.lease)."""
LEASE_MARGIN_S: Final = 60.0

STOPS: Final = frozenset({Stage.STOP, Stage.ROLLBACK_STOP})
STARTS: Final = frozenset({Stage.START, Stage.ENSURE_UP, Stage.ROLLBACK_START})
PROOFS: Final = frozenset({Stage.VERIFY, Stage.ROLLBACK_VERIFY})


@dataclass(frozen=True, slots=True)
class Replacement:
    """What is to be staged."""

    source: Source = field(repr=False)
    bundle_digest: str
    ssl_wish: SslWish
    drop_crls: bool
    old_digests: Mapping[str, str]
    """By node: the live set the plan was made for."""
    leaf: str
    """SHA-256 of the new server certificate."""
    new_digests: Mapping[str, str] = field(default_factory=dict)
    """By node: what it must stage, where that is known before; for a bundle it is not."""
    planned_state: ClusterState | None = None
    """What `cm_ctl query` said when the plan was made."""
    stopped: frozenset[str] = frozenset()
    """Nodes on which CM was stopped on purpose then, and that was accepted."""
    accepted: tuple[Finding, ...] = ()
    """What was found of the state of the cluster and accepted."""

    def is_another(self, node: str, staged: CertificateSet) -> bool:
        """Whether a node has staged something else than was planned."""
        leaf = staged.fingerprint(CertificateKind.SERVER)
        wrong_leaf = bool(leaf and self.leaf) and leaf != self.leaf
        return wrong_leaf or self.new_digests.get(node, staged.digest) != staged.digest


@dataclass(frozen=True, slots=True)
class Job:
    """One transaction, or the recovery of one."""

    transaction_id: str
    holder: str
    participants: tuple[str, ...]
    """Sorted."""
    restart: RestartScope
    timeouts: Timeouts
    take_over: bool = False
    replacement: Replacement | None = None
    """None in recovery: whatever was staged is staged."""
    accept_state: bool = False
    """The cluster need not be Normal before, nor afterwards if it was not."""
    excluded: tuple[str, ...] = ()
    """Nodes of the inventory that it is carried out without, sorted."""
    settled: tuple[str, ...] = ()
    """Those that Purge may leave out of account."""
    missing: tuple[str, ...] = ()
    """Of the excluded ones those that the transaction was begun with: Acquire tells the others of them."""
    joins: str = ""
    """The transaction whose excluded nodes it brings over."""
    absent: frozenset[int] = frozenset()
    """CM's numbers of nodes whose cm_server is not to serve yet."""
    witnesses: tuple[str, ...] = ()
    """Nodes that are no participants, but look whether the cluster serves what it must."""

    @property
    def whole(self) -> bool:
        """Whether no node of the cluster is left out of account: only then it must be Normal."""
        return not self.waits and not self.joins

    @property
    def waits(self) -> bool:
        """Whether it ends with Commit: Purge would be refused."""
        return bool(self.unsettled)

    @property
    def unsettled(self) -> tuple[str, ...]:
        """Excluded nodes that Purge has to wait for, sorted."""
        return tuple(sorted(set(self.excluded) - set(self.settled)))

    def joining(self, reports: Mapping[str, NodeReport]) -> frozenset[int]:
        """cm_servers, by CM's numbers, that the transaction is there to bring back."""
        return frozenset(each.topology.local_node_id for each in reports.values() if self.joins)

    @property
    def executor(self) -> str:
        """With scope CLUSTER, the node that runs cm_ctl: always the same one for a transaction, also in
        recovery (reliability section 2.2)."""
        return self.participants[0]

    @property
    def lease_s(self) -> float:
        """Longer than any node goes without a command: the others wait while the executor stops or starts
        CM, and all wait while the bundle is staged or the proof is looked for; looking renews nothing. A
        lease that ran out meanwhile would let another coordinator take the fence without --take-over.
        Nothing aborts by itself."""
        times = self.timeouts
        longest = max(times.prepare_s + times.stop_s, times.start_s + times.verify_s) + 2 * times.call_s
        return min(LONGEST_LEASE_S, max(SHORTEST_LEASE_S, longest + LEASE_MARGIN_S))


def waves(stage: Stage, restart: RestartScope, participants: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """Who is asked together, in order; a wave begins only when the one before it went well.

    With scope CLUSTER one node acts for all. It stops CM before the others look whether it has stopped,
    and starts CM only when the others have taken the fence: no earlier command can then act on them.
    """
    if restart is not RestartScope.CLUSTER or stage not in STOPS | STARTS:
        return (participants,)
    executor, others = participants[:1], participants[1:]
    order = (executor, others) if stage in STOPS else (others, executor)
    return tuple(wave for wave in order if wave)
