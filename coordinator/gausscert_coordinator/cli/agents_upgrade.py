"""`gausscert agents upgrade`: deploy, under the name that one looks for."""

from __future__ import annotations

from typing import Any

import click

from gausscert_coordinator.cli import agents_deploy
from gausscert_coordinator.cli.group import Verb, pass_invocation
from gausscert_coordinator.cli.settings import Invocation
from gausscert_coordinator.cli.verbs import AGENTS


@click.command(
    "upgrade",
    cls=Verb,
    short_help=AGENTS["upgrade"].short_help,
    examples=(
        ("To the release in a new bundle:", "gausscert agents upgrade --ssh --bundle software-0.2"),
        ("One node first:", "gausscert agents upgrade --ssh --bundle software-0.2 --node n1"),
    ),
    exits=agents_deploy.EXITS,
)
@agents_deploy.deploy_options
@pass_invocation
def command(invocation: Invocation, /, **options: Any) -> int:  # noqa: ANN401 - the options of deploy_options
    """Replace the software of agents that are there. The same as `gausscert agents deploy`, which installs
    what is missing and leaves alone what is not.

    The new release is installed beside the one that runs, on all nodes; only then agents are restarted, one
    after the other, up to the first that is not healthy, which is put back to its former release. That
    stays on the nodes until the next upgrade.
    """
    return agents_deploy.run(invocation, "agents upgrade", **options)
