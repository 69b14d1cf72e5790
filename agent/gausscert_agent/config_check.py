"""What `check-config` looks at beyond the file itself: whether what it names is there and fit to be used.

Looks only; makes and changes nothing.
"""

from __future__ import annotations

import ipaddress
import os
import stat
from typing import TYPE_CHECKING, Final

from gausscert_common.findings import Finding, Severity

from gausscert_agent.files import FOR_OTHERS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gausscert_agent.config import AgentConfig, CmSettings, MetricsSettings

_CODE: Final = "CONFIG_INVALID"
_ROOT: Final = 0


def look(config: AgentConfig, uid: int | None = None) -> tuple[Finding, ...]:
    """Everything on this machine that does not fit the configuration, all at once.

    Args:
        config: As loaded.
        uid: The user the agent will run as; None for the one that asks. Owners are not judged for root,
            which is only passing by: CM's programs refuse to run as root.
    """
    user = os.geteuid() if uid is None else uid
    found = (*_user(config, user), *_state(config.state_dir, user), *_cm(config.cm, user))
    return (*found, *_metrics(config.metrics))


def _metrics(settings: MetricsSettings | None) -> Iterator[Finding]:
    host = "" if settings is None else settings.listen.rpartition(":")[0].strip("[]")
    if settings is None or host == "localhost" or _is_loopback(host):
        return
    yield Finding(
        _CODE,
        Severity.WARNING,
        f"metrics.listen: whoever reaches {settings.listen} may read names and dates of certificates",
        "listen on 127.0.0.1 and have a local Prometheus or its agent scrape it, or guard the port",
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _user(config: AgentConfig, user: int) -> Iterator[Finding]:
    if user != _ROOT:
        return
    owner = _stat(config.cm.set_directory.parent)
    whose = f", which here is uid {owner.st_uid}" if owner is not None and owner.st_uid != _ROOT else ""
    yield Finding(
        _CODE,
        Severity.WARNING,
        "this is root, and cm_ctl refuses to run as root; owners of files were not judged",
        f"run the agent, and this check, as the cluster's OS user{whose}",
    )


def _state(path: Path, user: int) -> Iterator[Finding]:
    found = _stat(path)
    if found is None:
        parent = _stat(path.parent)
        if parent is None or not stat.S_ISDIR(parent.st_mode):
            yield _wrong("agent.state_dir", path, f"{path.parent} is no directory", f"mkdir -p {path.parent}")
        elif not os.access(path.parent, os.W_OK | os.X_OK):
            cause = f"it does not exist, and {path.parent} is not ours to make it in"
            yield _wrong("agent.state_dir", path, cause, f"install -d -o {user} -m 0700 {path}")
        return
    mode = stat.S_IMODE(found.st_mode)
    if not stat.S_ISDIR(found.st_mode):
        yield _wrong("agent.state_dir", path, "it is no directory", "name another one")
    elif mode & FOR_OTHERS:
        yield _wrong("agent.state_dir", path, f"others may enter (mode {mode:04o})", f"chmod 0700 {path}")
    elif found.st_uid != user and user != _ROOT:
        yield _wrong("agent.state_dir", path, f"it belongs to uid {found.st_uid}", f"chown {user} {path}")


def _cm(cm: CmSettings, user: int) -> Iterator[Finding]:
    for key, path in (("cm.data_path", cm.data_path), ("cm.log_path", cm.log_path)):
        if path is not None and not _is_directory(path):
            yield _wrong(key, path, "there is no such directory", "correct the path, or leave it out")
    if not _is_directory(cm.home):
        remedy = "write CM_HOME if the cluster uses it, else GAUSSHOME"
        yield _wrong("cm.home", cm.home, "there is no such directory", remedy)
        return
    yield from _program(cm.home / "bin" / "cm_ctl")
    yield from _certificates(cm.set_directory.parent, user)


def _program(path: Path) -> Iterator[Finding]:
    found = _stat(path)
    if found is None or not stat.S_ISREG(found.st_mode):
        yield _wrong("cm.home", path, "there is no cm_ctl", "write CM_HOME or GAUSSHOME of the cluster")
    elif not os.access(path, os.X_OK):
        yield _wrong("cm.home", path, "it is not executable for us", "run as the cluster's OS user")


def _certificates(path: Path, user: int) -> Iterator[Finding]:
    found = _stat(path)
    if found is None or not stat.S_ISDIR(found.st_mode):
        remedy = "write CM_HOME or GAUSSHOME of the cluster; the sets lie under share/sslcert"
        yield _wrong("cm.home", path, "there is no such directory", remedy)
    elif found.st_uid != user and user != _ROOT:
        cause = f"it belongs to uid {found.st_uid}, and this is uid {user}"
        yield _wrong("cm.home", path, cause, "run the agent as the cluster's OS user")


def _is_directory(path: Path) -> bool:
    found = _stat(path)
    return found is not None and stat.S_ISDIR(found.st_mode)


def _stat(path: Path) -> os.stat_result | None:
    """None where there is nothing, or nothing that we may see."""
    try:
        return path.stat()
    except OSError:
        return None


def _wrong(key: str, path: Path, cause: str, remedy: str) -> Finding:
    return Finding(_CODE, Severity.ERROR, f"{key}: {cause}", remedy, file=str(path))
