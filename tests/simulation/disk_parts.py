"""What the agent's core stands on, over a simulated machine's disk: journal, store, stage builder and
configuration copies. Each gives way, fails or lets its agent die where the real one could."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from gausscert_agent import journal_codec, set_names
from gausscert_agent.drivers.conf_file import ConfFile
from gausscert_agent.journal_codec import Record
from gausscert_agent.ports import Component
from gausscert_agent.staging import Built, Material
from gausscert_common.bundle import Bundle
from gausscert_common.errors import NodeFailure, NodeRefusal, Reason
from gausscert_common.findings import Finding
from gausscert_common.model import Overlap
from gausscert_common.protocol.state import NodeState
from gausscert_common.protocol.words import Step
from gausscert_common.source import Generation, Source

from simulation.content import TORN, Content, content, label_of
from simulation.faults import Fault
from simulation.machine import Machine

if TYPE_CHECKING:
    from simulation.agent import Agent


_ACQUIRED: Final = 3
"""So many chances to fail has a record of an Acquire: what that leaves behind is rare otherwise."""


class SimJournal:
    """`gausscert_agent.journal.Journal` on a disk that may lose what was not synced."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._machine = agent.machine
        self.record = Record()

    def lock(self) -> None:
        pass

    def close(self) -> None:
        pass

    @property
    def begins_anew(self) -> bool:
        return not self._machine.record

    def gone(self, left: str) -> NodeFailure:
        return NodeFailure(Reason.JOURNAL_DAMAGED, f"there is none, but {left}")

    def load(self) -> NodeState:
        text = self._machine.record
        self.record = journal_codec.decode(json.loads(text)) if text else Record()
        return self.record.node

    def save_record(self, record: Record) -> None:
        agent = self._agent
        agent.effect("a record")
        if record.node.fence < self._machine.fence:
            lowered = f"the fence of {self._machine.name} is lowered to {record.node.fence}"
            agent.world.referee.broken(f"I8: {lowered}")
        agent.point(f"before it journals {record.node.phase}", Fault.CRASH_IN_JOURNAL)
        agent.fails(Fault.JOURNAL_FAILS, Reason.JOURNAL_FAILED)
        self._machine.write(json.dumps(journal_codec.encode(record)), record.node.fence)
        agent.point(f"before {record.node.phase} is durable", Fault.CRASH_IN_JOURNAL)
        for _ in range(_ACQUIRED if record.node.fence.step is Step.ACQUIRE else 1):
            agent.fails(Fault.JOURNAL_FAILS, Reason.JOURNAL_FAILED)
        self._machine.sync_record(record.node)
        self.record = record
        agent.world.remembered(agent.command())
        agent.point(f"after it has journalled {record.node.phase}", Fault.CRASH)


class SimStore:
    """`gausscert_agent.store.Store`: the same refusals, in the same order."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._machine = agent.machine

    def live_digest(self) -> str:
        return self._machine.live.digest

    def unretired(self) -> list[str]:
        stages = [set_names.stage_name(transaction_id) for transaction_id in sorted(self._machine.beside)]
        return stages + [
            set_names.mark_name(transaction_id) for transaction_id in sorted(self._machine.marks)
        ]

    def leave_mark(self, transaction_id: str) -> None:
        self._agent.effect("a mark")
        self._machine.marks.add(transaction_id)

    def ensure_live(self, transaction_id: str, wanted: str, other: str) -> None:
        agent, machine = self._agent, self._machine
        agent.point("before an exchange", Fault.CRASH_IN_EFFECT)
        live = machine.live.digest
        if live not in (wanted, other):
            raise NodeRefusal(Reason.FOREIGN_SET, "the live set is neither the one nor the other")
        if live != wanted:
            staged = machine.beside.get(transaction_id)
            if staged is None or staged.digest != wanted:
                raise NodeFailure(Reason.STORE_FAILED, "the stage does not hold the wanted set")
            agent.fails(Fault.STORE_FAILS)
            agent.effect("an exchange")
            machine.exchange(transaction_id)
            agent.point("between an exchange and its sync", Fault.CRASH_IN_EFFECT)
        agent.fails(Fault.STORE_FAILS)
        machine.sync()

    def require_alike(self, transaction_id: str) -> None:
        pass

    def retire(self, transaction_id: str, *, expected: str, generation: str) -> None:
        agent, machine = self._agent, self._machine
        agent.point("before it retires a set", Fault.CRASH_IN_EFFECT)
        former = machine.beside.get(transaction_id)
        if former is not None:
            if former.digest != expected:
                raise NodeRefusal(Reason.FOREIGN_SET, "something else is in the former set's place")
            agent.fails(Fault.STORE_FAILS)
            agent.effect("retiring")
            machine.remove(transaction_id)
            machine.generations = {generation: former, **machine.generations}
            agent.point("between retiring and its sync", Fault.CRASH_IN_EFFECT)
        machine.sync()

    def remove_stage(self, transaction_id: str) -> None:
        agent, machine = self._agent, self._machine
        machine.marks.discard(transaction_id)
        if transaction_id not in machine.beside:
            return
        agent.point("before it removes a stage", Fault.CRASH_IN_EFFECT)
        if machine.beside[transaction_id] is TORN:
            agent.fails(Fault.STAGE_STAYS)
        agent.fails(Fault.STORE_FAILS)
        agent.effect("a removal")
        machine.remove(transaction_id)
        agent.point("between a removal and its sync", Fault.CRASH_IN_EFFECT)
        machine.sync()

    def prune(self, keep: int) -> None:
        kept = list(self._machine.generations.items())[:keep]
        self._machine.generations = dict(kept)
        self._machine.marks.clear()

    def sync(self) -> None:
        self._machine.sync()


class SimBuilder:
    """`gausscert_agent.staging.StageBuilder`: torn, then whole and durable; what the rules about
    certificates find is not of interest here, only that they may refuse."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._machine = agent.machine

    def build(self, transaction_id: str, material: Material) -> Built:
        agent, machine, world = self._agent, self._machine, self._agent.world
        agent.effect("staging")
        machine.put(transaction_id, TORN)
        agent.point("with a torn stage", Fault.CRASH_IN_EFFECT)
        agent.fails(Fault.STAGE_FAILS)
        if world.dice.hits(Fault.STAGE_REFUSED):
            raise NodeRefusal(Reason.SET_INVALID, "the new set is not fit for use")
        staged = self._made_of(material.source)
        machine.put(transaction_id, staged)
        agent.point("with a whole stage", Fault.CRASH_IN_EFFECT)
        return Built(staged.digest, staged.bundle_digest)

    def keep_live(self, *, strict: bool) -> Built:
        agent, live = self._agent, self._machine.live
        agent.effect("judging")
        if strict and agent.world.dice.hits(Fault.STAGE_REFUSED):
            raise NodeRefusal(Reason.SET_INVALID, "the live set is not fit for use")
        return Built(live.digest, live.bundle_digest)

    def _made_of(self, source: Source) -> Content:
        machine, world = self._machine, self._agent.world
        if isinstance(source, Bundle):
            return content(label_of(source.digest, world.labels), world.salt(machine.name))
        assert isinstance(source, Generation)
        kept = machine.generations.get(source.name)
        if kept is None:
            raise NodeRefusal(Reason.GENERATION_UNKNOWN, f"there is no generation {source.name} here")
        assert isinstance(kept, Content)
        return kept

    def said_of(self, transaction_id: str) -> tuple[tuple[Finding, ...], Overlap]:
        return (), Overlap()


class SimCopies:
    """`gausscert_agent.conf_copies.ConfCopies`, durable at once."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def keep(self, transaction_id: str, component: Component, found: ConfFile) -> None:
        self._machine.copies.setdefault((transaction_id, component), found.body == b"on")

    def read(self, transaction_id: str, component: Component) -> ConfFile | None:
        kept = self._machine.copies.get((transaction_id, component))
        return None if kept is None else conf(kept)

    def owners(self) -> list[str]:
        return sorted({transaction_id for transaction_id, _ in self._machine.copies})

    def drop_all(self) -> None:
        self._machine.copies.clear()


def conf(value: bool) -> ConfFile:
    return ConfFile(b"on" if value else b"off", 0o600, 0, 0)
