"""What every cm_server must be seen to serve, and whether it was. Pure: probes in, objections out.

The certificate on disk proves nothing: cm_server reads its files once (facts section 3), and `cm_ctl start`
exits 0 whatever happens. Only a handshake with each running cm_server, from every node, tells.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from gausscert_common.errors import GausscertError, NodeFailure, NodeRefusal, Reason
from gausscert_common.model import CertificateKind, ServedState, SslValue
from gausscert_common.protocol.words import LiveState, Phase, SslWish

from gausscert_coordinator import live_sets
from gausscert_coordinator.report import Proof

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gausscert_common.model import ClusterState, CmProcess, NodeReport, ProbeReport, Served

NORMAL: Final = "Normal"
"""The word of `cm_ctl query` for a cluster in which all is well (facts section 8)."""

DEGRADED: Final = "Degraded"
"""Its word for a cluster that works without some node (facts section 8)."""

WORKING: Final = {True: frozenset({NORMAL}), False: frozenset({NORMAL, DEGRADED})}
"""The words that will do, by whether all nodes of the cluster are taken into account."""

_NORMAL_ONLY: Final = WORKING[True]

SSL_OFF: Final = "ssl off"
"""Stands among the accepted leaves for "answers that SSL is off"; never equal to a missing fingerprint."""

_SEE_LOG: Final = "look at cm_server's log on the node it runs on: $GAUSSLOG/cm/cm_server"

_NO_PRIMARY: Final = (
    "no cm_server is primary: enable_ssl or the CA differs between them, or server.crt lacks a purpose"
)

_SHOWN: Final = 16
"""Hex digits of a fingerprint that people compare."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one cm_server must be seen to do."""

    leaves: frozenset[str]
    """SHA-256 fingerprints, any of which will do; `SSL_OFF` among them accepts SSL off."""
    chain: bool = True
    """The chain must verify against the prober's live cacert.pem."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """What the whole cluster must be seen to do."""

    servers: Mapping[int, Wanted]
    """By CM node id; each of them must be seen from every node."""
    normal: frozenset[str] = frozenset()
    """Nodes on which `cm_ctl query` must say one of `words`; it tells that the node's client certificate is
    accepted, too."""
    words: frozenset[str] = _NORMAL_ONLY
    spared: Mapping[int, Wanted] = field(default_factory=dict)
    """Listed cm_servers that need not serve, because they did not before; but what they must serve if they
    do: nodes that run with another set than the others are no cluster."""
    absent: frozenset[int] = frozenset()
    """Of nodes that are left out; on the way forward none may be seen to serve, for it serves another set."""
    others: Wanted | None = None
    """What holds for a cm_server that no topology lists; None: it is not looked at."""
    forward: bool = False
    """Nothing is proven by seeing nothing: every node must know of a cm_server and have seen it."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """How the cluster was before CM was stopped."""

    served: Mapping[int, Served] = field(default_factory=dict)
    """By CM node id, the best that any node saw."""
    normal: frozenset[str] = frozenset()
    """Nodes on which `cm_ctl query` said Normal."""
    answered: frozenset[str] = frozenset()
    """Nodes on which it said anything of the cluster."""
    words: frozenset[str] = frozenset()
    """What it said there."""
    processes: Mapping[str, tuple[CmProcess, ...]] = field(default_factory=dict)
    """The processes that held a set in memory, by node."""
    state: ClusterState | None = None
    """What `query` said, and the roles, of the first node where it said anything."""

    def served_by(self, cm_node_id: int) -> bool:
        """Whether that cm_server did serve."""
        return _rank(self.served.get(cm_node_id)) > 0

    @property
    def sound(self) -> bool:
        """There was a working cluster, so that a rollback can be held to bring it back."""
        return any(_rank(served) > 0 for served in self.served.values())


def baseline(probes: Mapping[str, ProbeReport], words: frozenset[str] = _NORMAL_ONLY) -> Baseline:
    """Sum up what all nodes saw before anything was stopped.

    Args:
        probes: By node.
        words: Of `cm_ctl query` for a cluster that is as good as it can be.
    """
    best: dict[int, Served] = {}
    for report in probes.values():
        best = best_of(best, {served.cm_node_id: served for served in report.served if speaks(served)})
    states = {node: report.cluster for node, report in probes.items()}
    said = {node: state.cluster_state for node, state in states.items() if state is not None}
    normal = {node for node, word in said.items() if word in words}
    answered = {node for node, word in said.items() if word}
    return Baseline(
        best,
        normal=frozenset(normal),
        answered=frozenset(answered),
        words=frozenset(said.values()) - {""},
        state=cluster_state(probes),
    )


def best_of(one: Mapping[int, Served], other: Mapping[int, Served]) -> dict[int, Served]:
    """By CM node id, the best that was seen in either of two looks."""
    best = dict(one)
    for cm_node_id, served in other.items():
        if _rank(served) > _rank(best.get(cm_node_id)):
            best[cm_node_id] = served
    return best


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
    cluster before, all that was live must be served, and every chain verify (`unlike` says whether it is one
    set)."""
    servers: dict[int, Wanted] = {}
    for cm_node_id, owner in _owners(reports).items():
        seen = _seen(before, cm_node_id)
        if before is not None and (seen is None or _rank(seen) == 0):
            continue
        accepted = _accepted(owner, _live_leaf(owner), seen)
        if seen is not None and seen.fingerprint:
            accepted |= {seen.fingerprint}
        if not accepted:  # there was no set before, so there is nothing to serve again
            continue
        chain = before is None or (seen is not None and seen.chain_verified)
        servers[cm_node_id] = Wanted(accepted, chain=chain)
    return Expectation(servers, normal=frozenset() if before is None else before.normal)


def unlike(reports: Mapping[str, NodeReport]) -> list[GausscertError]:
    """Where the nodes do not hold one set: each of them, with what it holds. Whether cm_servers serve what
    lies beside them proves nothing then."""
    if all(map(_knows_its_old_set, reports.values())):
        return []
    if not live_sets.differ(reports):
        return _switched_apart(reports)
    return [
        NodeFailure(
            Reason.NOT_PROVEN,
            f"{live_sets.told(report)}, and other nodes hold another one: this is no cluster as it was",
            node=node,
            remedy="if it was so before: gausscert recover --accept-state; else find out which set belongs"
            " there (docs/runbook.md, In doubt)",
        )
        for node, report in sorted(reports.items())
    ]


def _knows_its_old_set(report: NodeReport) -> bool:
    """By its own journal: nodes that differed before the transaction differ after it as they did."""
    told = report.transaction
    return told.phase is Phase.ABORTED and told.live_state is LiveState.OLD


def _switched_apart(reports: Mapping[str, NodeReport]) -> list[GausscertError]:
    """Where enable_ssl is not the same everywhere: a node that has forgotten a switch of SSL has kept it."""
    switches = {node: report.enable_ssl for node, report in sorted(reports.items())}
    values = {
        node: {
            "on" if each is SslValue.ON else "off"
            for each in (switch.server, switch.agent)
            if each is not SslValue.ABSENT
        }
        for node, switch in switches.items()
    }
    if len(set().union(*values.values())) <= 1:
        return []
    return [
        NodeFailure(
            Reason.NOT_PROVEN,
            f"enable_ssl is {' and '.join(sorted(said)) or 'nowhere'} here, and not so on all nodes",
            node=node,
            remedy="if it was so before: gausscert recover --accept-state; else gausscert ssl on, or off",
        )
        for node, said in values.items()
    ]


def objections(expectation: Expectation, probes: Mapping[str, ProbeReport]) -> list[NodeFailure]:
    """Everything that is not as wanted, by the node that sees it; [] proves the expectation."""
    found: list[NodeFailure] = []
    for node, report in sorted(probes.items()):
        seen = {served.cm_node_id: served for served in report.served}
        for cm_node_id, wanted in sorted(expectation.servers.items()):
            found.extend(_judge(node, cm_node_id, wanted, seen.get(cm_node_id)))
        if expectation.forward:
            present = sorted(expectation.absent & seen.keys())
            found.extend(_came_back(node, seen[each]) for each in present if is_alive(seen[each]))
        found.extend(_spared_but_wrong(node, expectation.spared, seen))
        looked_at = expectation.servers.keys() | expectation.spared.keys() | expectation.absent
        for cm_node_id in sorted(seen.keys() - looked_at):
            if expectation.others is not None:
                found.extend(_judge(node, cm_node_id, expectation.others, seen[cm_node_id]))
        if not seen and not expectation.servers and expectation.forward:
            found.append(_not_proven(node, "knows of no cm_server to probe"))
    return found


def state_objections(expectation: Expectation, probes: Mapping[str, ProbeReport]) -> list[NodeFailure]:
    """Where `cm_ctl query` does not say what it must."""
    wanted = " or ".join(sorted(expectation.words, reverse=True))
    return [
        _not_proven(node, f"cm_ctl query says {state_text(report.cluster)}, not {wanted}")
        for node, report in sorted(probes.items())
        if node in expectation.normal and not _says(report.cluster, expectation.words)
    ]


def is_alive(served: Served) -> bool:
    """Whether a cm_server is there, whatever it makes of a handshake."""
    return served.state is not ServedState.UNREACHABLE


def unowned(reports: Iterable[NodeReport]) -> frozenset[int]:
    """CM's numbers of nodes that CM lists, and whose agent is not among those that answered."""
    answered = tuple(reports)
    listed = {node.id for report in answered for node in report.topology.nodes}
    return frozenset(listed - {report.topology.local_node_id for report in answered})


def no_longer_normal(before: Baseline, probes: Mapping[str, ProbeReport]) -> list[NodeRefusal]:
    """The plan saw a Normal cluster; between it and now anything may have happened."""
    if before.normal:
        return []
    return [
        NodeRefusal(
            Reason.NODE_UNFIT,
            f"the cluster is no longer {NORMAL}: cm_ctl query says {state_text(report.cluster)}",
            node=node,
            remedy="find out what has happened to it since the plan was made, then plan again",
        )
        for node, report in sorted(probes.items())
    ]


def evidence(probes: Mapping[str, ProbeReport]) -> tuple[Proof, ...]:
    """Every answer of a cm_server that was seen, by node: its certificate, or that SSL is off."""
    return tuple(
        Proof(node, served)
        for node, report in sorted(probes.items())
        for served in report.served
        if served.state in (ServedState.SSL_ON, ServedState.SSL_OFF)
    )


def cluster_state(probes: Mapping[str, ProbeReport]) -> ClusterState | None:
    """What `cm_ctl query` said, of the first node where it said anything."""
    states = [report.cluster for _, report in sorted(probes.items()) if report.cluster is not None]
    return next((state for state in states if state.cluster_state), states[0] if states else None)


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
    if seen is not None and _rank(seen) > 0:
        off = seen.state is ServedState.SSL_OFF
    return frozenset({SSL_OFF}) if off else _known(leaf)


def _known(leaf: str) -> frozenset[str]:
    """A leaf that is not known accepts nothing."""
    return frozenset({leaf} - {""})


def _common_leaf(reports: Mapping[str, NodeReport]) -> str:
    """The one server certificate that is live on all nodes; "" if they differ or it cannot be read."""
    leaves = {_live_leaf(report) for report in reports.values()}
    return leaves.pop() if len(leaves) == 1 else ""


def _says(state: ClusterState | None, words: frozenset[str]) -> bool:
    return state is not None and state.cluster_state in words


def _rank(served: Served | None) -> int:
    """0 when nothing was spoken, 2 for a verified chain, else 1."""
    if served is None or served.state in (ServedState.UNREACHABLE, ServedState.REFUSED):
        return 0
    return 2 if served.chain_verified else 1


def speaks(served: Served) -> bool:
    """Whether the cm_server answered: with a certificate, or that SSL is off."""
    return _rank(served) > 0


def answers_wrongly(wanted: Wanted, served: Served) -> bool:
    """Whether a cm_server serves another certificate than it must, or one instead of none, or none instead of
    one. Where it is not known what it must serve nothing is said."""
    if not wanted.leaves or not speaks(served):
        return False
    return (SSL_OFF if served.state is ServedState.SSL_OFF else served.fingerprint) not in wanted.leaves


def objection_to(wanted: Wanted, served: Served) -> str:
    """What is not as wanted, for a person; "" when nothing is."""
    where = f"cm_server {served.cm_node_id} at {served.target}"
    if served.state is ServedState.SSL_OFF:
        return "" if SSL_OFF in wanted.leaves else f"{where} has SSL off, must serve {_names(wanted)}"
    if served.state is not ServedState.SSL_ON:
        return f"{where} is {served.state}: {served.cause or 'no answer'}"
    if served.fingerprint not in wanted.leaves:
        return f"{where} serves {served.fingerprint[:_SHOWN]}, must serve {_names(wanted)}"
    if wanted.chain and not served.chain_verified:
        return f"{where} serves the right certificate, but its chain does not verify: {served.cause}"
    return ""


def _judge(node: str, cm_node_id: int, wanted: Wanted, served: Served | None) -> list[NodeFailure]:
    if served is None:
        return [_not_proven(node, f"did not probe the cm_server of CM node {cm_node_id}")]
    objection = objection_to(wanted, served)
    return [_not_proven(node, objection)] if objection else []


def _spared_but_wrong(
    node: str, spared: Mapping[int, Wanted], seen: Mapping[int, Served]
) -> Iterator[NodeFailure]:
    for each in sorted(spared.keys() & seen.keys()):
        if answers_wrongly(spared[each], seen[each]):
            yield _not_proven(node, objection_to(spared[each], seen[each]))


def _came_back(node: str, served: Served) -> NodeFailure:
    what = f"cm_server {served.cm_node_id} at {served.target} is there ({served.state})"
    return _not_proven(node, f"{what}, although its node is excluded; it runs with another set")


def _names(wanted: Wanted) -> str:
    leaves = sorted("nothing (SSL off)" if leaf == SSL_OFF else leaf[:_SHOWN] for leaf in wanted.leaves)
    return " or ".join(leaves) or "a certificate"


def state_text(state: ClusterState | None) -> str:
    """What `cm_ctl query` said, for a person; without a primary the usual reasons (facts section 12)."""
    if state is None:
        return "nothing"
    said = state.cluster_state or f"nothing ({state.cause})"
    roles = set(state.server_roles.values())
    return f"{said}; {_NO_PRIMARY}" if roles and "Primary" not in roles else said


def _not_proven(node: str, message: str) -> NodeFailure:
    return NodeFailure(
        Reason.NOT_PROVEN,
        message,
        node=node,
        remedy=_SEE_LOG,
    )
