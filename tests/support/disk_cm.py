"""A CM whose configuration files are real ones, edited as cm_ctl edits them; the rest is `FakeCm`.

    cm = DiskCm(root, Disk())      # root/home, root/data as `lay_out` makes them

A process that is killed leaves in the files what it had written, as a cm_ctl does that dies with its agent.
"""

from __future__ import annotations

from pathlib import Path

from gausscert_agent.cm import LocalCm
from gausscert_agent.config import CmSettings
from gausscert_agent.drivers.conf_file import ConfFile
from gausscert_agent.drivers.process import Completed
from gausscert_agent.files import Disk
from gausscert_common.model import SslSwitch
from gausscert_sim import conf as sim_conf
from support.agent_core import FakeCm

CONF = b"# cm\nenable_ssl = on   # ssl\nthread_count = 1000"
"""Without a newline at its end, which cm_ctl would lose."""


def conf_of(root: Path, component: str) -> Path:
    """cm_server.conf or cm_agent.conf."""
    return root / "data" / f"cm_{component}" / f"cm_{component}.conf"


def lay_out(root: Path) -> None:
    """Both configuration files."""
    for component in ("server", "agent"):
        path = conf_of(root, component)
        path.parent.mkdir(parents=True)
        path.write_bytes(CONF)
        path.chmod(0o600)


def confs(root: Path) -> dict[str, bytes]:
    """What both say."""
    return {component: conf_of(root, component).read_bytes() for component in ("server", "agent")}


class _Ctl:
    """Runs nothing: edits in this process."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def run(self, argv, *, env, timeout_s, stdin=b"", on_start=None) -> Completed:
        if argv[1] == "view":
            data = self._root / "data"
            return Completed(0, f"node:1\nnode :1\ncmDataPath :{data}\ncmServer 1:10.0.0.1\nport :1\n", "")
        component = "server" if "--server" in argv else "agent"
        name, _, value = argv[-1].partition("=")
        sim_conf.edit(conf_of(self._root, component), name, value)
        return Completed(0, f"cm_ctl: set cm_{component}.conf success.\n", "")


class DiskCm(FakeCm):
    """See the module."""

    def __init__(self, root: Path, disk: Disk, **options) -> None:
        super().__init__(**options)
        settings = CmSettings(home=root / "home", data_path=root / "data")
        self._files = LocalCm(settings, _Ctl(root), disk=disk)

    def read_ssl(self) -> SslSwitch:
        return self._files.read_ssl()

    def read_conf(self, component) -> ConfFile | None:
        return self._files.read_conf(component)

    def ssl_obstacle(self, component) -> str:
        return self._files.ssl_obstacle(component)

    def set_ssl(self, component, value: bool) -> None:
        self._files.set_ssl(component, value)

    def restore_conf(self, component, before: ConfFile, value: bool) -> bool:
        return self._files.restore_conf(component, before, value)

    def sync_conf(self, component) -> None:
        self._files.sync_conf(component)
