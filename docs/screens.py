"""Writes the screens that README.md and the pages of docs/ show, from real runs on a simulated cluster.

    make screens            # all pages that have a mark

A page says where with a mark, and what stands behind the mark up to its end is replaced:

    <!-- screen: plan -->
    <!-- end -->
"""

from __future__ import annotations

import getpass
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gausscert_coordinator.cli import demo_claims, demo_files
from gausscert_coordinator.cli.demo_cluster import GAUSSCERT, DemoCluster
from gausscert_coordinator.cli.demo_story import PASSWORDS
from gausscert_sim.cluster import SimulatedCluster
from gausscert_sim.faults import Faults

TOP: Final = Path(__file__).parent.parent
PAGES: Final = (TOP / "README.md", *sorted((TOP / "docs").glob("*.md")))
MARK: Final = re.compile(r"(<!-- screen: (?P<name>[a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
COLUMNS: Final = 112
HOME: Final = "/home/alice/production"
"""What the directory of the run is called on the pages."""
OPERATOR: Final = re.compile(rf"{re.escape(getpass.getuser())}@{re.escape(socket.gethostname())}\b")
OPERATOR_SHOWN: Final = "alice@console"
COMMAND_S: Final = 120.0


@dataclass(frozen=True)
class Screen:
    """One command, and how it must end for its screen to be true."""

    words: tuple[str, ...]
    exit_code: int
    secret: tuple[str, ...] = ()
    """Words that are not shown, because a person is asked instead."""
    kill_at: str = ""
    """Words of its progress at which it is killed (SIGKILL)."""


NEW: Final = ("bundle", "new", "new-bundle", "--key-type", "ec-p256")
ASKED: Final = (*PASSWORDS, "--yes")
SCREENS: Final = {
    "status": Screen(("status",), 0),
    "bundle-new": Screen(NEW, 0, PASSWORDS),
    "bundle-verify": Screen(("bundle", "verify", "new-bundle"), 0, PASSWORDS),
    "plan": Screen(("plan", "new-bundle"), 0, PASSWORDS),
    "replace": Screen(("replace", "new-bundle"), 0, ASKED),
    "expiry": Screen(("expiry",), 0),
    "check": Screen(("check",), 0),
    "refused": Screen(("replace", "faulty-bundle"), 2, ASKED),
    "rolled-back": Screen(("replace", "next-bundle"), 1, ASKED),
    "killed": Screen(("replace", "next-bundle"), -signal.SIGKILL, ASKED, kill_at="start started"),
    "status-in-doubt": Screen(("status",), 3),
    "replace-in-doubt": Screen(("replace", "next-bundle"), 3, ASKED),
    "recover": Screen(("recover",), 1),
    "rollback": Screen(("rollback",), 0, ("--yes",)),
    "history": Screen(("history",), 0),
}
"""By name, in the order in which they are taken."""


class Studio:
    """A simulated cluster, and what is done to it between two screens."""

    def __init__(self, cluster: DemoCluster) -> None:
        self._cluster = cluster
        self._before: dict[str, Callable[[], None]] = {
            "refused": self._make_bundles,
            "rolled-back": self._break_a_start,
            "killed": self._mend,
            "status-in-doubt": self._await_leases,
        }

    def take(self, name: str) -> str:
        """One screen, as it is shown on a page.

        Raises:
            SystemExit: The command ended otherwise than its screen says.
        """
        self._before.get(name, lambda: None)()
        screen = SCREENS[name]
        code, shown = self._run(screen)
        if code != screen.exit_code:
            raise SystemExit(f"{name}: ended with {code} instead of {screen.exit_code}:\n{shown}")
        told = f"(exit {code})" if code >= 0 else "(killed)"
        return f"```text\n$ gausscert {' '.join(screen.words)}\n{shown.rstrip()}\n{told}\n```\n"

    def _run(self, screen: Screen) -> tuple[int, str]:
        process = subprocess.Popen(
            [*GAUSSCERT, *screen.words, *screen.secret],
            cwd=self._cluster.root,
            env=os.environ | {"COLUMNS": str(COLUMNS), "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        lines = []
        for line in process.stdout or ():
            lines.append(self._as_shown(line))
            if screen.kill_at and screen.kill_at in line:
                process.kill()
        return process.wait(COMMAND_S), "\n".join(lines).strip("\n")

    def _as_shown(self, line: str) -> str:
        """Without what is this machine's, and without the words that are not shown of the command either."""
        line = line.replace(str(self._cluster.root), HOME).replace(f" {' '.join(PASSWORDS)}", "")
        return OPERATOR.sub(OPERATOR_SHOWN, line).rstrip()

    def _quietly(self, *words: str) -> None:
        code = self._cluster.gausscert(*words, show=False)
        if code:
            raise SystemExit(f"gausscert {' '.join(words)} ended with {code}")

    def _make_bundles(self) -> None:
        self._quietly("bundle", "new", "next-bundle", "--key-type", "ec-p256", *PASSWORDS)
        root = self._cluster.root
        demo_files.faulty_bundle(
            root / "faulty-bundle",
            root / "next-bundle",
            self._cluster.server_password,
            self._cluster.client_password,
        )

    def _break_a_start(self) -> None:
        node = self._cluster.nodes[-1]
        served = demo_claims.served(self._cluster.nodes)[node.name]
        node.faults = Faults(server_accepts_only=(served,))

    def _mend(self) -> None:
        self._cluster.nodes[-1].faults = Faults()

    def _await_leases(self) -> None:
        """A transaction is locked, not in doubt, as long as its coordinator may be alive."""
        while self._cluster.gausscert("status", show=False) == 4:
            pass


def written(page: str, screens: dict[str, str]) -> str:
    """A page with the screens behind its marks."""
    return MARK.sub(lambda found: f"{found[1]}{screens[found['name']]}{found[3]}", page)


def main() -> int:
    """Take all screens, write all pages."""
    with tempfile.TemporaryDirectory(prefix="gausscert-screens-") as place:
        root = Path(place)
        homes = root / "nodes"
        homes.mkdir(mode=0o700)
        cluster = DemoCluster(root, SimulatedCluster.create(homes, 3), show=False)
        with cluster:
            cluster.start()
            studio = Studio(cluster)
            screens = {}
            for name in SCREENS:
                screens[name] = studio.take(name)
                sys.stdout.write(f"taken: {name}\n")
    for path in PAGES:
        page = path.read_text()
        path.write_text(written(page, screens))
    if "--show" in sys.argv:
        sys.stdout.write("\n".join(screens.values()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
