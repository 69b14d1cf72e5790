"""`gausscert`: from the arguments to an exit code. The outermost loop; nothing escapes it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn

import click
from gausscert_common import hardening
from gausscert_common.errors import GausscertError, InternalError, InvalidInput, Reason

from gausscert_coordinator.cli.group import VerbGroup, asks_for_json
from gausscert_coordinator.cli.settings import Invocation, OutputFormat
from gausscert_coordinator.cli.verbs import ROOT
from gausscert_coordinator.exit_codes import MEANING, CheckState, ExitCode, exit_code

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

PROGRAM = "gausscert"

cli = VerbGroup(
    name=PROGRAM,
    table=ROOT,
    help="Replace every TLS certificate of a running openGauss CM cluster as one transaction:"
    " every node, or none.",
    examples=(
        ("Look at the cluster:", "gausscert status"),
        ("Make a self-signed bundle, check it, and see what it would do:", "gausscert bundle new new-bundle"),
        ("", "gausscert bundle verify new-bundle"),
        ("", "gausscert plan new-bundle"),
        ("Replace the certificates of all nodes:", "gausscert replace new-bundle"),
        ("See all of it on a simulated cluster on this machine:", "gausscert demo"),
    ),
    exits=MEANING,
)


def run(args: Sequence[str], invocation: Invocation | None = None) -> int:
    """Run one command line.

    Args:
        args: Without the program's name.
        invocation: What the verb is given; tests give their own.

    Returns:
        The exit code of design section 9.
    """
    invocation = invocation or Invocation()
    return _unless_lost(invocation, _run(args, invocation))


def _run(args: Sequence[str], invocation: Invocation) -> int:
    try:
        returned = cli.main(list(args), prog_name=PROGRAM, standalone_mode=False, obj=invocation)
    except click.exceptions.NoArgsIsHelpError as error:
        return _help_instead(invocation, error)
    except click.ClickException as error:
        return _wrong_usage(invocation, args, error)
    except (click.Abort, KeyboardInterrupt):
        return _stopped(invocation)
    except GausscertError as error:
        return invocation.render.failure(error, exit_code(error))
    except Exception as error:  # noqa: BLE001 - the outermost loop: a bug ends as exit code 5, never as a traceback
        return invocation.render.bug(error)
    return returned if isinstance(returned, CheckState) else int(returned or ExitCode.DONE)


def _unless_lost(invocation: Invocation, code: int) -> int:
    """A result that nobody could get is no success; how a transaction has ended stays what it is."""
    if not invocation.out.lost:
        return code
    lost = InternalError(
        Reason.INTERNAL,
        f"standard output cannot be written: {invocation.out.lost}",
        remedy="look at gausscert status, or run it again with room for the output",
    )
    invocation.render.important(*_told(lost))
    if isinstance(code, CheckState):
        return CheckState.UNKNOWN if code is CheckState.OK else code
    return ExitCode.OWN_ERROR if code == ExitCode.DONE and not invocation.transaction_begun else code


def _told(error: GausscertError) -> list[RenderableType]:
    from gausscert_coordinator.cli import tables_errors

    return tables_errors.failure(error)


def main() -> NoReturn:
    """One command line of this process's own."""
    sys.exit(_hardened(sys.argv[1:]))


def _hardened(args: Sequence[str]) -> int:
    try:
        hardening.harden()
    except GausscertError as error:
        return Invocation().render.failure(error, exit_code(error))
    return run(args)


def _wrong_usage(invocation: Invocation, args: Sequence[str], error: click.ClickException) -> int:
    """Options that click had no chance to process still decide how the error is written."""
    if asks_for_json(args):
        invocation.settings.output = OutputFormat.JSON
    context = getattr(error, "ctx", None)
    path = context.command_path if isinstance(context, click.Context) else PROGRAM
    wrong = InvalidInput(
        Reason.USAGE, _sentence(error.format_message()), remedy=f"see {path} --help for options and examples"
    )
    return invocation.render.failure(wrong, ExitCode.REFUSED)


def _stopped(invocation: Invocation) -> int:
    """A Ctrl-C that no transaction took."""
    if invocation.transaction_begun:
        late = InternalError(
            Reason.INTERNAL, "stopped while the result was being told", remedy="look at gausscert status"
        )
        return invocation.render.failure(late, ExitCode.OWN_ERROR)
    if invocation.stopped is not None:
        return invocation.render.failure(invocation.stopped, exit_code(invocation.stopped))
    stopped = InvalidInput(Reason.USAGE, "stopped by the operator; nothing was changed")
    return invocation.render.failure(stopped, ExitCode.REFUSED)


def _help_instead(invocation: Invocation, error: click.exceptions.NoArgsIsHelpError) -> int:
    invocation.render.help_text(error.message)
    return ExitCode.REFUSED


def _sentence(text: str) -> str:
    """In the form of all our messages: lower case, no full stop, one line; click lists choices on more."""
    text = " ".join(text.split()).removesuffix(".")
    return text[:1].lower() + text[1:]


if __name__ == "__main__":
    raise SystemExit("gausscert begins in gausscert_coordinator.cli.entry")
