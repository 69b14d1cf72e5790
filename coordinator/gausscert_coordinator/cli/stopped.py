"""What a Ctrl-C is told as once something may have been changed; until then nothing was, says `main`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gausscert_common.errors import InternalError, Reason, Unreachable

if TYPE_CHECKING:
    from pathlib import Path

    from gausscert_common.errors import GausscertError

WRITING: Final = "stopped while it was writing, or after that: look at what is there"
"""Exit code 5 of a verb that writes files, for its --help."""


def while_writing(
    place: Path, remedy: str = "look at what is there; move away what is not whole, then run it again"
) -> GausscertError:
    """Of a verb that writes files on this machine.

    Args:
        place: A file, or a directory that they go to.
        remedy: What to do, where that is not to look what is whole.
    """
    return InternalError(
        Reason.INTERNAL,
        "stopped by the operator; what was to be written may be there, or some of it",
        file=str(place),
        remedy=remedy,
    )


def while_listing(deny_list: Path) -> GausscertError:
    """Of a revocation that no node is to be told of. The list is whole, with what was revoked and without."""
    return while_writing(deny_list, "run the same again: what is revoked already does no harm")


def while_telling_nodes(done: str) -> GausscertError:
    """Of a verb that tells nodes something which may be told again.

    Args:
        done: What may have been done so far.
    """
    return Unreachable(
        Reason.UNREACHABLE,
        f"stopped by the operator, perhaps before every node had answered; {done}",
        remedy="run the same again: what is done already does no harm",
    )
