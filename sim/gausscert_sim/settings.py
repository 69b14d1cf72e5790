"""What one simulated node knows of itself and its peers: `<home>/sim/settings.json`.

Real CM keeps this in the binary `bin/cluster_static_config` and reaches its peers through ssh; here
the peers' homes in the settings are the "ssh trust".

Here and in the other modules values are named tuples: a replacement starts some thirty of these programs, and
each would take longer to import dataclasses than to do what it is there for.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final, NamedTuple

VERSION: Final = "(simulated CM of gausscert 0.1.0, behaves as openGauss CM 7.0.0-RC3)"
"""Follows the program's name in every version output and log header."""

SET_DIRECTORY: Final = "share/sslcert/cm"
MANUAL_STOP: Final = "cluster_manual_start"
"""The stop mark; its confusing name is CM's own (facts section 14)."""
MANUAL_PAUSE: Final = "cluster_manual_pause"
STATIC_CONFIG: Final = "cluster_static_config"

_SHELL_CHARACTERS: Final = frozenset("|;&$<>`\\'\"{}()[]~*?!\n")
"""CM refuses a home that holds any of these (cm_misc_base.cpp:89-107)."""


class NoHome(Exception):
    """CM_HOME and GAUSSHOME are unset, refused, or hold no simulated node."""


class NodeRecord(NamedTuple):
    """One node of the simulated cluster, as every node knows it."""

    id: int
    name: str
    address: str
    """Where cm_server listens; also the node's cmAgentIP."""
    port: int
    home: Path
    data_path: Path
    """cmDataPath, which holds cm_server/ and cm_agent/."""
    log_path: Path
    """$GAUSSLOG."""

    @property
    def ha_port(self) -> int:
        """Where the cm_servers talk to each other (DCC)."""
        return self.port + 1

    @property
    def heartbeat_port(self) -> int:
        """Where the cm_agents talk to each other: the first cm_server's port + 2 (cma_mes.cpp:33)."""
        return self.port + 2

    @property
    def set_directory(self) -> Path:
        """The live set."""
        return self.home / SET_DIRECTORY

    @property
    def pghost(self) -> Path:
        """$PGHOST, in which OM marks an upgrade."""
        return self.home.parent / "tmp"

    @property
    def manual_stop(self) -> Path:
        """The file that means: stop, and stay stopped."""
        return self.home / "bin" / MANUAL_STOP

    def program(self, name: str) -> Path:
        """The executable of that name."""
        return self.home / "bin" / name

    def conf(self, role: str) -> Path:
        """cm_server.conf or cm_agent.conf."""
        return self.data_path / role / f"{role}.conf"

    def pid_file(self, role: str) -> Path:
        """Where a running cm_server or cm_agent leaves its pid."""
        return self.data_path / role / f"{role}.pid"


class Settings(NamedTuple):
    """One simulated node's view of the cluster."""

    node_id: int
    nodes: tuple[NodeRecord, ...]
    user: str
    """The cluster's OS user; cm_server compares it with what a cm_ctl claims."""
    allow_root: bool = False
    """Real cm_ctl refuses root; a test run as root needs it to go on."""
    time_scale: float = 0.1
    """Every delay of real CM is multiplied by this."""
    refused_wait_s: float = 91.0
    """How long cm_ctl waits when its certificate was refused after the handshake (facts section 17);
    multiplied by `time_scale` too."""
    libpq_off: bool = False
    """Whether this CM was "built" with ENABLE_LIBPQ OFF, hence uses the long factor files."""

    @property
    def local(self) -> NodeRecord:
        """The node itself."""
        return self.node(self.node_id)

    @property
    def peers(self) -> tuple[NodeRecord, ...]:
        """All other nodes."""
        return tuple(node for node in self.nodes if node.id != self.node_id)

    def node(self, node_id: int) -> NodeRecord:
        """One node by its id.

        Raises:
            KeyError: There is none.
        """
        for node in self.nodes:
            if node.id == node_id:
                return node
        raise KeyError(node_id)

    def scaled(self, seconds: float) -> float:
        """A delay of real CM in this simulation's time."""
        return seconds * self.time_scale


def settings_path(home: Path) -> Path:
    """Where a node's settings lie."""
    return home / "sim" / "settings.json"


def save(home: Path, settings: Settings) -> None:
    """Write a node's settings, readable for its owner alone."""
    values = settings._asdict() | {"nodes": [node._asdict() for node in settings.nodes]}
    text = json.dumps(values, default=str, indent=1)
    write_private(settings_path(home), text.encode())


def load(home: Path) -> Settings:
    """Read a node's settings.

    Raises:
        NoHome: There are none.
    """
    try:
        values = json.loads(settings_path(home).read_bytes())
    except FileNotFoundError as cause:
        raise NoHome(f"{home} is not the home of a simulated CM") from cause
    values["nodes"] = tuple(
        NodeRecord(**{**node, **{key: Path(node[key]) for key in ("home", "data_path", "log_path")}})
        for node in values["nodes"]
    )
    return Settings(**values)


def home_from_environment() -> Path:
    """CM_HOME first, then GAUSSHOME (cm_misc_base.cpp:169-185).

    Raises:
        NoHome: Neither is set, or it holds a shell metacharacter.
    """
    value = os.environ.get("CM_HOME") or os.environ.get("GAUSSHOME")
    if not value:
        raise NoHome("Get GAUSSHOME failed, please check the environment variable.")
    if _SHELL_CHARACTERS & set(value):
        raise NoHome("Invalid GAUSSHOME: it holds a character that a shell would interpret.")
    return Path(value)


def write_private(path: Path, body: bytes) -> None:
    """Replace a file as a whole, mode 0600, so that a reader sees the old or the new one."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.new")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(body)
    partial.replace(path)
