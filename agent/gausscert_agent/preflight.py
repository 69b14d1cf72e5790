"""What speaks against a replacement on this node: a table of findings, facts, and rules over them.

Nothing is changed and nothing is left out: every finding is reported at once (design section 7).
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gausscert_common import certset
from gausscert_common.errors import GausscertError, NodeFailure, Reason
from gausscert_common.findings import Finding, Severity
from gausscert_common.model import Layout, SslValue

from gausscert_agent.cm import COMPONENTS, MANUAL_PAUSE, STATIC_CONFIG
from gausscert_agent.drivers import process
from gausscert_agent.drivers.cm_conf import ALERT_THRESHOLD, Conf
from gausscert_agent.drivers.cm_ctl import os_user
from gausscert_agent.layout_probe import EXCHANGE, LayoutProbe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from gausscert_agent.cm import LocalCm
    from gausscert_agent.config import CmSettings

THRESHOLD_DAYS: Final = range(7, 181)
"""Outside of it cm_server does not start with SSL on (cms_main.cpp:1992-2006)."""

MIN_FREE_BYTES: Final = 8 * 1024 * 1024
"""A stage of nine files of 256 KiB, a retired set as large, and the journal."""
MIN_FREE_INODES: Final = 64

_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class NodeFinding:
    """One row of the table."""

    severity: Severity
    title: str
    remedy: str


_E, _W = Severity.ERROR, Severity.WARNING

NODE_FINDINGS: Final[dict[str, NodeFinding]] = {
    "NODE_WRONG_USER": NodeFinding(
        _E,
        "the agent does not run as the owner of the certificate directory",
        "run the agent as the OS user that owns the cluster",
    ),
    "NODE_DIRECTORY_MISSING": NodeFinding(
        _E,
        "there is no share/sslcert below CM's home",
        "correct cm.home in the agent's configuration, or create the directory, mode 0700",
    ),
    "NODE_DIRECTORY_WRITABLE": NodeFinding(
        _E,
        "others may write to the certificate directory",
        "take the right to write from group and others: chmod go-w",
    ),
    "NODE_NO_SPACE": NodeFinding(
        _E,
        "there is too little room on the file system",
        "free some space, inodes included",
    ),
    "NODE_CANNOT_SWAP": NodeFinding(
        _E,
        "the set cannot be swapped in one step here",
        "put share/sslcert as a whole on a local file system, or let the agent write to share/sslcert/cm",
    ),
    "NODE_DATA_LINK": NodeFinding(
        _W,
        "the directory of the set cannot be exchanged here, so its files will be links through cm/..data",
        "nothing: CM reads through links; to have none, put share/sslcert as a whole on a local file system",
    ),
    "NODE_CM_CTL_MISSING": NodeFinding(
        _E, "there is no cm_ctl", "correct cm.home in the agent's configuration"
    ),
    "NODE_CM_CTL_FAILS": NodeFinding(
        _E,
        "cm_ctl does not work for the agent",
        "run `cm_ctl view` as the agent's user until it works; CM refuses root",
    ),
    "NODE_STATIC_CONFIG_MISSING": NodeFinding(
        _E,
        "there is no cluster_static_config",
        "correct cm.home in the agent's configuration, or copy the file from another node",
    ),
    "NODE_CONF_UNREADABLE": NodeFinding(
        _E,
        "CM's configuration files cannot be read",
        "set cm.data_path in the agent's configuration, and run the agent as the owner of the cluster",
    ),
    "NODE_SSL_COMMENTED": NodeFinding(
        _E,
        "enable_ssl stands in a comment only",
        "remove the # before enable_ssl: cm_ctl would edit the comment and report success",
    ),
    "NODE_SSL_MISSING": NodeFinding(
        _E,
        "there is no enable_ssl line",
        "add `enable_ssl = on` or `enable_ssl = off` to the file: cm_ctl adds no line",
    ),
    "NODE_SSL_NOT_SETTABLE": NodeFinding(
        _W,
        "cm_ctl set would not do what it says with enable_ssl",
        "see that the file has one line `enable_ssl = on` or `off`; with --enable-ssl keep nothing is set",
    ),
    "NODE_SSL_UNEQUAL": NodeFinding(
        _W,
        "enable_ssl differs between cm_server.conf and cm_agent.conf",
        "decide for one of them: gausscert ssl on, or gausscert ssl off",
    ),
    "NODE_THRESHOLD_INVALID": NodeFinding(
        _E,
        "ssl_cert_expire_alert_threshold is out of its range",
        "set it to a value from 7 to 180: with SSL on, cm_server does not start otherwise",
    ),
    "NODE_CM_CTL_RUNNING": NodeFinding(
        _E,
        "somebody else's cm_ctl runs",
        "wait for it to end: two of them spoil each other's scratch files",
    ),
    "NODE_UPGRADING": NodeFinding(
        _E,
        "an upgrade is in progress",
        "finish the upgrade, or roll it back, before replacing certificates; or go on all the same with"
        " --accept-state",
    ),
    "NODE_UPGRADE_UNKNOWN": NodeFinding(
        _W,
        "whether an upgrade is in progress could not be checked",
        "set PGHOST in [cm.environment] of the agent's configuration as the cluster's user has it; until then"
        " see for yourself that nobody upgrades the cluster",
    ),
    "NODE_PAUSED": NodeFinding(
        _E, "CM is paused", "end the pause: cm_ctl resume; or go on all the same with --accept-state"
    ),
    "NODE_MANUALLY_STOPPED": NodeFinding(
        _W,
        "CM was stopped on purpose",
        "nothing, if that is so; with --restart none it stays stopped, else the replacement starts it",
    ),
    "NODE_SET_STRAYS": NodeFinding(
        _E,
        "the live set holds what is no part of a set and cannot be carried over",
        "move links, directories and large files out of share/sslcert/cm",
    ),
    "NODE_NO_LIVE_SET": NodeFinding(
        _W,
        "there is no live set: share/sslcert/cm is absent or holds no certificate",
        "nothing, if CM has never had certificates; else look whether the agent's `home` is the cluster's",
    ),
    "NODE_SET_INCOMPLETE": NodeFinding(
        _W, "the live set is not whole", "replacing it mends that; a rollback would bring it back as it is"
    ),
    "NODE_SET_MODE": NodeFinding(
        _W,
        "files of the live set have a mode that CM refuses",
        "chmod 0400, or replace the set: cm_server does not start with them again",
    ),
    "NODE_NOT_OBSERVED": NodeFinding(
        _W, "part of the node could not be looked at", "mend what the cause says, then look again"
    ),
    "NODE_ALARM": NodeFinding(
        _W, "the agent raises an alarm about certificates", "see gausscert expiry, and the agent's log"
    ),
    "NODE_DRIFT": NodeFinding(
        _W,
        "the running cm_server serves another certificate than lies on the disk",
        "find out who replaced the files, then restart CM, or replace the set: gausscert replace",
    ),
    "NODE_DRIFT_REFUSED": NodeFinding(
        _E,
        "the running cm_server serves another certificate than lies on the disk, and those that connect anew"
        " refuse it",
        "put the former files back, or restart CM on all nodes; cm_ctl and cm_agents fail until then",
    ),
    "NODE_STATE_NOT_WRITABLE": NodeFinding(
        _E,
        "the agent cannot write to its state directory",
        "see to mode, owner, space and health of that file system",
    ),
    "NODE_JOURNAL_DAMAGED": NodeFinding(
        _E,
        "the agent's journal is not sound",
        "see `In doubt` in docs/runbook.md; do not remove the file while a transaction is in doubt",
    ),
    "NODE_ORPHAN": NodeFinding(
        _E,
        "a cm_ctl that the agent has started is still there, and no command runs",
        "see what the process hangs on; a restarted agent ends it before it serves",
    ),
    "NODE_CREDENTIAL_LAST_DAY": NodeFinding(
        _W,
        "the agent's own credential expires within a day",
        "issue a new one now: gausscert pki issue node NAME",
    ),
    "NODE_CREDENTIAL_EXPIRED": NodeFinding(
        _E,
        "the agent's own credential has expired, and no coordinator can talk to the agent",
        "issue a new one: gausscert pki issue node NAME",
    ),
    "NODE_CREDENTIAL_EXPIRING": NodeFinding(
        _W, "the agent's own credential expires soon", "issue a new one: gausscert pki issue node NAME"
    ),
    "NODE_SETPRIV_MISSING": NodeFinding(
        _W,
        "a cm_ctl would outlive an agent that dies: there is no setpriv that knows --pdeathsig",
        "install util-linux 2.33 or newer; an agent that starts again ends a stop or start that is left, but"
        " not an encrypt or set",
    ),
    "NODE_VERSION_UNKNOWN": NodeFinding(
        _W, "the version of CM is unknown", "compare `cm_ctl --version` with the versions in the manual"
    ),
}
"""Every code a node may report or log of itself."""


@dataclass(frozen=True, slots=True)
class DirectoryFacts:
    """One directory that the agent writes to."""

    path: str
    exists: bool = True
    uid: int = 0
    mode: int = 0o700
    free_bytes: int | None = None
    """None: not known."""
    free_inodes: int | None = None
    """None: not known, or a file system without a fixed number."""


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What a preflight looked at. The defaults are those of a node with nothing to find."""

    uid: int = 0
    user: str = ""
    sslcert: DirectoryFacts = DirectoryFacts("share/sslcert")
    set_directory: DirectoryFacts = DirectoryFacts("share/sslcert/cm")
    state_directory: DirectoryFacts = DirectoryFacts("state")
    layout: LayoutProbe = EXCHANGE
    cm_ctl: str = "cm_ctl"
    cm_ctl_exists: bool = True
    cm_ctl_cause: str = ""
    """Why cm_ctl does not work; "" when it does."""
    static_config_exists: bool = True
    version: str = "cm"
    server_conf: tuple[str, Conf] = ("cm_server.conf", Conf())
    agent_conf: tuple[str, Conf] = ("cm_agent.conf", Conf())
    conf_cause: str = ""
    ssl_obstacles: tuple[tuple[str, str], ...] = ()
    """Path and cause, for files in which enable_ssl could not be set."""
    foreign_cm_ctl: tuple[int, ...] = ()
    dies_with_us: bool = True
    """Whether children of the agent do."""
    upgrading: bool = False
    upgrade_cause: str = ""
    """Why it is not known whether the cluster is being upgraded; "" when it is."""
    paused: bool = False
    manually_stopped: bool = False


def node_finding(code: str, detail: str = "", *, file: str = "") -> Finding:
    """A row of the table, said of something."""
    row = NODE_FINDINGS[code]
    cause = f"{row.title}: {detail}" if detail else row.title
    return Finding(code, row.severity, cause, row.remedy, file=file)


def judge(facts: NodeFacts) -> tuple[Finding, ...]:
    """Everything that is wrong, in the order of the table."""
    rules: tuple[Callable[[NodeFacts], Iterator[Finding]], ...]
    rules = (_directories, _room, _swap, _cm_ctl, _configuration, _activity)
    found = [finding for rule in rules for finding in rule(facts)]
    order = list(NODE_FINDINGS)
    return tuple(sorted(found, key=lambda finding: order.index(finding.code)))


def judge_live(files: Iterable[str], modes: Mapping[str, int], strays: Sequence[str]) -> tuple[Finding, ...]:
    """What is wrong with the live set as files; what is in them is for `validate` to judge."""
    found = []
    if strays:
        found.append(node_finding("NODE_SET_STRAYS", ", ".join(strays)))
    missing = [name for name in certset.NAMES if name not in files]
    if missing:
        found.append(node_finding("NODE_SET_INCOMPLETE", f"missing: {', '.join(missing)}"))
    # Only these are checked by CM (facts section 2); 0000 would pass, and then not be readable.
    wrong = [f"{name} {modes[name]:04o}" for name in certset.PEM_NAMES if _is_refused(modes.get(name))]
    if wrong:
        found.append(node_finding("NODE_SET_MODE", ", ".join(wrong)))
    return tuple(found)


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


def _directories(facts: NodeFacts) -> Iterator[Finding]:
    if not facts.sslcert.exists:
        yield node_finding("NODE_DIRECTORY_MISSING", file=facts.sslcert.path)
    for directory in (facts.sslcert, facts.set_directory):
        if not directory.exists:
            continue
        if directory.uid != facts.uid:
            detail = f"it belongs to uid {directory.uid}, the agent runs as {facts.user} (uid {facts.uid})"
            yield node_finding("NODE_WRONG_USER", detail, file=directory.path)
        if directory.mode & _OTHERS_WRITE:
            yield node_finding("NODE_DIRECTORY_WRITABLE", f"mode {directory.mode:04o}", file=directory.path)


def _room(facts: NodeFacts) -> Iterator[Finding]:
    for directory in (facts.sslcert, facts.state_directory):
        if directory.free_bytes is not None and directory.free_bytes < MIN_FREE_BYTES:
            detail = f"{directory.free_bytes // 1024} KiB free, {MIN_FREE_BYTES // 1024} KiB needed"
            yield node_finding("NODE_NO_SPACE", detail, file=directory.path)
        elif directory.free_inodes is not None and directory.free_inodes < MIN_FREE_INODES:
            detail = f"{directory.free_inodes} inodes free, {MIN_FREE_INODES} needed"
            yield node_finding("NODE_NO_SPACE", detail, file=directory.path)


def _swap(facts: NodeFacts) -> Iterator[Finding]:
    # Without the parent directory there is nothing to swap, and that is said already.
    if facts.layout.layout is Layout.EXCHANGE or not facts.sslcert.exists:
        return
    code = "NODE_CANNOT_SWAP" if facts.layout.layout is None else "NODE_DATA_LINK"
    yield node_finding(code, facts.layout.cause, file=facts.set_directory.path)


def _cm_ctl(facts: NodeFacts) -> Iterator[Finding]:
    if not facts.static_config_exists:
        yield node_finding("NODE_STATIC_CONFIG_MISSING")
    if not facts.cm_ctl_exists:
        yield node_finding("NODE_CM_CTL_MISSING", file=facts.cm_ctl)
    elif facts.cm_ctl_cause and facts.static_config_exists:
        yield node_finding("NODE_CM_CTL_FAILS", facts.cm_ctl_cause, file=facts.cm_ctl)
    if not facts.dies_with_us:
        yield node_finding("NODE_SETPRIV_MISSING")
    if facts.cm_ctl_exists and not facts.version:
        yield node_finding("NODE_VERSION_UNKNOWN", file=facts.cm_ctl)


def _configuration(facts: NodeFacts) -> Iterator[Finding]:
    if facts.conf_cause:
        yield node_finding("NODE_CONF_UNREADABLE", facts.conf_cause)
        return
    for path, conf in (facts.server_conf, facts.agent_conf):
        if conf.enable_ssl is SslValue.COMMENTED:
            yield node_finding("NODE_SSL_COMMENTED", file=path)
        if conf.enable_ssl is SslValue.MISSING:
            yield node_finding("NODE_SSL_MISSING", file=path)
    for path, cause in facts.ssl_obstacles:
        yield node_finding("NODE_SSL_NOT_SETTABLE", cause, file=path)
    server, agent = facts.server_conf[1].enable_ssl, facts.agent_conf[1].enable_ssl
    if {server, agent} == {SslValue.ON, SslValue.OFF}:
        yield node_finding("NODE_SSL_UNEQUAL", f"{server} in cm_server.conf, {agent} in cm_agent.conf")
    path, days = facts.server_conf[0], facts.server_conf[1].alert_threshold_days
    if days is not None and days not in THRESHOLD_DAYS:
        yield node_finding("NODE_THRESHOLD_INVALID", f"{ALERT_THRESHOLD} is {days}", file=path)


def _activity(facts: NodeFacts) -> Iterator[Finding]:
    if facts.foreign_cm_ctl:
        yield node_finding("NODE_CM_CTL_RUNNING", f"pid {', '.join(map(str, facts.foreign_cm_ctl))}")
    if facts.upgrading:
        yield node_finding("NODE_UPGRADING")
    elif facts.upgrade_cause:
        yield node_finding("NODE_UPGRADE_UNKNOWN", facts.upgrade_cause)
    if facts.paused:
        yield node_finding("NODE_PAUSED")
    if facts.manually_stopped:
        yield node_finding("NODE_MANUALLY_STOPPED")


def _is_refused(mode: int | None) -> bool:
    return mode is not None and mode != certset.FILE_MODE


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
