"""`gausscert agents`: the group."""

from __future__ import annotations

from gausscert_coordinator.cli.group import VerbGroup
from gausscert_coordinator.cli.verbs import AGENTS, ROOT

command = VerbGroup(
    name="agents",
    table=AGENTS,
    help=(
        "Bring the agents onto the nodes over the system's own ssh, upgrade and remove them. The nodes need"
        " Python 3.11 and no network; software comes in a bundle that `make bundle` has made."
    ),
    short_help=ROOT["agents"].short_help,
    examples=(
        ("See what would be done:", "gausscert agents deploy --ssh --bundle software --dry-run"),
        ("Do it:", "gausscert agents deploy --ssh --bundle software"),
        ("What is there:", "gausscert agents status --ssh"),
    ),
)
