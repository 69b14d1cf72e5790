"""Which nodes hold the same set, and whose set it is. Pure.

Sets are compared by their certificates (`identity`). Their digests differ from node to node, because each
has factor files of its own, and so may their bundle digests: a node's own CRLs, which one may have fetched
later than the others, are carried over by every replacement.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gausscert_common.errors import NodeFailure, Reason
from gausscert_common.findings import Finding, Severity
from gausscert_common.model import CertificateKind, SslValue
from gausscert_common.protocol.words import LiveState, Phase

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gausscert_common.errors import GausscertError
    from gausscert_common.model import CertificateSet, NodeReport

SETS_DIFFER: Final = "SETS_DIFFER"
"""Code of the finding that nodes hold different sets although nobody is in a transaction."""

REMEDY: Final = "put one set on every node: gausscert replace; until then start CM nowhere"

_COMPARED: Final = (CertificateKind.SERVER, CertificateKind.CLIENT, CertificateKind.CA)

_SHOWN: Final = 16
"""Hex digits of a digest that people compare."""


def identity(held: CertificateSet) -> str:
    """What two sets must have in common to be one: leaves and CAs. The bundle digest of a set whose
    certificates cannot be read."""
    told = (f"{each.kind} {each.fingerprint}" for each in held.certificates if each.kind in _COMPARED)
    return "; ".join(sorted(told)) or held.bundle_digest


def new_of(reports: Mapping[str, NodeReport], transaction_id: str) -> frozenset[str]:
    """The identity of the set that a transaction brings, from the nodes that are in it: it is live there, or
    the stage. Nothing, where none of them has staged it."""
    return frozenset(
        identity(held)
        for report in reports.values()
        if report.transaction.transaction_id == transaction_id
        for held in (report.live, report.stage)
        if held.digest and held.digest == report.transaction.new_digest
    )


def old_of(report: NodeReport) -> str:
    """The identity of the set that was live at a node before its transaction; "" if it cannot be told."""
    held = (report.live, report.stage)
    old = report.transaction.old_digest
    return next((identity(each) for each in held if each.digest and each.digest == old), "")


def groups(reports: Mapping[str, NodeReport]) -> tuple[tuple[str, ...], ...]:
    """The nodes, those with the same live set together, in the order of the reports."""
    found: dict[str, list[str]] = {}
    for node, report in reports.items():
        found.setdefault(identity(report.live), []).append(node)
    return tuple(map(tuple, found.values()))


def differ(reports: Mapping[str, NodeReport]) -> bool:
    """Whether some node holds another live set than the others. One that has none, or none that can be read,
    holds no other one; that is told by itself."""
    return len({identity(report.live) for report in reports.values()} - {""}) > 1


def told(report: NodeReport) -> str:
    """Which set is live, for a person to compare."""
    digest = report.live.bundle_digest
    return f"live set {digest[:_SHOWN]}" if digest else "no live set that can be read"


def finding(reports: Mapping[str, NodeReport]) -> Finding | None:
    """SETS_DIFFER, where nobody is in a transaction; None where the nodes are alike or one is under way."""
    if any(report.transaction.phase is not Phase.NONE for report in reports.values()) or not differ(reports):
        return None
    alike = "; ".join(" and ".join(names) for names in groups(reports))
    cause = f"the nodes hold different sets, and no transaction is under way; alike are: {alike}"
    return Finding(SETS_DIFFER, Severity.WARNING, cause, REMEDY)


def unlike(reports: Mapping[str, NodeReport]) -> list[GausscertError]:
    """Where the nodes do not hold one set: each of them, with what it holds. Whether cm_servers serve what
    lies beside them proves nothing then."""
    if all(map(_knows_its_old_set, reports.values())):
        return []
    if not differ(reports):
        return _switched_apart(reports)
    return [
        NodeFailure(
            Reason.NOT_PROVEN,
            f"{told(report)}, and other nodes hold another one: this is no cluster as it was",
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
