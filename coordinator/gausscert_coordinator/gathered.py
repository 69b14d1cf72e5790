"""What a run has come across so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gausscert_common.findings import Finding
    from gausscert_common.model import Overlap

    from gausscert_coordinator.baseline import Baseline


@dataclass(slots=True)
class Gathered:
    """Changes as the run goes on."""

    prepare_sent: bool
    """From then on nodes may take part."""
    granted: tuple[str, ...] = ()
    """Whose lease is ours."""
    before: Baseline | None = None
    """How the cluster was; None for whoever recovers."""
    findings: list[Finding] = field(default_factory=list)
    overlaps: Mapping[str, Overlap] = field(default_factory=dict)
