"""What an agent does between its start and its end, as a program: the real core on a real disk.

ROOT is as `lay_out` makes it. After every command that was answered a line "ack STEP" goes to stdout: what
had left the node by then. Under strace this is what tests kill at every system call, or cut the power of.
As a program it is a zygote (`support.zygote`).
"""

from __future__ import annotations

import errno
import os
from enum import StrEnum
from pathlib import Path
from typing import Final

from gausscert_agent.files import Disk
from gausscert_agent.staging import Material
from gausscert_common import certset, factors
from gausscert_common.bundle import Bundle
from gausscert_common.protocol.words import SslWish, Step
from gausscert_common.source import Generation, Source
from support import disk_cm, zygote
from support.agent_core import (
    BACKWARD,
    FORWARD,
    NEW,
    OLD,
    HookedDisk,
    Node,
    NoExchange,
    bundle,
    write_linked_set,
    write_set,
)


class Ground(StrEnum):
    """What a node stands on before its first command."""

    EXCHANGE = "exchange"
    """Directories can be exchanged."""
    DATA_LINK = "data_link"
    """An earlier transaction has made links."""
    PLAIN = "plain"
    """Plain files, where directories cannot be exchanged: Prepare makes links of them."""


NO_EXCHANGE: Final = "no-exchange"
"""A file that says so of the node beside it."""

EXTRAS: Final = {"server.crl": b"a crl\n", "notes.txt": b"notes\n"}
"""Carried over."""
BEFORE: Final = OLD | EXTRAS
ADDED: Final = {"client.crl": b"another crl\n"}
"""Only the new set has it."""
AFTER: Final = NEW | EXTRAS | ADDED
FORMER_TX: Final = "tx-00000000"
FORMER: Final = {name: f"former {name}\n".encode() for name in (*certset.NAMES, "server.crl")}
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
    "converting": FORWARD[:2],
    "copied over": FORWARD[:5],
    "start": (),
}
"""By workload. "copied over" has somebody put files in place of links before the swap; "encrypting" has the
bundle bring passwords; "from a generation" stages FORMER; "start" only recovers what is there."""
REQUEST: Final = "a request"
"""A workload outside of a transaction: the factor files of the live set are made anew, for PASSWORDS."""
REQUEST_ID: Final = "request-0001"
STAGE_ONLY: Final = ("encrypting", "from a generation")
"""Workloads that stage another set than AFTER, and make it live never."""


def lay_out(root: Path, ground: Ground) -> None:
    """A node before its first command."""
    sslcert = root / "home" / "share" / "sslcert"
    live = sslcert / "cm"
    (write_linked_set if ground is Ground.DATA_LINK else write_set)(live, BEFORE)
    shelf = live if ground is Ground.DATA_LINK else sslcert
    write_set(shelf / f".cm.retired.{FORMER_TX}", FORMER)
    sslcert.chmod(0o755)
    (root / "state").mkdir(mode=0o700)
    if ground is Ground.PLAIN:
        (root / NO_EXCHANGE).touch()
    disk_cm.lay_out(root)


def is_plain(root: Path) -> bool:
    """Whether a node was laid out on `Ground.PLAIN`."""
    return (root / NO_EXCHANGE).exists()


def disk_at(root: Path) -> Disk:
    """What changes the disk there, as the file system allows."""
    return NoExchange() if is_plain(root) else Disk()


def quick_disk_at(root: Path) -> Disk:
    """As `disk_at`, for what need not survive a power cut."""
    refused = is_plain(root)

    def hook(name: str) -> None:
        if refused and name == "exchange":
            raise OSError(errno.EINVAL, "Invalid argument")

    return HookedDisk(hook)


def node_at(root: Path, disk: Disk | None = None, *, stopped: bool = False) -> Node:
    """A new agent on what is there."""
    disk = disk or disk_at(root)
    options = {"running": set(), "manual": True} if stopped else {}
    cm = disk_cm.DiskCm(root, disk, **options)
    return Node(root, fresh=False, disk=disk, cm=cm, retired=1)


def run(node: Node, step: Step, workload: str = "forward") -> None:
    """One command of a workload."""
    if step is not Step.PREPARE:
        node.run(step)
        return
    source: Source = bundle(NEW | ADDED)
    if workload == "encrypting":
        node.cm.ctl = True
        source = Bundle({name: NEW[name] for name in certset.PEM_NAMES}, **PASSWORDS)
    elif workload == "from a generation":
        source = Generation(FORMER_TX)
    node.prepare(material=Material(source), wish=SslWish.OFF)


def copy_over(root: Path) -> None:
    """What a careful script does that knows nothing of links: the same set, as files, durable one by one. It
    also removes a link that leads nowhere."""
    live = root / "home" / "share" / "sslcert" / "cm"
    for name, body in BEFORE.items():
        path = live / f"{name}~"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o400)
        os.write(descriptor, body)
        os.fsync(descriptor)
        os.close(descriptor)
        path.rename(live / name)
    for name in ADDED:
        (live / name).unlink()
    descriptor = os.open(live, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def encrypt(node: Node) -> None:
    """The request."""
    node.cm.ctl = True
    node.runner.encrypt_live(REQUEST_ID, *PASSWORDS.values())


def do(root: Path, workload: str) -> None:
    """All commands of a workload."""
    node = node_at(root, stopped=workload in ("start", REQUEST))
    node.start()
    os.write(1, b"ack RECOVER\n")
    if workload == REQUEST:
        encrypt(node)
        os.write(1, b"ack ENCRYPT\n")
    for step in STEPS.get(workload, ()):
        if workload == "copied over" and step is Step.SWAP:
            copy_over(root)
        run(node, step, workload)
        os.write(1, f"ack {step.name}\n".encode())


if __name__ == "__main__":
    zygote.serve(do)
