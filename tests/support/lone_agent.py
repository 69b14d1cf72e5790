"""One real agent in a process of its own, on a node without a CM, and an operator in this process.

with LoneAgent(tmp_path, set_of(days=400)) as agent:
    assert agent.gausscert("status").code == 0
"""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple, Self

import grpc
from gausscert_common import factors
from gausscert_common.identity import Role, node_dns_name
from gausscert_coordinator import issue, pki
from gausscert_coordinator.cli.demo_cluster import AGENT
from gausscert_coordinator.cli.main import run as run_command
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.agent_core import write_set

NAME = "n1"
CLUSTER = "lone"


def set_of(days: int) -> dict[str, bytes]:
    """A set whose leaves expire in so many days, and its CA much later."""
    options = issue.IssueOptions(key_type=issue.KeyType.EC_P256, leaf_days=days)
    made = issue.issue_bundle(options, "Lone-Pass1", "Lone-Pass1")
    files = dict(made.bundle.pem)
    for role in ("server", "client"):
        files[f"{role}.key.cipher"], files[f"{role}.key.rand"] = factors.write("Lone-Pass1")
    return files


def free_port() -> int:
    """One that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Ended(NamedTuple):
    """How a command of the operator's ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """What it wrote with --output json."""
        return json.loads(self.out)


class LoneAgent:
    """See the module.

    Args:
        root: An empty directory.
        files: The live set.
        more: Further lines of the agent's configuration.
    """

    def __init__(self, root: Path, files: dict[str, bytes], more: str = "") -> None:
        self.root = root
        self.port = free_port()
        self.state_dir = root / "state"
        self.live = root / "home" / "share" / "sslcert" / "cm"
        self._replaced = 0
        (root / "home" / "bin").mkdir(parents=True)
        (root / "home" / "bin" / "cm_ctl").write_text("#!/bin/sh\nexit 1\n")
        (root / "home" / "bin" / "cm_ctl").chmod(0o700)
        (root / "data" / "cm_server").mkdir(parents=True)
        (root / "data" / "cm_server" / "cm_server.conf").write_text("ssl_cert_expire_alert_threshold = 60\n")
        write_set(self.live, files)
        pki.init(root / "pki", CLUSTER, None)
        node = pki.issue(root / "pki", Role.NODE, NAME)
        self.operator = pki.issue(root / "pki", Role.OPERATOR, "alice")
        self.config = root / "agent.toml"
        self.config.write_text(
            f'[agent]\nname = "{NAME}"\ncluster = "{CLUSTER}"\nlisten = "127.0.0.1:{self.port}"\n'
            f'state_dir = "{self.state_dir}"\n'
            f'[tls]\nca = "{node.ca}"\ncert = "{node.cert}"\nkey = "{node.key}"\n'
            f'[cm]\nhome = "{root / "home"}"\ndata_path = "{root / "data"}"\n{more}'
        )
        self._inventory = root / "gausscert.toml"
        self._inventory.write_text(
            f'[cluster]\nname = "{CLUSTER}"\n[history]\nfile = "{root / "history.db"}"\n'
            f'[credentials]\nca = "{self.operator.ca}"\ncert = "{self.operator.cert}"\n'
            f'key = "{self.operator.key}"\n[[node]]\nname = "{NAME}"\naddress = "127.0.0.1:{self.port}"\n'
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Until it says that it serves."""
        notify = self.root / "notify"
        notify.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(notify))
            manager.settimeout(60)
            with (self.root / "log").open("ab") as log:
                self._process = subprocess.Popen(
                    [*AGENT, "serve", "--config", str(self.config), "--log-format", "json"],
                    stdout=log,
                    stderr=log,
                    env=os.environ | {"NOTIFY_SOCKET": str(notify)},
                )
            assert manager.recv(64) == b"READY=1", self.log()

    @property
    def pid(self) -> int:
        """Of the process that runs."""
        assert self._process is not None
        return self._process.pid

    def stop(self) -> int:
        """SIGTERM, and its exit code."""
        assert self._process is not None
        self._process.terminate()
        try:
            return self._process.wait(60)
        finally:
            self._process.kill()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def log(self) -> list[dict[str, Any]]:
        """Every record so far."""
        return [json.loads(line) for line in (self.root / "log").read_text().splitlines()]

    def gausscert(self, *arguments: str) -> Ended:
        """Run the operator's command, in this process."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = run_command([*arguments, "--inventory", str(self._inventory)])
        return Ended(code, out.getvalue(), err.getvalue())

    def health(self) -> str:
        """What a health check says."""
        mine = self.operator
        credentials = grpc.ssl_channel_credentials(
            mine.ca.read_bytes(), mine.key.read_bytes(), mine.cert.read_bytes()
        )
        name = (("grpc.ssl_target_name_override", node_dns_name(CLUSTER, NAME)),)
        with grpc.secure_channel(f"127.0.0.1:{self.port}", credentials, options=name) as channel:
            check = health_pb2_grpc.HealthStub(channel).Check
            status = check(health_pb2.HealthCheckRequest(), timeout=30).status
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(status))

    def install(self, files: dict[str, bytes]) -> None:
        """Another set in the place of the live one, as by hand."""
        self._replaced += 1
        write_set(self.live.with_name("next"), files)
        self.live.rename(self.live.with_name(f"former-{self._replaced}"))
        self.live.with_name("next").rename(self.live)
