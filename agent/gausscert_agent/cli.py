"""`gausscert-agent`: serve, check-config, status, version. What is heavy is imported where it is needed."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click
from gausscert_common import VERSION
from gausscert_common.errors import GausscertError, InvalidInput, NodeRefusal, Reason
from gausscert_common.findings import Finding, Severity

if TYPE_CHECKING:
    from gausscert_agent.config import AgentConfig

REFUSED = 2
"""The configuration, a credential or the node is not fit; nothing was served."""
FAILED = 5

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
    from gausscert_agent import hardening

    hardening.harden()
    from gausscert_agent import app, logs

    config = _load(path)
    logs.configure(config.log_level, "json" if log_format == "json" else "text")
    app.serve(config)


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
            click.echo(f"warning: {_line(finding)}", err=True)
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
    if state.operation is not None:
        click.echo(f"operation    cm_ctl {state.operation.kind}, pid {state.operation.pid}")
    for tombstone in state.tombstones[:5]:
        click.echo(f"ended        {tombstone.transaction_id} {tombstone.outcome}")


@cli.command()
def version() -> None:
    """Print the version."""
    click.echo(f"gausscert-agent {VERSION}")


def main() -> NoReturn:
    """The entry point: the outermost loop, nothing escapes it as a traceback."""
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(0)
    except click.ClickException as error:
        error.show()
        sys.exit(REFUSED)
    except click.Abort:
        sys.exit(REFUSED)
    except GausscertError as error:
        _tell(error)
        sys.exit(REFUSED if isinstance(error, InvalidInput | NodeRefusal) else FAILED)
    sys.exit(0)


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


def _tell(error: GausscertError) -> None:
    """Each thing once: a message that only joins what the findings say is left to them."""
    joined = len(error.findings) > 1 and all(each.cause in error.message for each in error.findings)
    if joined:
        where = f"{error.file}: " if error.file else ""
        click.echo(
            f"gausscert-agent: {error.reason}: {where}{len(error.findings)} things are wrong", err=True
        )
    elif len(error.findings) == 1 and error.findings[0].cause in error.message:
        click.echo(f"gausscert-agent: {error.reason}: {_line(error.findings[0])}", err=True)
        return
    else:
        click.echo(f"gausscert-agent: {error.reason}: {error}", err=True)
    for finding in error.findings:
        named = joined and finding.file == error.file
        click.echo(f"  {_line(replace(finding, file='') if named else finding)}", err=True)


def _as_finding(error: GausscertError) -> Finding:
    return Finding(error.reason.value, Severity.ERROR, error.message, error.remedy, file=error.file)


def _line(finding: Finding) -> str:
    where = f"{finding.file}: " if finding.file else ""
    return f"{where}{finding.cause} ({finding.remedy})"


if __name__ == "__main__":
    main()
