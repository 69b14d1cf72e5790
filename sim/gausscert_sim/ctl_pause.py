"""`cm_ctl pause` and `resume`: whole cluster, through the ssh trust (ctl_pause.cpp:46-134)."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gausscert_sim import faults
from gausscert_sim.settings import MANUAL_PAUSE, write_private

if TYPE_CHECKING:
    from gausscert_sim.ctl_options import Options
    from gausscert_sim.ctl_output import Output
    from gausscert_sim.settings import Settings

FAILED: Final = 255


def run(settings: Settings, options: Options, output: Output) -> int:
    """Either command; its exit code."""
    pausing = options.command == "pause"
    if pausing and not _sure(output):
        return 0
    output.say("Checking trust among all nodes.")
    if faults.load(settings.local.home).unreachable:
        output.say("The ssh trust relationship may be abnormal on some nodes.")
        return FAILED
    output.say("Pausing the cluster." if pausing else "Resuming the cluster.")
    for node in settings.nodes:
        mark = node.home / "bin" / MANUAL_PAUSE
        if pausing:
            write_private(mark, b"")
        else:
            mark.unlink(missing_ok=True)
    output.say("The cluster has been paused." if pausing else "The cluster has been resumed.")
    return 0


def _sure(output: Output) -> bool:
    """Ask during an upgrade, on stdin."""
    host = os.environ.get("PGHOST")
    if not host:
        output.say("get PGHOST failed!")
        return True
    if not (Path(host) / "binary_upgrade").exists():
        return True
    output.raw("cm_ctl: The cluster is upgrading: a pause may make that fail.\nContinue? (y/[n])")
    return sys.stdin.read(1) == "y"
