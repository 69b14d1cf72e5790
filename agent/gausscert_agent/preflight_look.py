"""Gathers what `preflight` judges. Nothing is changed."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from gausscert_common.errors import GausscertError, NodeFailure, Reason

from gausscert_agent.cm import MANUAL_PAUSE, STATIC_CONFIG
from gausscert_agent.cm_parameters import COMPONENTS
from gausscert_agent.drivers import process
from gausscert_agent.drivers.cm_conf import Conf
from gausscert_agent.drivers.cm_ctl import os_user
from gausscert_agent.layout_probe import LayoutProbe
from gausscert_agent.preflight import DirectoryFacts, NodeFacts

if TYPE_CHECKING:
    from gausscert_agent.cm import LocalCm
    from gausscert_agent.config import CmSettings


def look(
    settings: CmSettings,
    state_directory: Path,
    cm: LocalCm,
    layout: LayoutProbe | None,
) -> NodeFacts:
    """Gather the facts. What cannot be seen becomes a cause in them, never an error raised.

    Args:
        settings: Where CM is.
        state_directory: The agent's own.
        cm: CM on this node.
        layout: How the set can be swapped; None if that could not be found out.
    """
    home_bin = settings.home / "bin"
    version, cm_ctl_cause = _ask_cm_ctl(cm)
    confs, conf_cause = _read_confs(cm)
    upgrading, upgrade_cause = _look_for_upgrade(cm.pghost())
    return NodeFacts(
        uid=os.geteuid(),
        user=os_user(),
        sslcert=_directory(settings.set_directory.parent),
        set_directory=_directory(settings.set_directory),
        state_directory=_directory(state_directory),
        layout=layout or LayoutProbe(None, "the file system cannot be looked at"),
        cm_ctl=str(home_bin / "cm_ctl"),
        cm_ctl_exists=cm.has_cm_ctl(),
        cm_ctl_cause=cm_ctl_cause,
        static_config_exists=(home_bin / STATIC_CONFIG).is_file(),
        version=version,
        server_conf=confs[0],
        agent_conf=confs[1],
        conf_cause=conf_cause,
        ssl_obstacles=_ssl_obstacles(cm),
        foreign_cm_ctl=tuple(process.pid for process in cm.foreign_cm_ctl()),
        dies_with_us=bool(process.find_wrapper()),
        upgrading=upgrading,
        upgrade_cause=upgrade_cause,
        paused=is_paused(settings),
        manually_stopped=cm.manually_stopped(),
    )


def interference(cm: LocalCm) -> tuple[bool, bool]:
    """Whether CM is paused, and whether it is upgraded, as far as files say; costs next to nothing."""
    return is_paused(cm.settings), _look_for_upgrade(cm.pghost())[0]


def is_paused(settings: CmSettings) -> bool:
    """Whether `cm_ctl pause` has left its mark."""
    return (settings.home / "bin" / MANUAL_PAUSE).exists()


def _directory(path: Path) -> DirectoryFacts:
    try:
        status = path.stat()
        room = os.statvfs(path)
    except OSError:
        return DirectoryFacts(str(path), exists=False)
    return DirectoryFacts(
        str(path),
        exists=stat.S_ISDIR(status.st_mode),
        uid=status.st_uid,
        mode=stat.S_IMODE(status.st_mode),
        free_bytes=room.f_bavail * room.f_frsize,
        free_inodes=room.f_favail if room.f_files else None,
    )


def _ask_cm_ctl(cm: LocalCm) -> tuple[str, str]:
    """CM's version, and why cm_ctl does not work; a version that it does not tell is no reason."""
    version = ""
    with suppress(GausscertError):
        version = cm.version()
    try:
        cm.topology()
    except GausscertError as error:
        return version, error.message
    return version, ""


def _read_confs(cm: LocalCm) -> tuple[tuple[tuple[str, Conf], tuple[str, Conf]], str]:
    try:
        server = (str(cm.conf_path("server")), cm.conf("server"))
        agent = (str(cm.conf_path("agent")), cm.conf("agent"))
    except GausscertError as error:
        # Where cm_ctl failed to tell the path, cm_ctl is what is to be mended, and that is said already.
        unreadable = error.reason is Reason.CONF_FAILED
        return (("", Conf()), ("", Conf())), str(error) if unreadable else ""
    return (server, agent), ""


def _ssl_obstacles(cm: LocalCm) -> tuple[tuple[str, str], ...]:
    """What speaks against reading a file at all is told by others."""
    found = []
    for component in COMPONENTS:
        with suppress(GausscertError):
            path = str(cm.conf_path(component))
            try:
                cause = cm.ssl_obstacle(component)
            except NodeFailure as failure:
                cause = failure.message if failure.reason is Reason.CONF_FAILED else ""
            if cause:
                found.append((path, cause))
    return tuple(found)


def _look_for_upgrade(pghost: Path | None) -> tuple[bool, str]:
    """OM keeps $PGHOST/binary_upgrade while it upgrades (facts section 13). Whether it does, and why that is
    not known."""
    if pghost is None:
        return False, "neither the agent's configuration nor a running process of CM tells PGHOST"
    try:
        os.stat(pghost / "binary_upgrade")
    except (FileNotFoundError, NotADirectoryError):
        return False, "" if pghost.is_dir() else f"PGHOST is {pghost}, and there is no such directory"
    except OSError as error:
        return False, f"{pghost}: {error.strerror}"
    return True, ""
