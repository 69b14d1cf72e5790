"""CM as the agent's core sees it, over a simulated machine's processes, configuration and mark."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gausscert_agent.drivers.conf_file import ConfFile
from gausscert_agent.ports import Component, OnStart
from gausscert_common.errors import NodeFailure, Reason
from gausscert_common.model import CmProcess, FactorBuild, SslSwitch
from gausscert_common.protocol.words import RestartScope

from simulation.child import Child
from simulation.disk_parts import conf
from simulation.faults import Fault

if TYPE_CHECKING:
    from simulation.agent import Agent


class SimCm:
    """`gausscert_agent.ports.Cm`."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._machine = agent.machine
        self._world = agent.world

    def processes(self) -> tuple[CmProcess, ...]:
        return self._machine.processes()

    def foreign_cm_ctl(self) -> tuple[CmProcess, ...]:
        return ()

    def mark_logs(self) -> None:
        pass

    def manually_stopped(self) -> bool:
        return self._machine.manual_stop

    def sync_mark(self) -> None:
        self._agent.effect("a sync")
        self._machine.sync_mark()

    def read_ssl(self) -> SslSwitch:
        return self._machine.switch()

    def read_conf(self, component: Component) -> ConfFile:
        return conf(self._says(component))

    def ssl_obstacle(self, component: Component) -> str:
        return ""

    def set_ssl(self, component: Component, value: bool) -> None:
        self._agent.point("before it sets enable_ssl", Fault.CRASH_IN_EFFECT)
        self._agent.fails(Fault.CONF_FAILS, Reason.CM_CTL_FAILED)
        self._agent.effect("enable_ssl")
        self._machine.set_conf(component, value)
        self._agent.point("before enable_ssl is durable", Fault.CRASH_IN_EFFECT)

    def restore_conf(self, component: Component, before: ConfFile, value: bool) -> bool:
        self._agent.fails(Fault.CONF_FAILS, Reason.CONF_FAILED)
        self._agent.effect("enable_ssl")
        self._machine.set_conf(component, before.body == b"on")
        self._machine.sync_conf()
        return True

    def sync_conf(self, component: Component) -> None:
        self._machine.sync_conf()

    def factor_build(self) -> FactorBuild:
        return FactorBuild.RELEASED

    def stop(self, scope: RestartScope, timeout_s: float, on_start: OnStart) -> None:
        self._run(scope, timeout_s, on_start, stop=True)

    def start(self, scope: RestartScope, timeout_s: float, on_start: OnStart) -> None:
        self._run(scope, timeout_s, on_start, stop=False)

    def end_orphan(self, pid: int, start_ticks: int) -> None:
        child = self._machine.children.get(pid)
        if child is None or child.ticks != start_ticks:
            return
        if self._world.dice.hits(Fault.ORPHAN_STAYS):
            raise NodeFailure(Reason.CM_CTL_FAILED, f"cm_ctl with pid {pid} does not go away")
        child.end("its agent's successor has ended it")

    def _run(self, scope: RestartScope, timeout_s: float, on_start: OnStart, *, stop: bool) -> None:
        """The child is held until it is journalled, and ended by what comes between (`drivers.process`)."""
        agent, machine = self._agent, self._machine
        targets = (machine,) if scope is RestartScope.NODE else tuple(self._world.machines.values())
        fence = agent.fence_of_command()
        child = Child(self._world, machine, targets, stop=stop, fence=fence, timeout_s=timeout_s)
        try:
            on_start(child.pid, child.ticks)
        except Exception:
            child.end("it could not be journalled")
            raise
        agent.await_child(child)
        if child.outcome is not None:
            raise child.outcome

    def _says(self, component: Component) -> bool:
        return self._machine.ssl_server if component == "server" else self._machine.ssl_agent
