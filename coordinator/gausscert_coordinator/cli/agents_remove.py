"""`gausscert agents remove`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from gausscert_common.errors import InvalidInput, NodeRefusal, Reason

from gausscert_coordinator.cli import rolling_out
from gausscert_coordinator.cli.group import Verb, pass_invocation
from gausscert_coordinator.cli.settings import Invocation
from gausscert_coordinator.cli.verbs import AGENTS
from gausscert_coordinator.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gausscert_common.errors import GausscertError
    from gausscert_common.findings import Finding

    from gausscert_coordinator.cli.rolling_out import Opened
    from gausscert_coordinator.history_rollouts import Change
    from gausscert_coordinator.rollout.deploying import Looked


@click.command(
    "remove",
    cls=Verb,
    short_help=AGENTS["remove"].short_help,
    examples=(
        ("From a node that leaves the cluster:", "gausscert agents remove --ssh --node n3"),
        ("From all of them, without a question:", "gausscert agents remove --ssh --yes"),
    ),
    exits={
        ExitCode.DONE: "removed, or there was nothing to remove",
        ExitCode.REFUSED: "refused, or a step failed; run it again",
        ExitCode.UNREACHABLE: "a node cannot be reached, or is in the middle of a transaction; nothing was"
        " removed anywhere",
    },
)
@rolling_out.ssh_options
@click.option(
    "--with-state",
    is_flag=True,
    help="The agents' journals, too: the nodes then know of no transaction any more.",
)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@pass_invocation
def command(
    invocation: Invocation,
    ssh: bool,
    sudo: bool,
    only: tuple[str, ...],
    settings_file: Path | None,
    with_state: bool,
    yes: bool,
) -> int:
    """End the agents and remove unit, software, agent.toml and credential from the nodes.

    The cluster's sets, former ones included, stay; so does the agents' state, unless --with-state is given.
    Nothing is removed while a node is in the middle of a transaction.
    """
    del ssh  # the only way so far
    import asyncio

    from gausscert_coordinator.exit_codes import gravest
    from gausscert_coordinator.history_rollouts import Change

    opened = rolling_out.open_rollout(invocation, only, settings_file, sudo=sudo)
    names = ", ".join(node.name for node in opened.nodes)
    state = ", and all that they know of transactions (journals, audit logs)" if with_state else ""
    _confirm(invocation, f"remove the agents of {names}{state}? CM goes on.", yes=yes)
    with asyncio.Runner() as runner:
        looked = runner.run(opened.rollout.look())
        removed: dict[str, list[str]] = {}
        late: tuple[Finding, ...] = ()
        failed: list[GausscertError] = [*looked.errors.values(), *_in_the_way(opened, looked)]
        code = gravest(failed)
        if not failed:
            recording = rolling_out.Recording(runner, opened.inventory, "agents remove")
            recording.begin(Change(name, facts.release, "", "begun") for name, facts in looked.facts.items())
            invocation.stopped = rolling_out.stopped()
            with recording.half_done():
                removed, failed = runner.run(opened.rollout.remove(looked, with_state=with_state))
            late = recording.end(_changes(looked, removed), (), failed)
            code = gravest(map(rolling_out.once_begun, failed))
    _tell(invocation, opened, removed, failed, late)
    return code


def _in_the_way(opened: Opened, looked: Looked) -> Iterator[NodeRefusal]:
    """Agents that are others than meant, at work, or of which nobody can tell."""
    from gausscert_coordinator.rollout import journal_findings

    for name, facts in looked.facts.items():
        if another := facts.is_another(opened.inventory.cluster, name):
            yield NodeRefusal(
                Reason.NODE_UNFIT,
                f"the agent that is installed there is {another}",
                node=name,
                remedy="correct ssh.host or address, or use the inventory of that cluster",
            )
        if facts.in_flight:
            yield NodeRefusal(
                Reason.BUSY,
                f"the agent is in the middle of something: {facts.in_flight}",
                node=name,
                remedy="wait for its end, or run gausscert recover; then run this again",
            )
        elif facts.unrunnable:
            yield NodeRefusal(
                Reason.NODE_UNFIT,
                f"whether the agent is in the middle of something cannot be told: {facts.untold}",
                node=name,
                remedy="deploy the bundle that it had: that installs it anew; then run this again",
            )
        elif facts.unreadable:
            yield NodeRefusal(
                Reason.NODE_UNFIT,
                f"whether the agent is in the middle of something cannot be told: {facts.untold}",
                node=name,
                remedy=journal_findings.remedy(facts.unreadable),
            )


def _changes(looked: Looked, removed: dict[str, list[str]]) -> list[Change]:
    from gausscert_coordinator.history_rollouts import Change

    states = {name: "removed" if gone else "unchanged" for name, gone in removed.items()}
    return [
        Change(name, facts.release, "", states.get(name, "failed")) for name, facts in looked.facts.items()
    ]


def _confirm(invocation: Invocation, question: str, *, yes: bool) -> None:
    if yes:
        return
    if not invocation.terminal.present:
        raise InvalidInput(
            Reason.USAGE,
            "there is nobody to confirm it",
            remedy="add --yes, or run this on a terminal",
        )
    if not invocation.terminal.confirmed(f"{question} [y/N]"):
        raise InvalidInput(Reason.USAGE, "not confirmed; nothing was changed")


def _tell(
    invocation: Invocation,
    opened: Opened,
    removed: dict[str, list[str]],
    failed: list[GausscertError],
    late: tuple[Finding, ...],
) -> None:
    from gausscert_coordinator.cli import documents, tables, tables_errors
    from gausscert_coordinator.cli.layout import cell

    document = {
        "cluster": opened.inventory.cluster,
        "nodes": [{"node": name, "removed": gone} for name, gone in removed.items()],
        "errors": [documents.error(error) for error in failed],
        "findings": [documents.finding(found) for found in late],
    }
    lines = [
        cell(f"{name}: removed {', '.join(gone)}" if gone else f"{name}: there was nothing to remove")
        for name, gone in removed.items()
    ]
    told = [tables.findings(late, invocation.render.width)] if late else []
    invocation.render.result(
        "agents remove", document, lambda: [*lines, *told, *tables_errors.failures(failed)]
    )
