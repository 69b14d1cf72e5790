"""What is shipped in deploy/ is what the code reads and what systemd accepts."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from gausscert_agent import config_file
from gausscert_coordinator import inventory_file

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "deploy/systemd/gausscert-agent.service"
INSTALLED = Path(sys.executable).with_name("gausscert-agent")


def unit_lines() -> list[str]:
    return UNIT.read_text().splitlines()


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_accepts_the_unit(tmp_path: Path):
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/gausscert/bin/gausscert-agent", str(INSTALLED)))

    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_the_unit_never_kills_more_than_the_agent():
    assert "KillMode=process" in unit_lines()


def test_the_unit_gives_the_agent_longer_to_stop_than_it_takes_to_drain():
    config = config_file.load(ROOT / "deploy/config/agent.toml")
    stop = next(line for line in unit_lines() if line.startswith("TimeoutStopSec="))

    assert config.drain_s < float(stop.removeprefix("TimeoutStopSec=").rstrip("s"))


def test_the_sample_agent_configuration_loads():
    config = config_file.load(ROOT / "deploy/config/agent.toml")

    assert (config.name, config.cluster, config.listen) == ("n1", "production", "0.0.0.0:7443")
    assert config.cm.environment == {"PGHOST": "/opt/huawei/tmp", "GPHOME": "/opt/huawei/install/om"}


def test_the_unit_starts_the_agent_with_the_sample_configuration_where_the_unit_expects_it():
    command = next(line for line in unit_lines() if line.startswith("ExecStart="))

    assert command == "ExecStart=/opt/gausscert/bin/gausscert-agent serve --config /etc/gausscert/agent.toml"


def test_the_sample_inventory_loads():
    inventory = inventory_file.load(ROOT / "deploy/config/gausscert.toml", require_credentials=False)

    assert [node.name for node in inventory.nodes] == ["n1", "n2", "n3"]
    assert inventory.credentials.ca == ROOT / "deploy/config/pki/ca.crt"
