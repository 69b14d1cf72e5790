"""What speaks against a replacement on this node: facts, and rules over them. Pure; `preflight_look` gathers
the facts.

Nothing is left out: every finding is reported at once (design section 7).
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gausscert_common import certset
from gausscert_common.findings import Finding
from gausscert_common.model import Layout, SslValue

from gausscert_agent.drivers.cm_conf import ALERT_THRESHOLD, Conf
from gausscert_agent.layout_probe import EXCHANGE, LayoutProbe
from gausscert_agent.node_findings import NODE_FINDINGS, node_finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence


THRESHOLD_DAYS: Final = range(7, 181)
"""Outside of it cm_server does not start with SSL on (cms_main.cpp:1992-2006)."""

MIN_FREE_BYTES: Final = 8 * 1024 * 1024
"""A stage of nine files of 256 KiB, a retired set as large, and the journal."""
MIN_FREE_INODES: Final = 64

_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


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
