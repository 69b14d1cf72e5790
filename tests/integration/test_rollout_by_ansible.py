"""The Ansible role on a bare node, over a real sshd: twice, and the second time nothing is changed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from gausscert_agent.journal import Journal
from gausscert_common.identity import Role
from gausscert_common.protocol.state import NodeState, Transaction
from gausscert_common.protocol.words import Fence, Phase, RestartScope, SslWish, Step
from gausscert_coordinator import pki
from support import software
from support.machine import Machine
from support.sshd import needs_namespaces, needs_sshd

ANSIBLE = Path(__file__).parents[2] / "deploy" / "ansible"
BIN = str(Path(sys.executable).parent)
PLAYBOOK = shutil.which("ansible-playbook", path=os.pathsep.join((BIN, os.environ.get("PATH", ""))))

pytestmark = [
    needs_sshd,
    needs_namespaces,
    pytest.mark.skipif(PLAYBOOK is None, reason="ansible-core is missing"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can have another root directory"),
    pytest.mark.soak,  # Ansible logs in for each file
    pytest.mark.timeout(900),
]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path, "root")
    with made.sshd:
        yield made
        made.end()


class Site:
    """What somebody with Ansible has."""

    def __init__(self, machine: Machine, root: Path) -> None:
        self.machine = machine
        self.bundle = software.make(root / "software")
        self.inventory = root / "inventory.json"
        shutil.copy(ANSIBLE.parent / "bundle" / "install.sh", self.bundle)
        pki.issue(machine.operator.root / "pki", Role.NODE, "n1", out=root / "n1")
        self.node = {
            "ansible_host": "127.0.0.1",
            "ansible_port": machine.sshd.port,
            "ansible_user": "root",
            "ansible_python_interpreter": machine.python,
            "gausscert_cluster": "rolled",
            "gausscert_user": "omm",
            "gausscert_group": "dbgrp",
            "gausscert_bundle": str(self.bundle),
            "gausscert_credential": str(root / "n1"),
            "gausscert_listen": machine.operator.address,
            "gausscert_python": machine.python,
            "gausscert_cm": {"home": "/opt/cm", "stopped_for_s": 0.5},
        }

    def play(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the playbook."""
        self.inventory.write_text(json.dumps({"gausscert": {"hosts": {"n1": self.node}}}))
        options = (*self.machine.operator.options, "ControlMaster=auto", "ControlPersist=5s")
        environment = {
            **os.environ,
            "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
            "ANSIBLE_SSH_TRANSFER_METHOD": "piped",
            "ANSIBLE_SSH_ARGS": " ".join(f"-o {option}" for option in options),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.machine.root / "c"),
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_HOME": str(self.machine.root / "ansible"),
            "ANSIBLE_LOCALHOST_WARNING": "0",
            "LC_ALL": "C.UTF-8",
        }
        return subprocess.run(
            [str(PLAYBOOK), "-i", str(self.inventory), str(ANSIBLE / "site.yml"), *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def done(self, *arguments: str) -> dict[str, int]:
        """The same; what it did on the node."""
        done = self.play(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr + self.machine.log()
        recap = done.stdout.rpartition("n1 ")[2].splitlines()[0].partition(":")[2]
        return {key: int(value) for key, value in (word.split("=") for word in recap.split())}

    def pid(self) -> str:
        """Of the agent."""
        return (self.machine.state / "pid").read_text()


@pytest.fixture
def site(machine: Machine, tmp_path: Path) -> Site:
    return Site(machine, tmp_path)


def test_a_bare_node_gets_an_agent_and_a_second_run_changes_nothing(
    site: Site, machine: Machine, tmp_path: Path
):
    site.node["gausscert_systemd"] = False
    machine.operator.revoke("bob")
    denied = tmp_path / "deny.list"
    shutil.copy(machine.operator.root / "pki" / "deny.list", denied)
    site.node["gausscert_deny_list"] = str(denied)

    first = site.done()

    assert first["changed"] > 0
    assert machine.sh("stat -c '%U %a' /etc/gausscert/pki/node-n1.key").strip() == "omm 400"
    assert machine.sh("stat -c '%U %a' /var/lib/gausscert/deny.list").strip() == "omm 600"
    machine.start_by_hand(
        "/opt/gausscert/current/bin/gausscert-agent serve --config /etc/gausscert/agent.toml"
    )
    assert machine.operator.gausscert("status").code == 0, machine.log()

    assert machine.operator.status_as("bob").document["nodes"][0]["error"]["reason"] == "REVOKED"
    denied.write_text("serial ff somebody else\n")  # the agent's own list is not written over

    again = site.done()

    assert (again["changed"], again["failed"]) == (0, 0)
    shown = machine.operator.agents("status").document["nodes"][0]
    assert shown["release"] == shown["running"]["release"]

    machine.end()
    machine.sh("ln -sf /usr/bin/python3.0 /opt/gausscert/current/bin/python")  # the system was upgraded
    after = site.done()

    assert after["changed"] > 0
    shown = machine.operator.agents("status").document["nodes"][0]
    assert (shown["releases"], shown["in_flight"]) == ([shown["release"]], "")


def test_check_mode_tells_what_would_be_done_and_does_nothing(site: Site, machine: Machine):
    """It failed at the drop-in, whose release only an installation had told."""
    predicted = site.done("--check", "--diff")

    assert predicted["changed"] > 0
    there = "ls -d /opt/gausscert /etc/gausscert /var/lib/gausscert /etc/systemd/system/gausscert* || true"
    assert machine.sh(there) == ""
    site.done()
    pid = site.pid()
    assert site.done("--check", "--diff")["changed"] == 0

    site.node["gausscert_agent_settings"] = {"drain_s": 6.0}
    config = machine.sh("cat /etc/gausscert/agent.toml")
    predicted = site.done("--check", "--diff")

    assert predicted["changed"] > 0
    assert machine.sh("cat /etc/gausscert/agent.toml") == config
    assert site.pid() == pid


IN_FLIGHT = NodeState(
    fence=Fence(1, Step.PREPARE),
    owner="t-1",
    holder="alice@host:42",
    phase=Phase.PREPARED,
    transaction=Transaction(
        transaction_id="t-1",
        participants=("n1", "n2"),
        old_digest="0" * 64,
        ssl_wish=SslWish.KEEP,
        restart=RestartScope.CLUSTER,
        begun_at=1_700_000_000.0,
        new_digest="1" * 64,
    ),
)
MEANWHILE = """
if [ -e /opt/fake/state/busy ]; then  # somebody replaces certificates while the play goes on
    cp -p /var/lib/gausscert/journal.json /opt/fake/state/journal
    cat /opt/fake/state/busy >/var/lib/gausscert/journal.json
fi
"""


def test_an_agent_is_not_restarted_in_the_middle_of_a_transaction_and_is_once_it_has_ended(
    site: Site, machine: Machine, tmp_path: Path
):
    """It was asked once, before the software was copied and installed."""
    install = site.bundle / "install.sh"
    install.write_text(install.read_text() + MEANWHILE + 'echo "$software/current is $release"\n')
    site.done()
    pid = site.pid()
    site.node["gausscert_agent_settings"] = {"drain_s": 6.0}
    (tmp_path / "busy").mkdir(mode=0o700)
    with Journal(tmp_path / "busy") as journal:
        journal.lock()
        journal.save(IN_FLIGHT)
    (machine.state / "busy").write_bytes(Journal(tmp_path / "busy").path.read_bytes())

    refused = site.play("--force-handlers")

    assert refused.returncode != 0
    assert "run gausscert recover: " in refused.stdout + refused.stderr
    assert site.pid() == pid
    machine.sh("rm /opt/fake/state/busy; cat /opt/fake/state/journal >/var/lib/gausscert/journal.json")

    site.done()

    assert site.pid() != pid
    assert machine.sh("ls -A /opt/gausscert | grep due || true") == ""
    assert site.done()["changed"] == 0


def test_the_play_ends_at_an_agent_that_is_not_healthy(site: Site, machine: Machine, tmp_path: Path):
    """READY is told by an agent that serves; whether it could do its job, its health says."""
    site.bundle = software.make(tmp_path / "spoilt", "0.1.1", software.NEVER_WELL)
    shutil.copy(ANSIBLE.parent / "bundle" / "install.sh", site.bundle)
    site.node |= {"gausscert_bundle": str(site.bundle), "gausscert_health_retries": 1}

    failed = site.play()

    assert failed.returncode != 0
    assert "the agent answers, but is not healthy" in failed.stdout
    assert "n1" in failed.stdout.rpartition("PLAY RECAP")[2]
