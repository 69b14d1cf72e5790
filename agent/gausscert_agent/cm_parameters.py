"""CM's two configuration files on this node: where they are and what they say about TLS. One parameter is
changed through cm_ctl, or put back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gausscert_common.errors import NodeFailure, Reason
from gausscert_common.model import CmTopology, SslSwitch

from gausscert_agent.drivers import cm_conf, conf_edit, conf_file
from gausscert_agent.drivers.cm_texts import CmView
from gausscert_agent.drivers.conf_edit import Parameter

if TYPE_CHECKING:
    from collections.abc import Callable

    from gausscert_agent.config import CmSettings
    from gausscert_agent.drivers.asked import Asked
    from gausscert_agent.drivers.cm_conf import Conf
    from gausscert_agent.drivers.cm_ctl import CmCtl
    from gausscert_agent.drivers.conf_file import ConfFile
    from gausscert_agent.files import Disk
    from gausscert_agent.ports import Component

COMPONENTS: Final[tuple[Component, Component]] = ("server", "agent")

_SET_DATA_PATH: Final = "set cm.data_path in the agent's configuration to CM's cmDataPath on this node"


class CmParameters:
    """See the module.

    Args:
        settings: Where CM is.
        ctl: Sets parameters.
        disk: Makes every change to a configuration file that cm_ctl does not make.
        view: What `cm_ctl view` says.
    """

    def __init__(self, settings: CmSettings, ctl: CmCtl, disk: Disk, view: Asked[CmView]) -> None:
        self.settings = settings
        self._ctl = ctl
        self._disk = disk
        self._view = view

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
