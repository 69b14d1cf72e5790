"""`cm_ctl start`: takes the marks away and waits; its exit code is always 0 (facts section 8.2)."""

from __future__ import annotations

import signal
import sys
import time
from typing import TYPE_CHECKING, Final

from gausscert_sim import faults
from gausscert_sim.ctl_check import ProcessState, process_state
from gausscert_sim.ctl_query import ask_primary
from gausscert_sim.ctl_stop import reachable, timeout_s
from gausscert_sim.faults import StartFault

if TYPE_CHECKING:
    from collections.abc import Callable

    from gausscert_sim.ctl_options import Options
    from gausscert_sim.ctl_output import Output
    from gausscert_sim.settings import NodeRecord, Settings

_DEFAULT_TIMEOUT_S: Final = 600
_ALREADY_RUNNING: Final = (
    "cluster is already running.\nHINT: it may still be stopping; wait, or stop it at once."
)


def run(settings: Settings, options: Options, output: Output) -> int:
    """The command; always 0: an exit handler of CM overrides whatever the code was."""
    try:
        if options.has("-n"):
            _start_node(settings, options, output)
        else:
            _start_cluster(settings, options, output)
    except SystemExit:
        # The sixth TLS failure ends the process with 1, which the handler turns into 0.
        sys.stdout.flush()
    return 0


def _start_cluster(settings: Settings, options: Options, output: Output) -> None:
    targets = reachable(settings)
    began = time.monotonic()
    output.say("checking cluster status.")
    output.say("checking cluster status.")
    states = [process_state(node, "cm_agent") for node in targets]
    output.say(f"checking finished in {int((time.monotonic() - began) * 1000)} ms.")
    if ProcessState.WAIT_STOP in states:
        output.say(_ALREADY_RUNNING)
        return
    output.say("start cluster. ")
    for node in settings.nodes:
        output.say(f"start nodeid: {node.id}")
    _unmark(settings, targets)

    def normal() -> bool:
        return ask_primary(settings, output).state.get("cluster_state") == "Normal"

    _wait(settings, options, output, "cluster", normal)


def _start_node(settings: Settings, options: Options, output: Output) -> None:
    number = options.number("-n")
    if number not in {node.id for node in settings.nodes}:
        output.say("node_id specified is illegal. ")
        return
    node = settings.node(number)
    output.say(f"start the node:{node.id}. ")
    if node in reachable(settings):
        _unmark(settings, (node,))

    def runs() -> bool:
        names = ("cm_agent", "cm_server")
        return all(process_state(node, name) is ProcessState.RUNNING for name in names)

    _wait(settings, options, output, "node", runs)


def _unmark(settings: Settings, targets: tuple[NodeRecord, ...]) -> None:
    if faults.load(settings.local.home).start is not StartFault.NONE:
        return
    for node in targets:
        node.manual_stop.unlink(missing_ok=True)
        for mark in (node.home / "bin").glob("instance_manual_start_*"):
            mark.unlink(missing_ok=True)


def _wait(settings: Settings, options: Options, output: Output, what: str, up: Callable[[], bool]) -> None:
    scripted = faults.load(settings.local.home).start
    if scripted is StartFault.HANG:
        signal.pause()
    if scripted is StartFault.SILENT:
        return
    wait = timeout_s(settings, options, _DEFAULT_TIMEOUT_S)
    for _ in range(wait):
        if scripted is StartFault.LIE or (scripted is StartFault.NONE and up()):
            output.say(f"start {what} successfully.")
            return
        time.sleep(settings.scaled(1))
        output.dot()
    output.say(
        f"start {what} failed in ({wait})s!\n\n"
        f"HINT: the {what} may go on starting in the background; ask again later or give a longer -t."
    )
