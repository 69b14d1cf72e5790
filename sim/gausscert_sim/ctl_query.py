"""`cm_ctl query`: the cluster's state from its primary (facts section 7)."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from gausscert_sim import client, faults, wire
from gausscert_sim.ctl_view import datanode_path
from gausscert_sim.faults import QueryFault
from gausscert_sim.settings import MANUAL_PAUSE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gausscert_sim.ctl_options import Options
    from gausscert_sim.ctl_output import Output
    from gausscert_sim.settings import NodeRecord, Settings

FAILED: Final = 255
_UNREACHED: Final = (
    "can't connect to cm_server.\nMaybe cm_server is not running, or timeout expired. Please try again."
)
_ANSWER_S: Final = 60.0
"""For one answer: one that is slow is no refusal, and is waited for."""
_ROLE_WIDTH: Final = 8
_INSTANCE_WIDTH: Final = 9


class Answer(NamedTuple):
    """What one cm_server said; an empty state: nothing."""

    state: dict[str, Any]
    refused_later: bool = False
    """It took our certificate and turned us away afterwards."""


def run(settings: Settings, options: Options, output: Output) -> int:
    """The command; its exit code."""
    scripted = faults.load(settings.local.home).query
    if scripted is QueryFault.HANG:
        signal.pause()
    if scripted is QueryFault.REFUSED:
        output.say(_UNREACHED)
        return FAILED
    if not output.redirect(options.text("-l")):
        return FAILED
    coupled = options.has("-C") and options.has("-v")
    if coupled:
        output.report(_server_section(settings, options, output))
    answer = ask_primary(settings, output)
    if answer.refused_later:
        # It goes on waiting for an answer that cannot come (facts section 17).
        time.sleep(settings.scaled(settings.refused_wait_s))
    if not answer.state:
        output.say(_UNREACHED)
        return FAILED
    state = _scripted_state(scripted) or str(answer.state["cluster_state"])
    lines = _coupled(settings, options, answer.state, state) if coupled else _plain(settings, state)
    output.report(lines)
    return 0


def ask_primary(settings: Settings, output: Output) -> Answer:
    """Ask every cm_server until one says that it is the primary."""
    for target in settings.nodes:
        answer = ask(settings, target, output, postmaster=False)
        if answer.state or answer.refused_later:
            return answer
    return Answer({})


def ask(settings: Settings, target: NodeRecord, output: Output, *, postmaster: bool) -> Answer:
    """Ask one cm_server; TLS failures are said and counted."""
    try:
        connection = client.connect(settings, target, remote_type=wire.REMOTE_CTL, postmaster=postmaster)
    except client.NotReached as cause:
        output.note(f"can't connect to cm_server of node {target.id}: {cause}")
        return Answer({})
    except client.SslFailed as cause:
        output.ssl_failed(str(cause))
        return Answer({})
    output.ssl_worked()
    with connection:
        connection.settimeout(_ANSWER_S)
        try:
            return Answer(client.ask(connection))
        except client.RefusedLater as cause:
            output.note(f"no answer from cm_server of node {target.id}: {cause}")
            return Answer({}, refused_later=True)


def _scripted_state(fault: QueryFault) -> str:
    return {
        QueryFault.DEGRADED: "Degraded",
        QueryFault.UNAVAILABLE: "Unavailable",
        QueryFault.STARTING: "Starting",
        QueryFault.UNKNOWN: "Unknown",
    }.get(fault, "")


def _server_section(settings: Settings, options: Options, output: Output) -> Iterator[str]:
    answers = {
        node.id: ask(settings, node, output, postmaster=True).state.get("role", "Down")
        for node in settings.nodes
    }
    names = _name_width(settings)
    addresses = max(15, *(len(node.address) for node in settings.nodes)) + 1
    path_width = max(len(_server_path(node)) for node in settings.nodes) + 1
    instance = _INSTANCE_WIDTH + (path_width if options.has("-d") else 0)
    head = f"{'node':<{names + 4}}"
    if options.has("-i"):
        head += f"{'node_ip':<{addresses}}"
    yield "[  CMServer State   ]"
    yield ""
    yield f"{head}{'instance':<{instance}}state"
    yield "-" * (len(head) + instance + _ROLE_WIDTH)
    for node in settings.nodes:
        row = f"{node.id:<2} {node.name:<{names}} "
        if options.has("-i"):
            row += f"{node.address:<{addresses}}"
        row += f"{node.id:<4} "
        row += f"{_server_path(node):<{path_width}}   " if options.has("-d") else "    "
        yield f"{row}{answers[node.id]}"
    yield ""


def _coupled(settings: Settings, options: Options, answer: dict[str, Any], state: str) -> Iterator[str]:
    yield "[   Cluster State   ]"
    yield ""
    yield f"cluster_state   : {state}"
    yield "redistributing  : No"
    yield "balanced        : Yes"
    yield "current_az      : AZ_ALL"
    if _paused(settings):
        yield "pausing         : Yes"
    yield ""
    yield "[  Datanode State   ]"
    yield ""
    names = _name_width(settings)
    head = f"{'node':<{names + 4}}{'instance':<{_INSTANCE_WIDTH}}state"
    separator = "            | "
    yield separator.join([head] * len(settings.nodes))
    yield "-" * (len(head) + 12) * len(settings.nodes)
    alive = sorted(set(answer["agents"]))
    rows = (_datanode(node, names, options, alive) for node in settings.nodes)
    yield " | ".join(rows)


def _datanode(node: NodeRecord, names: int, options: Options, alive: list[int]) -> str:
    """One cell; a node whose cm_agent does not report has an unknown database."""
    initial = "P" if node.id == 1 else "S"
    place = f"{datanode_path(node)} " if options.has("-d") else ""
    address = f"{node.address:<16}" if options.has("-i") else ""
    state = "Unknown Unknown"
    if node.id in alive:
        state = "Primary Normal" if node.id == alive[0] else "Standby Normal"
    return f"{node.id:<2} {node.name:<{names}} {address}{6000 + node.id:<4} {place}{initial} {state}"


def _plain(settings: Settings, state: str) -> Iterator[str]:
    rule = "-" * 71
    yield rule
    yield ""
    yield f"cluster_state             : {state}"
    yield "redistributing            : No"
    yield "balanced                  : Yes"
    if _paused(settings):
        yield "pausing                   : Yes"
    yield ""
    yield rule
    yield ""


def _paused(settings: Settings) -> bool:
    return (settings.local.home / "bin" / MANUAL_PAUSE).exists()


def _name_width(settings: Settings) -> int:
    return max(len(node.name) for node in settings.nodes)


def _server_path(node: NodeRecord) -> str:
    return f"{node.data_path}/cm_server"
