"""Many short processes that have all their modules already: a process of Python that forks on request.

    with Zygote() as zygote:
        work = zygote.work(root, "forward")     # a process that waits, so that a tracer can attach
                                            # (acks=path: what it says goes there, and survives it)
        work.go()
        status = work.wait()                    # its exit code, or minus the signal that ended it

It runs the workloads of `support.workloads`, imports no grpc, and is the only place where tests fork.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

PROGRAM = Path(__file__).with_name("workloads.py")


class Zygote:
    """See the module."""

    def __init__(self) -> None:
        environment = dict(os.environ, PYTHONPATH=str(PROGRAM.parents[1]))
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=30)

    def work(self, root: Path, workload: str, *, umask: int = 0o022, acks: str | Path = os.devnull) -> Work:
        """A process that will do a workload, stopped before its first step; its stdout is added to a file."""
        asked = {"root": str(root), "workload": workload, "umask": umask, "acks": str(acks)}
        return Work(self._ask(asked), self)

    def wait(self, pid: int) -> int:
        """How a process ended."""
        return self._ask({"wait": pid})

    def _ask(self, request: dict[str, object]) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


class Work:
    """One process of a zygote."""

    def __init__(self, pid: int, zygote: Zygote) -> None:
        self.pid = pid
        self._zygote = zygote

    def go(self) -> None:
        """Let it begin."""
        os.kill(self.pid, signal.SIGCONT)

    def wait(self) -> int:
        """Its exit code, or minus the signal that ended it."""
        return self._zygote.wait(self.pid)


def serve(run: object) -> None:
    """The other side: `run(root, workload)` in a process of its own for each request.

    Until it is let go the process is stopped.
    """
    assert callable(run)
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            _, status = os.waitpid(request["wait"], 0)
            _answer(os.waitstatus_to_exitcode(status))
            continue
        pid = os.fork()
        if pid == 0:
            _become(run, request)
        os.waitpid(pid, os.WUNTRACED)
        _answer(pid)


def _become(run: object, request: dict[str, object]) -> None:
    assert callable(run)
    os.dup2(os.open(str(request["acks"]), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), 1)
    os.umask(int(str(request["umask"])))
    os.kill(os.getpid(), signal.SIGSTOP)
    status = 70
    try:
        run(Path(str(request["root"])), str(request["workload"]))
        status = 0
    except BaseException:  # noqa: BLE001 - told by the exit code; nothing may reach the zygote's loop
        sys.excepthook(*sys.exc_info())
    os._exit(status)


def _answer(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()
