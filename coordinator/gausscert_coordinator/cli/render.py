"""The one that prints. Results go to standard output, everything else to standard error.

With `--output json` standard output gets exactly one document, whatever happens.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import traceback
from typing import TYPE_CHECKING, Any, Final, Literal, TextIO

from gausscert_common.errors import InternalError, Reason
from rich.console import Console
from rich.text import Text

from gausscert_coordinator.cli import documents, tables, tables_errors
from gausscert_coordinator.cli.progress import LineProgress, LiveProgress, Silent
from gausscert_coordinator.cli.settings import OutputFormat
from gausscert_coordinator.cli.streams import Enduring
from gausscert_coordinator.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gausscert_common.errors import GausscertError
    from rich.console import RenderableType

    from gausscert_coordinator.cli.progress import Watcher
    from gausscert_coordinator.cli.settings import Settings

WIDE: Final = 200
"""Columns where no terminal says otherwise: a log or a pipe wants one line per row."""


class Renderer:
    """Prints for one run of the command.

    Args:
        settings: The global options.
        stdout: Where results go.
        stderr: Where progress, questions and errors go.
    """

    def __init__(self, settings: Settings, stdout: TextIO | Enduring, stderr: TextIO | Enduring) -> None:
        self._settings = settings
        self._out = _console(stdout)
        self._err = _console(stderr)
        self._documented = False

    @property
    def width(self) -> int:
        """Columns for results."""
        return self._out.width

    @property
    def err_width(self) -> int:
        """Columns for everything else."""
        return self._err.width

    def result(
        self,
        verb: str,
        document: Mapping[str, Any],
        text: Callable[[], Iterable[RenderableType]],
    ) -> None:
        """What the verb was asked for, in the form that was asked for."""
        if self._settings.output is OutputFormat.JSON:
            self._document({"schema": documents.schema(verb), **document})
            return
        for part in text():
            _print(self._out, part)

    def narrate(self, *parts: RenderableType) -> None:
        """A result that comes piece by piece; not with --quiet, and never beside a document."""
        if not (self._settings.quiet or self._settings.output is OutputFormat.JSON):
            for part in parts:
                _print(self._out, part)

    def note(self, *parts: RenderableType) -> None:
        """Something on the side; not with --quiet."""
        if not self._settings.quiet:
            for part in parts:
                _print(self._err, part)

    def important(self, *parts: RenderableType) -> None:
        """Something that must be seen even with --quiet."""
        for part in parts:
            _print(self._err, part)

    def failure(self, error: GausscertError, code: int) -> int:
        """Instead of a result; answers the exit code again."""
        if self._settings.output is OutputFormat.JSON and not self._documented:
            self._document({"schema": documents.schema("error"), "error": documents.error(error)})
            return code
        self.important(*tables_errors.failure(error))
        if error.findings and not tables_errors.says_its_findings(error):
            self.important(tables.findings(error.findings, self.err_width))
        return code

    def bug(self, raised: BaseException) -> int:
        """Something that should never happen; the traceback is for those who ask for it."""
        incident = secrets.token_hex(4)
        if self._settings.verbose:
            self.important("".join(traceback.format_exception(raised)).rstrip())
        more = "" if self._settings.verbose else ", with the output under --verbose"
        error = InternalError(
            Reason.INTERNAL,
            f"a bug in gausscert, {type(raised).__name__}, incident {incident}",
            remedy=f"look at gausscert status, then report it{more}",
        )
        return self.failure(error, ExitCode.OWN_ERROR)

    def help_text(self, text: str) -> None:
        """What click made of a command line without a verb."""
        self.important(text)

    def progress(self, nodes: tuple[str, ...]) -> Watcher:
        """How a transaction is shown while it runs: a board on a terminal, lines elsewhere."""
        if self._settings.quiet:
            return Silent(self._err)
        if self._err.is_terminal and not self._err.is_dumb_terminal:
            return LiveProgress(self._err, nodes, verbose=self._settings.verbose)
        return LineProgress(self._err, verbose=self._settings.verbose)

    def _document(self, document: Mapping[str, Any]) -> None:
        self._documented = True
        self._out.file.write(json.dumps(document, indent=2) + "\n")
        self._out.file.flush()


def _print(console: Console, part: RenderableType) -> None:
    if isinstance(part, str):  # our own text: as it is, whatever the width
        console.file.write(f"{part}\n")
        console.file.flush()
    elif isinstance(part, Text) and not console.is_terminal:  # a log: one line stays one line
        console.print(part, soft_wrap=True)
    elif console.is_terminal:
        console.print(part, overflow="fold")
    else:
        with console.capture() as captured:
            console.print(part, overflow="fold")
        for line in captured.get().splitlines():
            console.file.write(f"{line.rstrip()}\n")  # tables fill their last column with blanks
        console.file.flush()


def _colours(terminal: bool, environment: Mapping[str, str]) -> Literal["auto", "standard"] | None:
    """On a terminal only, unless they are wanted everywhere (force-color.org); NO_COLOR (no-color.org) is the
    last word."""
    if environment.get("NO_COLOR"):
        return None
    if environment.get("FORCE_COLOR", "0").lower() not in ("", "0", "false"):
        return "standard"
    return "auto" if terminal and environment.get("TERM") != "dumb" else None


def _size(stream: TextIO | Enduring) -> tuple[int | None, int | None]:
    """Of a dumb terminal, which rich takes to have 80 columns; of others it finds out by itself."""
    if os.environ.get("TERM", "") not in ("dumb", "unknown"):
        return None, None
    try:
        there = os.get_terminal_size(stream.fileno())
    except OSError:
        there = os.terminal_size((80, 24))
    if os.environ.get("COLUMNS"):
        return shutil.get_terminal_size(there)
    return there.columns or 80, there.lines or 24


def _console(stream: TextIO | Enduring) -> Console:
    terminal = stream.isatty()
    width, height = _size(stream) if terminal else (None if os.environ.get("COLUMNS") else WIDE, None)
    enduring = stream if isinstance(stream, Enduring) else Enduring(stream)
    return Console(
        file=enduring,  # type: ignore[arg-type] # all that rich uses of a file
        force_terminal=terminal,
        color_system=_colours(terminal, os.environ),
        width=width,
        height=height,
        markup=False,
        highlight=False,
        emoji=False,
    )
