"""Programs of this node: run with a deadline, as another user where need be, without a shell."""

from __future__ import annotations

import errno
import os
import subprocess
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gausscert_coordinator.rollout.on_node.layout import Account

QUICK_S: Final = 60.0
NOT_THERE: Final = 127
"""Exit code, as a shell has it, where there is no such program, or no interpreter that it names."""
NO_PROGRAM: Final = 126
"""Where it is none."""
_NOT_NOW: Final = 125
"""Where it could not be run at this moment."""
_TOO_LONG: Final = 124
"""Where it has not ended in time."""
_CODES: Final[Mapping[int | None, int]] = {
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR, errno.ELOOP), NOT_THERE),
    **dict.fromkeys((errno.EACCES, errno.ENOEXEC, errno.ELIBBAD), NO_PROGRAM),
}
_FOREIGN: Final = ("PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH")
"""OM's libraries, from the profile of the cluster's user: no program that is run here is to have them."""
_LOCK: Final[ContextVar[tuple[tuple[int, ...], int]]] = ContextVar("lock", default=((), -1))
"""Its descriptor, and whose program has taken it."""


@contextmanager
def sharing(lock: int) -> Iterator[None]:
    """Let every program that is run meanwhile hold a lock, too: it works on when this process is killed, and
    nobody may work beside it. A lock of flock(2) lasts until the last one who has it open has closed it.

    Args:
        lock: Its descriptor.
    """
    token = _LOCK.set(((lock,), os.geteuid()))
    try:
        yield
    finally:
        _LOCK.reset(token)


def run(
    argv: Sequence[str],
    *,
    as_user: Account | None = None,
    timeout_s: float = QUICK_S,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; its output is in the answer, and one of the codes above where it has none of
    its own. It holds the lock of the roll-out (`sharing`), but as another user than has taken that: he
    could keep it."""
    lock, taken_by = _LOCK.get()
    other: dict[str, Any] = {"pass_fds": lock if taken_by == os.geteuid() else ()}
    inherited = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
    env = {**inherited, **(environment or {})}
    if as_user is not None and as_user.uid != os.geteuid():
        other = {"user": as_user.uid, "group": as_user.gid, "extra_groups": ()}
        env |= {"HOME": as_user.home, "USER": as_user.name, "LOGNAME": as_user.name}
    try:
        return subprocess.run(
            list(argv),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
            cwd="/",
            env=env,
            **other,
        )
    except subprocess.TimeoutExpired:
        said = f"{argv[0]} has not ended in {timeout_s:.0f} s"
        return subprocess.CompletedProcess(argv, _TOO_LONG, "", said)
    except OSError as error:
        code = _CODES.get(error.errno, _NOT_NOW)
        return subprocess.CompletedProcess(argv, code, "", f"{argv[0]}: {error.strerror}")


def last_words(done: subprocess.CompletedProcess[str], lines: int = 4) -> str:
    """The end of what a program said, in one line."""
    said = [line.strip() for line in (done.stderr + "\n" + done.stdout).splitlines() if line.strip()]
    return " | ".join(said[-lines:]) or f"exit code {done.returncode}"
