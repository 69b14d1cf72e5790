"""The files of the demo: configuration, credentials, passwords, the first set, and the faulty bundle."""

from __future__ import annotations

import os
import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from gausscert_common import factors
from gausscert_common.bundle import Bundle
from gausscert_common.identity import Role

from gausscert_coordinator import bundle_files, issue, pki

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from gausscert_coordinator.cli.demo_claims import SimulatedNode

CLUSTER: Final = "demo"
AGENT_PORT: Final = 7443
"""The simulated clusters of each process have loopback addresses of their own, so a port needs no search."""

_AGENT: Final = """\
[agent]
name = "{name}"
cluster = "{cluster}"
listen = "{address}:{port}"
state_dir = "{state}"

[tls]
ca = "{pki}/ca.crt"
cert = "{pki}/node-{name}.crt"
key = "{pki}/node-{name}.key"

[cm]
home = "{home}"
data_path = "{data}"
log_path = "{log}"
command_timeout_s = 20.0
stopped_for_s = 0.5

[cm.environment]
PATH = "{path}"
USER = "{user}"
HOME = "{own}"
PGHOST = "{pghost}"
"""

_INVENTORY: Final = """\
[cluster]
name = "{cluster}"

[credentials]
ca = "pki/ca.crt"
cert = "pki/operator-demo.crt"
key = "pki/operator-demo.key"

# What was done in the demo is of no interest beside what was done for real.
[history]
file = "history.db"
"""

_TENFOLD: Final = """
# The simulated CM runs ten times as fast as a real one, so its cm_ctl waits a tenth of these.
[timeouts]
stop_s = 30.0
start_s = 50.0
verify_s = 15.0
"""

_NODE: Final = """
[[node]]
name = "{name}"
address = "{address}:{port}"
"""


def write_private(path: Path, text: str) -> None:
    """A new file for its owner alone."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write(text)


def password() -> str:
    """One that suits CM: 15 bytes of four kinds, the random ones hexadecimal."""
    return f"Demo-{secrets.token_hex(5)}"


def issue_credentials(root: Path, names: Iterable[str]) -> None:
    """The control plane's CA, one credential per agent, one for the operator."""
    directory = root / "pki"
    pki.init(directory, CLUSTER, None)
    for name in names:
        pki.issue(directory, Role.NODE, name)
    pki.issue(directory, Role.OPERATOR, "demo")


def write_inventory(
    root: Path, nodes: Sequence[SimulatedNode], port: int = AGENT_PORT, *, tenfold: bool = True
) -> None:
    """`gausscert.toml` in the demo's directory, where the command finds it.

    Args:
        root: The demo's directory.
        nodes: Those of the simulated cluster.
        port: Of the agents.
        tenfold: Whether the simulated CM is ten times as fast as a real one.
    """
    text = _INVENTORY.format(cluster=CLUSTER) + (_TENFOLD if tenfold else "")
    for node in nodes:
        text += _NODE.format(name=node.name, address=node.address, port=port)
    write_private(root / "gausscert.toml", text)


def write_agent_config(root: Path, node: SimulatedNode, port: int = AGENT_PORT) -> Path:
    """One agent's configuration, as `deploy/config/agent.toml` explains it."""
    environment = node.environment()
    text = _AGENT.format(
        name=node.name,
        cluster=CLUSTER,
        address=node.address,
        port=port,
        state=root / f"agent-{node.name}",
        pki=root / "pki",
        home=node.home,
        data=node.data_path,
        log=node.log_path,
        path=environment["PATH"],
        user=environment["USER"],
        own=environment["HOME"],
        pghost=environment["PGHOST"],
    )
    path = root / f"agent-{node.name}.toml"
    write_private(path, text)
    return path


def first_set() -> dict[str, bytes]:
    """What the simulated nodes serve before the demo begins; the cluster's installer would have made it."""
    chosen = password()
    options = issue.IssueOptions(key_type=issue.KeyType.EC_P256, common_name="openGauss CM CA (simulated)")
    made = issue.issue_bundle(options, chosen, chosen)
    files = dict(made.bundle.pem)
    for role in ("server", "client"):
        files[f"{role}.key.cipher"], files[f"{role}.key.rand"] = factors.write(chosen)
    return files


def faulty_bundle(directory: Path, good: Path, server_password: str, client_password: str) -> None:
    """A bundle with an expired server certificate of another CA, and with the client key of another one."""
    read = bundle_files.read_directory(good)
    long_ago = datetime.now(UTC) - timedelta(days=400)
    expired = issue.issue_bundle(
        issue.IssueOptions(key_type=issue.KeyType.EC_P256, now=long_ago, leaf_days=30),
        server_password,
        client_password,
    )
    pem = dict(read.pem)
    pem["server.crt"] = expired.bundle.pem["server.crt"]
    pem["server.key"] = expired.bundle.pem["server.key"]
    pem["client.key"] = expired.bundle.pem["client.key"]
    bundle_files.write_directory(directory, Bundle(pem, server_password, client_password), None)
