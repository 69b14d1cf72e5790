"""CM on this node, as `ports.Cm` asks for it: the drivers, joined by what `cm_ctl view` says."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from gausscert_common.errors import NodeFailure, Reason
from gausscert_common.model import CmTopology, FactorBuild, SslSwitch

from gausscert_agent import files
from gausscert_agent.drivers import cm_conf, conf_edit, conf_file, process_list
from gausscert_agent.drivers.asked import Asked
from gausscert_agent.drivers.cm_ctl import CmCtl
from gausscert_agent.drivers.cm_logs import CmLogs
from gausscert_agent.drivers.cm_texts import CmView
from gausscert_agent.drivers.conf_edit import Parameter
from gausscert_agent.drivers.process import ProcessRunner
from gausscert_agent.files import Disk, store_errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from gausscert_common.findings import Finding
    from gausscert_common.model import ClusterState, CmProcess
    from gausscert_common.protocol.words import RestartScope

    from gausscert_agent.config import CmSettings
    from gausscert_agent.drivers.cm_conf import Conf
    from gausscert_agent.drivers.conf_file import ConfFile
    from gausscert_agent.drivers.process import Runner
    from gausscert_agent.ports import Component, OnStart

COMPONENTS: Final[tuple[Component, Component]] = ("server", "agent")

STATIC_CONFIG: Final = "cluster_static_config"
MANUAL_START: Final = "cluster_manual_start"
MANUAL_PAUSE: Final = "cluster_manual_pause"

_SIZES: Final = {
    (56, 24): FactorBuild.RELEASED,
    (104, 40): FactorBuild.LIBPQ_OFF,
}
"""Lengths of .cipher and .rand by build (facts section 3.5); here again so that an idle agent does
not load `factors` and with it cryptography."""

_SET_DATA_PATH: Final = "set cm.data_path in the agent's configuration to CM's cmDataPath on this node"


class LocalCm:
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
        self.settings = settings
        self._ctl = CmCtl(settings, runner if runner is not None else ProcessRunner())
        self._logs = CmLogs(settings.log_path)
        self._disk = disk or Disk()
        self._learnt: tuple[tuple[int, ...], FactorBuild | None] = ((), None)
        self._proc = proc
        self._view = Asked(self._ctl.view, lambda: _mark(self.bin / STATIC_CONFIG), monotonic=monotonic)
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

    def conf_path(self, component: Component) -> Path:
        """cm_server.conf or cm_agent.conf of this node.

        Raises:
            NodeFailure: CONF_FAILED where nothing tells cmDataPath; CM_CTL_FAILED, CM_CTL_TIMEOUT.
        """
        return _conf_path(self._data_path(self._view.look), component)

    def conf(self, component: Component) -> Conf:
        """What one configuration file says now about TLS.

        Raises:
            NodeFailure: CONF_FAILED, CM_CTL_FAILED, CM_CTL_TIMEOUT.
        """
        return cm_conf.read(self.conf_path(component))

    def look_at_ssl(self) -> SslSwitch:
        """As `read_ssl`, for those who only look: a cm_ctl that failed a moment ago is not run again.

        Raises:
            NodeFailure: CONF_FAILED, CM_CTL_FAILED, CM_CTL_TIMEOUT.
        """
        return _ssl(self._data_path(self._view.look))

    def last_ssl(self) -> SslSwitch:
        """What the files say now, if it is known where they are; runs nothing.

        Raises:
            NodeFailure: CONF_FAILED.
        """
        if self.settings.data_path is None and self._view.last() is None:
            return SslSwitch()
        return _ssl(self._data_path(self._last_view))

    def read_ssl(self) -> SslSwitch:
        """See `ports.Cm.read_ssl`."""
        return _ssl(self._data_path(self._view.need))

    def read_conf(self, component: Component) -> ConfFile | None:
        """See `ports.Cm.read_conf`."""
        return conf_file.read(self._path_for_command(component))

    def ssl_obstacle(self, component: Component) -> str:
        """See `ports.Cm.ssl_obstacle`."""
        found = self.read_conf(component)
        return "" if found is None else _obstacle(found.body, Parameter.ENABLE_SSL)

    def set_ssl(self, component: Component, value: bool) -> None:
        """See `ports.Cm.set_ssl`. Nothing is run when the file already says so."""
        self.set_parameter(component, Parameter.ENABLE_SSL, value)

    def set_parameter(self, component: Component, parameter: Parameter, value: bool | int) -> None:
        """Change one parameter through `cm_ctl set ... -n <own id>`, and make sure that it changed nothing
        else. Nothing is run when the file already says so. Durable only after `sync_conf`.

        Raises:
            InvalidInput: ARGUMENT_INVALID; CM does not take such a value.
            NodeFailure: CM_CTL_FAILED, CM_CTL_TIMEOUT, CONF_FAILED.
        """
        wanted = conf_edit.spelled(parameter, value)
        path = self._path_for_command(component)
        found = conf_file.read(path)
        if found is None:
            raise _not_settable(path, parameter, wanted, "there is no such file on this node")
        if cm_conf.says(found.body, parameter, value):
            return
        cause = cm_conf.not_a_line(found.body, parameter) or _obstacle(found.body, parameter)
        if cause:
            raise _not_settable(path, parameter, wanted, cause)
        if conf_edit.with_newline(found.body) != found.body:
            conf_file.replace(self._disk, path, replace(found, body=conf_edit.with_newline(found.body)))
        self._ctl.set_parameter(component, self._node_id(), parameter, wanted)
        after = conf_file.read(path)
        expected = conf_edit.edited(found.body, parameter, wanted)
        if after is None or after.body != expected or not cm_conf.says(after.body, parameter, value):
            raise NodeFailure(
                Reason.CONF_FAILED,
                f"cm_ctl reported success, but did not set {parameter} to {wanted} and leave the rest",
                file=str(path),
                remedy=f"compare the file with a copy, and see to the line `{parameter} = {wanted}`",
            )

    def restore_conf(self, component: Component, before: ConfFile, value: bool) -> bool:
        """See `ports.Cm.restore_conf`."""
        return self.restore_parameter(component, Parameter.ENABLE_SSL, before, value)

    def restore_parameter(
        self, component: Component, parameter: Parameter, before: ConfFile, value: bool | int
    ) -> bool:
        """Put a file back, byte for byte, as it was before a parameter was set to a value; as
        `ports.Cm.restore_conf`."""
        path = self._path_for_command(component)
        now = conf_file.read(path)
        if now is None:
            return False
        wanted = conf_edit.spelled(parameter, value)
        ours = (
            before.body,
            conf_edit.with_newline(before.body),
            conf_edit.edited(before.body, parameter, wanted),
        )
        if now.body not in ours:
            return False
        if now == before:
            self.sync_conf(component)
        else:
            conf_file.replace(self._disk, path, before)
        return True

    def sync_conf(self, component: Component) -> None:
        """See `ports.Cm.sync_conf`."""
        conf_file.sync(self._disk, self._path_for_command(component))

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

    def _last_view(self) -> CmView:
        return self._view.last() or CmView(CmTopology(), {})

    def _path_for_command(self, component: Component) -> Path:
        return _conf_path(self._data_path(self._view.need), component)

    def _node_id(self) -> int:
        node_id = self._view.need().topology.local_node_id
        if not node_id:
            raise NodeFailure(Reason.CM_CTL_FAILED, "`cm_ctl view` does not say which node this is")
        return node_id

    def _data_path(self, see: Callable[[], CmView]) -> Path:
        if self.settings.data_path is not None:
            return self.settings.data_path
        view = see()
        own = view.data_paths.get(view.topology.local_node_id)
        return Path(own) if own else _shared_data_path(view)


def _shared_data_path(view: CmView) -> Path:
    """`cm_ctl view` tells cmDataPath of nodes with a cm_server only. Where all of these have the same
    one, a node without cm_server that has such a folder has that one too."""
    paths = {Path(path) for path in view.data_paths.values()}
    found = [path for path in paths if _conf_path(path, "agent").is_file()]
    if len(paths) == 1 and found:
        return found[0]
    raise NodeFailure(
        Reason.CONF_FAILED, "`cm_ctl view` does not tell this node's cmDataPath", remedy=_SET_DATA_PATH
    )


def _ssl(data_path: Path) -> SslSwitch:
    server, agent = (cm_conf.read(_conf_path(data_path, one)) for one in COMPONENTS)
    return SslSwitch(server=server.enable_ssl, agent=agent.enable_ssl)


def _conf_path(data_path: Path, component: Component) -> Path:
    return data_path / f"cm_{component}" / f"cm_{component}.conf"


def _obstacle(body: bytes, parameter: Parameter) -> str:
    """Why a line that there is could not be set; "" when nothing is in the way. What cm_ctl leaves behind
    must also be what CM reads: the two do not read a file alike."""
    cause = conf_edit.obstacle(body, parameter)
    if cause or cm_conf.not_a_line(body, parameter):
        return cause
    trials = ((True, "on"), (False, "off")) if parameter is Parameter.ENABLE_SSL else ((7, "7"),)
    if all(cm_conf.says(conf_edit.edited(body, parameter, text), parameter, value) for value, text in trials):
        return ""
    return f"the line of {parameter} is not one that cm_ctl and CM read alike"


def _not_settable(path: Path, parameter: Parameter, wanted: str, cause: str) -> NodeFailure:
    return NodeFailure(
        Reason.CONF_FAILED,
        cause,
        file=str(path),
        remedy=f"see that the file has exactly one line `{parameter} = ...`, then set it to {wanted}",
    )


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
