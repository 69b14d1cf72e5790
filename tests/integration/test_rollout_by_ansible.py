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
from gausscert_common.identity import Role
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


def play(machine: Machine, inventory: Path) -> dict[str, int]:
    """What the play did on the node."""
    options = (*machine.operator.options, "ControlMaster=auto", "ControlPersist=5s")
    environment = {
        **os.environ,
        "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
        "ANSIBLE_SSH_TRANSFER_METHOD": "piped",
        "ANSIBLE_SSH_ARGS": " ".join(f"-o {option}" for option in options),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(machine.root / "c"),
        "ANSIBLE_PIPELINING": "1",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_HOME": str(machine.root / "ansible"),
        "ANSIBLE_LOCALHOST_WARNING": "0",
        "LC_ALL": "C.UTF-8",
    }
    done = subprocess.run(
        [str(PLAYBOOK), "-i", str(inventory), str(ANSIBLE / "site.yml")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    recap = done.stdout.rpartition("n1 ")[2].splitlines()[0].partition(":")[2]
    return {key: int(value) for key, value in (word.split("=") for word in recap.split())}


def test_a_bare_node_gets_an_agent_and_a_second_run_changes_nothing(machine: Machine, tmp_path: Path):
    bundle = software.make(tmp_path / "software")
    shutil.copy(ANSIBLE.parent / "bundle" / "install.sh", bundle)
    pki.issue(machine.operator.root / "pki", Role.NODE, "n1", out=tmp_path / "n1")
    machine.operator.revoke("bob")
    denied = tmp_path / "deny.list"
    shutil.copy(machine.operator.root / "pki" / "deny.list", denied)
    listen = machine.operator.address
    inventory = tmp_path / "inventory.json"
    node = {
        "ansible_host": "127.0.0.1",
        "ansible_port": machine.sshd.port,
        "ansible_user": "root",
        "ansible_python_interpreter": machine.python,
        "gausscert_cluster": "rolled",
        "gausscert_user": "omm",
        "gausscert_group": "dbgrp",
        "gausscert_bundle": str(bundle),
        "gausscert_credential": str(tmp_path / "n1"),
        "gausscert_deny_list": str(denied),
        "gausscert_listen": listen,
        "gausscert_python": machine.python,
        "gausscert_cm": {"home": "/opt/cm", "stopped_for_s": 0.5},
        "gausscert_systemd": False,
    }
    inventory.write_text(json.dumps({"gausscert": {"hosts": {"n1": node}}}))

    first = play(machine, inventory)

    assert first["changed"] > 0
    assert machine.sh("stat -c '%U %a' /etc/gausscert/pki/node-n1.key").strip() == "omm 400"
    assert machine.sh("stat -c '%U %a' /var/lib/gausscert/deny.list").strip() == "omm 600"
    machine.start_by_hand(
        "/opt/gausscert/current/bin/gausscert-agent serve --config /etc/gausscert/agent.toml"
    )
    assert machine.operator.gausscert("status").code == 0, machine.log()

    assert machine.operator.status_as("bob").document["nodes"][0]["error"]["reason"] == "REVOKED"
    denied.write_text("serial ff somebody else\n")  # the agent's own list is not written over

    again = play(machine, inventory)

    assert (again["changed"], again["failed"]) == (0, 0)
    shown = machine.operator.agents("status").document["nodes"][0]
    assert shown["release"] == shown["running"]["release"]

    machine.end()
    machine.sh("ln -sf /usr/bin/python3.0 /opt/gausscert/current/bin/python")  # the system was upgraded
    after = play(machine, inventory)

    assert after["changed"] > 0
    shown = machine.operator.agents("status").document["nodes"][0]
    assert (shown["releases"], shown["in_flight"]) == ([shown["release"]], "")
