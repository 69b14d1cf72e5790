"""Asks every node all that a plan is made of. Changes nothing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gausscert_coordinator import query
from gausscert_coordinator.fanout import Answers, ask
from gausscert_coordinator.plan_rules import clock_offset_s

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from gausscert_common.errors import GausscertError
    from gausscert_common.model import JudgedSet, NodeReport, ProbeReport
    from gausscert_common.source import Source

    from gausscert_coordinator.ports import AgentClient


@dataclass(frozen=True, slots=True)
class Survey:
    """What the nodes answered; everything by node name."""

    reports: Answers[NodeReport]
    """With preflight."""
    probes: Answers[ProbeReport] = field(default_factory=Answers)
    """Of those that reported."""
    clock_offsets_s: Mapping[str, float] = field(default_factory=dict)
    judged: Answers[JudgedSet] = field(default_factory=Answers)
    """The source that was asked about, by those that reported."""

    @property
    def errors(self) -> dict[str, GausscertError]:
        """Nodes that did not answer, or not all questions."""
        return {**self.reports.bad, **self.judged.bad, **self.probes.bad}


async def survey(
    clients: Mapping[str, AgentClient],
    now: Callable[[], datetime],
    source: Source | None = None,
    *,
    drop_crls: bool = False,
    probing: bool = True,
) -> Survey:
    """Ask all nodes. Raises nothing that nodes do.

    Args:
        clients: The nodes.
        now: The present in UTC.
        source: What would be staged; None where nobody needs to judge it.
        drop_crls: As for Prepare.
        probing: Whether what they see of the running cluster matters.
    """
    offsets: dict[str, float] = {}

    async def preflight(client: AgentClient) -> NodeReport:
        sent = now()
        report = await client.get_node(preflight=True)
        offsets[client.name] = clock_offset_s(sent, report.clock, now())
        return report

    reports = await ask(clients.values(), preflight)
    reached = [clients[name] for name in reports.good]
    judged, probes = await asyncio.gather(
        _judged(reached, source, drop_crls=drop_crls),
        ask(
            reached if probing else (),
            lambda client: client.probe(query=True, timeout_s=query.LONGEST_S),
        ),
    )
    return Survey(reports, probes, offsets, judged)


async def _judged(
    reached: Sequence[AgentClient], source: Source | None, *, drop_crls: bool
) -> Answers[JudgedSet]:
    if source is None:
        return Answers()
    return await ask(reached, lambda client: client.judge(source, drop_crls=drop_crls))
