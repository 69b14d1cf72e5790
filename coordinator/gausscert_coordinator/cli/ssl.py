"""`gausscert ssl`: the group."""

from __future__ import annotations

from gausscert_coordinator.cli.group import VerbGroup
from gausscert_coordinator.cli.verbs import ROOT, SSL

command = VerbGroup(
    name="ssl",
    table=SSL,
    help="Switch SSL on or off: enable_ssl in both files of all nodes, as a transaction with a restart.",
    short_help=ROOT["ssl"].short_help,
    examples=(
        ("What it would do, and all that speaks against it:", "gausscert ssl on --dry-run"),
        ("Switch it on, restart, prove what is served:", "gausscert ssl on"),
        ("Switch it off:", "gausscert ssl off"),
    ),
)
