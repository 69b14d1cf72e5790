"""The software on a node: one virtual environment per release, made of wheels that came along."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from gausscert_coordinator.rollout.on_node import files, processes
from gausscert_coordinator.rollout.on_node.running import NO_PROGRAM, NOT_THERE, last_words, run
from gausscert_coordinator.rollout.on_node.trouble import Trouble

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gausscert_coordinator.rollout.on_node.layout import Account, Layout

REQUIREMENTS: Final = "requirements.txt"
_COMPLETE: Final = ".complete"
_GONE: Final = (1, NO_PROGRAM, NOT_THERE)
"""Exit codes of a command whose Python is not there, or has other libraries; 1 is a traceback, and never how
an agent itself ends (`gausscert_agent.telling`)."""
_INSTALL_S: Final = 600.0
_SOFTWARE_MODE: Final = 0o755


def is_complete(release: Path) -> bool:
    """Whether it was installed to its end."""
    return (release / _COMPLETE).exists()


def runs(agent: Path, account: Account | None) -> bool:
    """Whether an agent's command can be executed. An upgrade of the operating system may have taken away the
    Python that it was installed for, or have put another version in its place, which finds nothing there.

    Args:
        agent: The command.
        account: Whom it runs as, which is who runs it here: others may have put there what they like. Nobody
            is asked where there is no such user.
    """
    return account is None or run([str(agent), "version"], as_user=account).returncode not in _GONE


def make_place(layout: Layout) -> None:
    """The directory that holds all of it."""
    files.make_directory(layout.software, _SOFTWARE_MODE)


def upload(layout: Layout, release: str, sent: Sequence[Mapping[str, Any]], stream: BinaryIO) -> None:
    """Take the wheels and their list of hashes out of the stream.

    Args:
        layout: Where.
        release: Their name together.
        sent: name, size and sha256 of each, in the order of the stream.
        stream: Their bytes.
    """
    make_place(layout)
    files.make_directory(layout.uploads, 0o700)
    target = layout.uploads / release
    files.make_directory(target, 0o700)
    for each in sent:
        files.receive(stream, target / each["name"], each["size"], each["sha256"])
    wanted = {each["name"] for each in sent}
    for left in target.iterdir():
        if left.name not in wanted:
            left.unlink()


def install(layout: Layout, release: str, account: Account | None = None) -> None:
    """Make the release from what was uploaded, by hash and without a network. Nothing uses it yet; one that
    is there and cannot be run any more is made anew.

    Args:
        layout: Where.
        release: Its name.
        account: Whom the agent runs as; None where nobody can tell whether it could.

    Raises:
        Trouble: Python or pip refused; what was begun is removed. Or an agent of that release still runs.
    """
    target = layout.releases / release
    if is_complete(target) and runs(layout.agent(release), account):
        return
    running = processes.agent(layout)
    if running is not None and running.release == release:
        raise Trouble(
            f"an agent (pid {running.pid}) runs of this release, which has to be installed anew",
            "end it, or restart the machine; then run this again",
            str(target),
        )
    source = layout.uploads / release
    files.make_directory(layout.releases, _SOFTWARE_MODE)
    files.remove_tree(target)
    made = False
    try:
        _make(target, source)
        made = True
    finally:
        if not made:
            files.remove_tree(target)
    files.sync_file_system(target)
    files.replace(target / _COMPLETE, b"", 0o644)
    files.sync_directory(layout.releases)
    files.remove_tree(source)


def _make(target: Path, source: Path) -> None:
    """pip comes along as a wheel, and runs from it: Debian's Python has none (python3-venv)."""
    umask = os.umask(0o022)
    try:
        _must(
            [sys.executable, "-I", "-m", "venv", "--without-pip", str(target)], "make a virtual environment"
        )
        (pip,) = source.glob("pip-*.whl")
        _must(
            [
                *(str(target / "bin" / "python"), "-I", "-c", _PIP, str(pip)),
                *("--isolated", "--no-input", "--disable-pip-version-check", "install", "--quiet"),
                *("--no-index", "--no-cache-dir", "--find-links", str(source), "--require-hashes"),
                *("--only-binary=:all:", "--requirement", str(source / REQUIREMENTS)),
            ],
            "install the wheels",
        )
    finally:
        os.umask(umask)


_PIP: Final = (
    "import sys, runpy; sys.path.insert(0, sys.argv.pop(1)); sys.argv[0] = 'pip';"
    " runpy.run_module('pip', run_name='__main__', alter_sys=True)"
)


def _must(argv: list[str], doing: str) -> None:
    done = run(argv, timeout_s=_INSTALL_S)
    if done.returncode:
        raise Trouble(
            f"cannot {doing}: {last_words(done)}",
            "see the cause; a bundle made for this Python and machine has all wheels that are needed",
        )


def switch(layout: Layout, release: str) -> None:
    """Make it the one that is started next."""
    fresh = files.half_made(layout.current)
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(Path("releases") / release)
    os.replace(fresh, layout.current)
    files.sync_directory(layout.software)


def give_up(layout: Layout, attempt: str) -> None:
    """Have an activation that has not begun never begin. One that has begun has ended by now: whoever asks
    for this has the lock."""
    files.replace(layout.given_up, attempt.encode(), 0o600)


def require_not_given_up(layout: Layout, attempt: str) -> None:
    """Refuse an activation that was sent before it was given up, and comes after that.

    Raises:
        Trouble: It was.
    """
    try:
        given_up = layout.given_up.read_bytes() == attempt.encode()
    except FileNotFoundError:
        return
    if given_up:
        raise Trouble("this step was given up before it came here", "run it again", str(layout.given_up))


def tidy(layout: Layout, keep: Sequence[str]) -> list[str]:
    """Remove what is left of other releases; answers what was removed."""
    doomed = [path for path in sorted(layout.releases.iterdir()) if path.name not in keep]
    files.remove_tree(layout.uploads)
    return [path.name for path in doomed if files.remove_tree(path)]
