"""What there is on a node, before anything is decided. Changes nothing."""

from __future__ import annotations

import os
import platform
import re
import shutil
import ssl
import stat
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gausscert_coordinator.rollout.on_node import files, processes, service
from gausscert_coordinator.rollout.on_node.layout import (
    OWN_ETC,
    Account,
    Layout,
    acting_as,
    agent_user,
    holder,
    me,
)
from gausscert_coordinator.rollout.on_node.running import last_words, run
from gausscert_coordinator.rollout.on_node.service import Service
from gausscert_coordinator.rollout.on_node.software import is_complete, runs

if TYPE_CHECKING:
    from collections.abc import Mapping


_READ: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_RENEWED: Final = "credential.pem"
"""In the state directory: key and certificate together."""
_CERTIFICATE: Final = re.compile(
    ".*?".join(f"-----{word} CERTIFICATE-----" for word in ("BEGIN", "END")), re.DOTALL
)
"""All of that file that leaves the node. Whoever looks for certificates in what is sent finds none here."""
_MOST: Final = 1024 * 1024
"""Characters; the operator's machine takes no more than some of that."""


def look(request: Mapping[str, Any], layout: Layout) -> dict[str, Any]:
    """Everything a decision needs.

    Args:
        request: node, user and cm_home.
        layout: Where the agent lies, or will lie.
    """
    login = me()
    account = agent_user(request["user"], request["cm_home"])
    managers = service.managers(login)
    kind = service.kept(layout, login)
    running = processes.agent(layout)
    texts = {path.name: _text(path) for path in Service(kind, login).texts}
    watched = (layout.config, *Service(kind, login).texts)
    complete = [each.name for each in _entries(layout.releases) if is_complete(each)]
    broken = [each for each in complete if not runs(layout.agent(each), account)]
    with acting_as(account or holder(layout)):
        agents_own = {
            "denied": _text(layout.deny_list),
            "denied_sha256": files.digest_of(layout.deny_list),
            "config": _text(layout.config),
            **_configured(layout.config),
            "credential": _credential(layout, request["node"]),
        }
    return {
        "login": login.name,
        "home": login.home,
        "root": os.geteuid() == 0,
        "account": None if account is None else {"name": account.name, "group": account.group},
        "python": list(sys.version_info[:2]),
        "executable": sys.executable,
        "implementation": sys.implementation.name,
        "machine": platform.machine(),
        "libc": list(platform.libc_ver()),
        "free_bytes": _free(layout.software),
        "managers": managers,
        "service": kind,
        "service_state": Service(kind, login).state(),
        "service_enabled": Service(kind, login).enabled(),
        "units": texts,
        "open_place": _open_place(layout),
        "closed_place": _closed_place(layout, account),
        "software": str(layout.software),
        "etc": str(layout.etc),
        "state": str(layout.state),
        "release": layout.release(),
        "releases": [each for each in complete if each not in broken],
        "broken": broken,
        **agents_own,
        "running": None
        if running is None
        else {
            "pid": running.pid,
            "release": running.release,
            "started": running.started,
            "stale": processes.older_than(running, watched),
        },
        "journal": journal(layout, account),
    }


def journal(
    layout: Layout, account: Account | None, release: str = "", config: Path | None = None
) -> dict[str, str] | None:
    """What the agent's journal says, word by word; {} where there was never a transaction, None where there
    is nobody to read it. What keeps it from being read stands under "unreadable", or under "unrunnable" where
    it is the software that cannot be run.

    Args:
        layout: Where it lies.
        account: Whom the agent runs as.
        release: That reads it; the current one by default.
        config: That it reads; the agent's by default.
    """
    agent, config = layout.agent(release), config or layout.config
    if account is None or not agent.exists() or not config.exists() or not layout.state.is_dir():
        return None
    done = run([str(agent), "status", "--config", str(config)], as_user=account)
    if done.returncode:
        return {"unreadable" if runs(agent, account) else "unrunnable": last_words(done)}
    words = (line.split(None, 1) for line in done.stdout.splitlines())
    told = {pair[0]: pair[1].strip() for pair in words if len(pair) > 1}
    return {key: told[key] for key in ("phase", "transaction", "operation", "fence") if key in told}


def _credential(layout: Layout, node: str) -> dict[str, Any]:
    """What the agent serves with: what was renewed over the wire, as long as the configured certificate is
    the one that this followed, else the configured files (`gausscert_agent.renewed`). The certificates are no
    secret; of the key only whether it belongs to its certificate."""
    cert, key = layout.pki / f"node-{node}.crt", layout.pki / f"node-{node}.key"
    ca, renewed = _text(layout.pki / "ca.crt"), layout.state / _RENEWED
    first, _, rest = _text(renewed).partition("\n")
    configured = files.digest_of(cert)
    if configured and first.strip() == f"follows {configured}" and _fits(renewed, renewed):
        return {"cert": "\n".join(_CERTIFICATE.findall(rest)), "ca": ca, "key_fits": True}
    return {"cert": _text(cert), "ca": ca, "key_fits": _fits(cert, key)}


def _fits(cert: Path, key: Path) -> bool:
    try:
        if not _is_regular(cert) or not _is_regular(key) or os.stat(key).st_mode & 0o077:
            return False
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password=_no_password)
    except (OSError, ssl.SSLError, ValueError):
        return False
    return True


def _no_password() -> str:
    raise ValueError("the key is encrypted")


def _configured(config: Path) -> dict[str, str]:
    """Where the agent that is installed keeps its state, and which one it is; "" where nobody says."""
    try:
        document = tomllib.loads(_text(config))
    except ValueError:
        document = {}
    agent = document.get("agent")
    said = agent if isinstance(agent, dict) else {}
    keys = {"configured_state": "state_dir", "configured_cluster": "cluster", "configured_node": "name"}
    return {told: str(said.get(key, "")) for told, key in keys.items()}


def _open_place(layout: Layout) -> str:
    """Where root would run programs that another user may have put there, or have the agent read what he may
    have; "" where nobody can."""
    if os.geteuid() != 0:
        return ""
    shared = (layout.etc.parent,) if layout.etc.name == OWN_ETC else ()
    for path in (layout.software, layout.releases, layout.uploads, *shared):
        try:
            found = path.lstat()
        except OSError:
            continue
        if found.st_uid != 0 or found.st_mode & 0o022 or not stat.S_ISDIR(found.st_mode):
            return str(path)
    return next((str(path) for path in layout.software.parents if _lets_exchange(path)), "")


def _lets_exchange(directory: Path) -> bool:
    """Whether others than root may put another file in the place of root's there; where it is sticky, nobody
    may (unlink(2))."""
    try:
        found = directory.stat()
    except OSError:
        return False
    return found.st_uid != 0 or (found.st_mode & 0o022 != 0 and not found.st_mode & stat.S_ISVTX)


def _closed_place(layout: Layout, account: Account | None) -> str:
    """Where the agent's user may not put what is his: somebody else has made it, or lets nobody through to
    it. "" where there is none."""
    if account is not None and layout.etc.name == OWN_ETC and not _lets_through(layout.etc.parent, account):
        return str(layout.etc.parent)
    for path in (layout.etc, layout.pki, layout.state):
        try:
            found = path.stat()
        except OSError:
            continue
        if account is not None and found.st_uid != account.uid:
            return str(path)
    return ""


def _lets_through(directory: Path, account: Account) -> bool:
    found = directory.stat()
    if found.st_gid in os.getgrouplist(account.name, account.gid):
        return bool(found.st_mode & stat.S_IXGRP)
    return bool(found.st_mode & stat.S_IXOTH)


def _is_regular(path: Path) -> bool:
    return stat.S_ISREG(os.stat(path).st_mode)


def _text(path: Path) -> str:
    """A file's; "" for none, and for a named pipe, say, whose writer would be waited for."""
    try:
        with os.fdopen(os.open(path, _READ), "rb") as opened:
            if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
                return ""
            return opened.read(_MOST).decode(errors="replace")  # line ends as they are: it may be put back
    except OSError:
        return ""


def _entries(path: Path) -> list[Path]:
    try:
        return sorted(path.iterdir())
    except OSError:
        return []


def _free(path: Path) -> int:
    """On the file system that will hold the software."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free
