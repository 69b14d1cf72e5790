"""The agent's unit on a node: the bundle's own, and beside it what is this node's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from gausscert_common.errors import InvalidInput, Reason

from gausscert_coordinator.rollout import at_once
from gausscert_coordinator.rollout.bundle import SYSTEM_UNIT, USER_UNIT
from gausscert_coordinator.rollout.facts import Facts, Service
from gausscert_coordinator.rollout.on_node.layout import UNIT
from gausscert_coordinator.rollout.on_node.service import DROP_IN

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_FILE: Final = {Service.SYSTEM: SYSTEM_UNIT, Service.USER: USER_UNIT}
_PLAIN: Final = re.compile(r"/[^\x00-\x1f\x7f$]*")


def units(
    bundle: Mapping[str, str], service: Service, facts: Facts, release: str, write_paths: Iterable[str]
) -> dict[str, str]:
    """Unit and drop-in by file name; {} where nobody starts the agent.

    Args:
        bundle: The units of the bundle.
        service: What starts the agent.
        facts: Of the node.
        release: The one to start.
        write_paths: Where cm_ctl must be able to write.

    Raises:
        InvalidInput: CONFIG_INVALID: paths that cannot stand in a unit, all of them.
    """
    if service not in _FILE:
        return {}
    return {UNIT: bundle[_FILE[service]], DROP_IN: _drop_in(service, facts, release, write_paths)}


def _drop_in(service: Service, facts: Facts, release: str, write_paths: Iterable[str]) -> str:
    agent, config = f"{facts.software}/releases/{release}/bin/gausscert-agent", f"{facts.etc}/agent.toml"
    written = tuple(write_paths) if service is Service.SYSTEM else ()
    _require_plain(agent, config, *written)
    lines = [
        "# Written by gausscert agents deploy: what is this node's own.",
        "[Service]",
        "ExecStart=",
        f"ExecStart={_quoted(agent)} serve --config {_quoted(config)}",
    ]
    if service is Service.SYSTEM:
        lines += [f"User={facts.account}", f"Group={facts.group}"]
        # "-": a directory that is missing is the agent's to tell, not the unit's to fail on (systemd.exec).
        lines += [f"ReadWritePaths={_quoted(path, '-')}" for path in written]
    return "\n".join(lines) + "\n"


def _require_plain(*paths: str) -> None:
    wrong = [
        InvalidInput(
            Reason.CONFIG_INVALID,
            f"{path!r} cannot stand in a unit",
            remedy="write an absolute path, plainly",
        )
        for path in paths
        if _PLAIN.fullmatch(path) is None
    ]
    if wrong:
        raise at_once.joined(wrong)


def _quoted(path: str, prefix: str = "") -> str:
    """For systemd.syntax: quotes and backslashes escaped, % doubled."""
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{prefix}{escaped}"'
