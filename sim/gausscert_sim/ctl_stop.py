"""`cm_ctl stop`: a mark in each home, then waiting for cm_agent to go (facts section 8.1).

It looks at cm_agent alone: where none is there to stop it, a cm_server goes on running behind a
`stop node successfully.` (facts section 17).
"""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Final

from gausscert_sim import faults
from gausscert_sim.ctl_check import ProcessState, process_state
from gausscert_sim.ctl_query import ask
from gausscert_sim.faults import StopFault
from gausscert_sim.settings import write_private

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gausscert_sim.ctl_options import Options
    from gausscert_sim.ctl_output import Output
    from gausscert_sim.settings import NodeRecord, Settings

FAILED: Final = 255
_DEFAULT_TIMEOUT_S: Final = 1200
_MARK: Final = b"-e 1\n1\n2\n"
"""force, mode, level; dash's echo leaves its option in the first line (facts section 17)."""


def run(settings: Settings, options: Options, output: Output) -> int:
    """The command; its exit code."""
    if options.has("-n"):
        return _stop_node(settings, options, output)
    return _stop_cluster(settings, options, output)


def timeout_s(settings: Settings, options: Options, default: int) -> int:
    """-t, else the default and half a second for each node."""
    return options.number("-t") or default + len(settings.nodes) // 2


def reachable(settings: Settings) -> tuple[NodeRecord, ...]:
    """Nodes to which the "ssh trust" works; the node itself always."""
    broken = faults.load(settings.local.home).unreachable
    return tuple(node for node in settings.nodes if node.id == settings.node_id or node.id not in broken)


def _stop_cluster(settings: Settings, options: Options, output: Output) -> int:
    scripted = faults.load(settings.local.home).stop
    targets = reachable(settings)
    partly = len(targets) < len(settings.nodes) or scripted is StopFault.PARTLY
    if scripted is StopFault.PARTLY:
        targets = (settings.local,)
    output.say("stop cluster. ")
    _halt_arbitration(settings, output)
    for node in settings.nodes:
        output.say(f"stop nodeid: {node.id}")
    wait = timeout_s(settings, options, _DEFAULT_TIMEOUT_S)
    if _stopped(settings, targets, scripted, wait, output):
        output.say(f"stop cluster {'partly ' if partly else ''}successfully.")
        return 0
    if wait >= _DEFAULT_TIMEOUT_S:
        # Fast mode turns into immediate mode and waits as long again (ctl_stop.cpp:680-699).
        output.say(f"stop cluster failed in ({wait})s!\n\nHINT: it is stopped once more.")
        if _stopped(settings, targets, scripted, wait, output):
            output.say("stop cluster successfully.")
            return 0
    output.say(_failure("cluster", wait, '"cm_ctl stop -m i"'))
    return FAILED


def _stop_node(settings: Settings, options: Options, output: Output) -> int:
    scripted = faults.load(settings.local.home).stop
    number = options.number("-n")
    if number not in {node.id for node in settings.nodes}:
        output.say("node_id specified is illegal. ")
        return FAILED
    node = settings.node(number)
    output.say(f"stop the node: {node.id}. ")
    output.say(f"stop node, nodeid: {node.id}")
    targets = tuple(found for found in reachable(settings) if found.id == node.id)
    wait = timeout_s(settings, options, _DEFAULT_TIMEOUT_S)
    if targets and _stopped(settings, targets, scripted, wait, output):
        output.say("stop node successfully. ")
        return 0
    output.say(_failure("node", wait, '"cm_ctl stop -n <nodeid> -m i"'))
    return FAILED


def _halt_arbitration(settings: Settings, output: Output) -> None:
    """Tell the primary; that this fails is borne, though six TLS failures are not."""
    for node in settings.nodes:
        ask(settings, node, output, postmaster=False)


def _stopped(
    settings: Settings,
    targets: Sequence[NodeRecord],
    scripted: StopFault,
    wait: int,
    output: Output,
) -> bool:
    """Leave the marks and wait; whether every cm_agent is gone."""
    if scripted is StopFault.HANG:
        signal.pause()
    if scripted is StopFault.LIE:
        return True
    if scripted is not StopFault.FAIL:
        for node in targets:
            write_private(node.manual_stop, _MARK)
    for _ in range(wait):
        time.sleep(settings.scaled(1))
        output.dot()
        states = (process_state(node, "cm_agent") for node in targets)
        if scripted is not StopFault.FAIL and all(state is ProcessState.NOT_EXIST for state in states):
            return True
    return False


def _failure(what: str, wait: int, command: str) -> str:
    return (
        f"stop {what} failed in ({wait})s!\n\n"
        f"HINT: the {what} may go on stopping in the background; ask again later or use {command}."
    )
