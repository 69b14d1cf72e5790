"""`gausscert demo --stay`: the simulated cluster alone, for somebody who wants to try the commands."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from gausscert_coordinator.cli.demo_cluster import command_line
from gausscert_coordinator.cli.demo_story import PASSWORDS
from gausscert_coordinator.cli.layout import STRONG, cell

if TYPE_CHECKING:
    from rich.text import Text

    from gausscert_coordinator.cli.demo_cluster import DemoCluster
    from gausscert_coordinator.cli.settings import Invocation

COMMANDS = (
    ("status",),
    ("bundle", "new", "new-bundle", *PASSWORDS),
    ("plan", "new-bundle", *PASSWORDS),
    ("replace", "new-bundle", *PASSWORDS),
    ("rollback",),
    ("history",),
)
"""In an order in which each of them works; a test runs all of them."""


def stay(invocation: Invocation, cluster: DemoCluster) -> None:
    """Tell how to use a cluster that runs, and wait for Ctrl-C.

    Args:
        invocation: Of `gausscert demo`.
        cluster: Started.
    """
    names = [node.name for node in cluster.nodes]
    document = {
        "simulated": True,
        "directory": str(cluster.root),
        "nodes": names,
        "commands": [command_line(each) for each in COMMANDS],
    }
    invocation.render.result("demo-stay", document, lambda: _told(cluster, names))
    with suppress(KeyboardInterrupt):
        while True:
            signal.pause()


def _told(cluster: DemoCluster, names: list[str]) -> list[Text]:
    return [
        cell(f"{', '.join(names)} run until Ctrl-C here. In another terminal:", STRONG),
        cell(""),
        *map(_to_copy, (*_path(), f"cd {cluster.root}", *map(command_line, COMMANDS))),
    ]


def _path() -> tuple[str, ...]:
    """In a shell that knows no gausscert yet."""
    here = os.path.dirname(sys.executable)
    return () if shutil.which("gausscert") else (f"export PATH={here}:$PATH",)


def _to_copy(line: str) -> Text:
    """Whole, however narrow the terminal is."""
    text = cell(f"  {line}")
    text.no_wrap, text.overflow = True, "ignore"
    return text
