"""All of it together: machines, agents, network, coordinators, and what happens to them in one schedule."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from gausscert_common.bundle import Bundle
from gausscert_common.model import ClusterState, CmNode, CmTopology
from gausscert_common.protocol.commands import AcquireCommand, Command
from gausscert_common.protocol.coordinator import Verdict
from gausscert_common.protocol.state import SslSetting
from gausscert_common.protocol.words import Phase, SslWish
from gausscert_coordinator.inventory import Credentials, Inventory, InventoryNode, Timeouts
from gausscert_coordinator.report import Result
from support.fake_node import EPOCH

from simulation.agent import Agent
from simulation.captain import Captain, Errand
from simulation.clock import VirtualLoop
from simulation.content import OLD, OLDER, Content, bundle_of, content
from simulation.faults import Dice, Fault
from simulation.machine import Machine
from simulation.network import Network
from simulation.referee import Referee

CLUSTER: Final = "prod"
LABELS: Final = ("new-1", "new-2", "new-3")
_RESTART_S: Final = 0.5
BACK_S: Final = (5.0, 300.0)
_SSL_ON: Final = 0.85
"""Of so many clusters, in the beginning."""


class World:
    """See the module.

    Args:
        loop: Its time.
        seed: Decides everything.
        boost: Makes faults so many times as likely.
    """

    cluster = CLUSTER
    labels = (*LABELS, OLDER, OLD)

    def __init__(self, loop: VirtualLoop, seed: int, boost: float = 1.0) -> None:
        self.loop = loop
        self.dice = Dice(seed, boost)
        self.referee = Referee()
        self.trace: list[tuple[float, str, str]] = []
        self.captains: list[Captain] = []
        self.network = Network(self)
        self.started_outside = False
        """The first transaction is one of which the operator stops and starts CM."""
        self._pids = 100
        self._salts = 0
        self._salted = self.dice.random.random() < 0.7
        self.ssl_at_first = self.dice.random.random() < _SSL_ON
        names = [f"n{number}" for number in range(1, self.dice.one_of((3, 3, 4, 5)) + 1)]
        self.timeouts = self._timeouts()
        nodes = tuple(InventoryNode(name, f"{name}:7443") for name in names)
        nowhere = Path("nowhere")
        self.inventory = Inventory(CLUSTER, nodes, Credentials(nowhere, nowhere, nowhere), self.timeouts)
        self.machines = {name: Machine(self, name, number) for number, name in enumerate(names, start=1)}
        self.referee.machines = self.machines
        self._cm_nodes = tuple(
            CmNode(each.cm_node_id, f"host-{each.cm_node_id}", f"10.0.0.{each.cm_node_id}", 5000)
            for each in self.machines.values()
        )
        self.agents: dict[str, Agent | None] = dict.fromkeys(names)

    # What all ask.

    @property
    def now_s(self) -> float:
        """Seconds since the beginning."""
        return self.loop.time()

    @property
    def other_ssl(self) -> SslWish:
        """What `ssl on` or `ssl off` is to change, as it was at first."""
        return SslWish.OFF if self.ssl_at_first else SslWish.ON

    def now(self, skew_s: float = 0.0) -> datetime:
        """The time of day."""
        return EPOCH + timedelta(seconds=self.now_s + skew_s)

    def told(self, who: str, what: str) -> None:
        """For the trace."""
        self.trace.append((self.loop.time(), who, what))

    def salt(self, name: str) -> str:
        """Makes a set unlike those of other nodes and stagings, where the passwords are encrypted anew."""
        if not self._salted:
            return ""
        self._salts += 1
        return f"{name}.{self._salts}"

    def next_pid(self) -> int:
        """Of a child."""
        self._pids += 1
        return self._pids

    def topology(self, machine: Machine) -> CmTopology:
        """What `cm_ctl view` says there."""
        return CmTopology(machine.cm_node_id, self._cm_nodes)

    def state_seen_by(self, prober: Machine) -> ClusterState:
        """Only what runs with one CA, or without SSL, is of one cluster; more than half of the nodes make it
        work. Who asks needs a client certificate of that CA."""
        loaded = [
            (each.loaded.ca if each.ssl_loaded else "") for each in self.machines.values() if each.loaded
        ]
        ca, most = max(((ca, loaded.count(ca)) for ca in loaded), key=lambda each: each[1], default=("", 0))
        if 2 * most <= len(self._cm_nodes) or ca not in ("", prober.live.ca):
            return ClusterState(cause="can't connect to cm_server.")
        return ClusterState("Normal" if most == len(self._cm_nodes) else "Degraded")

    # Agents and power.

    def start_agent(self, machine: Machine) -> None:
        """As systemd does."""
        if machine.powered and self.agents[machine.name] is None:
            agent = self.agents[machine.name] = Agent(self, machine)
            agent.start()

    def agent_gone(self, machine: Machine) -> None:
        """Another one is started, sooner or later."""
        self.agents[machine.name] = None
        self.network.agent_gone(machine)
        late = self.dice.hits(Fault.RESTART_LATE)
        after_s = self.dice.between(20.0, 300.0) if late else self.dice.between(0.1, 2 * _RESTART_S)
        self.loop.call_later(after_s, self.start_agent, machine)

    def power_cut(self, machine: Machine) -> None:
        """Also of the agent, which may be who calls this: then it is its last act."""
        if not machine.powered:
            return
        machine.power_cut()
        if machine.away:
            self.told(machine.name, "is away")
        self.loop.call_later(self.dice.between(0.5, 60.0), self._power_on, machine)
        agent = self.agents[machine.name]
        if agent is not None:
            agent.die()

    def blackout(self, last: Machine) -> None:
        """All at once; that of the caller last, for it ends him."""
        for machine in self.machines.values():
            if machine is not last:
                self.power_cut(machine)
        self.power_cut(last)

    def _power_on(self, machine: Machine) -> None:
        if not machine.powered and not machine.away:
            machine.power_on()
            self.start_agent(machine)

    def send_away(self, machine: Machine) -> None:
        """It goes down, and does not come back by itself. One at a time: the others are to be a majority."""
        if self.somebody_away is not None:
            return
        self.dies(machine)
        if self.dice.would_hit(Fault.RETURNS):
            self.loop.call_later(self.dice.between(*BACK_S), self.returns, machine)

    def dies(self, machine: Machine) -> None:
        """For good, as far as anybody knows."""
        machine.away = True
        if machine.powered:
            self.power_cut(machine)

    def come_back(self, machine: Machine, *, anew: bool = False) -> None:
        """It boots, or another machine with its name does. Where it was left out, CM may start with the set
        that lies there, or somebody has seen to it that it does not."""
        machine.away = False
        left_out = machine.returned = self.left_out(machine) or anew
        if anew:
            self.dice.injected[Fault.NEW_MACHINE] += 1
            machine.renew(*self._set_up_as())
        elif self.done_without(machine):
            self.dice.injected[Fault.OLD_DISK] += 1
        if left_out and not self.dice.at_last(Fault.RUNS_OLD):
            machine.manual_stop = True
            machine.sync_mark()
        elif left_out:
            self.dice.injected[Fault.RUNS_OLD] += 1
        self._power_on(machine)

    def _set_up_as(self) -> tuple[Content, SslSetting]:
        """A set of before, or as another node has it by now."""
        there = [each for each in self.there if not each.foreign]
        other = self.dice.one_of(there or list(self.machines.values()))
        label = self.dice.one_of((OLD, OLDER, other.live.name.partition("/")[0]))
        return content(label, self.salt("new")), SslSetting(other.ssl_server, other.ssl_server)

    def lose_journal(self, machine: Machine, *, wiped: bool) -> None:
        """And its agent is started again, which then serves sealed, or without a past."""
        machine.lose_journal(wiped=wiped)
        agent = self.agents[machine.name]
        if agent is not None:
            agent.die()

    def take_out(self, machine: Machine) -> None:
        """It will never be back: CM and the inventory know it no more."""
        self.told(machine.name, "is taken out of the cluster")
        del self.machines[machine.name], self.agents[machine.name]
        self._cm_nodes = tuple(each for each in self._cm_nodes if each.id != machine.cm_node_id)
        nodes = tuple(each for each in self.inventory.nodes if each.name != machine.name)
        self.inventory = replace(self.inventory, nodes=nodes)

    @property
    def somebody_away(self) -> Machine | None:
        """The node that is away, if one is."""
        return next((each for each in self.machines.values() if each.away), None)

    def left_out(self, machine: Machine) -> bool:
        """Whether a transaction was begun without it that some node is in, or is about to be."""
        if any(machine.name in each.left_out for each in self.captains if each.at_work):
            return True
        told = [each.state.transaction for each in self.machines.values()]
        stands = any(each is not None and machine.name in each.excluded for each in told)
        return stands or self.done_without(machine)

    def returns(self, machine: Machine, *, as_it_was: bool = False) -> None:
        """It is back, if it is not yet, while something is still going on; or another one is in its place."""
        if machine.away and not self.dice.healed:
            self.dice.injected[Fault.RETURNS] += 1
            anew = self.done_without(machine) and not as_it_was
            self.come_back(machine, anew=anew and self.dice.would_hit(Fault.NEW_MACHINE))

    def done_without(self, machine: Machine) -> bool:
        """Whether others in the transaction that it is in were recovered without it, so that its disk may be
        given up."""
        told = machine.state.transaction
        return told is not None and machine.name in self.referee.excluded.get(told.transaction_id, ())

    def remembered(self, command: Command | None) -> None:
        """What a node was told is durable there."""
        if not isinstance(command, AcquireCommand):
            return
        for name in command.excluded:
            machine = self.machines.get(name)
            if machine is not None:
                machine.is_left_out(command.epoch)

    @property
    def awaited_bundle(self) -> Bundle | None:
        """Of the transaction that stands: what those need that it was begun without."""
        told = [each.state.transaction for each in self.machines.values()]
        digests = {each.bundle_digest for each in told if each is not None and each.excluded}
        known = [bundle_of(label) for label in self.labels]
        return next((each for each in known if each.digest in digests), None)

    # What coordinators say.

    def believed(self, captain: Captain, result: Result) -> None:
        """A verdict is held against what the nodes have promised."""
        referee, tid = self.referee, result.transaction_id
        if not tid or referee.lenient:
            return
        self._stays_up(captain, result)
        if result.verdict is Verdict.COMMITTED:
            without = referee.excluded.get(tid, frozenset())
            missing = set(referee.participants[tid]) - referee.committed.get(tid, set()) - without
            if missing or tid in referee.aborted:
                referee.broken(f"V: {captain.holder} says committed, unlike {sorted(missing)}")
        elif result.verdict is Verdict.ROLLED_BACK or (
            result.verdict is Verdict.NOTHING_DONE and captain.errand is not Errand.RECOVER
        ):
            live = sorted(set(referee.is_live(tid)) - referee.out_of_reach(tid))
            if live or tid in referee.committed:
                referee.broken(f"V: {captain.holder} says {result.verdict}, and {tid} is live on {live}")

    def _stays_up(self, captain: Captain, result: Result) -> None:
        """Whoever ends a transaction has CM started, unless that is the operator's or any state will do."""
        ended = result.verdict in (Verdict.COMMITTED, Verdict.ROLLED_BACK) and not self.in_flight
        if not ended or self.started_outside or captain.accept_state:
            return
        down = [each.name for each in self.machines.values() if each.manual_stop and each.boots == 1]
        if down:
            said = f"{captain.holder} says {result.verdict}"
            self.referee.broken(f"V: {said}, and CM of {', '.join(down)} is to stay down")

    @property
    def forgotten(self) -> bool:
        """Whether a node is in a transaction that another one was in, or has ended, and remembers no more."""
        told = [machine.state.transaction for machine in self.machines.values()]
        flying = {each.transaction_id for each in told if each is not None}
        return any(flying & machine.forgotten for machine in self.machines.values())

    @property
    def mixed(self) -> bool:
        """Whether the nodes hold different sets."""
        return len({machine.live.bundle_digest for machine in self.there}) > 1

    @property
    def in_flight(self) -> bool:
        """Whether some node is in a transaction."""
        return any(machine.state.phase is not Phase.NONE for machine in self.there)

    @property
    def there(self) -> list[Machine]:
        """The nodes that are not away."""
        return [machine for machine in self.machines.values() if not machine.away]

    @property
    def dead(self) -> tuple[str, ...]:
        """Those that are."""
        return tuple(machine.name for machine in self.machines.values() if machine.away)

    def _timeouts(self) -> Timeouts:
        dice = self.dice
        return Timeouts(
            connect_s=2.0,
            call_s=dice.one_of((3.0, 10.0)),
            prepare_s=dice.one_of((5.0, 20.0)),
            stop_s=dice.one_of((6.0, 20.0)),
            start_s=dice.one_of((6.0, 20.0)),
            verify_s=dice.one_of((3.0, 6.0)),
            retry_s=dice.one_of((2.0, 8.0, 20.0)),
        )
