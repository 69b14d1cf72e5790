"""Whether old and new nodes could talk, with all nodes seen together, and what that means. Pure.

Nodes rehearse the handshakes of their own live set with the set they would stage (Judge); here their answers
become one verdict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gausscert_common.model import SslValue
from gausscert_common.protocol.words import RestartScope

from gausscert_coordinator.report import Meeting, NodesRefusal, OverlapVerdict

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from gausscert_common.model import Overlap, OverlapRefusal, Side

    from gausscert_coordinator.plan_rules import Evidence


def verdict(seen: Evidence) -> OverlapVerdict | None:
    """None where no set changes, or no node has judged one."""
    answers = {node: judged.overlap for node, judged in seen.judged.items()}
    if seen.only_ssl or not answers:
        return None
    unknown = {f"{node}: {found.unknown}": found.unknown for node, found in answers.items() if found.unknown}
    refusing = {refusal.refusing for found in answers.values() for refusal in found.refusals}
    meeting = _meeting(answers.values(), refusing)
    return OverlapVerdict(
        meeting,
        accepting=refusing.pop().other if meeting is Meeting.ONE_WAY else None,
        refusals=_refusals(answers),
        unknown=_told_once(unknown, len(answers)),
        meaning=_meaning(seen, meeting),
    )


def _meeting(answers: Collection[Overlap], refusing: Collection[Side]) -> Meeting:
    """Whoever refuses says so in both directions: it is asked for its word first as the one that connects,
    and hears the other's first as the one that accepts."""
    if refusing:
        return Meeting.REFUSED if len(refusing) > 1 else Meeting.ONE_WAY
    if any(found.unknown for found in answers):
        return Meeting.UNKNOWN
    return Meeting.SAME_CA if all(found.same_ca for found in answers) else Meeting.OVERLAPPING_CAS


def _refusals(answers: Mapping[str, Overlap]) -> tuple[NodesRefusal, ...]:
    """Each different one, with the nodes that say so unless all do."""
    by_refusal: dict[OverlapRefusal, list[str]] = {}
    for node, found in answers.items():
        for refusal in found.refusals:
            by_refusal.setdefault(refusal, []).append(node)
    return tuple(
        NodesRefusal(refusal, () if len(nodes) == len(answers) else tuple(nodes))
        for refusal, nodes in by_refusal.items()
    )


def _told_once(by_node: dict[str, str], nodes: int) -> tuple[str, ...]:
    """What all nodes say is said without their names."""
    texts = list(by_node.values())
    everywhere = {text for text in texts if texts.count(text) == nodes}
    return tuple(dict.fromkeys(text if text in everywhere else told for told, text in by_node.items()))


def _meaning(seen: Evidence, meeting: Meeting) -> str:
    parts = []
    if _ssl_is_off(seen):
        parts.append("SSL is off now, so that no node uses its old set")
    elif seen.options.restart is RestartScope.NONE:
        parts.append("CM must be stopped on all nodes before, and started after: no old node meets a new one")
    else:
        parts.append("all nodes are stopped before the first starts: no old node meets a new one")
    if seen.excluded:
        parts.append(f"{', '.join(seen.excluded)}: {_LEFT_OUT[meeting]}")
    return "; ".join(parts)


_LEFT_OUT = {
    Meeting.SAME_CA: "could talk to the others with the old set until it is brought over",
    Meeting.OVERLAPPING_CAS: "could talk to the others with the old set until it is brought over",
    Meeting.ONE_WAY: "is cut off from the others until it is brought over",
    Meeting.REFUSED: "is cut off from the others until it is brought over",
    Meeting.UNKNOWN: "may be cut off from the others until it is brought over",
}


def _ssl_is_off(seen: Evidence) -> bool:
    """CM takes a line that is missing or commented out for off."""
    switches = [report.enable_ssl for report in seen.reports.values()]
    return not any(SslValue.ON in (switch.server, switch.agent) for switch in switches)
