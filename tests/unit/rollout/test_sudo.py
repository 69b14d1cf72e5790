"""Where root may not log in: the program runs by sudo, which asks nobody, and says what it lacks."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from gausscert_common.errors import GausscertError, NodeFailure, NodeRefusal, Reason
from gausscert_coordinator.inventory import InventoryNode, SshAccess
from gausscert_coordinator.rollout import parcel, ssh
from gausscert_coordinator.rollout.on_node.main import ANSWER

NODE = InventoryNode("n1", "10.0.0.1:7443", SshAccess(user="deploy", sudo=True))
FAKE = Path(__file__).parents[2] / "support" / "fake_sudo.sh"
LOOK = {"action": "look", "node": "n1", "user": "", "cm_home": "/nowhere", "directory": "/nowhere"}


class Login:
    """One whose `sudo` is a fake, and who is not root: `id` says so."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = root / "bin"
        self.path.mkdir()
        self._put("id", "#!/bin/sh\necho 1000\n")
        self._put("sudo", FAKE.read_text())
        (root / "become").write_text(f'#!/bin/sh\ntouch "{root}/became"\nexec "$@"\n')
        (root / "become").chmod(0o755)

    def _put(self, name: str, text: str) -> None:
        (self.path / name).write_text(text)
        (self.path / name).chmod(0o755)

    def permit(self, line: str) -> None:
        """What sudoers makes of such a line: the command, without its escapes."""
        command = line.partition("NOLOG_INPUT: ")[2]
        (self.root / "permitted").write_text(re.sub(r"\\(.)", r"\1", command))

    def run(self, python: str = sys.executable) -> ssh.Ended:
        done = subprocess.run(
            ["sh", "-c", parcel.command(python, sudo=True)],
            input=parcel.pack(LOOK),
            capture_output=True,
            check=False,
            env={"PATH": f"{self.path}:/usr/bin:/bin", "FAKE_SUDO": str(self.root)},
        )
        return ssh.Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.fixture
def login(tmp_path: Path) -> Login:
    return Login(tmp_path)


def refused(ended: ssh.Ended, node: InventoryNode = NODE) -> GausscertError:
    with pytest.raises(GausscertError) as raised:
        ssh.read(node, ended)
    return raised.value


def test_the_line_that_is_named_permits_what_is_run(login: Login):
    login.permit(parcel.sudoers("deploy", sys.executable))

    ended = login.run()

    assert ANSWER in ended.out, ended.err
    assert (login.root / "became").exists()
    assert ssh.read(NODE, ended)["software"] == "/nowhere"


def test_where_ssh_itself_knows_who_logs_in_the_line_leaves_room_for_him(login: Login):
    error = refused(login.run(), InventoryNode("n1", "10.0.0.1:7443", SshAccess(sudo=True)))

    assert "USER ALL=(root) NOPASSWD" in error.remedy


def test_where_it_is_not_permitted_the_line_for_sudoers_is_the_remedy(login: Login):
    error = refused(login.run())

    assert (type(error), error.reason, error.node) == (NodeRefusal, Reason.SUDO_REFUSED, "n1")
    assert "sudo: a password is required" in error.message
    assert error.remedy.endswith(parcel.sudoers("deploy", sys.executable))
    assert not (login.root / "became").exists()
    login.permit(error.remedy)
    assert ANSWER in login.run().out


def test_a_node_without_sudo_says_so(login: Login):
    (login.path / "sudo").unlink()
    for program in ("sh", "env", "head"):
        (login.path / program).symlink_to(shutil.which(program) or "/bin/sh")
    done = subprocess.run(
        ["/bin/sh", "-c", parcel.command(sys.executable, sudo=True)],
        input=parcel.pack(LOOK),
        capture_output=True,
        check=False,
        env={"PATH": str(login.path)},
    )

    error = refused(ssh.Ended(done.returncode, done.stdout.decode(), done.stderr.decode()))

    assert (error.reason, error.message) == (Reason.SUDO_REFUSED, "there is no sudo")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is root already")
def test_whoever_is_root_already_needs_no_sudo(login: Login):
    for program in ("id", "sudo"):
        (login.path / program).unlink()

    assert ANSWER in login.run().out


@pytest.mark.parametrize(
    ("said", "cause", "remedy"),
    [
        ("sudo: a password is required", "wants a password", "NOPASSWD: NOLOG_INPUT: /usr/bin/python3.11 "),
        ("sudo: a terminal is required to read the password", "wants a password", "NOPASSWD"),
        ("Sorry, user deploy may not run sudo on n1.", "does not permit", "deploy ALL=(root) NOPASSWD"),
        ("Sorry, user deploy is not allowed to execute '/x' as root on n1.", "does not permit", "NOPASSWD"),
        ("sudo: sorry, you must have a tty to run sudo", "wants a terminal", "Defaults:deploy !requiretty"),
        ("sudo: /usr/bin/sudo must be owned by uid 0", "must be owned", "have sudo -n work"),
    ],
)
def test_what_sudo_says_is_told_with_what_to_do(said: str, cause: str, remedy: str):
    warned = f"sudo: unable to resolve host n1: Name or service not known\n{said}\n"

    error = refused(ssh.Ended(1, f"welcome\n{parcel.FOUND}/usr/bin/python3.11\n", warned))

    assert error.reason is Reason.SUDO_REFUSED
    assert cause in error.message
    assert "resolve" not in error.message
    assert remedy in error.remedy


@pytest.mark.parametrize(
    "ended",
    [
        ssh.Ended(1, f"{parcel.FOUND}/usr/bin/python3\n", "Traceback\nMemoryError"),
        ssh.Ended(1, "", "sudo: unable to resolve host n1: Name or service not known\nMemoryError"),
        ssh.Ended(137, "", "sudo: a password is required"),
    ],
)
def test_a_program_that_sudo_has_run_and_that_ends_badly_is_no_refusal_of_sudo(ended: ssh.Ended):
    error = refused(ended)

    assert isinstance(error, NodeFailure)
    assert parcel.FOUND.strip() not in error.message


def test_what_a_node_tells_of_its_python_is_no_text_for_sudoers():
    """Somebody copies that line."""
    hostile = f"{parcel.FOUND}/x ALL=(ALL) NOPASSWD: ALL\n"

    error = refused(ssh.Ended(1, hostile, "sudo: a password is required"))

    assert error.remedy.endswith(parcel.sudoers("deploy", "/usr/bin/python3"))


def test_without_sudo_in_the_inventory_its_words_are_only_words():
    plain = InventoryNode("n1", "10.0.0.1:7443", SshAccess(user="deploy"))

    assert isinstance(refused(ssh.Ended(1, "", "sudo: a password is required"), plain), NodeFailure)
    assert "sudo" not in ssh.command_line(plain)[-1]
    assert "sudo -n -- " in ssh.command_line(NODE)[-1]
