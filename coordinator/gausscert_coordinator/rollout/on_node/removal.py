"""An agent leaves its node. What the cluster has is not touched: neither sets nor former sets."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Final

from gausscert_coordinator.rollout.on_node import files, look, processes
from gausscert_coordinator.rollout.on_node.layout import acting_as, holder
from gausscert_coordinator.rollout.on_node.service import NONE, SYSTEM, USER, Service
from gausscert_coordinator.rollout.on_node.trouble import Trouble

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gausscert_coordinator.rollout.on_node.layout import Account, Layout

_IDLE: Final = ("", "NONE")
_END_S: Final = 90.0
"""As TimeoutStopSec of the unit: running calls end first."""

_RECOVER_FIRST: Final = (
    "deploy the bundle that the agent had: that installs it anew, and starts it; then gausscert recover, and"
    " this again"
)
_UNREAD: Final = {
    "unrunnable": "deploy the bundle that the agent had: that installs it anew; then run this again",
    "unreadable": "mend what is named; a damaged journal: see `A damaged journal` in docs/runbook.md",
}


def require_idle(journal: Mapping[str, str] | None, *, anew: bool = False) -> None:
    """Refuse to end an agent that is in the middle of something.

    Args:
        journal: As `look.journal`.
        anew: Whether the software that was there cannot be run, so that nobody could recover with it.

    Raises:
        Trouble: It is, or its journal cannot be read.
    """
    if journal is None:
        return
    for why, remedy in _UNREAD.items():
        if why in journal:
            raise Trouble(f"the agent's journal cannot be read: {journal[why]}", remedy)
    if journal.get("phase", "") not in _IDLE or "transaction" in journal or "operation" in journal:
        raise Trouble(
            f"a transaction is in flight: {journal.get('transaction', 'an operation of cm_ctl')}",
            _RECOVER_FIRST if anew else "wait for its end, or run gausscert recover; then run this again",
        )


def remove(
    layout: Layout, service: Service, account: Account | None, node: str, *, with_state: bool
) -> list[str]:
    """End the agent, then remove unit, software, configuration and credential. What else lies beside them, an
    operator's inventory for one, stays.

    Args:
        layout: Where it lies.
        service: What starts it.
        account: Whom it runs as; None where that user has gone, and with him whoever could be in the middle
            of something.
        node: The node's name.
        with_state: The journal, too; the node then knows nothing of any transaction any more.

    Returns:
        What was removed.

    Raises:
        Trouble: A transaction is in flight, or has begun while the agent was ended, which then is started
            again; or the agent does not end.
    """
    _ended(layout, service, account)
    service.of_kind(SYSTEM if os.geteuid() == 0 else USER).clear(layout)
    gone = service.uninstall()
    with acting_as(holder(layout)):
        gone += _configuration_removed(layout, node)
    gone += [str(path) for path in (layout.current,) if _unlink(path)]
    trees = [layout.releases, layout.uploads, *((layout.state,) if with_state else ())]
    gone += [str(path) for path in trees if files.remove_tree(path)]
    given_up = layout.given_up
    halves = (given_up.with_name(given_up.name + files.NEW), files.half_made(layout.current))
    for own_file in (given_up, *halves, layout.software / files.LOCK):
        _unlink(own_file)
    for path in (layout.releases, layout.uploads, layout.etc, layout.state):
        _remove_empty(files.half_made(path))
    gone += [str(path) for path in (layout.pki, layout.etc, layout.software) if _remove_empty(path)]
    return gone


def _ended(layout: Layout, service: Service, account: Account | None) -> None:
    """It lets calls that run come to their end: it need not be idle any more once it has."""
    before = look.journal(layout, account)
    require_idle(before)
    enabled, running = service.enabled(), processes.agent(layout) is not None
    if not service.stop():
        _end(layout)
    try:
        _require_untouched(before, look.journal(layout, account))
    except Trouble as trouble:
        raise _started_again(service, layout, trouble, enabled=enabled, running=running) from None


def _require_untouched(before: Mapping[str, str] | None, after: Mapping[str, str] | None) -> None:
    """An Acquire shows in the fence alone: its coordinator counts on this node from there on."""
    require_idle(after)
    if (before or {}).get("fence") != (after or {}).get("fence"):
        raise Trouble(
            "a coordinator has begun a transaction",
            "wait for its end, then run this again; or gausscert recover",
        )


def _started_again(
    service: Service, layout: Layout, trouble: Trouble, *, enabled: bool, running: bool
) -> Trouble:
    meanwhile = f"while the agent was being ended: {trouble.cause}"
    if service.kind == NONE and running:
        return Trouble(meanwhile, f"start the agent again now, as it was started before; {trouble.remedy}")
    try:
        if enabled:
            service.enable()
        if running:
            service.start()
    except Trouble as another:
        cause = f"{meanwhile}; and it does not start again: {another.cause}"
        command = f"{layout.current}/bin/gausscert-agent serve --config {layout.config}"
        return Trouble(cause, f"start it on the node, as its user: {command}; {trouble.remedy}", another.file)
    return Trouble(f"{meanwhile}; it is as it was, and nothing was removed", trouble.remedy)


def _configuration_removed(layout: Layout, node: str) -> list[str]:
    """What the agent's user has been given, as himself: root would follow his links."""
    own = [layout.config, layout.pki / f"node-{node}.crt", layout.pki / f"node-{node}.key"]
    halves = [path.with_name(path.name + files.NEW) for path in (*own, layout.pki / "ca.crt")]
    if not _others(layout.pki, (*own, *halves, layout.pki / "ca.crt")):
        own.append(layout.pki / "ca.crt")
    gone = [str(path) for path in own if _unlink(path)]
    for half in halves:  # of a roll-out that was cut off; one may hold the key
        _unlink(half)
    _remove_empty(files.half_made(layout.pki))
    return gone


def _others(directory: Path, own: tuple[Path, ...]) -> bool:
    return directory.is_dir() and any(path not in own for path in directory.iterdir())


def _unlink(path: Path) -> bool:
    if not os.path.lexists(path):
        return False
    path.unlink()
    return True


def _remove_empty(directory: Path) -> bool:
    if directory.is_symlink() or not directory.is_dir() or any(directory.iterdir()):
        return False
    directory.rmdir()
    return True


def _end(layout: Layout) -> None:
    """SIGTERM, for an agent that somebody else has started; who started it may start it again."""
    running = processes.agent(layout)
    if running is None:
        return
    os.kill(running.pid, signal.SIGTERM)
    deadline = time.monotonic() + _END_S
    while (again := processes.agent(layout)) is not None:
        if again.pid != running.pid:
            raise Trouble("the agent was started again", "end what starts it, then run this again")
        if time.monotonic() > deadline:
            raise Trouble(f"the agent (pid {running.pid}) does not end", "look at its log")
        time.sleep(0.1)
