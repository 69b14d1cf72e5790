"""`gausscert inventory`: the group."""

from __future__ import annotations

from gausscert_coordinator.cli.group import VerbGroup
from gausscert_coordinator.cli.verbs import INVENTORY, ROOT

command = VerbGroup(
    name="inventory",
    table=INVENTORY,
    help="Write and check gausscert.toml: the nodes of a cluster, and how they are reached.",
    short_help=ROOT["inventory"].short_help,
    examples=(
        (
            "From the file that the cluster was installed with:",
            "gausscert inventory import cluster_config.xml",
        ),
        ("Look whether every node is there and fit:", "gausscert inventory check"),
    ),
)
