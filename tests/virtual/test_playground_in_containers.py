"""The playground of compose.yml in real containers, on a machine under qemu: image, agents, a replacement.

No registry is asked: the base image is the machine itself, by the name that the Containerfile has.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import software
from support.virtual_image import image, missing
from support.virtual_machine import VirtualMachine

pytestmark = [pytest.mark.virtual, pytest.mark.timeout(3600), pytest.mark.xdist_group("virtual")]

DOCKER = ("docker.io", "docker-cli", "docker-compose", "docker-buildx", "iptables")
BASE = "python:3.12-slim-bookworm"
COMPOSE = "docker compose --ansi never -f /root/gausscert/deploy/container/compose.yml"
PASSWORDS = "--server-password-file pw --client-password-file pw"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualMachine]:
    assert not (lacking := missing()), f"needed here: {', '.join(lacking)}"
    root = tmp_path_factory.mktemp("containers")
    context = root / "context"
    shutil.copytree(software.ROOT / "deploy", context / "deploy")
    build = [sys.executable, str(software.ROOT / "deploy/bundle/build.py"), str(context / "dist/bundle")]
    subprocess.run([*build, "--python", "3.13", "--machine", "x86_64"], check=True)
    (root / "machine").mkdir()
    with VirtualMachine(image("trixie", DOCKER), root / "machine", {}, memory_mb=3072) as made:
        made.send(context, "/root/gausscert")
        left_out = " ".join(
            f"--exclude=./{name}" for name in ("boot", "var/lib/docker", "root", "usr/lib/modules")
        )
        made.sh("userdel --remove omm")  # the image makes its own
        made.sh(f"tar --one-file-system {left_out} -C / -c . | docker import - {BASE}", timeout_s=1500)
        yield made


def operator(machine: VirtualMachine, command: str) -> Any:
    """What a command in the operator's container says."""
    return json.loads(machine.sh(f"{COMPOSE} exec -T operator {command} --output json"))


def replaced(machine: VirtualMachine) -> Any:
    """The replacement; again only where nothing spoke against it but a cm_ctl that took too long."""
    command = f"gausscert replace new-bundle --yes {PASSWORDS} --output json"
    for _ in range(3):
        done = machine.run(f"{COMPOSE} exec -T operator {command}", timeout_s=1500)
        if done.returncode != 2 or not _was_too_slow(json.loads(done.stdout)["error"]["findings"]):
            break
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def _was_too_slow(findings: list[dict[str, str]]) -> bool:
    return all("`cm_ctl query -Cv` did not end within" in each["cause"] for each in findings)


def test_the_playground_is_brought_up_and_a_set_is_replaced(machine: VirtualMachine):
    up = machine.run(f"{COMPOSE} up --build --detach --wait", timeout_s=1500)
    assert up.returncode == 0, up.stderr + machine.run(f"{COMPOSE} logs").stdout

    nodes = operator(machine, "gausscert status")["nodes"]
    assert [(node["node"], node["reachable"], node["drift"]) for node in nodes] == [
        (name, True, False) for name in ("n1", "n2", "n3")
    ]
    machine.sh(f"{COMPOSE} exec -T operator sh -c 'umask 377; echo Playground-9 >pw'")
    operator(machine, f"gausscert bundle new new-bundle {PASSWORDS}")
    assert replaced(machine)["result"]["verdict"] == "committed"
    states = {line.split()[0] for line in machine.sh(f"{COMPOSE} ps --format '{{{{.State}}}}'").splitlines()}
    assert states == {"running"}

    machine.sh(f"{COMPOSE} down --volumes", timeout_s=600)

    assert machine.sh("docker ps --all --quiet; docker volume ls --quiet") == ""


def test_the_image_is_the_commands(machine: VirtualMachine):
    shown = machine.sh("docker run --rm --network none gausscert")
    assert "replace" in shown
    version = json.loads(
        machine.sh("docker run --rm --network none gausscert gausscert version --output json")
    )
    assert Path(version["schema"]).name == "v1"
    who = machine.sh("docker run --rm --network none gausscert id -un")
    assert who.strip() == "omm"
