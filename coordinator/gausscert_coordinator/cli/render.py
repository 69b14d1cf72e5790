"""The one that prints. Results go to standard output, everything else to standard error.

With `--output json` standard output gets exactly one document, whatever happens.
"""

from __future__ import annotations

import json
import os
import secrets
import traceback
from typing import TYPE_CHECKING, Any, Final, TextIO

from gausscert_common.errors import InternalError, Reason
from rich.console import Console
from rich.text import Text

from gausscert_coordinator.cli import documents, tables
from gausscert_coordinator.cli.progress import LineProgress, LiveProgress, Silent
from gausscert_coordinator.cli.settings import OutputFormat
from gausscert_coordinator.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gausscert_common.errors import GausscertError
    from rich.console import RenderableType

    from gausscert_coordinator.cli.progress import Watcher
    from gausscert_coordinator.cli.settings import Settings

WIDE: Final = 200
"""Columns where no terminal says otherwise: a log or a pipe wants one line per row."""


class Enduring:
    """A stream that outlives its reader: a transaction does not end because the terminal went away.

    Characters that its encoding lacks are written as escapes.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._gone = False

    def write(self, text: str) -> int:
        """Write, or drop the text once the reader is gone."""
        if not self._gone:
            try:
                self._stream.write(self._encodable(text))
            except OSError:
                self._leave()
        return len(text)

    def flush(self) -> None:
        """Flush, unless the reader is gone."""
        if not self._gone:
            try:
                self._stream.flush()
            except OSError:
                self._leave()

    def isatty(self) -> bool:
        """Whether a person reads it."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Of the stream."""
        return self._stream.fileno()

    @property
    def encoding(self) -> str:
        """Of the stream."""
        return self._stream.encoding or "utf-8"

    def _encodable(self, text: str) -> str:
        return text.encode(self.encoding, "backslashreplace").decode(self.encoding)

    def _leave(self) -> None:
        """Python flushes the stream once more at exit; let that go nowhere instead of failing."""
        self._gone = True
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
        except OSError:
            return


class Renderer:
    """Prints for one run of the command.

    Args:
        settings: The global options.
        stdout: Where results go.
        stderr: Where progress, questions and errors go.
    """

    def __init__(self, settings: Settings, stdout: TextIO, stderr: TextIO) -> None:
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
        self.important(*tables.failure(error))
        if error.findings and not tables.says_its_findings(error):
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
            return Silent()
        if self._err.is_terminal:
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


def _console(stream: TextIO) -> Console:
    terminal = stream.isatty()
    plain = not terminal or bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    return Console(
        file=Enduring(stream),  # type: ignore[arg-type] # all that rich uses of a file
        force_terminal=terminal,
        color_system=None if plain else "auto",
        width=None if terminal or os.environ.get("COLUMNS") else WIDE,
        markup=False,
        highlight=False,
        emoji=False,
    )
