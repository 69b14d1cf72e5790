"""What goes wrong on a node, told to the operator's machine as data."""

from __future__ import annotations


class Trouble(Exception):
    """One step failed.

    Args:
        cause: What happened; never holds a key.
        remedy: What to do about it.
        file: The file, or "".
    """

    def __init__(self, cause: str, remedy: str, file: str = "") -> None:
        super().__init__(cause)
        self.cause = cause
        self.remedy = remedy
        self.file = file

    def document(self) -> dict[str, str]:
        """For the answer."""
        return {"cause": self.cause, "remedy": self.remedy, "file": self.file}


def of_os(error: OSError, doing: str, remedy: str = "") -> Trouble:
    """What the system refused."""
    where = error.filename if isinstance(error.filename, str) else ""
    return Trouble(f"{doing}: {error.strerror or error}", remedy or "see the cause, then run it again", where)
