"""Whether old and new nodes could talk, with all nodes seen together, and what that means. Pure.

Nodes rehearse the handshakes of their own live set with the set they would stage (Judge); here their answers
become one verdict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gausscert_common.model import CertificateKind, SslValue
from gausscert_common.protocol.words import RestartScope

from gausscert_coordinator.plan_catalogue import PLAN
from gausscert_coordinator.report import Meeting, OverlapVerdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gausscert_common.findings import Finding
    from gausscert_common.model import CertificateSet

    from gausscert_coordinator.plan_rules import Evidence


def verdict(seen: Evidence) -> OverlapVerdict | None:
    """None where no set changes, or no node has judged one."""
    answers = {node: judged.overlap for node, judged in seen.judged.items()}
    if seen.only_ssl or not answers:
        return None
    refusals = {f"{node}: {text}": text for node, found in answers.items() for text in found.refusals}
    unknown = {f"{node}: {found.unknown}": found.unknown for node, found in answers.items() if found.unknown}
    if refusals:
        meeting = Meeting.REFUSED
    elif unknown:
        meeting = Meeting.UNKNOWN
    else:
        meeting = Meeting.SAME_CA if _same_cas(seen) else Meeting.OVERLAPPING_CAS
    return OverlapVerdict(
        meeting,
        refusals=_told_once(refusals, len(answers)),
        unknown=_told_once(unknown, len(answers)),
        meaning=_meaning(seen, meeting),
    )


def same_name(seen: Evidence) -> Iterator[Finding]:
    """A new CA with the name of an old one and another key: both in one file, one of them always fails."""
    told: set[str] = set()
    for node, judged in seen.judged.items():
        old = _cas(seen.reports[node].live) if node in seen.reports else {}
        for subject, fingerprints in _cas(judged.set).items():
            if subject in old and not fingerprints & old[subject] and subject not in told:
                told.add(subject)
                yield PLAN["CA_SAME_NAME"].finding(f"both are {subject}")


RULES = (same_name,)


def _same_cas(seen: Evidence) -> bool:
    return all(
        node in seen.reports and _fingerprints(seen.reports[node].live) == _fingerprints(judged.set)
        for node, judged in seen.judged.items()
    )


def _cas(held: CertificateSet) -> dict[str, set[str]]:
    """Fingerprints by subject."""
    found: dict[str, set[str]] = {}
    for each in held.certificates:
        if each.kind is CertificateKind.CA:
            found.setdefault(each.subject, set()).add(each.fingerprint)
    return found


def _fingerprints(held: CertificateSet) -> set[str]:
    return {each.fingerprint for each in held.certificates if each.kind is CertificateKind.CA}


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
    Meeting.REFUSED: "is cut off from the others until it is brought over",
    Meeting.UNKNOWN: "may be cut off from the others until it is brought over",
}


def _ssl_is_off(seen: Evidence) -> bool:
    """CM takes a line that is missing or commented out for off."""
    switches = [report.enable_ssl for report in seen.reports.values()]
    return not any(SslValue.ON in (switch.server, switch.agent) for switch in switches)
