"""`plan --out` and `replace --plan`: a plan that waits in a file, and is done only if it still fits."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from gausscert_common.errors import InvalidInput, Reason

from gausscert_coordinator import inventory_clusters
from gausscert_coordinator.plan_record import LONGEST_DAYS, VALID_DAYS, Origin, record

if TYPE_CHECKING:
    from collections.abc import Callable

    from gausscert_coordinator.cli.passwords import PasswordFiles
    from gausscert_coordinator.cli.settings import Invocation, Settings
    from gausscert_coordinator.plan_record import PlanRecord
    from gausscert_coordinator.report import Plan, ReplaceOptions


def out_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--out` and `--valid-days`."""
    days = click.option(
        "--valid-days",
        type=click.IntRange(1, LONGEST_DAYS),
        metavar="DAYS",
        help=f"With --out: for how long the plan may be carried out, {LONGEST_DAYS} at most."
        f" [default: {VALID_DAYS}]",
    )
    out = click.option(
        "--out",
        metavar="FILE",
        type=click.Path(path_type=Path, readable=False),
        help="Also write the plan to FILE, to be looked at and carried out later with gausscert replace"
        " --plan FILE. It holds no key and no password.",
    )
    return out(days(function))


def plan_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--plan`."""
    return click.option(
        "--plan",
        "plan_file",
        metavar="FILE",
        type=click.Path(path_type=Path, readable=False),
        help="Carry out a plan that gausscert plan --out has written: its bundle with its options; refused"
        " if anything is no longer as it says. DIR, if given, is where the bundle lies now.",
    )(function)


@dataclass(frozen=True, slots=True)
class Out:
    """Where a plan is to be kept."""

    path: Path
    days: int

    def keep(self, invocation: Invocation, plan: Plan, directory: Path) -> None:
        """Write a feasible plan.

        Raises:
            InvalidInput: It cannot be written there.
        """
        from gausscert_coordinator import naming, plan_file
        from gausscert_coordinator.cli import stopped

        made_at = invocation.now()
        until = made_at + timedelta(days=self.days)
        origin = Origin(str(directory.absolute()), made_at, naming.person(), until)
        invocation.stopped = stopped.while_writing(self.path)
        plan_file.write(self.path, record(plan, origin))

    def command_line(self, invocation: Invocation, files: PasswordFiles) -> str:
        """What carries it out."""
        words = ["gausscert", "replace", "--plan", str(self.path)]
        if invocation.settings.inventory is not None:
            words += ["--inventory", str(invocation.settings.inventory)]
        if invocation.settings.cluster is not None:
            words += ["--cluster", invocation.settings.cluster]
        return shlex.join([*words, *files.words()])


def out_of(path: Path | None, days: int | None) -> Out | None:
    """What `--out` and `--valid-days` ask for; refused at once where nothing can be written.

    Raises:
        InvalidInput: USAGE, there are days for no file; ARGUMENT_INVALID, it is no file to write to.
    """
    if path is None:
        if days is not None:
            raise InvalidInput(
                Reason.USAGE,
                "--valid-days is about a plan on file",
                remedy="name the file with --out, or leave it out",
            )
        return None
    from gausscert_coordinator import plan_file

    plan_file.check_writable(path)
    return Out(path, days or VALID_DAYS)


@dataclass(frozen=True, slots=True)
class Agreed:
    """A plan on file that is to be carried out."""

    path: Path
    kept: PlanRecord

    @property
    def directory(self) -> Path:
        """Of the bundle, as the plan has it."""
        return Path(self.kept.origin.directory)

    def choose_cluster(self, settings: Settings) -> None:
        """Where nobody has said which cluster is meant, the plan has."""
        if settings.cluster is None and not os.environ.get(inventory_clusters.VARIABLE):
            settings.cluster = self.kept.cluster

    def options(self, asked: ReplaceOptions, context: click.Context) -> ReplaceOptions:
        """Those of the plan.

        Args:
            asked: What the command line says, defaults included.
            context: Knows what of it was really said.

        Raises:
            InvalidInput: USAGE; options that were given say something else than the plan.
        """
        from gausscert_coordinator import plan_drift

        given = {parameter.opts[0] for parameter in context.command.params if _was_given(context, parameter)}
        kept = self.kept.options
        against = {name: pair for name, pair in plan_drift.differing(kept, asked).items() if name in given}
        if against:
            told = "; ".join(f"{name}: {ours} there, {said} here" for name, (ours, said) in against.items())
            raise InvalidInput(
                Reason.USAGE,
                f"the plan says otherwise: {told}",
                file=str(self.path),
                remedy="leave the options out, or make another plan with them: gausscert plan DIR --out FILE",
            )
        return replace(kept, take_over=asked.take_over)

    def held_to(self, made_now: Plan, invocation: Invocation) -> Plan:
        """A plan made now; it also objects to everything that is no longer as the one on file says."""
        from gausscert_coordinator import plan_drift

        drifted = plan_drift.drift(self.kept, made_now, invocation.now())
        return replace(made_now, findings=(*drifted, *made_now.findings))

    def introduced(self) -> str:
        """Whose plan it is, for a person."""
        origin = self.kept.origin
        return (
            f"plan {self.path} of {origin.made_by}, made {origin.made_at:%Y-%m-%d %H:%M} UTC, good until"
            f" {origin.valid_until:%Y-%m-%d %H:%M} UTC"
        )


def source(directory: Path | None, path: Path | None, context: click.Context) -> tuple[Path, Agreed | None]:
    """Where the bundle lies, and the plan on file, if there is one.

    Raises:
        InvalidInput: ARGUMENT_INVALID, the file is no plan; USAGE, its bundle has gone.
        click.UsageError: Neither is named.
    """
    if path is None:
        if directory is None:
            raise click.UsageError("Give the bundle's DIR, or --plan FILE", context)
        return directory, None
    from gausscert_coordinator import plan_file

    agreed = Agreed(path, plan_file.read(path))
    if directory is None and not os.path.isdir(agreed.directory):
        raise InvalidInput(
            Reason.USAGE,
            "the plan's bundle does not lie there any more, or you may not look",
            file=str(agreed.directory),
            remedy=f"say where it lies now: gausscert replace DIR --plan {shlex.quote(str(path))}",
        )
    return directory or agreed.directory, agreed


def _was_given(context: click.Context, parameter: click.Parameter) -> bool:
    source = context.get_parameter_source(parameter.name or "")
    return source is click.core.ParameterSource.COMMANDLINE
