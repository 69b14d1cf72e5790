"""Files that lie ready beside those that they are going to replace: written and checked on all nodes before
anything is changed on any, put in their place right before the agent is started."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gausscert_coordinator.rollout.on_node import files
from gausscert_coordinator.rollout.on_node.trouble import Trouble

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def beside(path: Path) -> Path:
    """Where it lies."""
    return path.with_name(path.name + files.NEW)


def require(wanted: Mapping[Path, str]) -> None:
    """Refuse to begin where one of them could not be put in its place.

    Args:
        wanted: SHA-256, hex, by the place; "" for one that stays as it is.

    Raises:
        Trouble: With all that are neither there nor lie ready.
    """
    lost = [path for path, sha256 in wanted.items() if sha256 and not _there(path, sha256)]
    if lost:
        raise Trouble(
            "what was laid ready is not there any more; another roll-out may have laid its own there: "
            + ", ".join(str(beside(path)) for path in lost),
            "run it again",
            str(lost[0]),
        )


def put(path: Path, sha256: str) -> None:
    """Have the file with this content in its place. May be repeated, also after a cut.

    Args:
        path: Its place.
        sha256: Hex; "" leaves everything as it is.

    Raises:
        Trouble: It is neither there nor lies ready.
    """
    if not sha256:
        return
    require({path: sha256})
    if files.digest_of(path) == sha256:
        beside(path).unlink(missing_ok=True)
        return
    os.replace(beside(path), path)
    files.sync_directory(path.parent)


def _there(path: Path, sha256: str) -> bool:
    return sha256 in (files.digest_of(path), files.digest_of(beside(path)))
