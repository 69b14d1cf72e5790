"""The Ansible role: Ansible reads it, and it says nothing that the rest of the project does not know."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from gausscert_coordinator.rollout.bundle import load as open_bundle
from support import software

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
    given = "".join((ROLE / each / "main.yml").read_text() for each in ("defaults", "vars"))
    defaults = set(re.findall(r"^(gausscert_\w+):", given, re.MULTILINE))
    tasks = "".join(path.read_text() for path in sorted(ROLE.rglob("*")) if path.suffix in (".yml", ".j2"))
    used = set(re.findall(r"\b(gausscert_[a-z_]+)\b", tasks)) - {"gausscert_agent"}
    registered = set(re.findall(r"register: (gausscert_\w+)|set_fact:\n +(gausscert_\w+):", tasks))
    registered = {name for pair in registered for name in pair if name}
    example = (ANSIBLE / "inventory.example.yml").read_text()

    needed = used - defaults - registered
    assert needed == {
        name for name in needed if f"{name} is defined" in tasks or f"{name}.home is defined" in tasks
    }
    assert all(f"{name}:" in example for name in needed)


@pytest.mark.skipif(PLAYBOOK is None, reason="ansible-core is missing")
def test_the_units_drop_in_names_all_that_cm_ctl_writes_to_as_a_roll_out_over_ssh_does(tmp_path: Path):
    """PGHOST often lies below /home, which the unit makes read-only; and a path may hold blanks."""
    variables = {
        "gausscert_user": "omm",
        "gausscert_group": "dbgrp",
        "gausscert_software": "/opt/gausscert",
        "gausscert_etc": "/etc/gausscert",
        "gausscert_release": "0.1.0-abc",
        "gausscert_cm": {"home": "/home/omm/my app", "log_path": "/var/log/100%", "stopped_for_s": 0.5},
        "gausscert_cm_environment": {"PGHOST": "/home/omm/tmp"},
    }
    template = ROLE / "templates/node.conf.j2"
    environment = {**os.environ, "ANSIBLE_HOME": str(tmp_path), "LC_ALL": "C.UTF-8", "ANSIBLE_NOCOLOR": "1"}

    done = subprocess.run(
        [
            *(str(Path(str(PLAYBOOK)).with_name("ansible")), "localhost", "-c", "local", "-m", "template"),
            *("-a", f"src={template} dest={tmp_path}/made", "-e", json.dumps(variables)),
            *("-e", f"ansible_python_interpreter={sys.executable}"),
        ],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    made = (tmp_path / "made").read_text()
    assert "ExecStart=/opt/gausscert/releases/0.1.0-abc/bin/gausscert-agent serve" in made
    assert [line for line in made.splitlines() if line.startswith("ReadWritePaths=")] == [
        'ReadWritePaths="-/home/omm/my app"',
        'ReadWritePaths="-/var/log/100%%"',
        'ReadWritePaths="-/home/omm/tmp"',
    ]


@pytest.mark.skipif(PLAYBOOK is None, reason="ansible-core is missing")
@pytest.mark.parametrize("check", [(), ("--check",)], ids=["for real", "in check mode"])
def test_the_release_is_known_before_it_is_installed(tmp_path: Path, check: tuple[str, ...]):
    """It was what install.sh had said, which is not run in check mode: `--check` failed at the drop-in."""
    bundle = software.make(tmp_path / "soft ware")
    play = [
        {
            "hosts": "localhost",
            "gather_facts": False,
            "connection": "local",
            "vars_files": [str(ROLE / "vars/main.yml")],
            "tasks": [
                {
                    "ansible.builtin.copy": {
                        "content": "{{ gausscert_release }}",
                        "dest": str(tmp_path / "made"),
                    },
                    "check_mode": False,
                }
            ],
        }
    ]
    (tmp_path / "play.yml").write_text(json.dumps(play))

    done = subprocess.run(
        [
            *(str(PLAYBOOK), str(tmp_path / "play.yml"), "-i", "localhost,", *check),
            *("-e", json.dumps({"gausscert_bundle": str(bundle)})),
            *("-e", f"ansible_python_interpreter={sys.executable}"),
        ],
        env={**os.environ, "ANSIBLE_HOME": str(tmp_path), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "made").read_text() == open_bundle(bundle).release


def refuses(tmp_path: Path, name: str, said: str, variables: dict[str, object]) -> bool:
    """Whether one of the role's own assertions fails."""
    import yaml

    tasks = [
        task for each in ("main", "idle") for task in yaml.safe_load((ROLE / f"tasks/{each}.yml").read_text())
    ]
    (asserting,) = (task for task in tasks if task["name"] == name)
    play = [{"hosts": "localhost", "gather_facts": False, "connection": "local", "tasks": [asserting]}]
    (tmp_path / "play.yml").write_text(yaml.safe_dump(play))
    done = subprocess.run(
        [
            *(str(PLAYBOOK), str(tmp_path / "play.yml"), "-i", "localhost,"),
            *("-e", json.dumps(variables)),
        ],
        env={**os.environ, "ANSIBLE_HOME": str(tmp_path), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (
        "Assertion failed" in done.stdout + done.stderr
        or done.returncode == 0
        or said in (done.stdout + done.stderr)
    ), done.stdout + done.stderr
    return done.returncode != 0


@pytest.mark.skipif(PLAYBOOK is None, reason="ansible-core is missing")
@pytest.mark.parametrize(
    ("journal", "refused"),
    [
        ({"rc": 0, "stdout": "phase        NONE\n", "stderr": ""}, False),
        ({"rc": 0, "stdout": "skipped, since /etc/gausscert/agent.toml does not exist", "stderr": ""}, False),
        ({"rc": 127, "stdout": "", "stderr": "runuser: failed to execute: No such file"}, False),
        (
            {"rc": 1, "stdout": "", "stderr": "runuser: failed to execute /opt/x: No such file or directory"},
            False,
        ),
        ({"rc": 126, "stdout": "", "stderr": "runuser: failed to execute: Permission denied"}, False),
        ({"rc": 1, "stdout": "", "stderr": "ModuleNotFoundError: No module named 'gausscert_agent'"}, False),
        ({"rc": 2, "stdout": "", "stderr": "error CONFIG_INVALID there is no state directory"}, False),
        ({"rc": 0, "stdout": "phase        SWAPPED\ntransaction  t-1\n", "stderr": ""}, True),
        ({"rc": 0, "stdout": "phase        NONE\noperation    cm_ctl stop, pid 4\n", "stderr": ""}, True),
        ({"rc": 5, "stdout": "", "stderr": "error JOURNAL_DAMAGED"}, True),
        ({"rc": 2, "stdout": "", "stderr": "error CONFIG_INVALID state_dir: Permission denied"}, True),
    ],
)
def test_an_agent_of_which_nobody_knows_what_it_is_in_the_middle_of_is_not_restarted(
    tmp_path: Path, journal: dict[str, object], refused: bool
):
    name, said = "It is not in the middle of a transaction", "run gausscert recover"
    assert refuses(tmp_path, name, said, {"gausscert_journal": journal}) is refused


@pytest.mark.skipif(PLAYBOOK is None, reason="ansible-core is missing")
@pytest.mark.parametrize(
    ("journal", "refused"),
    [
        ({"skipped": True, "changed": False}, False),
        ({"rc": 0, "stdout": "phase        NONE\n", "stderr": ""}, False),
        ({"rc": 2, "stdout": "", "stderr": "error CONFIG_INVALID there is no state directory"}, False),
        ({"rc": 0, "stdout": "phase        SWAPPED\ntransaction  t-1\n", "stderr": ""}, True),
        ({"rc": 5, "stdout": "", "stderr": "error JOURNAL_DAMAGED"}, True),
        ({"rc": 127, "stdout": "", "stderr": "runuser: failed to execute: No such file"}, True),
    ],
)
def test_where_what_was_there_cannot_be_run_the_new_software_reads_the_journal(
    tmp_path: Path, journal: dict[str, object], refused: bool
):
    """An upgrade of the operating system had taken its Python away: nobody read it."""
    name, said = "It is not in the middle of a transaction either", "start the agent, then gausscert recover"
    assert refuses(tmp_path, name, said, {"gausscert_journal_anew": journal}) is refused


def test_and_that_is_before_anything_but_software_is_changed():
    tasks = (ROLE / "tasks/main.yml").read_text()
    order = [
        "Install it, by hash",
        "where only the new software can tell",
        "transaction either",
        "The credential;",
    ]

    places = [tasks.index(name) for name in order]
    assert places == sorted(places)


@pytest.mark.skipif(PLAYBOOK is None, reason="ansible-core is missing")
@pytest.mark.parametrize(
    ("place", "refused"),
    [
        ({"exists": False}, False),
        ({"exists": True, "pw_name": "omm"}, False),
        ({"exists": True, "pw_name": "root"}, True),
        ({"exists": True}, True),
    ],
)
def test_a_place_that_is_an_operators_is_not_given_to_the_agents_user(
    tmp_path: Path, place: dict[str, object], refused: bool
):
    """It was chowned, with the operator's inventory in it."""
    variables = {
        "gausscert_place": {"stat": place},
        "gausscert_user": "omm",
        "gausscert_etc": "/etc/gausscert",
    }
    name, said = "It is the agent's, and not an operator's", "gausscert_etc: /etc/gausscert/agent"
    assert refuses(tmp_path, name, said, variables) is refused


SYSTEMCTL = """\
#!/bin/sh
echo "$@" >>{root}/asked
[ "$1" != show ] || printf 'LoadState=loaded\\nActiveState=active\\n'
"""


@pytest.mark.skipif(PLAYBOOK is None, reason="ansible-core is missing")
@pytest.mark.parametrize("forced", [(), ("--force-handlers",)], ids=["", "forced"])
@pytest.mark.soak
@pytest.mark.parametrize(
    ("journal", "restarted"), [("phase        NONE", True), ("transaction  t-1", False)], ids=["idle", "busy"]
)
def test_right_before_a_restart_it_is_asked_once_more(
    tmp_path: Path, journal: str, restarted: bool, forced: tuple[str, ...]
):
    """It was asked once, before the software was copied and installed. Handlers that are forced run also once
    the question has failed."""
    role = tmp_path / "roles" / "gausscert_agent"
    shutil.copytree(ROLE, role)
    notifying = {"ansible.builtin.command": {"argv": ["true"]}, "notify": "Restart the agent"}
    flushing = {"ansible.builtin.meta": "flush_handlers"}
    (role / "tasks" / "main.yml").write_text(json.dumps([notifying, flushing]))
    play = [
        {"hosts": "localhost", "gather_facts": False, "connection": "local", "roles": ["gausscert_agent"]}
    ]
    (tmp_path / "play.yml").write_text(json.dumps(play))
    for name, text in {
        "runuser": f"#!/bin/sh\necho '{journal}'\n",
        "systemctl": SYSTEMCTL.format(root=tmp_path),
    }.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "agent.toml").touch()
    variables = {
        "ansible_python_interpreter": sys.executable,
        "gausscert_user": "omm",
        "gausscert_software": str(tmp_path),
        "gausscert_etc": str(tmp_path),
        "gausscert_unit": {"stat": {"exists": True}},
    }
    environment = {**os.environ, "ANSIBLE_HOME": str(tmp_path / "home"), "LC_ALL": "C.UTF-8"}

    done = subprocess.run(
        [
            *(str(PLAYBOOK), str(tmp_path / "play.yml"), "-i", "localhost,", *forced),
            *("-e", json.dumps(variables)),
        ],
        env=environment | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode == 0) is restarted, done.stdout + done.stderr
    asked = (tmp_path / "asked").read_text() if (tmp_path / "asked").exists() else ""
    assert ("restart gausscert-agent" in asked) is restarted
    assert (tmp_path / ".restart-due").exists() is not restarted
    if not restarted:
        assert "transaction  t-1" in done.stdout + done.stderr
