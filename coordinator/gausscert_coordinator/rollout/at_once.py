"""What is wrong with several files, or for several nodes, told as one error instead of the first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gausscert_common.errors import InvalidInput
from gausscert_common.findings import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Sequence


def joined(wrong: Sequence[InvalidInput]) -> InvalidInput:
    """One error of all of them, with the reason of the first; the first itself where there is only one.

    Args:
        wrong: At least one.
    """
    if len(wrong) == 1:
        return wrong[0]
    found = [finding for error in wrong for finding in _findings(error)]
    return InvalidInput(
        wrong[0].reason,
        "; ".join(dict.fromkeys(_said(finding) for finding in found)),
        remedy="; ".join(dict.fromkeys(finding.remedy for finding in found)),
        findings=found,
    )


def of_node(node: str, error: InvalidInput) -> InvalidInput:
    """The same, said of a node."""
    error.node = node
    error.findings = tuple(finding.at_node(node) for finding in error.findings)
    return error


def _findings(error: InvalidInput) -> Sequence[Finding]:
    if error.findings:
        return error.findings
    alone = Finding(
        error.reason.value, Severity.ERROR, error.message, error.remedy, node=error.node, file=error.file
    )
    return (alone,)


def _said(finding: Finding) -> str:
    return ": ".join(part for part in (finding.node, finding.file, finding.cause) if part)
