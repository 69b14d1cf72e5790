"""A finding: one thing wrong with a bundle, a set or a node."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Severity(StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    """Refuses the way forward. Never blocks a rollback."""
    WARNING = "warning"
    """Worth knowing; refuses nothing."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong, with all a person needs to mend it."""

    code: str
    """Stable, UPPER_SNAKE_CASE."""
    severity: Severity
    cause: str
    """What is wrong and why it matters; never holds a password or a key."""
    remedy: str = ""
    """What to do about it."""
    node: str = ""
    """The node's name; "" when it concerns the bundle as such."""
    file: str = ""
    """The file; "" when it concerns no single file."""

    def at_node(self, node: str) -> Finding:
        """The same finding, said of a node."""
        return replace(self, node=node)


def errors(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Those that refuse the way forward, in the order given."""
    return tuple(finding for finding in findings if finding.severity is Severity.ERROR)
