"""Runs one program to its end: explicit arguments, environment and deadline, no terminal, no shell.

Every child leads a session of its own, so it has no controlling terminal (cm_ctl would read the
password from one, facts section 3.2) and all of it can be ended. It dies with the agent, because an
orphaned cm_ctl acts after its transaction has been decided (design section 5, rule 9). It begins only
when the caller has written down that it runs: until then it waits at a gate, and gives up if the agent
dies.
"""

from __future__ import annotations

import fcntl
import os
import select
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, Self

from gausscert_common.errors import NodeFailure, Reason

from gausscert_agent.drivers import gate
from gausscert_agent.drivers.process_list import end_session, start_ticks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gausscert_agent.ports import OnStart

OUTPUT_LIMIT: Final = 256 * 1024
"""Bytes kept of each of stdout and stderr; `cm_ctl view` of nine nodes needs some 10 KiB."""

_TAIL_LINES: Final = 5
_TAIL_CHARS: Final = 600
_STDIN_LIMIT: Final = 4095
"""PIPE_BUF less the byte for the gate: that much goes into an empty pipe without waiting (pipe(7))."""


_GATE: Final = (sys.executable, "-I", "-S", gate.__file__)
"""Stands before every program until a byte comes in; isolated and without site, so it is quick."""

_SAFE_PATH: Final = "/usr/bin:/bin:/usr/sbin:/sbin"


@dataclass(frozen=True, slots=True)
class Completed:
    """How a program ended."""

    returncode: int
    """Negative: the signal that ended it."""
    stdout: str
    stderr: str

    @property
    def text(self) -> str:
        """Both outputs; cm_ctl writes its errors to stdout (facts section 3.1)."""
        return f"{self.stdout}\n{self.stderr}" if self.stderr else self.stdout

    @property
    def tail(self) -> str:
        """The last lines in one line, for an error text."""
        lines = [line.strip() for line in self.text.splitlines() if line.strip()]
        return " | ".join(lines[-_TAIL_LINES:])[-_TAIL_CHARS:]


class Runner(Protocol):
    """What the drivers need in order to run a program."""

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        timeout_s: float,
        stdin: bytes = b"",
        on_start: OnStart | None = None,
    ) -> Completed:
        """Run a program to its end; see `ProcessRunner.run`."""


class ProcessRunner:
    """Runs programs that die with this process.

    The parent-death signal is sent when the *thread* that spawned the child ends (prctl(2),
    PR_SET_PDEATHSIG), and threads that serve calls come and go. So one thread that lives as long as
    the runner spawns all children; it does nothing else, and the caller's thread does the waiting.

    Args:
        wrapper: What to put before every command; None: `setpriv --pdeathsig KILL` where it works.
    """

    def __init__(self, wrapper: Sequence[str] | None = None) -> None:
        self._wrapper = None if wrapper is None else tuple(wrapper)
        self._spawner = ThreadPoolExecutor(1, thread_name_prefix="gausscert-spawner")

    def close(self) -> None:
        """End the spawning thread, and with it every child that still runs."""
        self._spawner.shutdown()

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        timeout_s: float,
        stdin: bytes = b"",
        on_start: OnStart | None = None,
    ) -> Completed:
        """Run a program to its end, or end it and all it started (but no daemon of CM).

        Args:
            argv: An absolute path and its arguments; never a secret among them.
            env: The whole environment of the child.
            timeout_s: Longest time, in seconds.
            stdin: At most 4095 bytes; the child sees the end of input after them.
            on_start: Told pid and start ticks before the program begins. What it raises is passed on,
                and the program never begins.

        Raises:
            NodeFailure: CM_CTL_FAILED when it cannot be run at all, CM_CTL_TIMEOUT when it was ended
                at the deadline.
        """
        _require_runnable(argv)
        if len(stdin) > _STDIN_LIMIT:
            raise ValueError(f"stdin of {len(stdin)} bytes would have to be written piece by piece")
        with _Capture() as stdout, _Capture() as stderr:
            child = self._spawn(argv, env, stdout, stderr)
            ticks = start_ticks(child.pid)
            try:
                if on_start is not None:
                    on_start(child.pid, ticks)
                _feed(child, stdin)
                _await_end(child, timeout_s)
            except subprocess.TimeoutExpired:
                _end(child, ticks)
                ended = _completed(child, stdout, stderr, stdin)
                raise _timeout(argv, timeout_s, ended) from None
            except BaseException:
                _end(child, ticks)
                raise
            return _completed(child, stdout, stderr, stdin)

    def _spawn(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        stdout: _Capture,
        stderr: _Capture,
    ) -> subprocess.Popen[bytes]:
        def spawn() -> subprocess.Popen[bytes]:
            if self._wrapper is None:
                self._wrapper = find_wrapper()
            return subprocess.Popen(
                [*self._wrapper, *_GATE, *argv],
                stdin=subprocess.PIPE,
                stdout=stdout.fd,
                stderr=stderr.fd,
                env=dict(env),
                cwd="/",
                close_fds=True,
                start_new_session=True,
                umask=0o077,
                bufsize=0,
            )

        try:
            return self._spawner.submit(spawn).result()
        except OSError as error:
            raise NodeFailure(
                Reason.CM_CTL_FAILED, f"cannot be run: {error.strerror}", file=argv[0]
            ) from error


def _await_end(child: subprocess.Popen[bytes], timeout_s: float) -> None:
    """`Popen.wait` with a timeout looks twenty times a second; the kernel (5.3 or newer) tells at once.

    Raises:
        subprocess.TimeoutExpired: It has not ended by then.
    """
    try:
        descriptor = os.pidfd_open(child.pid)
    except (AttributeError, OSError):  # Python may have been built where there was none
        child.wait(timeout_s)
        return
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        if not poll.poll(timeout_s * 1000):
            raise subprocess.TimeoutExpired(child.args, timeout_s)
    finally:
        os.close(descriptor)
    child.wait()


def find_wrapper(path: str = _SAFE_PATH) -> tuple[str, ...]:
    """`setpriv --pdeathsig KILL --`, or () where there is none or one older than util-linux 2.33."""
    # Not shutil.which: that module brings three compression libraries along, half a MiB in every agent.
    candidates = (os.path.join(directory, "setpriv") for directory in path.split(os.pathsep))
    setpriv = next((one for one in candidates if os.path.isfile(one) and os.access(one, os.X_OK)), None)
    if setpriv is None:
        return ()
    wrapper = (setpriv, "--pdeathsig", "KILL", "--")
    trial = subprocess.run(
        [*wrapper, setpriv, "--version"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={},
        check=False,
        timeout=10,
    )
    return wrapper if trial.returncode == 0 else ()


class _Capture:
    """Output of a child in memory that cannot grow.

    A pipe would need a reader, end only when the last daemon that inherited it ends, and kill by
    SIGPIPE whoever writes to it afterwards. This one gives an error to who writes too much.
    """

    def __init__(self) -> None:
        self.fd = os.memfd_create("gausscert-output", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self.fd, OUTPUT_LIMIT)
        fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)

    def text(self) -> str:
        # The child shares the file offset, so it tells how much was written.
        written = os.lseek(self.fd, 0, os.SEEK_CUR)
        return os.pread(self.fd, written, 0).decode("utf-8", "replace")


def _require_runnable(argv: Sequence[str]) -> None:
    program = argv[0]
    if not os.path.isabs(program):
        raise ValueError(f"{program} is no absolute path")
    if not os.path.isfile(program):
        raise NodeFailure(Reason.CM_CTL_FAILED, "there is no such program", file=program)
    if not os.access(program, os.X_OK):
        raise NodeFailure(Reason.CM_CTL_FAILED, "the agent may not execute it", file=program)


def _feed(child: subprocess.Popen[bytes], stdin: bytes) -> None:
    """Open the gate and hand over the input."""
    if child.stdin is None:
        return
    try:
        child.stdin.write(b"\n" + stdin)
    except BrokenPipeError:
        pass  # it ended without reading; its output says why
    finally:
        child.stdin.close()


def _end(child: subprocess.Popen[bytes], ticks: int) -> None:
    if child.stdin is not None:
        child.stdin.close()
    end_session(child.pid, ticks)
    child.kill()
    child.wait()


def _completed(child: subprocess.Popen[bytes], stdout: _Capture, stderr: _Capture, stdin: bytes) -> Completed:
    return Completed(child.returncode, _without(stdout.text(), stdin), _without(stderr.text(), stdin))


def _without(text: str, stdin: bytes) -> str:
    """Output ends up in logs and error texts; what was typed in must not, even if a program echoes it."""
    for line in stdin.decode("utf-8", "replace").splitlines():
        text = text.replace(line, "***") if line else text
    return text


def _timeout(argv: Sequence[str], timeout_s: float, ended: Completed) -> NodeFailure:
    said = f"; it last said: {ended.tail}" if ended.tail else "; it said nothing"
    return NodeFailure(
        Reason.CM_CTL_TIMEOUT,
        f"`{describe(argv)}` did not end within {timeout_s:g} s and was killed{said}",
        remedy="see CM's logs in $GAUSSLOG/cm; allow more time if it only is slow",
    )


def describe(argv: Sequence[str]) -> str:
    """A command for an error text: its name and arguments, among which there never is a secret."""
    return " ".join([os.path.basename(argv[0]), *argv[1:]])
