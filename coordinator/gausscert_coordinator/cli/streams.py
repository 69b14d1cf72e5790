"""Standard output and standard error, when whoever reads them goes away or there is no room.

Nothing here may import rich: `gausscert --help` comes through here.
"""

from __future__ import annotations

import errno
import os
from typing import Final, TextIO

_GONE: Final = frozenset({errno.EPIPE, errno.EIO, errno.EBADF})
"""The reader has gone: `| head`, a terminal that was closed, a descriptor that the caller has closed."""


class Enduring:
    """A stream that outlives its reader: a transaction does not end because the terminal went away.

    Characters that its encoding lacks are written as escapes.

    Attributes:
        lost: Why text was lost although somebody wanted it, such as "No space left on device"; else "".
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._gone = False
        self.lost = ""

    def write(self, text: str) -> int:
        """Write, or drop the text once the reader is gone."""
        if not self._gone:
            try:
                self._stream.write(self._encodable(text))
            except OSError as error:
                self._leave(error)
        return len(text)

    def flush(self) -> None:
        """Flush, unless the reader is gone."""
        if not self._gone:
            try:
                self._stream.flush()
            except OSError as error:
                self._leave(error)

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

    def _leave(self, error: OSError) -> None:
        """Python flushes the stream once more at exit; let that go nowhere instead of failing."""
        self._gone = True
        if error.errno is not None and error.errno not in _GONE:
            self.lost = error.strerror or str(error)
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
        except OSError:
            return
