"""The Ansible role: Ansible reads it, and it says nothing that the rest of the project does not know."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ANSIBLE = ROOT / "deploy/ansible"
ROLE = ANSIBLE / "roles/gausscert_agent"
BIN = str(Path(sys.executable).parent)
PLAYBOOK = shutil.which("ansible-playbook", path=os.pathsep.join((BIN, os.environ.get("PATH", ""))))


@pytest.mark.skipif(PLAYBOOK is None, reason="ansible-core is missing")
def test_ansible_accepts_the_playbook_the_role_and_the_example(tmp_path: Path):
    environment = {**os.environ, "ANSIBLE_HOME": str(tmp_path), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        [str(PLAYBOOK), "--syntax-check", "-i", "inventory.example.yml", "site.yml"],
        cwd=ANSIBLE,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr


def test_it_installs_what_the_bundle_has_where_the_unit_expects_it():
    tasks = (ROLE / "tasks/main.yml").read_text() + (ROLE / "tasks/service.yml").read_text()
    unit = (ROOT / "deploy/systemd/gausscert-agent.service").read_text()
    defaults = (ROLE / "defaults/main.yml").read_text()

    assert "install.sh" in tasks
    assert "requirements.txt" in tasks
    for place in re.findall(r"^gausscert_(?:software|etc): (.*)$", defaults, re.MULTILINE):
        assert place in unit
    assert "StateDirectory=gausscert" in unit
    assert "gausscert_state: /var/lib/gausscert" in defaults


def test_no_key_is_shown_and_none_is_readable_by_others():
    tasks = (ROLE / "tasks/main.yml").read_text()
    credential = tasks.split("- name: The credential")[1].split("- name:")[0]

    assert 'mode: "0400"' in credential
    assert "no_log: true" in credential
    assert "diff: false" in credential


def test_every_variable_without_a_default_is_asked_for_and_in_the_example():
    defaults = set(re.findall(r"^(gausscert_\w+):", (ROLE / "defaults/main.yml").read_text(), re.MULTILINE))
    tasks = "".join(path.read_text() for path in sorted(ROLE.rglob("*")) if path.suffix in (".yml", ".j2"))
    used = set(re.findall(r"\b(gausscert_[a-z_]+)\b", tasks)) - {"gausscert_agent"}
    registered = set(re.findall(r"register: (gausscert_\w+)", tasks))
    example = (ANSIBLE / "inventory.example.yml").read_text()

    needed = used - defaults - registered
    assert needed == {
        name for name in needed if f"{name} is defined" in tasks or f"{name}.home is defined" in tasks
    }
    assert all(f"{name}:" in example for name in needed)
