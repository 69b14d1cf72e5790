"""How a verb is declared: global options before or after it, examples and exit codes in its help.

Nothing here may import grpc, cryptography, rich or asyncio: `gausscert --help` comes through here.
"""

from __future__ import annotations

import importlib
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gausscert_coordinator.cli import completing, helping
from gausscert_coordinator.cli.settings import Invocation, OutputFormat

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gausscert_coordinator.cli.verbs import Entry
    from gausscert_coordinator.exit_codes import CheckState, ExitCode

PACKAGE = "gausscert_coordinator.cli"

HELP_NAMES = {"help_option_names": ["-h", "--help"]}


class GlobalOption(click.Option):
    """An option of every verb and every group; whoever is given last wins."""


def _remember(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:  # noqa: ANN401 - click's type
    given = ctx.get_parameter_source(parameter.name or "") is click.core.ParameterSource.COMMANDLINE
    invocation = ctx.find_object(Invocation)
    if given and invocation is not None:
        setattr(invocation.settings, parameter.name or "", value)


def global_options() -> list[click.Parameter]:
    """Fresh ones: click ties a parameter to its command."""
    common: dict[str, Any] = {"expose_value": False, "callback": _remember}
    return [
        GlobalOption(
            ["--inventory"],
            type=click.Path(path_type=Path, readable=False),
            metavar="FILE",
            help="The cluster; else ./gausscert.toml, $GAUSSCERT_INVENTORY, /etc/gausscert/gausscert.toml.",
            **common,
        ),
        GlobalOption(
            ["--cluster"],
            metavar="NAME",
            shell_complete=completing.clusters,
            help="Which cluster of the inventory, where it has several; else $GAUSSCERT_CLUSTER.",
            **common,
        ),
        GlobalOption(
            ["--output"],
            type=click.Choice(OutputFormat, case_sensitive=False),
            metavar="text|json",
            help="json: exactly one document on standard output.",
            **common,
        ),
        GlobalOption(["--quiet", "-q"], is_flag=True, help="Results and errors only.", **common),
        GlobalOption(
            ["--verbose", "-v"],
            is_flag=True,
            help="More detail, such as processes and former sets of nodes; tracebacks of bugs.",
            **common,
        ),
    ]


def asks_for_json(args: Sequence[str]) -> bool:
    """Whether a command line does, whatever else is wrong with it; the last `--output` decides."""
    words = list(itertools.takewhile(lambda word: word != "--", args))
    said = [
        word.partition("=")[2] if "=" in word else following
        for word, following in itertools.pairwise([*words, ""])
        if word.partition("=")[0] == "--output"
    ]
    return bool(said) and said[-1].lower() == OutputFormat.JSON


class _Documented(click.Command):
    """Adds the global options and prints them, the examples and the exit codes as sections of their own."""

    examples: Sequence[tuple[str, str]] = ()
    exits: Mapping[ExitCode, str] | Mapping[CheckState, str] | None = None
    context_class = helping.HelpContext

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """Its own, which outlives its reader."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.callback = helping.show_help
        return option

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The verb's own options, then those of all verbs."""
        own: list[tuple[str, str]] = []
        everywhere: list[tuple[str, str]] = []
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and not isinstance(parameter, click.Argument):  # the text speaks of those
                (everywhere if isinstance(parameter, GlobalOption) else own).append(record)
        for title, records in (("Options", own), ("Global options", everywhere)):
            if records:
                with formatter.section(title):
                    helping.list_of(formatter, records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Examples and exit codes."""
        super().format_epilog(ctx, formatter)
        if self.examples:
            with formatter.section("Examples"):
                for sentence, line in self.examples:
                    helping.example(formatter, sentence, line)
        if self.exits is not None:
            with formatter.section("Exit codes"):
                helping.list_of(
                    formatter, [(str(int(code)), meaning) for code, meaning in self.exits.items()]
                )


class Verb(_Documented):
    """One verb. Its callback gets an Invocation and returns the exit code.

    Args:
        examples: Pairs of a sentence and a command line.
        exits: What each exit code of this verb means.
    """

    def __init__(
        self,
        *args: Any,  # noqa: ANN401 - passed on to click
        examples: Sequence[tuple[str, str]],
        exits: Mapping[ExitCode, str] | Mapping[CheckState, str],
        **kwargs: Any,  # noqa: ANN401 - passed on to click
    ) -> None:
        kwargs.setdefault("context_settings", HELP_NAMES)
        super().__init__(*args, **kwargs)
        own = {name for parameter in self.params for name in parameter.opts}
        # Where a verb makes something for a cluster, --cluster names it instead of choosing one.
        self.params.extend(each for each in global_options() if not own.intersection(each.opts))
        self.examples = examples
        self.exits = exits


class VerbGroup(_Documented, click.Group):
    """A group that knows its verbs from a table and loads one only to run it.

    Args:
        table: The verbs by name.
        examples: As for a Verb.
        exits: As for a Verb; None for none.
    """

    def __init__(
        self,
        *args: Any,  # noqa: ANN401 - passed on to click
        table: Mapping[str, Entry],
        examples: Sequence[tuple[str, str]] = (),
        exits: Mapping[ExitCode, str] | None = None,
        **kwargs: Any,  # noqa: ANN401 - passed on to click
    ) -> None:
        kwargs.setdefault("context_settings", HELP_NAMES)
        super().__init__(*args, **kwargs)
        self.params.extend(global_options())
        self.table = table
        self.examples = examples
        self.exits = exits

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """In the order of the table."""
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Load the verb's module."""
        entry = self.table.get(cmd_name)
        if entry is None:
            return None
        command = importlib.import_module(f"{PACKAGE}.{entry.module}").command
        if not isinstance(command, click.Command):
            raise TypeError(f"{entry.module}.command is no click command")
        return command

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The verbs first, from the table."""
        with formatter.section("Verbs"):
            helping.list_of(formatter, [(name, entry.short_help) for name, entry in self.table.items()])
        super().format_options(ctx, formatter)


pass_invocation = click.make_pass_decorator(Invocation)
"""Gives a verb's callback the Invocation as its first argument."""
