"""Agent and cm_ctl under what the unit takes away, as far as that can be had without systemd.

No new privileges, no capabilities, no memory that is writable and executable, a control group of their own.
What system calls the unit filters is not tried here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from gausscert_coordinator.cli.demo_cluster import AGENT
from support.local_cluster import NODES, LocalCluster

pytestmark = pytest.mark.xdist_group("under-the-unit")

ENTER = """
import ctypes, os, sys
with open(sys.argv[1], "w") as opened:
    opened.write(str(os.getpid()))
PR_SET_MDWE, REFUSE_EXEC_GAIN = 65, 1
if ctypes.CDLL(None).prctl(PR_SET_MDWE, REFUSE_EXEC_GAIN, 0, 0, 0) != 0:
    sys.stderr.write("no MDWE here\\n")
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Enters a control group, gives up memory that is writable and executable (prctl(2), since Linux 6.3)."""

_PLACES = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd")


@pytest.fixture(scope="module")
def group() -> Iterator[Path]:
    name = f"gausscert-test-{os.getpid()}-{os.urandom(4).hex()}"
    for place in map(Path, _PLACES):
        if os.access(place / "cgroup.procs", os.W_OK):
            (place / name).mkdir()
            yield place / name
            (place / name).rmdir()
            return
    pytest.skip("no control group can be made here")


class Confined(LocalCluster):
    """Its agents live in the control group."""

    group: Path

    def launch_agent(self, config: Path, log: int) -> subprocess.Popen[bytes]:
        drop = ["setpriv", "--no-new-privs"]
        if os.geteuid() == 0:
            drop += ["--bounding-set", "-all", "--inh-caps", "-all"]
        enter = [sys.executable, "-c", ENTER, str(self.group / "cgroup.procs"), shutil.which("setpriv") or ""]
        return subprocess.Popen(
            [*enter, *drop[1:], "--", *AGENT, "serve", "--config", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


class Members:
    """Who is ever in the control group, by program."""

    def __init__(self, group: Path) -> None:
        self._procs = group / "cgroup.procs"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.programs: set[str] = set()

    def __enter__(self) -> set[str]:
        self._thread.start()
        return self.programs

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.01):
            for pid in self._procs.read_text().split():
                try:
                    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue
                self.programs |= {os.fsdecode(word.rpartition(b"/")[2]) for word in words[:3]}


@pytest.mark.skipif(not shutil.which("setpriv"), reason="setpriv is not installed")
def test_certificates_are_replaced_and_no_process_of_cm_is_ever_in_the_agents_control_group(
    tmp_path: Path, group: Path
):
    Confined.group = group
    with Confined.started(tmp_path, nodes=1) as cluster, Members(group) as programs:
        bundle = cluster.new_bundle("fresh")
        former = cluster.node(NODES[0]).processes()
        done = cluster.run("replace", bundle, "--yes", *cluster.passwords)
        running = cluster.node(NODES[0]).processes()
        inside = {int(pid) for pid in (group / "cgroup.procs").read_text().split()}
        status = Path(f"/proc/{min(inside)}/status").read_text()

        assert done.code == 0, done.err
        assert "NoNewPrivs:\t1" in status
        assert {each.name for each in running} == {"om_monitor", "cm_agent", "cm_server"}
        assert {each.pid for each in running if each.name != "om_monitor"}.isdisjoint(
            each.pid for each in former
        )
        assert inside.isdisjoint(each.pid for each in running)
        assert inside
    assert "cm_ctl" in programs, programs
    assert not programs & {"om_monitor", "cm_agent", "cm_server", "gaussdb"}
