"""What a rule is: one kind of finding with all that is said about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gausscert_common.findings import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Mapping

ERROR = Severity.ERROR
WARNING = Severity.WARNING


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of finding."""

    code: str
    """Stable, UPPER_SNAKE_CASE."""
    severity: Severity
    title: str
    """What is wrong, in a few words."""
    meaning: str
    """Why it matters to CM or to the operator."""
    remedy: str
    """What to do about it."""

    def finding(self, cause: str, file: str = "") -> Finding:
        """A finding of this kind; `cause` says what exactly is wrong here."""
        return Finding(self.code, self.severity, cause, self.remedy, file=file)


def table(*rules: Rule) -> Mapping[str, Rule]:
    """Rules by code, in the order given."""
    return {rule.code: rule for rule in rules}
