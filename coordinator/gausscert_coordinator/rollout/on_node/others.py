"""Agents of the same CM on this node that another login, or another directory, has brought there: a second
one beside them would begin with an empty state. Looks only, and as the agent's user, in whose directories a
link may lead anywhere."""

from __future__ import annotations

import os
import shlex
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gausscert_coordinator.rollout.on_node import files, processes
from gausscert_coordinator.rollout.on_node.layout import (
    ETC,
    HOME_DIRECTORY,
    Account,
    Layout,
    acting_as,
    etc_of,
)
from gausscert_coordinator.rollout.on_node.service import SYSTEM, USER, Service

if TYPE_CHECKING:
    from collections.abc import Iterator


def others(layout: Layout, account: Account | None, cm_home: str) -> list[dict[str, str]]:
    """All that are not this one, with the login that they were installed with. A configuration that is not
    there, or is for another CM, is none of ours: several clusters may share a machine, and a user.

    Args:
        layout: Where the agent lies, or will lie.
        account: Whom it runs as; without one there is nobody whose agents to look for.
        cm_home: Its CM's.
    """
    if account is None or not cm_home:
        return []
    found: list[dict[str, str]] = []
    seen = {_real(layout.config)}
    with acting_as(account):
        for config, how in _candidates(account):
            where = _real(config)
            if where in seen or (told := _told(config, cm_home)) is None:
                continue
            seen.add(where)
            by_root = config.is_relative_to(ETC) or how == str(Service(SYSTEM, account).unit)
            login = "root" if by_root else account.name
            found.append({"config": str(config), "how": how, "login": login, "state": told})
    return found


def _candidates(account: Account) -> Iterator[tuple[Path, str]]:
    """Configurations, and what makes one think of them: those that serve come first."""
    for pid, config in processes.serving(account.uid):
        yield Path(config), f"pid {pid}"
    for unit in (Service(SYSTEM, account).unit, Service(USER, account).unit):
        if config := _of_unit(unit, account):
            yield Path(config), str(unit)
    home = Path(account.home) / HOME_DIRECTORY / "etc"
    yield from ((etc / "agent.toml", "nothing starts it") for etc in (etc_of(ETC), home))


def _of_unit(unit: Path, account: Account) -> str:
    """What the unit's last ExecStart names; "" for none."""
    lines = [
        line.partition("=")[2]
        for path in (unit, *sorted(unit.with_name(f"{unit.name}.d").glob("*.conf")))
        for line in files.text_of(path).splitlines()
        if line.startswith("ExecStart=")
    ]
    try:
        words = shlex.split(lines[-1]) if lines else []
    except ValueError:
        return ""
    return processes.config_in(words).replace("%h", account.home).replace("%%", "%")


def _told(config: Path, cm_home: str) -> str | None:
    """Where the agent of this CM keeps its state; None where it is not there, or of another CM."""
    try:
        document = tomllib.loads(files.text_of(config))
    except ValueError:
        return None
    home = _part(document, "cm").get("home")
    if not isinstance(home, str) or _real(Path(home)) != _real(Path(cm_home)):
        return None
    return str(_part(document, "agent").get("state_dir", ""))


def _part(document: dict[str, Any], key: str) -> dict[str, Any]:
    part = document.get(key)
    return part if isinstance(part, dict) else {}


def _real(path: Path) -> str:
    return os.path.realpath(path)
