"""The operator at the terminal, if there is one: questions, and passwords without echo."""

from __future__ import annotations

import getpass
import warnings
from typing import TYPE_CHECKING, TextIO

from gausscert_common.errors import InvalidInput, Reason

if TYPE_CHECKING:
    from collections.abc import Callable


class Terminal:
    """Asks on the terminal and nowhere else; results and progress are the renderer's.

    Args:
        stdin: Where answers come from; also where `--...-password-file -` reads.
        stderr: Where questions are written.
        hidden: Asks without echo; the default takes /dev/tty.
    """

    def __init__(self, stdin: TextIO, stderr: TextIO, hidden: Callable[[str], str] = getpass.getpass) -> None:
        self._stdin = stdin
        self._stderr = stderr
        self._hidden = hidden

    @property
    def present(self) -> bool:
        """Whether somebody can answer."""
        return not self._stdin.closed and self._stdin.isatty()

    def confirmed(self, question: str) -> bool:
        """Ask for a "y" or "yes"; anything else is a no, also what is no text."""
        self._stderr.write(f"{question} ")
        self._stderr.flush()
        try:
            return self._stdin.readline().strip().lower() in ("yes", "y")
        except UnicodeDecodeError:
            return False

    def say(self, text: str) -> None:
        """Tell whoever is there something before a question is answered."""
        self._stderr.write(f"{text}\n")
        self._stderr.flush()

    def secret(self, prompt: str) -> str:
        """Ask without echo.

        Raises:
            InvalidInput: The echo cannot be switched off, the operator gave up, or what he typed is no text.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("error", getpass.GetPassWarning)
            try:
                typed = self._hidden(f"{prompt}: ")
                typed.encode()  # a locale without an encoding lets bytes through as surrogates
            except getpass.GetPassWarning as warning:
                raise InvalidInput(
                    Reason.ARGUMENT_INVALID,
                    "this terminal would show the password",
                    remedy="give it in a file that only you can read",
                ) from warning
            except EOFError as end:
                raise InvalidInput(
                    Reason.ARGUMENT_INVALID,
                    "no password was given",
                    remedy="type it, or give it in a file that only you can read",
                ) from end
            except UnicodeDecodeError as error:
                error.object = b""  # what was typed is in there, and goes no further
                raise _no_text() from None
            except UnicodeEncodeError as error:
                error.object = ""
                raise _no_text() from None
        return typed

    def piped_line(self, longest: int) -> bytes:
        """One line of standard input, without echo of any kind; longer lines are cut off."""
        return self._stdin.buffer.readline(longest)


def _no_text() -> InvalidInput:
    return InvalidInput(
        Reason.ARGUMENT_INVALID,
        "what was typed is no text in this terminal's encoding",
        remedy="type it again, or give it in a file",
    )
