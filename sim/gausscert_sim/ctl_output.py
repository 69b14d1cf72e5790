"""How cm_ctl speaks: everything on stdout, with its prefix; dots without (cm_elog.cpp:277-330)."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TextIO

from gausscert_sim.runlog import RunLog

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gausscert_sim.settings import Settings

_SSL_FAILURES_BORNE = 5
"""The next one in one process ends it (ctl_common.cpp:396-406)."""


class Output:
    """One run of cm_ctl: what it says and when it gives up."""

    def __init__(self, settings: Settings) -> None:
        self._log = RunLog(_log_directory(settings), "cm_ctl")
        self._dots = False
        self._ssl_failures = 0
        self._report: TextIO | None = None

    def redirect(self, path: str) -> bool:
        """Send reports to a file (-l); False if it cannot be opened, which was said."""
        if not path:
            return True
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        except OSError as cause:
            self.say(f'could not open log file "{path}": {cause.strerror}')
            return False
        self._report = os.fdopen(descriptor, "w")
        return True

    def report(self, lines: Iterable[str]) -> None:
        """Lines of a `view`, a `list` or a `query`: no prefix, on stdout or where -l says."""
        text = "".join(f"{line}\n" for line in lines)
        if self._report is None:
            self.raw(text)
            return
        self._report.write(text)
        self._report.flush()

    def say(self, text: str) -> None:
        """A line with the prefix; a text of several lines has it on the first alone."""
        self.raw(f"cm_ctl: {text}\n")
        self.note(text)

    def raw(self, text: str) -> None:
        """Text as it is, behind a line break if dots are open."""
        if self._dots:
            sys.stdout.write("\n")
            self._dots = False
        sys.stdout.write(text)
        sys.stdout.flush()

    def dot(self) -> None:
        """A second has passed."""
        self._dots = True
        sys.stdout.write(".")
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """For the log alone."""
        self._log.write("LOG", text)

    def advise(self) -> None:
        """Where to read more."""
        self.say('Try "cm_ctl --help" for more information.')

    def ssl_failed(self, line: str) -> None:
        """Count a TLS failure.

        Raises:
            SystemExit: With 1, at the sixth.
        """
        if line:
            self.say(line)
        self.say("create ssl connection failed.")
        self._ssl_failures += 1
        if self._ssl_failures > _SSL_FAILURES_BORNE:
            self.say("cm_ctl can't establish an SSL connection, please check certificate file")
            sys.exit(1)

    def ssl_worked(self) -> None:
        """Start counting anew."""
        self._ssl_failures = 0


def refuse(text: str, code: int) -> NoReturn:
    """End before there is a log: a bare line and an exit code."""
    sys.stdout.write(f"{text}\n")
    sys.exit(code)


def _log_directory(settings: Settings) -> Path:
    """$GAUSSLOG/cm/cm_ctl, else `<home>/bin` (facts section 3.1)."""
    log_path = os.environ.get("GAUSSLOG")
    if not log_path:
        return settings.local.home / "bin"
    return Path(log_path) / "cm" / "cm_ctl"
