from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from gausscert_agent.drivers import process_list
from gausscert_agent.drivers.process_list import (
    boot_mark,
    end_session,
    find_processes,
    read_stat,
    start_ticks,
)
from gausscert_common import boots

HZ = os.sysconf("SC_CLK_TCK")
BOOTED = 1_700_000_000


class FakeProc:
    """A /proc made of files: add processes, then pass `root` wherever a `proc` is asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()
        (root / "stat").write_text(f"cpu 1 2 3\nbtime {BOOTED}\n")
        (root / "self").mkdir()

    def add(self, pid, *argv, exe=None, state="S", ticks=500, session=1, parent=1):
        folder = self.root / str(pid)
        folder.mkdir()
        name = os.path.basename(argv[0])[:15] if argv else "kworker"
        rest = f"{state} {parent} 1 {session} {'0 ' * 15}{ticks} 0"
        (folder / "stat").write_text(f"{pid} ({name}) {rest}\n")
        (folder / "cmdline").write_bytes(b"".join(os.fsencode(arg) + b"\0" for arg in argv))
        if exe is not None:
            (folder / "exe").symlink_to(exe)


@pytest.fixture
def proc(tmp_path):
    return FakeProc(tmp_path / "proc")


@pytest.fixture
def home(tmp_path):
    home = tmp_path / "app_d712af3"
    (home / "bin").mkdir(parents=True)
    return home


def found(home, proc):
    return [(process.name, process.pid) for process in find_processes(home, proc.root)]


def test_the_four_programs_of_the_home_are_found_by_their_executable(proc, home):
    for pid, name in enumerate(["cm_server", "cm_agent", "om_monitor", "cm_ctl", "gaussdb"], 10):
        proc.add(pid, name, exe=home / "bin" / name)
    assert found(home, proc) == [("cm_server", 10), ("cm_agent", 11), ("om_monitor", 12), ("cm_ctl", 13)]


def test_a_program_that_was_replaced_on_disk_still_counts(proc, home):
    proc.add(10, "cm_server", exe=f"{home}/bin/cm_server (deleted)")
    assert found(home, proc) == [("cm_server", 10)]


def test_programs_of_another_home_do_not_count(proc, home, tmp_path):
    proc.add(10, "/other/bin/cm_server", exe="/other/bin/cm_server")
    proc.add(11, f"{home}/bin/deeper/cm_server", exe=f"{home}/bin/deeper/cm_server")
    proc.add(12, f"{home}2/bin/cm_server")
    assert found(home, proc) == []


def test_a_home_behind_a_symbolic_link_is_the_same_home(proc, home, tmp_path):
    link = tmp_path / "app"
    link.symlink_to(home)
    proc.add(10, "cm_server", exe=home / "bin" / "cm_server")
    proc.add(11, f"{link}/bin/cm_agent")
    assert found(link, proc) == found(home, proc) == [("cm_server", 10), ("cm_agent", 11)]


def test_a_process_from_before_an_upgrade_counts_by_the_path_it_was_called_with(proc, home, tmp_path):
    link = tmp_path / "app"
    link.symlink_to(home)
    proc.add(10, f"{link}/bin/cm_server", exe="/old/app_1/bin/cm_server (deleted)")
    assert found(link, proc) == [("cm_server", 10)]


def test_processes_whose_executable_may_not_be_seen_count_by_their_arguments(proc, home):
    proc.add(10, f"{home}/bin/cm_agent")
    assert found(home, proc) == [("cm_agent", 10)]


@pytest.mark.parametrize(
    "argv",
    [
        ("/usr/bin/python3", "{bin}/cm_server", "-D", "x"),
        ("/usr/bin/python3", "-I", "{bin}/cm_server"),
        ("/bin/sh", "{bin}/cm_server"),
    ],
)
def test_a_script_counts_by_its_own_name(proc, home, argv):
    proc.add(10, *[part.format(bin=home / "bin") for part in argv], exe="/usr/bin/python3.11")
    assert found(home, proc) == [("cm_server", 10)]


@pytest.mark.parametrize(
    "argv",
    [
        ("/usr/bin/vim", "{bin}/cm_server"),
        ("tail", "-f", "{bin}/cm_server"),
        ("sh", "-c", "{bin}/cm_ctl query"),
        ("python3", "-c", "{bin}/cm_server"),
        ("cm_server",),
        (),
    ],
)
def test_who_only_names_a_program_does_not_count(proc, home, argv):
    proc.add(10, *[part.format(bin=home / "bin") for part in argv])
    assert found(home, proc) == []


KTHREADD = f"2 (kthreadd) S 0 0 0 0 -1 {0x208040} {'0 ' * 12}0 0 0\n"


def kernel_threads(proc: FakeProc, stat: str, children: str) -> None:
    """Pid 2 with its children."""
    (proc.root / "2" / "task" / "2").mkdir(parents=True)
    (proc.root / "2" / "stat").write_text(stat)
    (proc.root / "2" / "task" / "2" / "children").write_text(children)


def test_kernel_threads_are_not_looked_at(proc, home):
    kernel_threads(proc, KTHREADD, "10 12 ")
    for pid in (10, 11, 12):
        proc.add(pid, f"{home}/bin/cm_server")
    assert found(home, proc) == [("cm_server", 11)]


@pytest.mark.parametrize(
    "stat",
    [
        KTHREADD.replace("kthreadd", "cm_agent"),
        KTHREADD.replace("S 0 ", "S 1 "),
        KTHREADD.replace(str(0x208040), str(0x400140)),
        KTHREADD.replace("(kthreadd)", "((kthreadd)"),
        "2 (kthreadd",
        "",
    ],
    ids=["another name", "another parent", "no kernel thread", "a name that looks like it", "cut", "nothing"],
)
def test_children_of_a_pid_2_that_is_not_the_kernels_are_looked_at(proc, home, stat):
    """In a container with a process list of its own, pid 2 may be anything."""
    kernel_threads(proc, stat, "10 ")
    proc.add(10, f"{home}/bin/cm_server")
    assert found(home, proc) == [("cm_server", 10)]


def test_where_the_kernel_does_not_tell_its_threads_all_processes_are_looked_at(proc, home):
    kernel_threads(proc, KTHREADD, "")
    (proc.root / "2" / "task" / "2" / "children").unlink()
    proc.add(10, f"{home}/bin/cm_server")
    assert found(home, proc) == [("cm_server", 10)]


def test_a_real_process_of_ours_is_no_kernel_thread():
    assert str(os.getpid()) not in process_list._kernel_threads("/proc")


@pytest.mark.parametrize("state", ["Z", "X"])
def test_the_dead_do_not_count(proc, home, state):
    proc.add(10, f"{home}/bin/cm_server", state=state)
    assert found(home, proc) == []


def test_a_process_that_ends_while_it_is_looked_at_does_no_harm(proc, home):
    (proc.root / "10").mkdir()
    (proc.root / "11").mkdir()
    (proc.root / "11" / "cmdline").write_bytes(os.fsencode(home / "bin" / "cm_server"))
    assert found(home, proc) == []


def test_the_start_is_told_as_a_time(proc, home):
    proc.add(10, f"{home}/bin/cm_server", ticks=30 * HZ)
    (process,) = find_processes(home, proc.root)
    assert process.started_at.timestamp() == BOOTED + 30
    assert (process.start_ticks, process.boot) == (30 * HZ, boot_mark(proc.root))


def test_a_name_with_blanks_and_brackets_does_not_shift_the_fields(proc):
    proc.add(10, "a) R (b", ticks=77, session=5, parent=4)
    stat = read_stat(10, proc.root)
    assert (stat.state, stat.parent, stat.session, stat.start_ticks) == ("S", 4, 5, 77)


def test_no_process_has_no_start():
    assert start_ticks(2**22 + 1) == 0


def test_a_real_process_is_found(home):
    shutil.copy("/bin/sleep", home / "bin" / "cm_agent")
    child = subprocess.Popen([home / "bin" / "cm_agent", "30"])
    try:
        (process,) = find_processes(home)
        assert (process.name, process.pid) == ("cm_agent", child.pid)
        assert abs(process.started_at.timestamp() - time.time()) < 60
    finally:
        child.kill()
        child.wait()
    assert find_processes(home) == ()


class FakeKernel:
    """Kills processes of a `FakeProc`; the stubborn ones stay."""

    def __init__(self, proc: FakeProc, stubborn: tuple[int, ...] = ()) -> None:
        self.proc, self.stubborn = proc, stubborn
        self.killed: list[int] = []
        self.now = 0.0

    def kill(self, pid: int, number: int) -> None:
        assert number == 9
        self.killed.append(pid)
        if pid not in self.stubborn:
            shutil.rmtree(self.proc.root / str(pid))

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def end(self, leader: int, ticks: int) -> bool:
        return end_session(
            leader, ticks, proc=self.proc.root, kill=self.kill, sleep=self.sleep, clock=lambda: self.now
        )


def test_a_session_is_ended_with_all_its_members(proc):
    proc.add(10, "cm_ctl", session=10, ticks=500)
    proc.add(11, "pssh", session=10, ticks=600)
    proc.add(12, "sshd", session=12, ticks=600)
    kernel = FakeKernel(proc)
    assert kernel.end(10, 500)
    assert kernel.killed == [10, 11]


def test_members_that_outlive_their_leader_are_ended(proc):
    proc.add(11, "pssh", session=10, ticks=600)
    kernel = FakeKernel(proc)
    assert kernel.end(10, 500)
    assert kernel.killed == [11]


def test_a_pid_that_is_used_again_is_left_alone(proc):
    proc.add(10, "somebody", session=10, ticks=900)
    proc.add(11, "child", session=10, ticks=901)
    kernel = FakeKernel(proc)
    assert kernel.end(10, 500)
    assert kernel.killed == []


def test_daemons_of_cm_are_never_ended_with_cm_ctl(proc, home):
    proc.add(10, "cm_ctl", session=10, ticks=500)
    for pid, name in enumerate(sorted(process_list.DAEMONS), 20):
        proc.add(pid, f"{home}/bin/{name}", session=10, ticks=600)
    proc.add(30, "/usr/bin/python3", f"{home}/bin/cm_server", session=10, ticks=600)
    kernel = FakeKernel(proc)
    assert kernel.end(10, 500)
    assert kernel.killed == [10]


def test_what_does_not_go_away_is_told(proc):
    proc.add(10, "cm_ctl", session=10, ticks=500)
    kernel = FakeKernel(proc, stubborn=(10,))
    assert not kernel.end(10, 500)
    assert kernel.now >= 5


MEMBER = """
import os, sys, time
os.setpgid(0, 0)
print(os.getpid(), flush=True)
time.sleep(60)
"""


def test_an_own_process_group_of_a_member_is_no_hiding_place():
    leader = subprocess.Popen(
        ["/bin/sh", "-c", '"$@" & wait', "sh", sys.executable, "-c", MEMBER],
        start_new_session=True,
        stdout=subprocess.PIPE,
    )
    with leader:
        member = int(leader.stdout.readline())
        assert os.getpgid(member) == member
        assert end_session(leader.pid, start_ticks(leader.pid))
    stat = read_stat(member)
    assert stat is None or not stat.runs


# What pids mean something in


def test_this_boot_is_the_same_as_itself_and_known():
    assert "-" not in process_list.boot_mark().split()
    assert boots.is_same(process_list.boot_mark(), process_list.boot_mark())


def test_boot_namespace_and_its_first_process_tell_one_process_list_from_another(proc):
    (proc.root / "sys/kernel/random").mkdir(parents=True)
    (proc.root / "sys/kernel/random/boot_id").write_text("5d4a-boot\n")
    (proc.root / "self/ns").mkdir()
    (proc.root / "self/ns/pid").symlink_to("pid:[4026531836]")
    proc.add(1, "init", ticks=42)
    assert process_list.boot_mark(proc.root) == "5d4a-boot pid:[4026531836] 42"


def test_what_cannot_be_read_is_unknown(proc):
    assert process_list.boot_mark(proc.root) == "- - -"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("b n 1", "b n 1", True),
        ("b n 1", "c n 1", False),
        ("b n 1", "b m 1", False),
        ("b n 1", "b n 2", False),
        ("b - 1", "b n 1", True),
        ("- - -", "b n 1", True),
        ("", "b n 1", True),
        ("b n 1", "", True),
    ],
)
def test_only_what_is_known_of_both_tells_two_boots_apart(one, other, same):
    assert boots.is_same(one, other) is same
