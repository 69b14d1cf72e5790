"""gausscert.toml: where it is looked for, and how it becomes an `Inventory`.

    [cluster]
    name = "prod"

    [credentials]            # relative to this file
    ca = "pki/ca.crt"
    cert = "pki/operator.crt"
    key = "pki/operator.key"

    [timeouts]               # optional; seconds, the keys of `Timeouts`
    stop_s = 300

    [history]                # optional; where what was done is recorded, relative to this file
    file = "history.db"

    [ssh]                    # optional; for `gausscert agents` alone, as [agent]: see inventory_rollout
    user = "root"

    [[node]]
    name = "node-a"
    address = "10.0.0.1:7443"

Several clusters in one file: see `inventory_clusters`. Everything wrong with the file is reported at once.
"""

from __future__ import annotations

import difflib
import math
import os
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gausscert_common import identity
from gausscert_common.errors import InvalidInput, Reason
from gausscert_common.findings import Finding, Severity

from gausscert_coordinator import inventory_clusters, inventory_rollout, regular_files
from gausscert_coordinator.inventory import Credentials, Inventory, InventoryNode, Timeouts

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE_NAME: Final = "gausscert.toml"
VARIABLE: Final = "GAUSSCERT_INVENTORY"
SYSTEM_FILE: Final = Path("/etc/gausscert") / FILE_NAME
MOST_NODES: Final = 9
"""CM allows nine nodes in a cluster; more are a warning only, since gausscert itself has no such limit."""

_PORTS: Final = range(1, 65536)


def find(
    explicit: Path | None,
    environment: Mapping[str, str] | None = None,
    *,
    working_directory: Path = Path(),
    system_file: Path = SYSTEM_FILE,
) -> Path:
    """The inventory to use: the one named, ./gausscert.toml, $GAUSSCERT_INVENTORY, /etc/gausscert.

    Args:
        explicit: What `--inventory` names, or None.
        environment: None for the process's own.
        working_directory: Where ./gausscert.toml is looked for.
        system_file: The last resort.

    A file that somebody named, by option or variable, is not passed over when it is missing. Neither is the
    last resort when its directory hides whether it is there: whoever reads it is told why he cannot.

    Raises:
        InvalidInput: There is none; CONFIG_INVALID.
    """
    if explicit is not None:
        return explicit
    here = working_directory / FILE_NAME
    if os.path.exists(here):
        return here
    named = (os.environ if environment is None else environment).get(VARIABLE, "")
    if named:
        return Path(named)
    if _may_be_there(system_file):
        return system_file
    raise InvalidInput(
        Reason.CONFIG_INVALID,
        f"no inventory: neither {here} nor {system_file} exists and ${VARIABLE} is not set",
        remedy=f"name one with --inventory FILE, or write {FILE_NAME} (deploy/config has an example)",
    )


def _may_be_there(path: Path) -> bool:
    """As on a node, where /etc/gausscert is for the agent's user alone."""
    try:
        path.stat()
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def load(path: Path, *, cluster: str | None = None, require_credentials: bool = True) -> Inventory:
    """Read an inventory.

    Args:
        path: The file.
        cluster: Which one is meant; None where the file has only one.
        require_credentials: Also demand that the credential files are there; they are not yet when
            they are about to be made.

    Raises:
        InvalidInput: CONFIG_INVALID, with one finding for everything that is wrong.
    """
    text = _text(path)
    return parse(text, path, cluster=cluster, require_credentials=require_credentials)


def clusters(path: Path) -> tuple[str, ...]:
    """The names of all clusters of a file, whatever else is wrong with it.

    Raises:
        InvalidInput: CONFIG_INVALID; it cannot be read, or is not TOML.
    """
    return inventory_clusters.names(_document(_text(path), path))


def _text(path: Path) -> str:
    try:
        return regular_files.read(path, pipes=True).decode()
    except (OSError, UnicodeDecodeError) as error:
        cause = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise InvalidInput(
            Reason.CONFIG_INVALID,
            f"the inventory cannot be read: {cause}",
            file=str(path),
            remedy=_mend(error),
        ) from error


def _mend(error: OSError | UnicodeDecodeError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"name another one with --inventory FILE, or write {FILE_NAME} (deploy/config has an example)"
    if isinstance(error, PermissionError):
        return "ask its owner to let you read it, or name another one with --inventory FILE"
    return "name another one with --inventory FILE, or mend this one"


def parse(
    text: str, path: Path, *, cluster: str | None = None, require_credentials: bool = False
) -> Inventory:
    """As `load`, from the text of a file that lies at `path`."""
    reader = _Reader(str(path))
    document = inventory_clusters.chosen(reader, _document(text, path), cluster)
    inventory = _inventory(reader, document, path.parent, require_credentials)
    reader.raise_if_wrong()
    return inventory


def _document(text: str, path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(
            Reason.CONFIG_INVALID, f"not TOML: {error}", file=str(path), remedy="mend the syntax"
        ) from error


@dataclass(slots=True)
class _Reader:
    """Collects what is wrong instead of stopping at the first."""

    file: str
    problems: list[Finding] = field(default_factory=list)
    prefix: str = ""

    def wrong(self, key: str, cause: str, remedy: str) -> None:
        brackets = len(key) - len(key.lstrip("["))
        key = f"{key[:brackets]}{self.prefix}{key[brackets:]}"
        finding = Finding("CONFIG_INVALID", Severity.ERROR, f"{key}: {cause}", remedy=remedy, file=self.file)
        self.problems.append(finding)

    def table(self, document: Mapping[str, object], key: str, *, required: bool) -> dict[str, object]:
        value = document.get(key)
        if isinstance(value, dict):
            return value
        if value is not None or required:
            self.wrong(
                f"[{key}]", "missing" if value is None else "not a table", f"add a table [{self.prefix}{key}]"
            )
        return {}

    def known(self, table: Mapping[str, object], where: str, keys: tuple[str, ...]) -> None:
        for key in table:
            if key in keys:
                continue
            near = difflib.get_close_matches(key, keys, n=1)
            remedy = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(keys)}"
            self.wrong(f"{where}{key}", "unknown key", remedy)

    def text(self, table: Mapping[str, object], where: str, key: str) -> str:
        value = table.get(key)
        if isinstance(value, str) and value.strip():
            return value
        self.wrong(f"{where}{key}", "missing" if value is None else "not a text", f'write {key} = "..."')
        return ""

    def raise_if_wrong(self) -> None:
        if not self.problems:
            return
        causes = "; ".join(finding.cause for finding in self.problems)
        remedy = "; ".join(dict.fromkeys(finding.remedy for finding in self.problems))
        raise InvalidInput(
            Reason.CONFIG_INVALID, causes, file=self.file, remedy=remedy, findings=self.problems
        )


def _inventory(
    reader: _Reader, document: Mapping[str, object], folder: Path, require_credentials: bool
) -> Inventory:
    reader.known(document, "", ("cluster", "credentials", "timeouts", "history", "node", "ssh", "agent"))
    cluster = reader.table(document, "cluster", required=True)
    reader.known(cluster, "cluster.", ("name",))
    credentials = reader.table(document, "credentials", required=True)
    nodes = _nodes(reader, document, folder)
    return Inventory(
        cluster=_name(reader, "cluster.name", reader.text(cluster, "cluster.", "name")),
        nodes=tuple(sorted(nodes, key=lambda node: node.name)),
        credentials=_credentials(reader, credentials, folder, required=require_credentials),
        timeouts=_timeouts(reader, reader.table(document, "timeouts", required=False)),
        history=_history(reader, reader.table(document, "history", required=False), folder),
        findings=_warnings(reader.file, len(nodes)),
    )


def _name(reader: _Reader, key: str, value: str) -> str:
    if value and not identity.NAME.fullmatch(value):
        reader.wrong(
            key,
            f"{value!r} is no name",
            "use up to 64 letters, digits, dots, hyphens and underscores, a letter or digit first",
        )
    return value


def _credentials(
    reader: _Reader, table: Mapping[str, object], folder: Path, *, required: bool
) -> Credentials:
    keys = tuple(each.name for each in fields(Credentials))
    reader.known(table, "credentials.", keys)
    if not table:
        return Credentials(folder, folder, folder)
    return Credentials(**{key: _credential(reader, table, folder, key, required=required) for key in keys})


def _credential(
    reader: _Reader, table: Mapping[str, object], folder: Path, key: str, *, required: bool
) -> Path:
    text = reader.text(table, "credentials.", key)
    path = folder / text
    if text and required and not os.path.isfile(path):
        cause, remedy = _why_no_file(path)
        reader.wrong(f"credentials.{key}", f"{path} {cause}", remedy)
    return path


def _why_no_file(path: Path) -> tuple[str, str]:
    """The cause and the remedy. A directory of another user hides whether there is one."""
    try:
        path.stat()
    except PermissionError as error:
        remedy = (
            "run this as the user whom it belongs to, or have a credential of your own made and name that"
        )
        return f"may not be looked at: {error.strerror}", remedy
    except OSError:
        return "does not exist", "have it made with gausscert pki issue, or correct the path"
    return "is no file", "correct the path"


def _timeouts(reader: _Reader, table: Mapping[str, object]) -> Timeouts:
    keys = tuple(each.name for each in fields(Timeouts))
    reader.known(table, "timeouts.", keys)
    given: dict[str, float] = {}
    for key in keys:
        value = table.get(key)
        if value is None:
            continue
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and math.isfinite(float(str(value))) and float(str(value)) > 0:
            given[key] = float(str(value))
        else:
            reader.wrong(f"timeouts.{key}", f"{value!r} is no number of seconds above 0", f"write {key} = 60")
    return Timeouts(**given)


def _history(reader: _Reader, table: Mapping[str, object], folder: Path) -> Path | None:
    reader.known(table, "history.", ("file",))
    if "file" not in table:
        return None
    text = reader.text(table, "history.", "file")
    if text.startswith("~"):
        reader.wrong("history.file", f"{text!r} begins with ~, which is not expanded", "write the whole path")
    return (folder / text).absolute()


def _nodes(reader: _Reader, document: Mapping[str, object], folder: Path) -> list[InventoryNode]:
    value = document.get("node")
    rollout = inventory_rollout.Usual.of(reader, document, folder)
    if not isinstance(value, list) or not value:
        reader.wrong(
            "[[node]]", "no nodes", f"add a [[{reader.prefix}node]] table with name and address for each node"
        )
        return []
    nodes = [_node(reader, entry, f"node[{index}]", rollout) for index, entry in enumerate(value, start=1)]
    _refuse_twice(reader, "name", [node.name for node in nodes])
    _refuse_twice(reader, "address", [node.address for node in nodes])
    return nodes


def _node(reader: _Reader, entry: object, where: str, rollout: inventory_rollout.Usual) -> InventoryNode:
    if not isinstance(entry, dict):
        reader.wrong(where, "not a table", "write [[node]]")
        return InventoryNode("", "")
    reader.known(entry, f"{where}.", ("name", "address", "ssh", "agent"))
    name = _name(reader, f"{where}.name", reader.text(entry, f"{where}.", "name"))
    address = reader.text(entry, f"{where}.", "address")
    if address:
        _judge_address(reader, f"{where}.address", address)
    ssh, install = rollout.for_node(reader, entry, f"{where}.")
    return InventoryNode(name, address, ssh, install)


def _judge_address(reader: _Reader, key: str, address: str) -> None:
    host, colon, port = address.rpartition(":")
    bare_ipv6 = ":" in host and not (host.startswith("[") and host.endswith("]"))
    if not colon or not host or bare_ipv6:
        reader.wrong(key, f"{address!r} is not host:port", 'write "host:port", IPv6 as "[::1]:7443"')
    elif not (port.isascii() and port.isdigit() and int(port) in _PORTS):
        reader.wrong(key, f"bad port {port!r}", "use a port from 1 to 65535")


def _refuse_twice(reader: _Reader, what: str, values: list[str]) -> None:
    seen: set[str] = set()
    for index, value in enumerate(values, start=1):
        if value and value in seen:
            reader.wrong(
                f"node[{index}].{what}", f"{value!r} is there twice", f"give each node its own {what}"
            )
        seen.add(value)


def _warnings(file: str, count: int) -> tuple[Finding, ...]:
    if count <= MOST_NODES:
        return ()
    cause = f"{count} nodes; CM supports {MOST_NODES} in one cluster"
    return (
        Finding("MANY_NODES", Severity.WARNING, cause, remedy="check that they are one cluster", file=file),
    )
