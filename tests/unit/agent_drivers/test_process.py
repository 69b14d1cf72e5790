from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from gausscert_agent.drivers.process import OUTPUT_LIMIT, Completed, ProcessRunner, _Capture, find_wrapper
from gausscert_agent.drivers.process_list import read_stat, start_ticks
from gausscert_common.errors import NodeFailure, Reason

NEEDS_SETPRIV = pytest.mark.skipif(not find_wrapper(), reason="no setpriv with --pdeathsig here")


def no_pidfd(pid: int, flags: int = 0) -> int:
    """As on a kernel before 5.3."""
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


@pytest.fixture(params=["told of its end", "looking for its end"])
def runner(request, monkeypatch):
    if request.param == "looking for its end":
        monkeypatch.setattr(os, "pidfd_open", no_pidfd)
    runner = ProcessRunner()
    yield runner
    runner.close()


def run(runner: ProcessRunner, script: str, **options) -> Completed:
    options.setdefault("timeout_s", 20)
    options.setdefault("env", {"PATH": "/usr/bin:/bin"})
    return runner.run(["/bin/sh", "-c", script], **options)


def gone(pid: int, within_s: float = 5.0) -> bool:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        stat = read_stat(pid)
        if stat is None or not stat.runs:
            return True
        time.sleep(0.02)
    return False


def await_file(path: Path) -> str:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if path.exists() and path.read_text().endswith("\n"):
            return path.read_text().strip()
        time.sleep(0.02)
    raise AssertionError(f"{path} was not written")


def test_both_outputs_and_the_exit_code_come_back(runner):
    completed = run(runner, "echo out; echo err >&2; exit 7")
    assert completed == Completed(7, "out\n", "err\n")


def test_a_signal_shows_as_a_negative_exit_code(runner):
    assert run(runner, "kill -9 $$").returncode == -9


def test_the_environment_is_exactly_the_given_one(runner, monkeypatch):
    monkeypatch.setenv("SECRET_OF_THE_AGENT", "x")
    lines = runner.run(["/usr/bin/env"], env={"ONLY": "this"}, timeout_s=10).stdout.splitlines()
    assert lines == ["ONLY=this"]


def test_stdin_is_what_was_given_and_then_ends(runner):
    assert run(runner, "cat", stdin=b"Gauss@12\nGauss@12\n").stdout.count("\n") == 2
    assert run(runner, "cat").stdout == ""


def test_what_was_typed_in_never_comes_back_in_the_output(runner):
    completed = run(runner, "cat; echo again Gauss@12 >&2", stdin=b"Gauss@12\nGauss@12\n")
    assert completed == Completed(0, "***\n***\n", "again ***\n")


def test_a_child_that_does_not_read_its_stdin_does_no_harm(runner):
    assert run(runner, "exec 0<&-; sleep 0.1; echo done", stdin=b"x" * 4095).stdout == "done\n"


def test_stdin_that_would_have_to_be_written_piece_by_piece_is_refused(runner):
    with pytest.raises(ValueError, match="4096 bytes"):
        run(runner, "cat", stdin=b"x" * 4096)


def test_the_child_has_no_controlling_terminal_and_a_session_of_its_own(runner):
    completed = run(
        runner, "(: </dev/tty) 2>/dev/null && echo tty || echo none; cut -d' ' -f1,6 /proc/$$/stat"
    )
    answer, ids = completed.stdout.splitlines()
    assert answer == "none"
    assert len(set(ids.split())) == 1


def test_no_open_file_of_the_agent_reaches_the_child(runner, tmp_path):
    with (tmp_path / "open").open("wb") as file:
        os.set_inheritable(file.fileno(), True)
        completed = run(runner, "ls /proc/self/fd")
    # 3 is the directory that ls itself reads.
    assert completed.stdout.split() == ["0", "1", "2", "3"]


def test_files_of_the_child_are_private(runner, tmp_path):
    run(runner, f"echo x > {tmp_path}/made")
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o600


def test_output_over_the_limit_is_cut_and_the_child_goes_on(runner):
    completed = run(runner, "head -c 1000000 /dev/zero | tr '\\0' x; echo end >&2")
    assert len(completed.stdout) == OUTPUT_LIMIT
    assert completed.stderr.endswith("end\n")


def test_the_deadline_ends_the_child_and_what_it_started(runner, tmp_path):
    started = time.monotonic()
    script = f"echo waiting for cm_server; (sleep 60 & echo $! > {tmp_path}/pid; wait)"
    with pytest.raises(NodeFailure) as caught:
        run(runner, script, timeout_s=0.5)
    assert time.monotonic() - started < 10
    assert caught.value.reason is Reason.CM_CTL_TIMEOUT
    assert "did not end within 0.5 s" in caught.value.message
    assert caught.value.message.endswith("waiting for cm_server")
    assert gone(int((tmp_path / "pid").read_text()))


def test_the_deadline_spares_a_daemon_of_cm(runner, tmp_path):
    daemon = tmp_path / "cm_agent"
    daemon.symlink_to("/bin/sleep")
    try:
        with pytest.raises(NodeFailure):
            run(runner, f"{daemon} 60 & echo $! > {tmp_path}/pid; sleep 60", timeout_s=0.5)
        pid = int((tmp_path / "pid").read_text())
        stat = read_stat(pid)
        assert stat is not None
        assert stat.runs
    finally:
        os.kill(int((tmp_path / "pid").read_text()), 9)


def test_a_daemon_that_keeps_the_output_open_is_not_waited_for(runner, tmp_path):
    started = time.monotonic()
    completed = run(runner, f"setsid sleep 30 & echo $! > {tmp_path}/pid; echo started")
    assert completed.stdout == "started\n"
    assert time.monotonic() - started < 10
    os.kill(int((tmp_path / "pid").read_text()), 9)


def test_on_start_learns_who_runs_before_anything_is_waited_for(runner):
    seen = []

    def on_start(pid: int, ticks: int) -> None:
        seen.append((pid, ticks, start_ticks(pid)))

    completed = run(runner, "sleep 0.2; echo $$", on_start=on_start)
    ((pid, ticks, ticks_seen),) = seen
    assert pid == int(completed.stdout)
    assert ticks == ticks_seen > 0


def test_the_program_begins_only_after_on_start(runner, tmp_path):
    begun = []

    def on_start(pid: int, ticks: int) -> None:
        time.sleep(0.3)
        begun.append((tmp_path / "begun").exists())

    run(runner, f"touch {tmp_path}/begun", on_start=on_start)
    assert begun == [False]
    assert (tmp_path / "begun").exists()


def test_what_on_start_raises_is_passed_on_and_the_program_never_begins(runner, tmp_path):
    pids = []

    def on_start(pid: int, ticks: int) -> None:
        pids.append(pid)
        raise NodeFailure(Reason.JOURNAL_FAILED, "disk full")

    with pytest.raises(NodeFailure, match="disk full"):
        run(runner, f"touch {tmp_path}/begun", on_start=on_start)
    assert gone(pids[0], 0.1)
    assert not (tmp_path / "begun").exists()


@pytest.mark.parametrize("program", ["/nowhere/cm_ctl", "/etc"])
def test_a_program_that_is_not_there_is_said_so(runner, program):
    with pytest.raises(NodeFailure) as caught:
        runner.run([program], env={}, timeout_s=1)
    assert caught.value.reason is Reason.CM_CTL_FAILED
    assert caught.value.file == program


def test_a_file_that_is_no_program_is_said_so(runner, tmp_path):
    (tmp_path / "cm_ctl").write_text("text")
    with pytest.raises(NodeFailure) as caught:
        runner.run([str(tmp_path / "cm_ctl")], env={}, timeout_s=1)
    assert caught.value.reason is Reason.CM_CTL_FAILED


def test_a_relative_program_is_refused(runner):
    with pytest.raises(ValueError, match="no absolute path"):
        runner.run(["cm_ctl"], env={}, timeout_s=1)


def test_without_a_wrapper_programs_run_all_the_same():
    runner = ProcessRunner(wrapper=())
    assert run(runner, "echo done").stdout == "done\n"
    runner.close()


def test_no_setpriv_means_no_wrapper(tmp_path):
    assert find_wrapper(str(tmp_path)) == ()


def test_a_setpriv_too_old_for_pdeathsig_means_no_wrapper(tmp_path):
    old = tmp_path / "setpriv"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o700)
    assert find_wrapper(str(tmp_path)) == ()


@NEEDS_SETPRIV
def test_a_child_outlives_the_thread_that_asked_for_it(runner):
    alive = []

    def ask() -> None:
        with _Capture() as stdout, _Capture() as stderr:
            child = runner._spawn(["/bin/sleep", "60"], {}, stdout, stderr)
        time.sleep(0.3)  # until setpriv has asked for the signal
        children.append(child)

    children: list[subprocess.Popen[bytes]] = []
    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    with children[0] as child:
        time.sleep(0.1)
        alive.append(child.poll())
        child.kill()
    assert alive == [None]


AGENT = """
import sys
from gausscert_agent.drivers.process import ProcessRunner
ProcessRunner().run(
    ["/bin/sh", "-c", f"echo $$ > {sys.argv[1]}; exec sleep 60"], env={"PATH": "/bin"}, timeout_s=60
)
"""

SLOW_JOURNAL = """
import sys, time
from gausscert_agent.drivers.process import ProcessRunner
def on_start(pid, ticks):
    open(sys.argv[1], "w").write(f"{pid}\\n")
    time.sleep(60)
ProcessRunner(wrapper=()).run(["/usr/bin/touch", sys.argv[2]], env={}, timeout_s=60, on_start=on_start)
"""


def test_a_child_whose_agent_dies_before_it_was_written_down_never_begins(tmp_path):
    agent = subprocess.Popen([sys.executable, "-c", SLOW_JOURNAL, tmp_path / "pid", tmp_path / "begun"])
    child = int(await_file(tmp_path / "pid"))
    agent.kill()
    agent.wait()
    assert gone(child)
    assert not (tmp_path / "begun").exists()


@NEEDS_SETPRIV
def test_a_child_dies_with_the_agent(tmp_path):
    agent = subprocess.Popen([sys.executable, "-c", AGENT, str(tmp_path / "pid")])
    child = int(await_file(tmp_path / "pid"))
    agent.kill()
    agent.wait()
    assert gone(child)
