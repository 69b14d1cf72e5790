"""What a node says of itself, as the real agent's observer would."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gausscert_agent.node import transaction_report
from gausscert_common import VERSION
from gausscert_common.model import CertificateSet, NodeReport, ProbeReport, RetiredSet

from simulation.content import reported

if TYPE_CHECKING:
    from simulation.agent import Agent
    from simulation.disk_parts import SimStore


class Telling:
    """One node; reads beside a running command."""

    def __init__(self, agent: Agent, store: SimStore) -> None:
        self._agent = agent
        self._world = agent.world
        self._machine = agent.machine
        self._runner = agent.runner
        self._store = store

    def live(self) -> CertificateSet:
        """As a report tells it."""
        return reported(self._machine.live)

    def staged(self, transaction_id: str) -> CertificateSet:
        """As a report tells it."""
        staged = self._machine.beside.get(transaction_id)
        return CertificateSet() if staged is None else reported(staged)

    def report(self) -> NodeReport:
        """The node at this moment."""
        machine = self._machine
        told = transaction_report(self._runner, self._store)  # type: ignore[arg-type]
        if not (self._runner.busy or self._agent.cannot_settle):
            self._world.referee.reported(machine, told.fence)
        return NodeReport(
            cluster=self._world.cluster,
            name=machine.name,
            agent_version=VERSION,
            clock=machine.clock,
            transaction=told,
            live=self.live(),
            stage=self.staged(told.transaction_id),
            retired=tuple(
                RetiredSet(name, kept.digest, kept.leaf) for name, kept in machine.generations.items()
            ),
            enable_ssl=machine.switch(),
            processes=machine.processes(),
            manually_stopped=machine.manual_stop,
            topology=self._world.topology(machine),
        )

    def probe(self, *, query: bool) -> ProbeReport:
        """What is seen of all cm_servers from here."""
        served = tuple(each.served_to(self._machine) for each in self._world.machines.values())
        return ProbeReport(served, self._world.state_seen_by(self._machine) if query else None)
