"""`gausscert completion SHELL`: click's own script."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class
from gausscert_common.errors import InternalError, Reason

from gausscert_coordinator.cli.group import Verb, pass_invocation
from gausscert_coordinator.cli.settings import Invocation
from gausscert_coordinator.cli.verbs import ROOT
from gausscert_coordinator.exit_codes import ExitCode

PROGRAM = "gausscert"
VARIABLE = "_GAUSSCERT_COMPLETE"
"""Where click looks for a shell's request: derived by click from the program's name."""


@click.command(
    "completion",
    cls=Verb,
    short_help=ROOT["completion"].short_help,
    examples=(
        ("bash, for this session:", 'eval "$(gausscert completion bash)"'),
        (
            "bash, for good:",
            "gausscert completion bash > ~/.local/share/bash-completion/completions/gausscert",
        ),
        ("zsh, in ~/.zshrc:", 'eval "$(gausscert completion zsh)"'),
        ("fish:", "gausscert completion fish > ~/.config/fish/completions/gausscert.fish"),
    ),
    exits={ExitCode.DONE: "done", ExitCode.REFUSED: "no such shell"},
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@pass_invocation
def command(invocation: Invocation, shell: str) -> int:
    """Print the script that lets a shell complete verbs and options."""
    kind = get_completion_class(shell)
    if kind is None:
        raise InternalError(Reason.INTERNAL, f"click has no completion for {shell}")
    # Only the template: `source` of bash would start a bash to ask for its version.
    made = kind(click.Command(PROGRAM), {}, PROGRAM, VARIABLE)
    script = made.source_template % made.source_vars()
    invocation.render.result("completion", {"shell": shell, "script": script}, lambda: [script])
    return ExitCode.DONE
