"""CM on this node, as `ports.Cm` asks for it: the drivers, joined by what `cm_ctl view` says."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from gausscert_common.errors import NodeFailure, Reason
from gausscert_common.model import CmTopology, FactorBuild

from gausscert_agent import files
from gausscert_agent.cm_parameters import CmParameters
from gausscert_agent.drivers import process_list
from gausscert_agent.drivers.asked import Asked
from gausscert_agent.drivers.cm_ctl import CmCtl
from gausscert_agent.drivers.cm_logs import CmLogs
from gausscert_agent.drivers.process import ProcessRunner
from gausscert_agent.files import Disk, store_errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from gausscert_common.findings import Finding
    from gausscert_common.model import ClusterState, CmProcess
    from gausscert_common.protocol.words import RestartScope

    from gausscert_agent.config import CmSettings
    from gausscert_agent.drivers.process import Runner
    from gausscert_agent.ports import OnStart

STATIC_CONFIG: Final = "cluster_static_config"
MANUAL_START: Final = "cluster_manual_start"
MANUAL_PAUSE: Final = "cluster_manual_pause"

_SIZES: Final = {
    (56, 24): FactorBuild.RELEASED,
    (104, 40): FactorBuild.LIBPQ_OFF,
}
"""Lengths of .cipher and .rand by build (facts section 3.5); here again so that an idle agent does
not load `factors` and with it cryptography."""


class LocalCm(CmParameters):
    """Implements `ports.Cm`.

    Args:
        settings: Where CM is.
        runner: How programs are run.
        disk: Makes every change to a configuration file that cm_ctl does not make.
        proc: The process list.
        monotonic: Seconds, never set back.
    """

    def __init__(
        self,
        settings: CmSettings,
        runner: Runner | None = None,
        *,
        disk: Disk | None = None,
        proc: Path = process_list.PROC,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        ctl = CmCtl(settings, runner if runner is not None else ProcessRunner())
        view = Asked(ctl.view, lambda: _mark(settings.home / "bin" / STATIC_CONFIG), monotonic=monotonic)
        super().__init__(settings, ctl, disk or Disk(), view)
        self._logs = CmLogs(settings.log_path)
        self._learnt: tuple[tuple[int, ...], FactorBuild | None] = ((), None)
        self._proc = proc
        self._version = Asked(self._ctl.version, lambda: _mark(self.bin / "cm_ctl"), monotonic=monotonic)

    def encrypt(self, mode: Literal["server", "client"], directory: Path, password: str) -> None:
        """See `ports.Cm.encrypt`."""
        self._ctl.encrypt(mode, str(directory), password)

    def has_cm_ctl(self) -> bool:
        """See `ports.Cm.has_cm_ctl`."""
        return self._ctl.exists

    def version(self) -> str:
        """What `cm_ctl --version` says; asked again only when the program was replaced.

        Raises:
            NodeFailure: CM_CTL_FAILED, CM_CTL_TIMEOUT.
        """
        return self._version.look()

    def last_version(self) -> str:
        """What it said last, or ""; runs nothing."""
        return self._version.last() or ""

    def topology(self) -> CmTopology:
        """The cluster as CM knows it; asked again only when cluster_static_config was replaced.

        Raises:
            NodeFailure: CM_CTL_FAILED, CM_CTL_TIMEOUT.
        """
        return self._view.look().topology

    def last_topology(self) -> CmTopology:
        """The cluster as CM told it last, or an empty one; runs nothing."""
        view = self._view.last()
        return CmTopology() if view is None else view.topology

    def query(self, timeout_s: float | None = None) -> ClusterState:
        """What `cm_ctl query` says now; what went wrong is in its `cause`."""
        return self._ctl.query(timeout_s)

    def stop(self, scope: RestartScope, timeout_s: float, on_start: OnStart) -> None:
        """See `ports.Cm.stop`."""
        self._ctl.stop(scope, self._node_id(), timeout_s, on_start)

    def start(self, scope: RestartScope, timeout_s: float, on_start: OnStart) -> None:
        """See `ports.Cm.start`."""
        self._ctl.start(scope, self._node_id(), timeout_s, on_start)

    def processes(self) -> tuple[CmProcess, ...]:
        """See `ports.Cm.processes`."""
        return process_list.find_processes(self.settings.home, self._proc)

    def pghost(self) -> Path | None:
        """The cluster's PGHOST, in which OM marks an upgrade: as configured for the agent, else as a process
        of CM was started with, which needs it (facts section 7); None where neither tells."""
        configured = self.settings.environment.get("PGHOST")
        if configured:
            return Path(configured)
        pids = [process.pid for process in self.processes()]
        told = (process_list.environment_value(pid, "PGHOST", self._proc) for pid in pids)
        return next((Path(value) for value in told if value and os.path.isabs(value)), None)

    def foreign_cm_ctl(self) -> tuple[CmProcess, ...]:
        """See `ports.Cm.foreign_cm_ctl`; two cm_ctl at once spoil each other's scratch files (facts
        section 8.2)."""
        return tuple(
            process
            for process in self.processes()
            if process.name == "cm_ctl" and not self._is_ours(process.pid)
        )

    def mark_logs(self) -> None:
        """See `ports.Cm.mark_logs`."""
        self._logs.mark()

    def log_findings(self) -> tuple[Finding, ...]:
        """What CM's own logs say went wrong since `mark_logs`."""
        return self._logs.causes()

    def manually_stopped(self) -> bool:
        """See `ports.Cm.manually_stopped`."""
        return (self.bin / MANUAL_START).exists()

    def sync_mark(self) -> None:
        """See `ports.Cm.sync_mark`. `bin` may be a link; the mark is none."""
        what = f"make durable whether there is {MANUAL_START}"
        with store_errors(what, self.bin), files.opened(f"{self.bin}/.") as directory:
            with suppress(FileNotFoundError), files.opened_file(directory, MANUAL_START) as mark:
                self._disk.sync(mark)
            self._disk.sync(directory)

    def factor_build(self) -> FactorBuild | None:
        """See `ports.Cm.factor_build`; told by the lengths of the live factor files, else by what this cm_ctl
        made when it was tried."""
        for role in ("server", "client"):
            build = _build_of_files(self.settings.set_directory, role)
            if build is not None:
                return build
        mark, learnt = self._learnt
        return learnt if mark == _mark(self.bin / "cm_ctl") else None

    def learn_factor_build(self, directory: Path) -> FactorBuild | None:
        """See `ports.Cm.learn_factor_build`; once for each cm_ctl."""
        known = self.factor_build()
        if known is None:
            self._ctl.encrypt("server", str(directory), _throw_away())
            known = _build_of_files(directory, "server")
            self._learnt = (_mark(self.bin / "cm_ctl"), known)
        return known

    def end_orphan(self, pid: int, start_ticks: int) -> None:
        """See `ports.Cm.end_orphan`. What it has started goes with it, except daemons of CM."""
        if not process_list.end_session(pid, start_ticks, proc=self._proc):
            raise NodeFailure(
                Reason.CM_CTL_FAILED,
                f"cm_ctl with pid {pid}, left over from an agent that died, does not go away",
                remedy=f"see what process {pid} hangs on; end it, then start the agent again",
            )

    @property
    def bin(self) -> Path:
        """Where CM's programs and the files that steer it are."""
        return self.settings.home / "bin"

    def _is_ours(self, pid: int) -> bool:
        stat = process_list.read_stat(pid, self._proc)
        return stat is None or stat.parent == os.getpid()


def _build_of_files(directory: Path, role: str) -> FactorBuild | None:
    cipher, rand = (_length(directory / f"{role}.key.{kind}") for kind in ("cipher", "rand"))
    return _SIZES.get((cipher, rand))


def _throw_away() -> str:
    """A password that suits CM and is of no use to anybody."""
    return f"Aa!{os.urandom(5).hex()}"


def _mark(path: Path) -> tuple[int, ...]:
    """Changes whenever a file is replaced or written."""
    try:
        stat = path.stat()
    except OSError:
        return ()
    return (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)


def _length(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
