"""The playground of deploy/container: what compose starts, started here without containers, and its files."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from gausscert_coordinator.cli.demo_cluster import AGENT, GAUSSCERT
from support.local_cluster import wait_until

CONTAINER = Path(__file__).parents[2] / "deploy/container"
COMPOSE = yaml.safe_load((CONTAINER / "compose.yml").read_text())
SERVICES = COMPOSE["services"]
AGENTS = {name: service for name, service in SERVICES.items() if name.startswith("agent-")}


@pytest.fixture
def playground(tmp_path: Path) -> Iterator[Path]:
    """Running, as its service runs it, on a directory with something of an earlier one left in it."""
    (tmp_path / "agent-n1").mkdir()
    (tmp_path / ".playground").touch()
    with (tmp_path.parent / "playground.log").open("wb") as log:
        running = subprocess.Popen(
            [sys.executable, str(CONTAINER / "playground.py"), str(tmp_path)], stdout=log, stderr=log
        )
    try:
        wait_until((tmp_path / "ready").exists, 60)
        yield tmp_path
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == 0
        assert not (tmp_path / "ready").exists()
    finally:
        running.kill()


def test_its_agents_serve_and_its_operator_sees_them(playground: Path):
    started = []
    try:
        for service in AGENTS.values():
            words = [word.replace("/playground", str(playground)) for word in service["command"]]
            assert words[0] == "gausscert-agent"
            started.append(subprocess.Popen([*AGENT, *words[1:]], stderr=subprocess.DEVNULL))

        def status() -> subprocess.CompletedProcess[str]:
            argv = [*GAUSSCERT, "status", "--output", "json"]
            return subprocess.run(argv, cwd=playground, capture_output=True, text=True, check=False)

        wait_until(lambda: status().returncode == 0, 60)
        assert [node["node"] for node in json.loads(status().stdout)["nodes"]] == ["n1", "n2", "n3"]
    finally:
        for agent in started:
            agent.terminate()
        for agent in started:
            agent.wait(30)


def test_a_directory_that_is_something_else_is_left_alone(tmp_path: Path):
    (tmp_path / "thesis.tex").touch()

    done = subprocess.run(
        [sys.executable, str(CONTAINER / "playground.py"), str(tmp_path)], capture_output=True, check=False
    )

    assert done.returncode == 1
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_compose_names_the_simulation_and_shares_its_processes_and_addresses():
    assert set(SERVICES) == {"simulated-cm", "agent-n1", "agent-n2", "agent-n3", "operator"}
    for service in (*AGENTS.values(), SERVICES["operator"]):
        assert service["pid"] == service["network_mode"] == "service:simulated-cm"
        assert service["depends_on"] == {"simulated-cm": {"condition": "service_healthy"}}
    said = (CONTAINER / "compose.yml").read_text()
    assert "SIMULATED CM" in said
    assert "no openGauss" in said


def test_the_image_is_made_of_the_bundle_and_does_not_run_as_root():
    lines = (CONTAINER / "Containerfile").read_text().splitlines()

    assert "RUN sh /bundle/install.sh /opt/gausscert" in lines
    assert "USER omm" in lines
    for line in lines:
        if line.startswith("COPY ") and "--from" not in line:
            source = line.split()[1]
            assert f"!{source}" in (CONTAINER / "Containerfile.dockerignore").read_text().splitlines()
            assert source == "dist/bundle" or (CONTAINER.parents[1] / source).exists()


@pytest.mark.skipif(
    subprocess.run(["sh", "-c", "docker compose version"], capture_output=True, check=False).returncode != 0,
    reason="docker compose is missing",
)
def test_docker_compose_accepts_the_file():
    argv = [str(shutil.which("docker")), "compose", "-f", str(CONTAINER / "compose.yml"), "config", "--quiet"]
    done = subprocess.run(argv, env=os.environ, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
