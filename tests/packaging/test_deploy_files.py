"""What is shipped in deploy/ is what the code reads and what systemd accepts."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from gausscert_agent import config_file
from gausscert_common.identity import Role, node_dns_name
from gausscert_coordinator import inventory_file, pki
from gausscert_coordinator.rollout import units
from gausscert_coordinator.rollout.bundle import SYSTEM_UNIT, USER_UNIT
from gausscert_coordinator.rollout.facts import Service
from gausscert_coordinator.rollout.on_node import files, service
from gausscert_coordinator.rollout.ssh import STEP_S
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.rollout_fakes import facts

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


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_the_unit_exposes_less_than_two():
    """The threshold is in tenths; what is left open, cm_ctl needs (deploy/README.md)."""
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=19", str(UNIT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout


HARMFUL = (
    *(
        "ProtectProc",
        "ProcSubset",
        "PrivateTmp",
        "PrivateUsers",
        "PrivateNetwork",
        "PrivateIPC",
    ),
    *("IPAddressDeny", "DynamicUser", "RootDirectory", "InaccessiblePaths"),
)


@pytest.mark.parametrize("directive", HARMFUL)
def test_the_unit_takes_away_nothing_that_cm_ctl_or_a_look_at_processes_needs(directive: str):
    assert not [line for line in unit_lines() if line.startswith(f"{directive}=")]
    assert f"`{directive}`" in (ROOT / "deploy/README.md").read_text()


def test_stopping_the_agent_leaves_the_databases_shared_memory_alone():
    assert "RemoveIPC=no" in unit_lines()


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
@pytest.mark.parametrize("service", [Service.SYSTEM, Service.USER])
def test_systemd_accepts_the_unit_with_what_a_roll_out_adds_to_it(tmp_path: Path, service: Service):
    bundle = {name: (ROOT / "deploy/systemd" / name).read_text() for name in (SYSTEM_UNIT, USER_UNIT)}
    own = facts(account={"name": "root", "group": "root"}, software=str(tmp_path), etc=str(tmp_path))
    texts = units.units(bundle, service, own, "1", (str(tmp_path / "c m"), "/opt/100%"))
    program = tmp_path / "releases" / "1" / "bin" / "gausscert-agent"
    program.parent.mkdir(parents=True)
    program.symlink_to(INSTALLED)
    unit, drop_in = texts
    (tmp_path / unit).write_text(texts[unit].replace("/opt/gausscert/bin/gausscert-agent", str(program)))
    (tmp_path / f"{unit}.d").mkdir()
    (tmp_path / f"{unit}.d" / drop_in).write_text(texts[drop_in])

    manager = ["--user"] if service is Service.USER else ["--system"]
    done = subprocess.run(
        ["systemd-analyze", *manager, "verify", str(tmp_path / unit)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:", "XDG_RUNTIME_DIR": str(tmp_path)},
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_the_unit_never_kills_more_than_the_agent():
    assert "KillMode=process" in unit_lines()


def test_the_unit_gives_the_agent_longer_to_stop_than_it_takes_to_drain():
    config = config_file.load(ROOT / "deploy/config/agent.toml")
    stop = next(line for line in unit_lines() if line.startswith("TimeoutStopSec="))

    assert config.drain_s < float(stop.removeprefix("TimeoutStopSec=").rstrip("s"))


@pytest.mark.parametrize("unit", ["gausscert-agent.service", "user/gausscert-agent.service"])
def test_a_roll_out_waits_for_the_longest_restart(unit: str):
    """It is the end of the one agent, and then the start of the next."""
    text = (ROOT / "deploy/systemd" / unit).read_text()
    stop, start = (
        float(re.search(rf"^Timeout{each}Sec=(\d+)s$", text, re.MULTILINE)[1]) for each in ("Stop", "Start")
    )

    assert stop + start < service.START_S
    assert service.START_S < files._OTHER_S < STEP_S


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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Unit:
    """What ExecStart says, on this machine: the sample configuration with other paths, and another port."""

    def __init__(self, root: Path) -> None:
        self.port = free_port()
        pki.init(root / "ca", "production", None)
        self.node = pki.issue(root / "ca", Role.NODE, "n1", out=root / "node")
        self.operator = pki.issue(root / "ca", Role.OPERATOR, "alice", out=root / "alice")
        (root / "home" / "bin").mkdir(parents=True)
        (root / "home" / "bin" / "cm_ctl").touch(0o700)  # without one the agent is not healthy
        (root / "home" / "share" / "sslcert").mkdir(parents=True, mode=0o700)
        config = root / "agent.toml"
        config.write_text(self._sample(root))
        line = next(line for line in unit_lines() if line.startswith("ExecStart="))
        installed = {"/opt/gausscert/bin/gausscert-agent": str(INSTALLED)}
        installed["/etc/gausscert/agent.toml"] = str(config)
        self.command = [installed.get(word, word) for word in shlex.split(line.removeprefix("ExecStart="))]

    def _sample(self, root: Path) -> str:
        values = {
            "listen": f"127.0.0.1:{self.port}",
            "state_dir": str(root / "state"),
            "ca": str(self.node.ca),
            "cert": str(self.node.cert),
            "key": str(self.node.key),
            "home": str(root / "home"),
        }
        text = (ROOT / "deploy/config/agent.toml").read_text()
        for key, value in values.items():
            text, count = re.subn(rf"^{key} = .*$", f'{key} = "{value}"', text, flags=re.MULTILINE)
            assert count == 1, key
        return text

    def health(self) -> int:
        ca, key, cert = (path.read_bytes() for path in (self.node.ca, self.operator.key, self.operator.cert))
        name = (("grpc.ssl_target_name_override", node_dns_name("production", "n1")),)
        credentials = grpc.ssl_channel_credentials(ca, key, cert)
        with grpc.secure_channel(f"127.0.0.1:{self.port}", credentials, options=name) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            return int(stub.Check(health_pb2.HealthCheckRequest(), timeout=10).status)


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """Listens as the service manager does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(30)
        yield listening


def test_what_the_unit_starts_says_when_it_serves_and_ends_cleanly_when_told_to(
    tmp_path: Path, manager: socket.socket
):
    assert {"Type=notify", "NotifyAccess=main", "KillSignal=SIGTERM"} <= set(unit_lines())
    unit = Unit(tmp_path)
    environment = os.environ | {"NOTIFY_SOCKET": str(tmp_path / "notify")}
    with (tmp_path / "log").open("w") as log:
        agent = subprocess.Popen(unit.command, env=environment, stdout=log, stderr=log)
    try:
        said = manager.recv(100)
        assert said == b"READY=1"
        assert unit.health() == health_pb2.HealthCheckResponse.SERVING
        agent.send_signal(signal.SIGTERM)
        assert manager.recv(100) == b"STOPPING=1"
        assert agent.wait(30) == 0, (tmp_path / "log").read_text()
    finally:
        agent.kill()
        agent.wait()
