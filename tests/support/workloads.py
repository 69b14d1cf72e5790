"""What an agent does between its start and its end, as a program: the real core on a real disk.

ROOT is as `lay_out` makes it. After every command that was answered a line "ack STEP" goes to stdout: what
had left the node by then. Under strace this is what tests kill at every system call, or cut the power of.
As a program it is a zygote (`support.zygote`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from gausscert_agent.files import Disk
from gausscert_agent.staging import Material
from gausscert_common import certset, factors
from gausscert_common.bundle import Bundle
from gausscert_common.model import Layout
from gausscert_common.protocol.words import SslWish, Step
from gausscert_common.source import Generation, Source
from support import disk_cm, zygote
from support.agent_core import (
    BACKWARD,
    FORWARD,
    NEW,
    OLD,
    TX,
    Node,
    bundle,
    write_linked_set,
    write_set,
)

EXTRAS: Final = {"server.crl": b"a crl\n", "notes.txt": b"notes\n"}
"""Carried over."""
BEFORE: Final = OLD | EXTRAS
AFTER: Final = NEW | EXTRAS
FORMER_TX: Final = "tx-00000000"
FORMER: Final = {name: f"former {name}\n".encode() for name in certset.NAMES}
"""A generation retired earlier, which Purge gives up."""

MODULES: Final = (factors,)
"""Loaded late by the agent; here before the fork."""
PASSWORDS: Final = {"server_password": "Server-Pass9", "client_password": "Client-Pass9"}

STEPS: Final = {
    "forward": FORWARD,
    "backward": FORWARD[:5] + BACKWARD,
    "turned back": (*FORWARD[:2], Step.ABORT, Step.CLEAN),
    "encrypting": FORWARD[:2],
    "from a generation": (*FORWARD[:2], Step.ABORT, Step.CLEAN),
    "start": (),
}
"""By workload. "encrypting" has the bundle bring passwords; "from a generation" stages FORMER; "start" only
recovers what is there."""
STAGE_ONLY: Final = ("encrypting", "from a generation")
"""Workloads that stage another set than AFTER, and make it live never."""


def lay_out(root: Path, layout: Layout) -> None:
    """A node before its first command."""
    sslcert = root / "home" / "share" / "sslcert"
    live = sslcert / "cm"
    (write_set if layout is Layout.EXCHANGE else write_linked_set)(live, BEFORE)
    shelf = sslcert if layout is Layout.EXCHANGE else live
    write_set(shelf / f".cm.retired.{FORMER_TX}", FORMER)
    sslcert.chmod(0o755)
    (root / "state").mkdir(mode=0o700)
    disk_cm.lay_out(root)


def node_at(root: Path, disk: Disk | None = None, *, stopped: bool = False) -> Node:
    """A new agent on what is there."""
    disk = disk or Disk()
    options = {"running": set(), "manual": True} if stopped else {}
    cm = disk_cm.DiskCm(root, disk, **options)
    return Node(root, fresh=False, disk=disk, cm=cm, retired=1)


def run(node: Node, step: Step, workload: str = "forward") -> None:
    """One command of a workload."""
    if step is not Step.PREPARE:
        node.run(step)
        return
    source: Source = bundle()
    if workload == "encrypting":
        node.cm.ctl = True
        source = Bundle({name: NEW[name] for name in certset.PEM_NAMES}, **PASSWORDS)
    elif workload == "from a generation":
        source = Generation(FORMER_TX)
    node.prepare(material=Material(source), wish=SslWish.OFF)


def do(root: Path, workload: str) -> None:
    """All commands of a workload."""
    node = node_at(root, stopped=workload == "start")
    node.start()
    os.write(1, b"ack RECOVER\n")
    for step in STEPS[workload]:
        run(node, step, workload)
        os.write(1, f"ack {step.name}\n".encode())


if __name__ == "__main__":
    zygote.serve(do)

__all__ = ["AFTER", "BEFORE", "FORMER", "FORMER_TX", "STAGE_ONLY", "STEPS", "TX", "lay_out", "node_at", "run"]
