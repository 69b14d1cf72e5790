"""The verbs of `gausscert-agent`: serve, check-config, status, version, and help for all of them."""

from __future__ import annotations

import io
import os
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from gausscert_common import VERSION
from gausscert_common.errors import InvalidInput, NodeFailure, Reason
from gausscert_common.findings import Finding, Severity

from gausscert_agent import serving, telling
from gausscert_agent.telling import REFUSED

if TYPE_CHECKING:
    from gausscert_common import auditing
    from gausscert_common.errors import GausscertError

    from gausscert_agent.config import AgentConfig

_LOOKS: Final = 3
"""So often a log is read at most that somebody else writes."""

_config_option = click.option(
    "--config",
    "path",
    metavar="FILE",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The agent's configuration, for example /etc/gausscert/agent.toml.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """The agent of gausscert on one node of an openGauss CM cluster. Runs as the cluster's OS user.

    \b
    Exit codes: 0 done; 2 the configuration, a credential or the node is not fit; 5 an error of its own.
    """


@cli.command(epilog="Example: gausscert-agent serve --config /etc/gausscert/agent.toml")
@_config_option
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Of each line.",
)
def serve(path: Path, log_format: str) -> None:
    """Serve this node until SIGTERM, which lets running calls end first."""
    serving.serve(path, "json" if log_format == "json" else "text")


@cli.command(
    "check-config", epilog="Example: gausscert-agent check-config --config /etc/gausscert/agent.toml"
)
@_config_option
def check_config(path: Path) -> None:
    """Tell everything that is wrong with the configuration, with what it names on this machine and with the
    credential; change nothing."""
    config = _load(path)
    from gausscert_agent import config_check
    from gausscert_agent.credential_source import CredentialSource

    found = [*config_check.look(config)]
    try:
        CredentialSource(config).first()
    except InvalidInput as error:
        found += error.findings or [_as_finding(error)]
    wrong = [finding for finding in found if finding.severity is Severity.ERROR]
    for finding in found:
        if finding not in wrong:
            click.echo(f"warning: {telling.line(finding)}", err=True)
    if wrong:
        causes = "; ".join(finding.cause for finding in wrong)
        raise InvalidInput(Reason.CONFIG_INVALID, causes, file=str(path), findings=wrong)
    click.echo(f"{path}: good; node {config.name} of cluster {config.cluster}, listens on {config.listen}")


@cli.command(epilog="Example: gausscert-agent status --config /etc/gausscert/agent.toml")
@_config_option
def status(path: Path) -> None:
    """Tell what the journal says; works beside a serving agent, and while there is none."""
    config = _load(path)
    from gausscert_agent.journal import Journal

    _require_state_directory(config)
    journal = Journal(config.state_dir)
    state = journal.load()
    click.echo(f"node         {config.name} of cluster {config.cluster}")
    if not journal.path.exists():
        click.echo(f"no transaction has ever been here: {config.state_dir} holds no journal")
        return
    click.echo(f"phase        {state.phase}")
    click.echo(f"fence        epoch {state.fence.epoch}, step {state.fence.step.name}")
    if state.holder:
        click.echo(f"last holder  {state.holder}")
    if state.transaction is not None:
        click.echo(f"transaction  {state.transaction.transaction_id}")
        click.echo(f"nodes        {', '.join(state.transaction.participants)}")
        if state.transaction.excluded:
            click.echo(f"without      {', '.join(state.transaction.excluded)}")
        if state.transaction.joins:
            click.echo(f"joins        {state.transaction.joins}")
    if state.operation is not None:
        click.echo(f"operation    cm_ctl {state.operation.kind}, pid {state.operation.pid}")
    for tombstone in state.tombstones[:5]:
        click.echo(f"ended        {tombstone.transaction_id} {tombstone.outcome}")


@cli.command(
    "verify-audit", epilog="Example: gausscert-agent verify-audit --config /etc/gausscert/agent.toml"
)
@_config_option
def verify_audit(path: Path) -> None:
    """Follow the chain of the audit log and name the first line that does not fit; works beside a serving
    agent, too.

    Whether its end is missing only the history of a coordinator can tell: gausscert history --verify.
    """
    config = _load(path)
    from gausscert_common import auditing

    from gausscert_agent import audit

    _require_state_directory(config)
    log = config.state_dir / audit.DIRECTORY
    try:
        found = _followed(log)
    except OSError as error:
        raise InvalidInput(
            Reason.CONFIG_INVALID,
            f"the audit log cannot be read: {error.strerror}",
            file=str(log),
            remedy="run this as the agent's user",
        ) from error
    if found.fault is not None:
        raise NodeFailure(
            Reason.AUDIT_BROKEN,
            f"line {found.fault.number} of the audit log: {found.fault.cause}",
            file=str(log),
            remedy="find out who can write there, and what the agent's own log says of that time",
        )
    if not found.first:
        click.echo(f"{log}: nothing was asked of this agent yet")
        return
    click.echo(f"{log}: intact, lines {found.first} to {found.head.number}")
    click.echo(f"its end: {auditing.written(found.head)}")


def _followed(log: Path) -> auditing.Verified:
    """What an agent does to its log meanwhile is no fault: the half of a line that it is just writing, an
    oldest file that goes because a new one was begun."""
    from gausscert_common import auditing

    from gausscert_agent import audit

    for _ in range(_LOOKS - 1):
        with suppress(FileNotFoundError):
            found = auditing.verify(text for _, text in audit.numbered(log))
            if found.fault is None:
                return found
    return auditing.verify(text for _, text in audit.numbered(log))


@cli.command()
def version() -> None:
    """Print the version."""
    click.echo(f"gausscert-agent {VERSION}")


def run() -> int:
    """What `gausscert-agent` was asked for, whatever it is; answers the exit code.

    Raises:
        GausscertError: It failed, or was refused, or there is no room for what it has to say.
    """
    said = io.StringIO()
    try:
        with redirect_stdout(said):
            return _run()
    finally:
        telling.say_all(said.getvalue())


def _run() -> int:
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
    except click.ClickException as error:
        with suppress(OSError):  # the exit code says so, too
            error.show()
        return REFUSED
    except click.Abort:
        return REFUSED
    return 0


def _load(path: Path) -> AgentConfig:
    from gausscert_agent import config_file

    return config_file.load(path)


def _require_state_directory(config: AgentConfig) -> None:
    """Without one there is nothing to tell, and "phase NONE" would be a guess.

    Raises:
        InvalidInput: CONFIG_INVALID.
    """
    try:
        os.listdir(config.state_dir)
    except OSError as error:
        absent = isinstance(error, FileNotFoundError)
        raise InvalidInput(
            Reason.CONFIG_INVALID,
            "there is no state directory" if absent else f"the state directory: {error.strerror}",
            file=str(config.state_dir),
            remedy="correct state_dir; an agent that was started once has made it"
            if absent
            else "run this as the agent's user",
        ) from error


def _as_finding(error: GausscertError) -> Finding:
    return Finding(error.reason.value, Severity.ERROR, error.message, error.remedy, file=error.file)
