"""An agent that dies within its n-th write, half of it done, without cleaning up: `os._exit`, as kill -9.

    python agent_crash_child.py ROOT N WORKLOAD

ROOT as `workloads.lay_out` makes it. Exits with DIED if it died, with 0 if there were fewer writes.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from gausscert_agent.files import Disk
from gausscert_agent.journal_slots import SECTOR
from support import workloads

DIED = 77


class Torn(Disk):
    """Dies within the n-th write. Nothing is synced: processes die here, the machine does not.

    Args:
        at: Which write.
        real: Exchanges, or cannot.
    """

    def __init__(self, at: int, real: Disk) -> None:
        self.left = at
        self._real = real

    def exchange(self, directory: int, one: str, other: str) -> None:
        self._real.exchange(directory, one, other)

    def sync(self, descriptor: int) -> None:
        pass

    def sync_data(self, descriptor: int) -> None:
        pass

    def write(self, descriptor: int, body: bytes) -> None:
        super().write(descriptor, body[: len(body) // 2])
        self._die()
        super().write(descriptor, body[len(body) // 2 :])

    def write_at(self, descriptor: int, body: bytes, offset: int) -> None:
        half = (
            len(body) // SECTOR // 2 * SECTOR
        )  # the kernel copies whole pages, and disks write whole sectors
        super().write_at(descriptor, body[:half], offset)
        self._die()
        super().write_at(descriptor, body[half:], offset + half)

    def _die(self) -> None:
        self.left -= 1
        if self.left == 0:
            os._exit(DIED)


def main() -> None:
    """See the module."""
    root, at, workload = sys.argv[1:]
    node = workloads.node_at(Path(root), Torn(int(at), workloads.disk_at(Path(root))))
    node.start()
    for step in workloads.STEPS[workload]:
        workloads.run(node, step)


if __name__ == "__main__":
    main()
