"""At no instant is anything of a set or of the agent for others, whatever the umask: read off the system
calls themselves, which no looking at the disk could show."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from gausscert_agent.config import CmSettings
from gausscert_agent.files import Disk
from gausscert_agent.stage import Contents
from gausscert_agent.store import Store
from gausscert_common import certset
from gausscert_common.model import Layout
from support import strace, workloads
from support.agent_core import NEW, OLD, write_linked_set, write_set
from support.disk_operations import Op, operations
from support.open_windows import OURS, windows
from support.workloads import Ground
from support.zygote import Zygote


@pytest.fixture(scope="module")
def zygote():
    strace.require()
    with Zygote() as started:
        yield started


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077], ids=oct)
@pytest.mark.parametrize("workload", ["forward", "backward", *workloads.STAGE_ONLY, workloads.REQUEST])
@pytest.mark.parametrize("ground", list(Ground))
def test_nothing_is_ever_open_to_others(zygote, tmp_path, ground, workload, umask):
    root = tmp_path / "node"
    workloads.lay_out(root, ground)
    ops = operations(strace.record(zygote.work(root, workload, umask=umask), root), root)
    # Lock, journal, nine files and the one that is carried over; records of the journal create nothing.
    assert sum(op.kind == "create" and bool(OURS.match(op.path)) for op in ops) >= 12
    assert windows(ops, umask) == []


STAGED = "home/share/sslcert/.cm.tx-00000001/server.key"
CREATE = "O_WRONLY|O_CREAT|O_EXCL|O_NOFOLLOW|O_CLOEXEC"


@pytest.mark.parametrize(
    "op",
    [
        Op("create", STAGED, mode=0o644, flags=CREATE),
        Op("create", STAGED, mode=0o400, flags=CREATE.replace("O_EXCL|", "")),
        Op("create", STAGED, mode=0o400, flags=CREATE.replace("O_NOFOLLOW|", "")),
        Op("chmod", STAGED, mode=0o400),
        Op("mkdir", "state/x", mode=0o755),
    ],
    ids=["a mode for all", "not exclusive", "follows links", "mode set later", "a directory for all"],
)
def test_each_careless_operation_is_found_out(op):
    assert len(windows([op], 0o022)) == 1


# A reader beside the swaps

SWAPS = 1_000


class Reader(threading.Thread):
    """Reads all nine through one handle of the live directory, over and over."""

    def __init__(self, live: Path) -> None:
        super().__init__()
        self.live = live
        self.done = threading.Event()
        self.seen: dict[str, int] = {}

    def run(self) -> None:
        while not self.done.is_set():
            found = self._look()
            self.seen[found] = self.seen.get(found, 0) + 1

    def _look(self) -> str:
        handle = os.open(self.live, os.O_RDONLY | os.O_DIRECTORY)
        try:
            files = {name: _read(handle, name) for name in certset.NAMES}
        except FileNotFoundError:
            return "gone"
        finally:
            os.close(handle)
        return {certset.digest(OLD): "old", certset.digest(NEW): "new"}.get(certset.digest(files), "a mix")


def _read(handle: int, name: str) -> bytes:
    descriptor = os.open(name, os.O_RDONLY, dir_fd=handle)
    try:
        return os.read(descriptor, 1 << 16)
    finally:
        os.close(descriptor)


class NoSync(Disk):
    """Processes live on; what a power cut leaves is tested elsewhere."""

    def sync(self, descriptor):
        pass

    sync_data = sync


@pytest.mark.parametrize("layout", list(Layout))
def test_a_reader_with_one_handle_never_sees_a_mix_in_a_thousand_swaps(tmp_path, layout):
    live = tmp_path / "home" / "share" / "sslcert" / "cm"
    (write_set if layout is Layout.EXCHANGE else write_linked_set)(live, OLD)
    store = Store(CmSettings(home=tmp_path / "home"), disk=NoSync())
    store.write_stage("tx-00000001", Contents(NEW, dict.fromkeys(NEW, 0o400)))
    old, new = certset.digest(OLD), certset.digest(NEW)
    # Through links, the one handle that counts is that of the directory behind `..data`.
    reader = Reader(live if layout is Layout.EXCHANGE else live / "..data")
    reader.start()
    for number in range(SWAPS):
        wanted, other = (new, old) if number % 2 == 0 else (old, new)
        store.ensure_live("tx-00000001", wanted, other)
    reader.done.set()
    reader.join()
    assert set(reader.seen) <= {"old", "new"}
    assert sum(reader.seen.values()) > 50


def test_the_reader_sees_the_mixes_that_copying_leaves(tmp_path):
    live = tmp_path / "cm"
    write_set(live, OLD, 0o600)
    reader = Reader(live)
    reader.start()
    for number in range(SWAPS):
        for name, body in (NEW if number % 2 == 0 else OLD).items():
            (live / name).write_bytes(body)
        if reader.seen.get("a mix"):
            break
    reader.done.set()
    reader.join()
    assert reader.seen.get("a mix")
