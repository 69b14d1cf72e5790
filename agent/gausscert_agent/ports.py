"""What the agent's core needs from CM. `drivers` has the real hands; tests have a fake."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from gausscert_common.findings import Finding
from gausscert_common.model import CmProcess, FactorBuild, Overlap, SslSwitch
from gausscert_common.protocol.words import RestartScope

from gausscert_agent.drivers.conf_file import ConfFile

Component = Literal["server", "agent"]
"""Whose configuration file: cm_server.conf or cm_agent.conf."""

OnStart = Callable[[int, int], None]
"""Told the pid and the start ticks (field 22 of /proc/PID/stat) of a cm_ctl child as soon as it runs.
What it raises ends the child and is passed on."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What came of the handshakes with a staged set."""

    findings: tuple[Finding, ...] = ()
    """What fails with the new set on both sides; () when nothing does."""
    overlap: Overlap = Overlap()
    """What fails between the live set and the new one."""


Rehearse = Callable[[Mapping[str, bytes], Mapping[str, bytes] | None], Rehearsal]
"""Mutual TLS handshakes under CM's own rules, with the files of a staged set and of the live one, if any."""


class Cm(Protocol):
    """CM on this node. Every method raises only NodeFailure and NodeRefusal.

    Calls come one at a time, from one thread or another, but `processes`, `manually_stopped`,
    `read_ssl` and `factor_build` may also be called beside a running one.
    """

    def encrypt(self, mode: Literal["server", "client"], directory: Path, password: str) -> None:
        """Have `cm_ctl encrypt` write `<mode>.key.cipher` and `.rand` into a directory that is
        private to the agent and empty of them. It leaves mode 0600 (facts section 3.4).

        Raises:
            NodeFailure: CM_CTL_FAILED, CM_CTL_TIMEOUT.
        """

    def has_cm_ctl(self) -> bool:
        """Whether there is a cm_ctl to run; if not, `encrypt` is never called."""

    def read_ssl(self) -> SslSwitch:
        """`enable_ssl` as both configuration files say now.

        Raises:
            NodeFailure: CONF_FAILED, where a file is there and cannot be read.
        """

    def read_conf(self, component: Component) -> ConfFile | None:
        """A configuration file as a whole; None if there is none.

        Raises:
            NodeFailure: CONF_FAILED; CM_CTL_FAILED, CM_CTL_TIMEOUT where nothing tells its path.
        """

    def ssl_obstacle(self, component: Component) -> str:
        """Why `cm_ctl set` could not change `enable_ssl` in that file, for a person; "" when nothing is in
        the way. Raises as `read_conf`."""

    def set_ssl(self, component: Component, value: bool) -> None:
        """Set `enable_ssl` through `cm_ctl set ... -n <own id>`; the file is read again afterwards, and
        nothing else in it may have changed. Durable only after `sync_conf`.

        Raises:
            NodeFailure: CM_CTL_FAILED, CM_CTL_TIMEOUT, CONF_FAILED.
        """

    def restore_conf(self, component: Component, before: ConfFile, value: bool) -> bool:
        """Put a file back, byte for byte, as it was before `enable_ssl` was set to `value`; durable.

        Returns:
            Whether it is as before; False where somebody changed it since: then it was left alone.

        Raises:
            NodeFailure: CONF_FAILED, CM_CTL_FAILED, CM_CTL_TIMEOUT.
        """

    def sync_conf(self, component: Component) -> None:
        """Make what the configuration file says durable: cm_ctl leaves that to the kernel, and a node that
        has voted must say after a power cut what it said before.

        Raises:
            NodeFailure: CONF_FAILED; CM_CTL_FAILED, CM_CTL_TIMEOUT where nothing tells its path.
        """

    def stop(self, scope: RestartScope, timeout_s: float, on_start: OnStart) -> None:
        """Run `cm_ctl stop` for the cluster (CLUSTER) or for the own node (NODE) to its end.

        Whether CM has stopped is for the caller to see: cm_ctl is not believed (facts section 8.1).

        Raises:
            NodeFailure: CM_CTL_FAILED, CM_CTL_TIMEOUT; the child is gone when it is raised.
        """

    def start(self, scope: RestartScope, timeout_s: float, on_start: OnStart) -> None:
        """Run `cm_ctl start` for the cluster or for the own node to its end; as `stop`.

        Raises:
            NodeFailure: CM_CTL_FAILED, CM_CTL_TIMEOUT, CM_NOT_STARTED; the child is gone.
        """

    def processes(self) -> tuple[CmProcess, ...]:
        """The CM processes of this node's home: cm_server, cm_agent, om_monitor, cm_ctl."""

    def manually_stopped(self) -> bool:
        """Whether `<home>/bin/cluster_manual_start` exists: om_monitor then starts nothing."""

    def sync_mark(self) -> None:
        """Make durable that `cluster_manual_start` is there, or that it is not: cm_ctl leaves that to the
        kernel, and after a power cut om_monitor goes by what survived.

        Raises:
            NodeFailure: STORE_FAILED.
        """

    def factor_build(self) -> FactorBuild | None:
        """The factor file format of this node's CM, or None if nothing tells; runs nothing."""

    def learn_factor_build(self, directory: Path) -> FactorBuild | None:
        """As `factor_build`, but where nothing tells `cm_ctl encrypt` is run with a password of no use, into
        a directory that is private to the agent and empty. None if cm_ctl makes files of no known build.

        Raises:
            NodeFailure: CM_CTL_FAILED, CM_CTL_TIMEOUT.
        """

    def end_orphan(self, pid: int, start_ticks: int) -> None:
        """Kill and await a cm_ctl child of an agent that died, if that process still is the same.

        Raises:
            NodeFailure: CM_CTL_FAILED, if it does not go away.
        """
