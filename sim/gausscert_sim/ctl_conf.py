"""`cm_ctl set`, `list` and `reload` (facts section 6)."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Final

from gausscert_sim import conf, faults
from gausscert_sim.faults import SetFault

if TYPE_CHECKING:
    from collections.abc import Callable

    from gausscert_sim.ctl_options import Options
    from gausscert_sim.ctl_output import Output
    from gausscert_sim.settings import NodeRecord, Settings

FAILED: Final = 255


def run(settings: Settings, options: Options, output: Output) -> int:
    """Any of the three commands; its exit code."""
    assignment = _assignment(options, output) if options.has("-k") else ("", "")
    role = _role(options)
    done = False
    # Without -n the last node alone decides about the exit code (ctl_guc.cpp:835-852).
    for node in _targets(settings, options):
        done = _on_node(settings, options, node, role, assignment, output)
    file = f"{role}.conf" if role else "unknown"
    if options.command == "list" and done:
        return 0
    output.say(f"{options.command} {file} {'success' if done else 'fail'}.")
    if options.command == "set" and done:
        output.say(
            "HINT: For the setting to take effect, you should execute "
            f"'cm_ctl reload --param --{role.removeprefix('cm_')}'."
        )
    return 0 if done else FAILED


def _assignment(options: Options, output: Output) -> tuple[str, str]:
    """Split -k at "="; a second one is refused (cm_ctl.cpp:1501-1528)."""
    text = options.text("-k")
    parts = [part for part in text.split("=") if part]
    if text.startswith("=") or not parts:
        output.say("need input parameter.")
    elif len(parts) == 1:
        output.say("need input value.")
    elif len(parts) > 2:
        output.say("too many command line arguments.")
    else:
        return parts[0], parts[1]
    sys.exit(1)


def _role(options: Options) -> str:
    if options.has("--agent"):
        return "cm_agent"
    return "cm_server" if options.has("--server") else ""


def _targets(settings: Settings, options: Options) -> tuple[NodeRecord, ...]:
    if not options.has("-n"):
        return settings.nodes
    wanted = options.number("-n")
    return tuple(node for node in settings.nodes if node.id == wanted)


def _on_node(
    settings: Settings,
    options: Options,
    node: NodeRecord,
    role: str,
    assignment: tuple[str, str],
    output: Output,
) -> bool:
    scripted = faults.load(settings.local.home)
    if node.id in scripted.unreachable:
        return False
    if not options.has("--param"):
        output.say('command wrong, need add "--param".')
        return False
    if not role:
        output.say('command wrong, need add "--agent" or "--server".')
        return False
    if options.command == "set":
        return _set(node, role, assignment, scripted.set_conf, output)
    action: Callable[[NodeRecord, str, Output], bool] = _list if options.command == "list" else _reload
    return action(node, role, output)


def _set(
    node: NodeRecord, role: str, assignment: tuple[str, str], scripted: SetFault, output: Output
) -> bool:
    parameter, new = assignment
    if not parameter:
        output.say("The parameter is NULL.")
        return False
    try:
        conf.check(parameter, new)
    except conf.Refused as refused:
        output.say(str(refused))
        output.advise()
        return False
    if scripted is SetFault.HANG:
        signal.pause()
    if scripted is not SetFault.NONE:
        return scripted is SetFault.LIE
    try:
        conf.edit(node.conf(role), parameter, new)
    except conf.Refused as refused:
        output.say(str(refused))
        return False
    return True


def _list(node: NodeRecord, role: str, output: Output) -> bool:
    try:
        text = node.conf(role).read_text(errors="surrogateescape")
    except OSError as cause:
        output.say(f"read conf file failed: {cause.strerror}.")
        return False
    output.report(["", f"[conf of node({node.id})]"])
    output.report(f"{name} = {value}" for name, value in conf.values(text))
    return True


def _reload(node: NodeRecord, role: str, output: Output) -> bool:
    path = node.pid_file(role)
    try:
        os.kill(int(path.read_text()), signal.SIGHUP)
    except FileNotFoundError:
        output.say(f'cm_ctl: PID file "{path}" does not exist.')
        output.say("Is cma or cms running")
    except ValueError:
        output.say(f'cm_ctl: invalid data in PID file "{path}".')
    except ProcessLookupError as cause:
        output.say(f"cm_ctl: could not send reload signal(SIGHUP) {cause.strerror}.")
    else:
        return True
    return False
