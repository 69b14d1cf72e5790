"""What every cm_server must be seen to serve, on the way forward and after a rollback. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gausscert_common.model import CertificateKind, ServedState, SslValue
from gausscert_common.protocol.words import SslWish

from gausscert_coordinator import query
from gausscert_coordinator.answers import SSL_OFF, Wanted, rank

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gausscert_common.model import NodeReport, Served

    from gausscert_coordinator.baseline import Baseline


@dataclass(frozen=True, slots=True)
class Expectation:
    """What the whole cluster must be seen to do."""

    servers: Mapping[int, Wanted]
    """By CM node id; each of them must be seen from every node."""
    normal: frozenset[str] = frozenset()
    """Nodes on which `cm_ctl query` must say one of `words`; it tells that the node's client certificate is
    accepted, too."""
    words: frozenset[str] = query.WORKING[True]
    spared: Mapping[int, Wanted] = field(default_factory=dict)
    """Listed cm_servers that need not serve, because they did not before; but what they must serve if they
    do: nodes that run with another set than the others are no cluster."""
    absent: frozenset[int] = frozenset()
    """Of nodes that are left out; on the way forward none may be seen to serve, for it serves another set."""
    others: Wanted | None = None
    """What holds for a cm_server that no topology lists; None: it is not looked at."""
    forward: bool = False
    """Nothing is proven by seeing nothing: every node must know of a cm_server and have seen it."""


def new_set(
    reports: Mapping[str, NodeReport],
    leaf: str,
    before: Baseline | None,
    wish: SslWish = SslWish.KEEP,
    absent: frozenset[int] = frozenset(),
) -> Expectation:
    """What is wanted after Swap and Start.

    Args:
        reports: All nodes, asked after Swap.
        leaf: Fingerprint of the new server certificate; "" takes each node's own live one.
        before: None when this coordinator has not seen the cluster before; it must then be Normal,
            because no transaction begins on a cluster that is not.
        wish: What `enable_ssl` was to become. KEEP means what was seen before; the files have a say only
            where nothing was seen, or a switch that changed by itself would pass for proof.
        absent: CM's numbers of nodes that are left out.
    """
    servers: dict[int, Wanted] = {}
    common = leaf or _common_leaf(reports)
    for cm_node_id, owner in _owners(reports).items():
        if cm_node_id in absent:
            continue
        own = leaf or _live_leaf(owner) or common
        accepted = _accepted(owner, own, _seen(before, cm_node_id))
        if wish is not SslWish.KEEP:
            accepted = frozenset({SSL_OFF}) if wish is SslWish.OFF else _known(own)
        servers[cm_node_id] = Wanted(accepted)
    normal = frozenset(reports) if before is None else before.normal
    others = Wanted(frozenset({SSL_OFF}) if wish is SslWish.OFF else _known(leaf)) if leaf else None
    return Expectation(servers, normal=normal, others=others, forward=True, absent=absent)


def old_set(reports: Mapping[str, NodeReport], before: Baseline | None) -> Expectation:
    """What is wanted after a rollback: what was there before, no more. A cm_server that served nothing
    then, or a chain that did not verify then, must not hold the rollback up. Where nobody has seen the
    cluster before, all that was live must be served, and every chain verify (`live_sets.unlike` says whether
    it is one set)."""
    servers: dict[int, Wanted] = {}
    for cm_node_id, owner in _owners(reports).items():
        seen = _seen(before, cm_node_id)
        if before is not None and (seen is None or rank(seen) == 0):
            continue
        accepted = _accepted(owner, _live_leaf(owner), seen)
        if seen is not None and seen.fingerprint:
            accepted |= {seen.fingerprint}
        if not accepted:  # there was no set before, so there is nothing to serve again
            continue
        chain = before is None or (seen is not None and seen.chain_verified)
        servers[cm_node_id] = Wanted(accepted, chain=chain)
    return Expectation(servers, normal=frozenset() if before is None else before.normal)


def _owners(reports: Mapping[str, NodeReport]) -> dict[int, NodeReport | None]:
    """Each cm_server of the cluster, by CM node id, and the report of the node it runs on."""
    by_id = {report.topology.local_node_id: report for report in reports.values()}
    listed = {node.id for report in reports.values() for node in report.topology.nodes if node.server_address}
    return {cm_node_id: by_id.get(cm_node_id) for cm_node_id in listed}


def _live_leaf(report: NodeReport | None) -> str:
    return "" if report is None else report.live.fingerprint(CertificateKind.SERVER)


def _seen(before: Baseline | None, cm_node_id: int) -> Served | None:
    return None if before is None else before.served.get(cm_node_id)


def _accepted(owner: NodeReport | None, leaf: str, seen: Served | None) -> frozenset[str]:
    """By what the cm_server did before; where nothing was seen, by the switch in cm_server.conf."""
    off = owner is not None and owner.enable_ssl.server is SslValue.OFF
    if seen is not None and rank(seen) > 0:
        off = seen.state is ServedState.SSL_OFF
    return frozenset({SSL_OFF}) if off else _known(leaf)


def _known(leaf: str) -> frozenset[str]:
    """A leaf that is not known accepts nothing."""
    return frozenset({leaf} - {""})


def _common_leaf(reports: Mapping[str, NodeReport]) -> str:
    """The one server certificate that is live on all nodes; "" if they differ or it cannot be read."""
    leaves = {_live_leaf(report) for report in reports.values()}
    return leaves.pop() if len(leaves) == 1 else ""
