"""[ssh] and [agent] of gausscert.toml: how `gausscert agents` reaches the nodes, and what it makes there.

    [ssh]                              # for all nodes
    user = "root"                      # or the cluster's OS user
    port = 22
    options = ["IdentityFile=~/.ssh/roll-out"]
    python = "/usr/bin/python3.11"     # looked for when left out
    sudo = true                        # who logs in may become root there, and is asked for no password

    [agent]
    user = "omm"                       # the cluster's OS user; else the owner of the certificates
    settings = "agent.toml"            # relative to this file; what every agent.toml says
    directory = "/home/omm/gausscert"  # all in one place; else the usual places
    listen = "0.0.0.0:7443"

    [[node]]
    name = "node-a"
    address = "10.0.0.1:7443"
    ssh.host = "node-a.mgmt"           # a node may differ in any of it
    agent.settings = "agent-a.toml"

Nothing here ever reaches a shell; what could be taken for an option or for two words is refused all the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Final, Protocol

from gausscert_coordinator.inventory import AgentInstall, SshAccess

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_USER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9._-]{0,63}")
_HOST: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:%-]{0,252}")
_PROGRAM: Final = re.compile(r"(/[A-Za-z0-9._+/-]+)|([A-Za-z0-9][A-Za-z0-9._+-]*)")
_DIRECTORY: Final = re.compile(r"/[A-Za-z0-9._+/-]{1,200}")
_OPTION: Final = re.compile(r"[A-Za-z]+=[^\r\n\0]+")
_OURS: Final = (
    "batchmode",
    "connecttimeout",
    "requesttty",
    "remotecommand",
    "controlmaster",
    "controlpersist",
)
"""Options of ssh on which the roll-out depends: `rollout.ssh` has set them, or -T and a command."""
_PORTS: Final = range(1, 65536)
_SSH: Final = tuple(each.name for each in fields(SshAccess))
_AGENT: Final = tuple(each.name for each in fields(AgentInstall))


class Reader(Protocol):
    """Collects what is wrong; that of `inventory_file`."""

    def wrong(self, key: str, cause: str, remedy: str) -> None:
        """One thing is."""

    def table(self, document: Mapping[str, object], key: str, *, required: bool) -> dict[str, object]:
        """A table; {} where there is none."""

    def known(self, table: Mapping[str, object], where: str, keys: tuple[str, ...]) -> None:
        """Refuse other keys than these."""

    def text(self, table: Mapping[str, object], where: str, key: str) -> str:
        """A text that must be there."""


@dataclass(frozen=True, slots=True)
class Usual:
    """What holds for nodes that say nothing else."""

    folder: Path
    ssh: SshAccess = SshAccess()
    install: AgentInstall = AgentInstall()

    @classmethod
    def of(cls, reader: Reader, document: Mapping[str, object], folder: Path) -> Usual:
        """That of a whole inventory."""
        ssh, install = cls(folder).for_node(reader, document, "")
        return cls(folder, ssh, install)

    def for_node(
        self, reader: Reader, entry: Mapping[str, object], where: str
    ) -> tuple[SshAccess, AgentInstall]:
        """That of one node.

        Args:
            reader: Is told what is wrong.
            entry: Has `ssh` and `agent`, or not.
            where: Of the entry, for messages.
        """
        ssh = reader.table(entry, "ssh", required=False)
        agent = reader.table(entry, "agent", required=False)
        reader.known(ssh, f"{where}ssh.", _SSH)
        reader.known(agent, f"{where}agent.", _AGENT)
        return (
            _ssh(_Table(reader, ssh, f"{where}ssh."), self.ssh),
            _agent(_Table(reader, agent, f"{where}agent."), self.install, self.folder),
        )


@dataclass(frozen=True, slots=True)
class _Table:
    reader: Reader
    values: Mapping[str, object]
    where: str

    def fitting(self, key: str, pattern: re.Pattern[str], what: str, usual: str) -> str:
        if key not in self.values:
            return usual
        value = self.reader.text(self.values, self.where, key)
        if value and pattern.fullmatch(value) is None:
            self.reader.wrong(f"{self.where}{key}", f"{value!r} is no {what}", f"write {what}, plainly")
        return value


def _ssh(table: _Table, usual: SshAccess) -> SshAccess:
    return SshAccess(
        user=table.fitting("user", _USER, "name of a user", usual.user),
        host=table.fitting("host", _HOST, "name or address of a host", usual.host),
        port=_port(table, usual.port),
        options=_options(table, usual.options),
        python=table.fitting("python", _PROGRAM, "path or name of a program", usual.python),
        sudo=_sudo(table, usual.sudo),
    )


def _sudo(table: _Table, usual: bool) -> bool:
    value = table.values.get("sudo", usual)
    if isinstance(value, bool):
        return value
    table.reader.wrong(f"{table.where}sudo", f"{value!r} is neither true nor false", "write sudo = true")
    return usual


def _port(table: _Table, usual: int) -> int:
    value = table.values.get("port", usual)
    if isinstance(value, int) and not isinstance(value, bool) and (value in _PORTS or value == usual):
        return value
    table.reader.wrong(f"{table.where}port", f"bad port {value!r}", "use a port from 1 to 65535")
    return usual


def _options(table: _Table, usual: tuple[str, ...]) -> tuple[str, ...]:
    value = table.values.get("options")
    if value is None:
        return usual
    key = f"{table.where}options"
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        table.reader.wrong(key, "not a list of texts", 'write options = ["Key=value"]')
        return usual
    for each in value:
        if _OPTION.fullmatch(each) is None:
            table.reader.wrong(key, f"{each!r} is no option of ssh", 'write "Key=value", as after ssh -o')
        elif each.partition("=")[0].lower() in _OURS:
            table.reader.wrong(key, f"{each!r} is gausscert's to set", "leave it out")
    return (*usual, *value)


def _agent(table: _Table, usual: AgentInstall, folder: Path) -> AgentInstall:
    made = AgentInstall(
        user=table.fitting("user", _USER, "name of a user", usual.user),
        directory=table.fitting("directory", _DIRECTORY, "absolute path", usual.directory),
        settings=usual.settings,
        listen=table.fitting("listen", re.compile(r"\S+:[0-9]{1,5}"), "host:port", usual.listen),
    )
    if ".." in made.directory.split("/"):
        table.reader.wrong(f"{table.where}directory", "it has .. in it", "write the path itself")
    if "settings" not in table.values:
        return made
    text = table.reader.text(table.values, table.where, "settings")
    return replace(made, settings=folder / text)
