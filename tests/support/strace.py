"""Records what a program asks of the kernel, and kills it at a chosen system call.

    calls = record(zygote.work(root, "forward"), below=root)      # every change below a directory, in order
    killed = kill_at(calls[17], zygote.work(copy, "forward"))     # dies of SIGKILL when it makes that call

Two traps: `--seccomp-bpf` silently disables the injection of signals, and `when=N` counts for each name of a
system call apart, so a point is (name, n-th call of that name) as counted over *all* calls of the recording.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from support.zygote import Work

CHANGING: Final = (
    *("openat", "write", "pwrite64", "writev", "ftruncate", "fallocate", "fsync", "fdatasync"),
    *("rename", "renameat", "renameat2", "mkdir", "mkdirat", "unlink", "unlinkat", "rmdir"),
    *("symlink", "symlinkat", "link", "linkat", "chmod", "fchmod", "fchmodat", "chown", "fchown", "fchownat"),
    *("truncate", "pwritev", "pwritev2", "copy_file_range", "sendfile", "splice", "openat2", "lchown"),
    *("lsetxattr", "lremovexattr", "futimesat", "utimes", "mknod", "umount2", "mount"),
    *("utimensat", "setxattr", "fsetxattr", "removexattr", "fremovexattr", "mknodat", "open", "creat"),
)
"""All that can change a file or directory, or make a change durable."""

_STRING: Final = r'(?:[A-Z_]+|\d+)<((?:\\x[0-9a-f]{2})*)>|"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?'
_LINE: Final = re.compile(r"(?:\d+ +)?(?P<name>[a-z0-9_]+)\((?P<arguments>.*)\) += (?P<result>-?\d+|\?).*$")


@dataclass(frozen=True)
class Call:
    """One system call that succeeded."""

    name: str
    nth: int
    """Among all calls of that name that the program makes, failed ones included."""
    words: tuple[tuple[str, bytes], ...]
    """What its arguments name: ("fd", path of an open file) or ("text", a string), in order."""
    flags: str
    """The arguments as they were printed."""

    def __str__(self) -> str:
        said = ", ".join(body[-60:].decode(errors="backslashreplace") for _, body in self.words)
        return f"{self.name}#{self.nth}({said})"

    @property
    def paths(self) -> tuple[str, ...]:
        """Every path it is about: relative ones joined to the directory before them."""
        found: list[str] = []
        base = ""
        for kind, body in self.words:
            text = body.decode(errors="surrogateescape")
            if kind == "fd":
                base = text
                found.append(text)
            elif self.name not in ("write", "pwrite64", "writev"):
                found.append(text if text.startswith("/") else f"{base}/{text}")
        return tuple(found)


def require() -> None:
    """Skip a test, visibly, where strace is missing or may not attach to another process."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    with subprocess.Popen(["sleep", "60"]) as target:
        command = ["strace", "-o", "/dev/null", "-p", str(target.pid)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
            assert tracer.stderr is not None
            said = tracer.stderr.readline()
            target.kill()
            tracer.stderr.read()
    if "attached" not in said:
        pytest.skip(f"strace may not attach here: {said.strip()}")


def record(work: Work, below: Path) -> list[Call]:
    """Let work come to its end; every change that it makes below a directory, and its writes to stdout.

    Raises AssertionError if it fails, or does something below the directory that is not understood.
    """
    with tempfile.NamedTemporaryFile("r") as log:
        options = ("-y", "-xx", "-s", "4000000", "-o", log.name)
        names = ",".join(f"?{name}" for name in CHANGING)
        status = _traced(work, (*options, "-e", "signal=none", "-e", f"trace={names}"))
        assert status == 0, f"the work ended with {status}"
        return list(_calls(log, str(below.resolve())))


def kill_at(call: Call, work: Work) -> bool:
    """Kill work when it makes a call; False if it came to its end without."""
    inject = f"inject={call.name}:signal=KILL:when={call.nth}"
    status = _traced(work, ("-o", "/dev/null", "-e", f"trace={call.name}", "-e", inject))
    assert status in (0, -signal.SIGKILL), f"the work ended with {status}"
    return status != 0


def _traced(work: Work, options: tuple[str, ...]) -> int:
    """Work waits to be let go; what it does from then on is traced."""
    command = ["strace", "-f", *options, "-p", str(work.pid)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        said = tracer.stderr.readline()
        assert "attached" in said, said
        work.go()
        status = work.wait()
        tracer.stderr.read()
    return status


def _calls(lines: Iterable[str], below: str) -> Iterable[Call]:
    counted: Counter[str] = Counter()
    for line in lines:
        assert "<unfinished" not in line, f"another thread got in between: {line[:200]}"
        found = _LINE.match(line.rstrip("\n"))
        if found is None:
            assert line.lstrip("0123456789 ").startswith("+++"), line[:200]
            continue
        name, arguments = found["name"], found["arguments"]
        counted[name] += 1
        if found["result"].startswith(("-", "?")):
            continue
        call = Call(name, counted[name], _words(arguments), arguments)
        if _is_change(call) and (_is_below(call, below) or _is_stdout(call)):
            yield call


def _words(arguments: str) -> tuple[tuple[str, bytes], ...]:
    words = []
    for opened, text, cut in re.findall(_STRING, arguments):
        assert not cut, "a string was cut short"
        words.append(("fd", _bytes(opened)) if opened else ("text", _bytes(text)))
    return tuple(words)


def _bytes(escaped: str) -> bytes:
    return bytes(int(digits, 16) for digits in escaped.split("\\x")[1:])


def _is_change(call: Call) -> bool:
    return call.name not in ("openat", "open") or bool(re.search(r"O_(CREAT|TRUNC)", call.flags))


def _is_below(call: Call, below: str) -> bool:
    return any(path == below or path.startswith(f"{below}/") for path in call.paths)


def _is_stdout(call: Call) -> bool:
    return call.name == "write" and re.match(r"1<", call.flags) is not None
