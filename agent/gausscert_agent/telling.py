"""How the agent's command tells a person what is wrong."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from gausscert_common.errors import InternalError, Reason

if TYPE_CHECKING:
    from gausscert_common.errors import GausscertError
    from gausscert_common.findings import Finding

REFUSED: Final = 2
"""The configuration, a credential or the node is not fit; nothing was served. Or an audit log was altered, as
`gausscert history --verify` tells it, too."""
FAILED: Final = 5
_GONE: Final = frozenset({errno.EPIPE, errno.EIO, errno.EBADF})


def tell(error: GausscertError) -> None:
    """Each thing once: a message that only joins what the findings say is left to them."""
    joined = len(error.findings) > 1 and all(each.cause in error.message for each in error.findings)
    if joined:
        where = f"{error.file}: " if error.file else ""
        _say(f"gausscert-agent: {error.reason}: {where}{len(error.findings)} things are wrong")
    elif len(error.findings) == 1 and error.findings[0].cause in error.message:
        _say(f"gausscert-agent: {error.reason}: {line(error.findings[0])}")
        return
    else:
        _say(f"gausscert-agent: {error.reason}: {error}")
    for finding in error.findings:
        named = joined and finding.file == error.file
        _say(f"  {line(replace(finding, file='') if named else finding)}")


def bug() -> None:
    """What should never happen, with all that helps to find it; for the agent's log, too."""
    _say(traceback.format_exc().rstrip())


def line(finding: Finding) -> str:
    """One finding in one line."""
    where = f"{finding.file}: " if finding.file else ""
    return f"{where}{finding.cause} ({finding.remedy})"


def say_all(text: str) -> None:
    """Write what was asked for. A reader that has gone, as of `| head`, wants no more of it.

    Raises:
        InternalError: There is no room for it.
    """
    if not text or sys.stdout is None:  # Python's way of saying that it is closed
        return
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        _drop_the_rest()
        if error.errno not in _GONE:
            raise InternalError(
                Reason.INTERNAL, f"standard output cannot be written: {error.strerror}"
            ) from error


def _drop_the_rest() -> None:
    """Python flushes once more at its end, and would fail again."""
    nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _say(text: str) -> None:
    """Where it cannot be said, the exit code says it."""
    if sys.stderr is not None:
        with suppress(OSError):
            sys.stderr.write(text + "\n")
