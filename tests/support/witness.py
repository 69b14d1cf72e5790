"""Everything that processes are told and write down, by the kernel's own account.

    witness = Witness(directory)
    subprocess.Popen([*witness.before("agent"), *argv])
    ...
    for told in witness.executions(): ...     # arguments and environment of every program that was run
    for write in witness.writes(): ...        # every write, with the path that the file had

strace stands behind them (`-D`), so that pids and exit codes are those of the programs. One file for each
thread, so that no line is cut in two.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_WRITES: Final = ("write", "pwrite64", "writev", "pwritev", "pwritev2", "sendto", "sendmsg")
_OPENS: Final = ("openat", "open", "creat", "openat2")
_TEXT: Final = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')
_FILE: Final = re.compile(r"\((\d+)<([^>]*)>")
_CALL: Final = re.compile(r"(\w+)\(")
_WHOLE: Final = "4000000"


@dataclass(frozen=True)
class Write:
    """One write to a file, a pipe or a socket."""

    who: str
    """What `before` was told."""
    path: str
    """As the kernel names it; "pipe:[1]", "socket:[2]" and "memfd:name" are no files."""
    body: bytes


class Witness:
    """See the module."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._directory = directory
        self._seen = 0

    def before(self, who: str) -> tuple[str, ...]:
        """What to put before a command."""
        self._seen += 1
        calls = ",".join(f"?{name}" for name in ("execve", "execveat", *_WRITES, *_OPENS))
        options = ("-D", "-ff", "-q", "--seccomp-bpf", "-y", "-v", "-xx", "-s", _WHOLE, "-e", "signal=none")
        return (
            "strace",
            *options,
            "-e",
            f"trace={calls}",
            "-o",
            str(self._directory / f"{who}.{self._seen}"),
        )

    def settle(self, within_s: float = 20.0) -> None:
        """Wait until the end of all that was traced has been written down."""
        deadline = time.monotonic() + within_s
        for path in self._directory.iterdir():
            while not path.read_bytes().rstrip().endswith(b"+++"):
                assert time.monotonic() < deadline, f"{path.name} has no end"
                time.sleep(0.05)

    def executions(self) -> Iterator[bytes]:
        """Program, arguments and environment, each time a program was run."""
        for _, name, line in self._lines():
            if name.startswith("execve"):
                yield b"\0".join(_texts(line))

    def writes(self) -> Iterator[Write]:
        """Whatever was written to wherever."""
        for who, name, line in self._lines():
            found = _FILE.search(line)
            if name in _WRITES and found is not None:
                path = bytes(int(each, 16) for each in found[2].split("\\x")[1:]).decode() or found[2]
                yield Write(who, path, b"".join(_texts(line)))

    def created(self) -> set[Path]:
        """Every path under which something was opened for writing, or made."""
        found = set()
        for _, name, line in self._lines():
            if name in _OPENS and re.search(r"O_(WRONLY|RDWR|CREAT)", line) and " = -1 " not in line:
                opened = re.search(r"= \d+<([^>]*)>", line)
                if opened is not None:
                    found.add(Path(bytes(int(each, 16) for each in opened[1].split("\\x")[1:]).decode()))
        return found

    def _lines(self) -> Iterator[tuple[str, str, str]]:
        for path in sorted(self._directory.iterdir()):
            with path.open() as lines:
                for line in lines:
                    call = _CALL.match(line)
                    if call is not None:
                        yield path.name.split(".")[0], call[1], line


def _texts(line: str) -> list[bytes]:
    found = []
    for text, cut in _TEXT.findall(line):
        assert not cut, "a string was cut short"
        found.append(bytes(int(each, 16) for each in text.split("\\x")[1:]))
    return found
