"""Findings of many nodes as one list: what is the same everywhere is said once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gausscert_common.findings import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


def merge(by_node: Mapping[str, Sequence[Finding]]) -> tuple[Finding, ...]:
    """Findings about something that all nodes share, such as the bundle: said once where all nodes say
    it, else once for each node that does."""
    said: dict[Finding, list[str]] = {}
    for node, findings in by_node.items():
        for finding in dict.fromkeys(each.at_node("") for each in findings):
            said.setdefault(finding, []).append(node)
    merged: list[Finding] = []
    for finding, nodes in said.items():
        if len(nodes) == len(by_node):
            merged.append(finding)
        else:
            merged.extend(finding.at_node(node) for node in nodes)
    return tuple(merged)


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Errors before warnings, else in the order given; nothing twice."""
    distinct = dict.fromkeys(findings)
    return tuple(sorted(distinct, key=lambda finding: finding.severity is not Severity.ERROR))
