"""`gausscert bundle`: the group."""

from __future__ import annotations

from gausscert_coordinator.cli.group import VerbGroup
from gausscert_coordinator.cli.verbs import BUNDLE, ROOT

command = VerbGroup(
    name="bundle",
    table=BUNDLE,
    help="Make and check bundles: the directories that `gausscert replace` takes.",
    short_help=ROOT["bundle"].short_help,
    examples=(
        ("Make a self-signed bundle:", "gausscert bundle new new-bundle"),
        ("Check a bundle, wherever it comes from:", "gausscert bundle verify new-bundle"),
    ),
)
