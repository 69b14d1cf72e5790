"""What is sent to a node: it runs there with nothing but Python, and no secret and no name is in argv."""

from __future__ import annotations

import ast
import asyncio
import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from gausscert_common.errors import GausscertError, Reason
from gausscert_coordinator.inventory import InventoryNode, SshAccess
from gausscert_coordinator.rollout import on_node, parcel, ssh
from gausscert_coordinator.rollout.on_node.main import ANSWER
from support.rollout_fakes import FakeSsh, ok, trouble

NODE = InventoryNode("n1", "10.0.0.1:7443")
HERE = Path(str(on_node.__file__)).parent


def run(remote: str, stdin: bytes) -> subprocess.CompletedProcess[bytes]:
    """As sshd runs it: by the login shell."""
    return subprocess.run(["sh", "-c", remote], input=stdin, capture_output=True, check=False)


def test_every_module_of_the_program_is_sent():
    assert set(parcel.MODULES) == {path.stem for path in HERE.glob("*.py")} - {"__init__"}


@pytest.mark.parametrize("name", parcel.MODULES)
def test_the_program_needs_nothing_but_the_standard_library_and_what_was_sent_before(name):
    tree = ast.parse((HERE / f"{name}.py").read_text())
    before = parcel.MODULES[: parcel.MODULES.index(name)]
    for each in ast.walk(tree):
        if isinstance(each, ast.ImportFrom):
            module = each.module or ""
            if module == parcel.PACKAGE:
                assert {alias.name for alias in each.names} <= set(before)
            elif module.startswith(f"{parcel.PACKAGE}."):
                assert module.rpartition(".")[2] in before
            else:
                assert module.partition(".")[0] in sys.stdlib_module_names
        elif isinstance(each, ast.Import):
            assert all(alias.name.partition(".")[0] in sys.stdlib_module_names for alias in each.names)


def test_it_runs_and_looks_at_a_bare_directory(tmp_path: Path):
    directory = str(tmp_path / "agent")
    request = {"action": "look", "node": "n1", "user": "", "cm_home": "/nowhere", "directory": directory}

    done = run(parcel.command(sys.executable), parcel.pack(request))

    answer = next(line for line in done.stdout.decode().splitlines() if line.startswith(ANSWER))
    found = json.loads(answer.removeprefix(ANSWER))["result"]
    assert (found["release"], found["running"], found["journal"]) == ("", None, None)
    assert found["software"] == directory
    assert not (tmp_path / "agent").exists()


def test_libraries_that_a_login_names_are_nobodys_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """OM names its own in the profile of the cluster's user."""
    seen = tmp_path / "python3"
    seen.write_text(f'#!/bin/sh\nenv >>"{tmp_path}/seen"\nexec "{sys.executable}" "$@"\n')
    seen.chmod(0o755)
    for name in ("PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH"):
        monkeypatch.setenv(name, "/opt/huawei/wisequery/lib")
    request = {"action": "look", "node": "n1", "user": "", "cm_home": "/nowhere", "directory": str(tmp_path)}

    done = run(parcel.command(str(seen)), parcel.pack(request))

    assert done.returncode == 0, done.stderr
    assert ANSWER in done.stdout.decode()
    lines = (tmp_path / "seen").read_text().splitlines()
    assert sum(line.startswith("PATH=") for line in lines) == 2  # whether it is new enough, and the program
    assert not any("wisequery" in line for line in lines)


def test_a_python_that_is_too_old_is_told_with_what_there_is(tmp_path: Path):
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.9 && exit 0\nexit 1\n')
    old.chmod(0o755)

    done = run(parcel.command(str(old)), parcel.pack({"action": "look"}))

    assert done.returncode == parcel.NO_PYTHON
    with pytest.raises(GausscertError) as raised:
        ssh.read(NODE, ssh.Ended(done.returncode, done.stdout.decode(), done.stderr.decode()))
    assert raised.value.reason is Reason.NODE_UNFIT
    assert "Python 3.9.9" in str(raised.value)


def test_bytes_that_go_along_are_in_no_argv_no_request_and_no_repr():
    blob = parcel.Blob("node-n1.key", b"-----BEGIN PRIVATE KEY-----canary")
    fake = FakeSsh()

    asyncio.run(ssh.Node(NODE, fake).ask({"action": "credential"}, [blob]))

    ((argv, stdin),) = fake.sent
    assert stdin.endswith(blob.body)
    assert b"canary" not in stdin[: -len(blob.body)]
    assert "canary" not in " ".join(argv) + repr(blob)


def test_the_command_line_asks_nobody_and_names_no_more_than_the_way():
    access = SshAccess("omm", "db1.mgmt", 2222, ("IdentityFile=~/x y",), "/usr/bin/python3.11")

    argv = ssh.command_line(InventoryNode("n1", "10.0.0.1:7443", access))

    assert argv[0] == "ssh"
    assert "BatchMode=yes" in argv
    assert argv.index("BatchMode=yes") < argv.index("IdentityFile=~/x y")  # ssh takes the first (ssh_config)
    assert argv[argv.index("-p") + 1] == "2222"
    assert argv[argv.index("-l") + 1] == "omm"
    assert argv[-3:-1] == ("--", "db1.mgmt")
    assert shlex.split(argv[-1])[:3] == ["exec", "/bin/sh", "-c"]


@pytest.mark.parametrize("option", ["ControlMaster=no", "ControlPersist=no"])
def test_ssh_leaves_no_master_behind_whatever_the_operators_own_configuration_says(option: str):
    """ControlPersist was refused in the inventory, and set nowhere."""
    access = SshAccess(options=("ControlPath=~/.ssh/%C",))

    argv = ssh.command_line(InventoryNode("n1", "10.0.0.1:7443", access))

    assert argv.index(option) < argv.index("ControlPath=~/.ssh/%C")
    assert argv[argv.index(option) - 1] == "-o"
    assert "ControlPath=none" not in argv


def test_the_remote_command_is_the_same_for_every_node():
    other = InventoryNode("n2", "10.0.0.2:7443", SshAccess(user="root"))

    assert ssh.command_line(NODE)[-1] == ssh.command_line(other)[-1]


def test_an_address_serves_as_host_where_none_is_named():
    assert ssh.host(NODE) == "10.0.0.1"
    assert ssh.host(InventoryNode("n1", "[fd00::1]:7443")) == "fd00::1"


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ("Host key verification failed.", "host key is not known"),
        ("root@n1: Permission denied (publickey).", "nobody can be asked for a password"),
        ("ssh: connect to host n1 port 22: Connection refused", "no ssh server listens"),
        ("ssh: Could not resolve hostname n1: Name or service not known", "cannot be resolved"),
        ("ssh: connect to host n1 port 22: Connection timed out", "does not answer"),
        ("kex_exchange_identification: read", "kex_exchange"),
    ],
)
def test_what_ssh_says_is_told_with_what_to_do(said, cause):
    with pytest.raises(GausscertError) as raised:
        ssh.read(NODE, ssh.Ended(255, "", said))

    assert raised.value.reason is Reason.UNREACHABLE
    assert raised.value.node == "n1"
    assert cause in raised.value.message
    assert raised.value.remedy


CHANGED = """\
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!
Someone could be eavesdropping on you right now (man-in-the-middle attack)!
It is also possible that a host key has just been changed.
The fingerprint for the ED25519 key sent by the remote host is
SHA256:/EryEvF18rCSGcUoYMaiUAKskRXCKxlOHP0elHuXpms.
Please contact your system administrator.
Add correct host key in /home/ops/.ssh/known_hosts to get rid of this message.
Offending ED25519 key in /home/ops/.ssh/known_hosts:7
  remove with:
  ssh-keygen -f "/home/ops/.ssh/known_hosts" -R "n1"
Host key for n1 has changed and you have requested strict checking.
Host key verification failed.
"""
"""All that OpenSSH 9.2 says."""

REVOKED = """\
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@       WARNING: REVOKED HOST KEY DETECTED!               @
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
The ED25519 host key for n1 is marked as revoked.
This could mean that a stolen key is being used to
impersonate this host.
ED25519 host key for n1 was revoked and you have requested strict checking.
Host key verification failed.
"""
UNKNOWN = """\
No ED25519 host key is known for n1 and you have requested strict checking.
Host key verification failed.
"""


def refusal(said: str) -> GausscertError:
    with pytest.raises(GausscertError) as raised:
        ssh.read(NODE, ssh.Ended(255, "", said))
    assert raised.value.reason is Reason.UNREACHABLE
    return raised.value


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (CHANGED, "another host key than it had"),
        (REVOKED, "host key was revoked"),
        (UNKNOWN, "host key is not known"),
    ],
    ids=["changed", "revoked", "unknown"],
)
def test_a_host_key_that_changed_is_never_told_as_an_unknown_one_nor_accepted_unseen(said: str, cause: str):
    """OpenSSH ends with the same line for all of them: a changed key was told as one to be accepted."""
    error = refusal(said)

    assert cause in error.message
    assert "accept" not in error.remedy
    assert "console" in error.remedy


def test_a_changed_host_key_is_told_with_what_the_node_shows_and_where_the_other_one_stands():
    error = refusal(CHANGED)

    assert "SHA256:/EryEvF18rCSGcUoYMaiUAKskRXCKxlOHP0elHuXpms" in error.message
    assert "ED25519 key in /home/ops/.ssh/known_hosts:7" in error.message


def test_a_step_that_failed_is_told_with_file_and_remedy():
    with pytest.raises(GausscertError) as raised:
        ssh.read(NODE, trouble("no space"))

    error = raised.value
    assert (error.reason, error.node, error.file) == (Reason.ROLLOUT_FAILED, "n1", "/x")


def test_a_banner_before_the_answer_is_passed_over_and_no_answer_is_a_failure():
    assert ssh.read(NODE, ok({"a": 1})) == {"a": 1}
    with pytest.raises(GausscertError, match="without an answer, exit code 1: killed"):
        ssh.read(NODE, ssh.Ended(1, "", "killed"))


@pytest.mark.parametrize(
    "cut", ['{"ok": tr', "", "[]", '{"ok": false}', '{"ok": false, "trouble": {}}', '"', "{" * 100_000]
)
def test_an_answer_that_was_cut_short_or_makes_no_sense_is_none(cut: str):
    with pytest.raises(GausscertError) as raised:
        ssh.read(NODE, ssh.Ended(255, f"welcome\n{ANSWER}{cut}", "Connection to n1 closed: timed out"))

    assert raised.value.reason is Reason.UNREACHABLE


def told(script: str, stdin: bytes = b"", timeout_s: float = 60.0, *more: str) -> ssh.Ended:
    """What a program in the place of ssh says."""
    return asyncio.run(ssh.SystemSsh(timeout_s, 0.5)([sys.executable, "-c", script, *more], stdin))


def test_what_ssh_says_comes_whole_and_what_it_is_told_goes_whole():
    body = bytes(range(256)) * 10_000
    script = "import sys, hashlib; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest()); sys.exit(7)"

    assert told(script, body) == ssh.Ended(7, hashlib.sha256(body).hexdigest() + "\n", "")


def test_a_program_that_does_not_listen_is_no_failure_of_ours():
    assert told("import os; os.close(0); print('no')", b"x" * 10**6) == ssh.Ended(0, "no\n", "")


@pytest.mark.parametrize("where", ["stdout", "stderr"])
def test_a_node_that_does_not_stop_talking_is_cut_off(where: str):
    """It would fill the operator's memory."""
    ended = told(f"import sys\nwhile True: sys.{where}.write('x' * 65536)")

    assert (ended.code, ended.out) == (1, "")
    assert "it said more than" in ended.err


def test_a_command_that_takes_too_long_is_ended():
    with pytest.raises(TimeoutError):
        told("import time; time.sleep(60)", timeout_s=0.2)


LEAVES_ONE_BEHIND = """\
import os, subprocess, sys
kept = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
del kept[sys.argv[1]]
child = subprocess.Popen(["sleep", "600"], start_new_session=True, **kept)
open(sys.argv[2], "w").write(str(child.pid))
print("the answer", flush=True)
print("the reason", file=sys.stderr, flush=True)
os._exit(255)
"""


@pytest.mark.parametrize("keeps", ["stdin", "stdout", "stderr"])
def test_whom_ssh_has_left_behind_is_not_waited_for(tmp_path: Path, keeps: str):
    """A master of ControlPersist kept stderr open, and the step lasted as long as the longest may."""
    pid = tmp_path / "pid"
    try:
        ended = told(LEAVES_ONE_BEHIND, b"x" * 10**6, 60.0, keeps, str(pid))
        os.kill(int(pid.read_text()), 0)  # it is there still
    finally:
        os.kill(int(pid.read_text()), signal.SIGKILL)

    assert ended == ssh.Ended(255, "the answer\n", "the reason\n")


def test_a_command_that_takes_too_long_is_ended_also_where_it_leaves_one_behind(tmp_path: Path):
    pid = tmp_path / "pid"
    script = LEAVES_ONE_BEHIND.replace("os._exit(255)", "import time; time.sleep(600)")
    try:
        with pytest.raises(TimeoutError):
            told(script, b"", 3.0, "stderr", str(pid))
    finally:
        os.kill(int(pid.read_text()), signal.SIGKILL)
