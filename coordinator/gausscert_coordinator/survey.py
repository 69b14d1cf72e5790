"""Asks every node all that a plan is made of. Changes nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from gausscert_coordinator.fanout import Answers, ask
from gausscert_coordinator.plan_rules import clock_offset_s

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from gausscert_common.errors import GausscertError
    from gausscert_common.model import JudgedGeneration, NodeReport, ProbeReport
    from gausscert_common.source import Generation, LiveSet

    from gausscert_coordinator.ports import AgentClient

PROBE_TIMEOUT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Survey:
    """What the nodes answered; everything by node name."""

    reports: Answers[NodeReport]
    """With preflight."""
    probes: Answers[ProbeReport] = field(default_factory=Answers)
    """Of those that reported."""
    clock_offsets_s: Mapping[str, float] = field(default_factory=dict)
    judged: Mapping[str, JudgedGeneration] = field(default_factory=dict)
    """The generation that was asked about."""

    @property
    def errors(self) -> dict[str, GausscertError]:
        """Nodes that did not answer, or not all questions."""
        return {**self.reports.bad, **self.probes.bad}


async def survey(
    clients: Mapping[str, AgentClient],
    now: Callable[[], datetime],
    generation: Generation | LiveSet | None = None,
    *,
    drop_crls: bool = False,
    probing: bool = True,
) -> Survey:
    """Ask all nodes. Raises nothing that nodes do.

    Args:
        clients: The nodes.
        now: The present in UTC.
        generation: Or the live set; to be judged as well.
        drop_crls: Without its CRLs.
        probing: Whether what they see of the running cluster matters.
    """
    offsets: dict[str, float] = {}
    judged: dict[str, JudgedGeneration] = {}

    async def preflight(client: AgentClient) -> NodeReport:
        sent = now()
        if generation is None:
            report = await client.get_node(preflight=True)
        else:
            report, judged[client.name] = await client.judge(generation, drop_crls=drop_crls)
        offsets[client.name] = clock_offset_s(sent, report.clock, now())
        return report

    reports = await ask(clients.values(), preflight)
    reached = [clients[name] for name in reports.good] if probing else []
    probes = await ask(reached, lambda client: client.probe(query=True, timeout_s=PROBE_TIMEOUT_S))
    return Survey(reports, probes, offsets, {name: judged[name] for name in reports.good if name in judged})
