"""What `plan`, `replace` and `rollback` have in common: their options, and the bundle with its passwords."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from gausscert_common.findings import Severity
from gausscert_common.protocol.words import RestartScope, SslWish

from gausscert_coordinator.cli import completing
from gausscert_coordinator.cli.passwords import PasswordFiles, complete, password_options
from gausscert_coordinator.cli.planned import plan_option
from gausscert_coordinator.report import ReplaceOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from gausscert_common.bundle import Bundle
    from gausscert_common.findings import Finding

    from gausscert_coordinator.cli.settings import Invocation
    from gausscert_coordinator.report import Plan


_BUNDLE_DIRECTORY: Final[dict[str, Any]] = {
    "metavar": "DIR",
    "type": click.Path(path_type=Path, file_okay=False, readable=False),
}


def bundle_argument(function: Callable[..., Any]) -> Callable[..., Any]:
    """DIR."""
    return click.argument("directory", **_BUNDLE_DIRECTORY)(function)


def bundle_or_plan(function: Callable[..., Any]) -> Callable[..., Any]:
    """DIR, or `--plan`, which knows it."""
    optional = {**_BUNDLE_DIRECTORY, "metavar": "[DIR]"}
    return click.argument("directory", required=False, **optional)(plan_option(function))


def restart_option(said: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`--restart`, and what is said of leaving it out."""
    return click.option(
        "--restart",
        type=click.Choice(RestartScope, case_sensitive=False),
        metavar="cluster|node|none",
        help="Who stops and starts CM: one node for all (needs the cluster's ssh trust), each node for"
        f" itself, or nobody because you do it. [default: {said}]",
    )


yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask before the outage begins.")


def accept_state_option(what: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`--accept-state`, with what it does."""
    return click.option("--accept-state", is_flag=True, help=what)


def drop_crls_option(what: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`--drop-crls`, with what it does to which CRLs."""
    return click.option("--drop-crls", is_flag=True, help=what)


def transaction_options(
    function: Callable[..., Any], restart: str = RestartScope.CLUSTER.value
) -> Callable[..., Any]:
    """What the operator may choose about any transaction with another set."""
    return click.option(
        "--enable-ssl",
        type=click.Choice(SslWish, case_sensitive=False),
        metavar="on|off|keep",
        default=SslWish.KEEP,
        help="What enable_ssl is to be afterwards, on every node. [default: keep]",
    )(outage_options(function, restart))


def outage_options(
    function: Callable[..., Any], restart: str = RestartScope.CLUSTER.value
) -> Callable[..., Any]:
    """What the operator may choose about any transaction that begins.

    Args:
        function: The command.
        restart: What is said of leaving --restart out.
    """
    options = (
        restart_option(restart),
        accept_state_option(
            "Also where the cluster is not Normal, cannot say how it is, is upgraded, paused or stopped on"
            " purpose, for example because its certificates have expired. What is accepted is shown;"
            " afterwards the cluster must be no worse."
        ),
        click.option(
            "--take-over",
            is_flag=True,
            help="Also take nodes on which another gausscert, which you know to be dead, holds a lease but"
            " has begun no transaction; one that has begun is ended first, by gausscert recover --take-over.",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


def replace_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What the operator may choose about a replacement."""
    dropping = drop_crls_option(
        "Do not carry the live server.crl and client.crl over; a CRL of the old CA makes CM refuse every new"
        " certificate."
    )
    excluding = click.option(
        "--exclude",
        multiple=True,
        metavar="NODE",
        shell_complete=completing.nodes,
        help="Leave out a node that does not answer; may be repeated. It keeps its old set, and all others"
        " keep both, until gausscert recover --bundle DIR has brought it over.",
    )
    return transaction_options(
        excluding(dropping(password_options(function))), "cluster; node with --exclude"
    )


def options_of(
    enable_ssl: SslWish,
    restart: RestartScope | None,
    drop_crls: bool,
    take_over: bool,
    accept_state: bool,
    exclude: tuple[str, ...] = (),
) -> ReplaceOptions:
    """As a value."""
    return ReplaceOptions(
        ssl_wish=enable_ssl,
        restart=restart or _usual_restart(exclude),
        drop_crls=drop_crls,
        take_over=take_over,
        accept_state=accept_state,
        exclude=tuple(dict.fromkeys(exclude)),
    )


def _usual_restart(exclude: tuple[str, ...]) -> RestartScope:
    """`cm_ctl` for all reaches for excluded nodes, too."""
    return RestartScope.NODE if exclude else RestartScope.CLUSTER


def command_line(
    invocation: Invocation, directory: Path, options: ReplaceOptions, files: PasswordFiles
) -> str:
    """The `gausscert replace` that does what was planned, to be pasted into a shell."""
    words = ["gausscert", "replace", str(directory)]
    if invocation.settings.inventory is not None:
        words += ["--inventory", str(invocation.settings.inventory)]
    if invocation.settings.cluster is not None:
        words += ["--cluster", invocation.settings.cluster]
    if options.ssl_wish is not SslWish.KEEP:
        words += ["--enable-ssl", options.ssl_wish.value]
    for node in options.exclude:
        words += ["--exclude", node]
    if options.restart is not _usual_restart(options.exclude):
        words += ["--restart", options.restart.value]
    words += ["--drop-crls"] if options.drop_crls else []
    words += ["--take-over"] if options.take_over else []
    words += ["--accept-state"] if options.accept_state else []
    return shlex.join([*words, *files.words()])


@dataclass(frozen=True, slots=True)
class Given:
    """What the operator handed in."""

    bundle: Bundle
    unknown: tuple[str, ...]
    """Other files in the directory; left alone."""
    findings: tuple[Finding, ...]
    """What is wrong with the files as they lie there; what is in them is judged elsewhere."""


def read_bundle(
    invocation: Invocation, directory: Path, server_file: Path | None, client_file: Path | None
) -> Given:
    """The bundle of a directory, with the passwords that the operator gives.

    Raises:
        InvalidInput: The directory cannot be read, or a password cannot be had.
    """
    from gausscert_common.bundle import Bundle

    from gausscert_coordinator import bundle_files

    read = bundle_files.read_directory(directory)
    bundle = Bundle(read.pem, factor_files=read.factor_files)
    files = PasswordFiles(server_file, client_file)
    return Given(complete(bundle, files, invocation.terminal), read.unknown, read.findings)


def with_findings_of(given: Given, plan: Plan) -> Plan:
    """A plan that also objects to how the files lie in their directory."""
    from gausscert_coordinator import bundle_files

    merged = sorted(
        bundle_files.with_contents(given.findings, plan.findings),
        key=lambda each: each.severity is not Severity.ERROR,
    )
    return replace(plan, findings=tuple(merged))
