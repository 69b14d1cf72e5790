"""`gausscert check`: a monitoring plugin."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click
from gausscert_common.errors import GausscertError, InternalError, InvalidInput, Reason

from gausscert_coordinator.cli.group import Verb, asks_for_json, pass_invocation
from gausscert_coordinator.cli.settings import Invocation, OutputFormat
from gausscert_coordinator.cli.verbs import ROOT
from gausscert_coordinator.exit_codes import CHECK_MEANING, CheckState

if TYPE_CHECKING:
    from gausscert_coordinator.cli.ports import Cluster
    from gausscert_coordinator.report import ClusterStatus, NodeExpiry


class _Days(click.FloatRange):
    """Days from 0 on. Not "nan", with which nothing would ever be worth a warning."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401 - as its base
        """Read one."""
        days = super().convert(value, param, ctx)
        if not math.isfinite(days):
            self.fail(f"{value!r} is no number of days", param, ctx)
        return days


DAYS = _Days(min=0)


class PluginVerb(Verb):
    """A verb whose exit codes are those of a monitoring plugin, whatever goes wrong: 2 would be CRITICAL."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,  # noqa: ANN401 - passed on to click
    ) -> click.Context:
        """Read the command line."""
        given = tuple(args)
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.ClickException as error:
            invocation = parent.find_object(Invocation) if parent is not None else None
            if invocation is None:
                raise
            if asks_for_json(given):
                invocation.settings.output = OutputFormat.JSON
            raise click.exceptions.Exit(_unknown(invocation, _wrong_usage(error))) from None

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - as its base
        """Run it; an error is a result, too."""
        invocation = ctx.find_object(Invocation)
        if invocation is None:
            return super().invoke(ctx)
        try:
            return super().invoke(ctx)
        except click.exceptions.Exit:
            raise
        except GausscertError as error:
            return _unknown(invocation, error)
        except click.ClickException as error:
            return _unknown(invocation, _wrong_usage(error))
        except (click.Abort, KeyboardInterrupt):
            return _unknown(invocation, InvalidInput(Reason.USAGE, "stopped before anything was known"))
        except Exception as error:  # noqa: BLE001 - the outermost loop of a plugin
            bug = InternalError(
                Reason.INTERNAL, f"a bug in gausscert, {type(error).__name__}", remedy="report it"
            )
            return _unknown(invocation, bug)


@click.command(
    "check",
    cls=PluginVerb,
    short_help=ROOT["check"].short_help,
    examples=(
        ("By the thresholds of the nodes:", "gausscert check --inventory /etc/gausscert/gausscert.toml"),
        ("By your own:", "gausscert check --warning 60 --critical 14"),
        ("For a program:", "gausscert check --output json"),
    ),
    exits=CHECK_MEANING,
)
@click.option(
    "--warning",
    type=DAYS,
    metavar="DAYS",
    help="Warn so many days before a certificate expires. [default: the node's threshold]",
)
@click.option(
    "--critical",
    type=DAYS,
    metavar="DAYS",
    help="Critical so many days before a certificate expires. [default: a third of the node's threshold]",
)
@pass_invocation
def command(invocation: Invocation, warning: float | None, critical: float | None) -> int:
    """Check the cluster for a monitoring system: the line, performance data and exit code of a plugin.

    Critical are: a certificate or CRL that has expired or is about to, a node that does not answer, a
    transaction in doubt, a cm_server that serves a certificate others refuse, and every error a node finds.
    A warning is: what expires soon, drift, wrong modes, a transaction at work, and every other finding.

    An observer's credential is enough.
    """
    if warning is not None and critical is not None and critical > warning:
        raise click.UsageError("--critical is above --warning: it comes later, so it needs fewer days")
    from gausscert_coordinator.cli import check_judge, check_text
    from gausscert_coordinator.cli.session import Session

    with Session(invocation) as session:
        status, expiries = session.ask(_ask)
        own = session.warnings
    checked = check_judge.check(status, expiries, check_judge.Limits(warning, critical), own)
    invocation.render.result(
        "check",
        check_text.document(checked),
        lambda: check_text.lines(checked, quiet=invocation.settings.quiet),
    )
    return checked.state


async def _ask(cluster: Cluster) -> tuple[ClusterStatus, tuple[NodeExpiry, ...]]:
    """Side by side: a node that is down costs its deadline once."""
    import asyncio  # not for --help

    status, expiries = await asyncio.gather(cluster.status(), cluster.expiry())
    return status, expiries


def _unknown(invocation: Invocation, error: GausscertError) -> int:
    from gausscert_coordinator.cli import check_text

    invocation.render.result("check", check_text.failure_document(error), lambda: check_text.failure(error))
    return CheckState.UNKNOWN


def _wrong_usage(error: click.ClickException) -> InvalidInput:
    return InvalidInput(Reason.USAGE, error.format_message(), remedy="see gausscert check --help")
