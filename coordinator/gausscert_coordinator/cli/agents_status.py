"""`gausscert agents status`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gausscert_coordinator.cli import agents_revoked, rolling_out
from gausscert_coordinator.cli.group import Verb, pass_invocation
from gausscert_coordinator.cli.settings import Invocation
from gausscert_coordinator.cli.verbs import AGENTS
from gausscert_coordinator.exit_codes import ExitCode

if TYPE_CHECKING:
    from gausscert_coordinator.cli.agents_revoked import Compared
    from gausscert_coordinator.rollout.facts import Facts


@click.command(
    "status",
    cls=Verb,
    short_help=AGENTS["status"].short_help,
    examples=(
        ("Of all nodes of the inventory:", "gausscert agents status --ssh"),
        ("For a program:", "gausscert agents status --ssh --output json"),
    ),
    exits={
        ExitCode.DONE: "every node was looked at",
        ExitCode.REFUSED: "no usable inventory, settings or deny list, or a node without Python 3.11",
        ExitCode.UNREACHABLE: "ssh does not reach some node",
    },
)
@agents_revoked.directory_option
@rolling_out.ssh_options
@pass_invocation
def command(
    invocation: Invocation,
    ssh: bool,
    sudo: bool,
    only: tuple[str, ...],
    settings_file: Path | None,
    directory: Path | None,
) -> int:
    """Show what is installed on the nodes, what starts it, and whether it runs, as ssh sees it. Whether an
    agent is healthy, and the cluster itself, is for `gausscert status`.

    Also how many credentials each agent denies, and how many it lacks of those that are revoked by deny.list
    beside the CA, where that is at hand.
    """
    del ssh  # the only way so far
    import asyncio

    from gausscert_coordinator.cli import documents, tables_errors
    from gausscert_coordinator.cli.layout import STRONG, cell, fitted
    from gausscert_coordinator.exit_codes import gravest

    opened = rolling_out.open_rollout(invocation, only, settings_file, sudo=sudo)
    revoked = agents_revoked.told(opened.inventory, directory)
    looked = asyncio.run(opened.rollout.look())
    seen = looked.facts.items()
    denials = {
        name: agents_revoked.compared(facts, revoked.entries, all_known=not revoked.unknown)
        for name, facts in seen
    }
    document = {
        "cluster": opened.inventory.cluster,
        "nodes": [{"node": name, **_document(facts), **denials[name]._asdict()} for name, facts in seen],
        "errors": [documents.error(error) for error in looked.errors.values()],
    }
    render = invocation.render
    headings = ("node", "release", "service", "runs", "transaction", "user", "Python", "machine", "denies")
    rows = [[cell(name), *map(cell, _row(facts, denials[name]))] for name, facts in seen]
    render.result(
        "agents status",
        document,
        lambda: [
            cell(f"agents of cluster {opened.inventory.cluster}", STRONG),
            *([fitted(headings, rows, render.width)] if rows else []),
            *agents_revoked.remedy(looked.facts, denials),
            *tables_errors.failures(tuple(looked.errors.values())),
        ],
    )
    return gravest(looked.errors.values())


def _row(facts: Facts, denial: Compared) -> list[str]:
    running = facts.running
    runs = "no" if running is None else f"pid {running.pid}" + (", to be restarted" if running.stale else "")
    return [
        facts.release or "none",
        facts.service.value + (f" ({facts.service_state})" if facts.service_state else ""),
        runs,
        facts.in_flight or facts.untold or "-",
        facts.account or "-",
        ".".join(map(str, facts.target.python)),
        facts.target.machine,
        denial.said,
    ]


def _document(facts: Facts) -> dict[str, Any]:
    return {
        "release": facts.release,
        "releases": list(facts.releases),
        "service": facts.service.value,
        "service_state": facts.service_state,
        "running": None
        if facts.running is None
        else {"pid": facts.running.pid, "release": facts.running.release, "stale": facts.running.stale},
        "in_flight": facts.in_flight or facts.untold,
        "user": facts.account,
        "login": facts.login,
        "python": list(facts.target.python),
        "machine": facts.target.machine,
        "libc": facts.target.libc,
        "software": facts.software,
        "etc": facts.etc,
        "state": facts.state,
    }
