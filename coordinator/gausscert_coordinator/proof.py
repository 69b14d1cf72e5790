"""Whether every cm_server was seen to serve what it must. Pure: probes in, objections out.

The certificate on disk proves nothing: cm_server reads its files once (facts section 3), and `cm_ctl start`
exits 0 whatever happens. Only a handshake with each running cm_server, from every node, tells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gausscert_common.errors import NodeFailure, Reason
from gausscert_common.model import ServedState

from gausscert_coordinator import query
from gausscert_coordinator.answers import answers_wrongly, objection_to
from gausscert_coordinator.report import Proof

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gausscert_common.model import NodeReport, ProbeReport, Served

    from gausscert_coordinator.answers import Wanted
    from gausscert_coordinator.expectation import Expectation

_SEE_LOG: Final = "look at cm_server's log on the node it runs on: $GAUSSLOG/cm/cm_server"


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
        _not_proven(node, f"cm_ctl query says {query.state_text(report.cluster)}, not {wanted}")
        for node, report in sorted(probes.items())
        if node in expectation.normal and not query.says(report.cluster, expectation.words)
    ]


def is_alive(served: Served) -> bool:
    """Whether a cm_server is there, whatever it makes of a handshake."""
    return served.state is not ServedState.UNREACHABLE


def unowned(reports: Iterable[NodeReport]) -> frozenset[int]:
    """CM's numbers of nodes that CM lists, and whose agent is not among those that answered."""
    answered = tuple(reports)
    listed = {node.id for report in answered for node in report.topology.nodes}
    return frozenset(listed - {report.topology.local_node_id for report in answered})


def evidence(probes: Mapping[str, ProbeReport]) -> tuple[Proof, ...]:
    """Every answer of a cm_server that was seen, by node: its certificate, or that SSL is off."""
    return tuple(
        Proof(node, served)
        for node, report in sorted(probes.items())
        for served in report.served
        if served.state in (ServedState.SSL_ON, ServedState.SSL_OFF)
    )


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


def _not_proven(node: str, message: str) -> NodeFailure:
    return NodeFailure(
        Reason.NOT_PROVEN,
        message,
        node=node,
        remedy=_SEE_LOG,
    )
