"""An agent that dies at the n-th change to its disk, without cleaning up: `os._exit`, as kill -9.

    python agent_crash_child.py ROOT N PATH [torn]

PATH is "forward" or "backward". With "torn" it dies within its n-th write, half of it done.
Exits with DIED if it died, with 0 if there were fewer changes.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from support.agent_core import BACKWARD, FORWARD, HookedDisk, Node

DIED = 77
PATHS = {"forward": FORWARD, "backward": FORWARD[:5] + BACKWARD}


class Dying(HookedDisk):
    """Dies before the n-th change, or within the n-th write."""

    def __init__(self, at: int, *, torn: bool) -> None:
        self.left = at
        self.torn = torn
        super().__init__(self._before)

    def _before(self, name: str) -> None:
        if not self.torn:
            self._count()

    def write(self, descriptor: int, body: bytes) -> None:
        if not self.torn:
            super().write(descriptor, body)
            return
        super().write(descriptor, body[: len(body) // 2])
        self._count()
        super().write(descriptor, body[len(body) // 2 :])

    def _count(self) -> None:
        self.left -= 1
        if self.left == 0:
            os._exit(DIED)


def main() -> None:
    """See the module."""
    root, at, path, *torn = sys.argv[1:]
    node = Node(Path(root), disk=Dying(int(at), torn=bool(torn)), fresh=False, retired=1)
    node.start()
    node.run_all(PATHS[path])


if __name__ == "__main__":
    main()
