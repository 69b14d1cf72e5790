"""`cm_ctl check`: what a program of a node is doing, as an exit code (ctl_misc.cpp:334-570)."""

from __future__ import annotations

import time
from enum import IntEnum
from typing import TYPE_CHECKING

from gausscert_sim import processes

if TYPE_CHECKING:
    from gausscert_sim.ctl_options import Options
    from gausscert_sim.ctl_output import Output
    from gausscert_sim.settings import NodeRecord, Settings


class ProcessState(IntEnum):
    """cm_ctl's exit codes for `check`."""

    NOT_EXIST = 0
    """Stopped on purpose."""
    RUNNING = 2
    WAIT_STOP = 3
    """Running although stopped on purpose."""
    WAIT_START = 4
    """Not running although nobody stopped it."""


def run(settings: Settings, options: Options, output: Output) -> int:
    """The command; its exit code."""
    if not options.text("-B"):
        output.say("no bin name specified.")
        return 1
    state = process_state(settings.local, options.text("-B"))
    if state is ProcessState.RUNNING:
        time.sleep(0.01)
        state = process_state(settings.local, options.text("-B"))
    return int(state)


def process_state(node: NodeRecord, name: str) -> ProcessState:
    """The state of one program of one node."""
    runs = name in processes.PROGRAMS and bool(processes.running(node.home, (name,)))
    stopped = node.manual_stop.exists()
    if runs:
        return ProcessState.WAIT_STOP if stopped else ProcessState.RUNNING
    return ProcessState.NOT_EXIST if stopped else ProcessState.WAIT_START
