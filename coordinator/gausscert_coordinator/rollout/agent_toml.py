"""A node's agent.toml: what all agents have in common, with what is this node's own."""

from __future__ import annotations

import json
import re
import tomllib
from typing import TYPE_CHECKING, Any, Final

from gausscert_common.errors import InvalidInput, Reason

from gausscert_coordinator.rollout import at_once

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_PATHS: Final = ("data_path", "log_path")
LARGEST: Final = 64 * 1024
"""Bytes, as an agent takes them; and an end for what has none."""
_HEAD: Final = "# Written by gausscert agents deploy; change the operator's settings, not this.\n"


def load_all(paths: Iterable[Path]) -> dict[Path, dict[str, Any]]:
    """The operator's settings, where nodes differ in them.

    Raises:
        InvalidInput: CONFIG_INVALID, with all that is wrong with all of them; see `load`.
    """
    read: dict[Path, dict[str, Any]] = {}
    wrong: list[InvalidInput] = []
    for path in dict.fromkeys(paths):
        try:
            read[path] = load(path)
        except InvalidInput as error:
            wrong.append(error)
    if wrong:
        raise at_once.joined(wrong)
    return read


def load(path: Path) -> dict[str, Any]:
    """The operator's settings.

    Raises:
        InvalidInput: CONFIG_INVALID: not there, not TOML, without a [cm] that names its home, or with
            something of another kind where the roll-out looks; all of that at once.
    """
    try:
        with path.open("rb") as opened:
            raw = opened.read(LARGEST + 1)
        if len(raw) > LARGEST:
            raise _wrong(path, f"it has more than {LARGEST} bytes")
        document = tomllib.loads(raw.decode())
    except OSError as error:
        remedy = "copy deploy/config/agent.toml there and put CM's paths into [cm], or name another file"
        message = f"the agents' settings cannot be read: {error.strerror}"
        raise InvalidInput(Reason.CONFIG_INVALID, message, file=str(path), remedy=remedy) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _wrong(path, f"not TOML: {error}") from error
    if wrong := [_wrong(path, cause) for cause in _causes(document)]:
        raise _of_one_file(path, at_once.joined(wrong))
    return document


def _causes(document: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with what the roll-out itself reads; all else is for the agent to judge, on its node."""
    if not isinstance(document.get("agent", {}), dict):
        yield "agent: not a table"
    cm = document.get("cm", {})
    if not isinstance(cm, dict):
        yield "cm: not a table"
        return
    if not isinstance(cm.get("home"), str) or not cm["home"]:
        yield "cm.home: missing; write CM_HOME if the cluster uses it, else GAUSSHOME"
    yield from (f"cm.{key}: not a text" for key in _PATHS if not isinstance(cm.get(key, ""), str))
    if not isinstance(cm.get("environment", {}), dict):
        yield "cm.environment: not a table"


def _of_one_file(path: Path, error: InvalidInput) -> InvalidInput:
    """The file is named once, and not with each."""
    error.file = str(path)
    if error.findings:
        error.message = "; ".join(finding.cause for finding in error.findings)
    return error


def cm_home(settings: Mapping[str, Any]) -> str:
    """Where CM lies on the node."""
    return str(settings["cm"]["home"])


def write_paths(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Where cm_ctl must be able to write, as far as the settings say. CM keeps sockets and marks in
    PGHOST, which may lie below /home, and the unit makes that read-only."""
    cm = settings["cm"]
    named = (cm.get("home"), *(cm.get(key) for key in _PATHS), _table(cm, "environment").get("PGHOST"))
    return tuple(str(path) for path in named if path)


def render(settings: Mapping[str, Any], *, name: str, cluster: str, listen: str, etc: str, state: str) -> str:
    """The whole file of one node."""
    agent = {**_table(settings, "agent"), "name": name, "cluster": cluster}
    agent |= {"listen": listen, "state_dir": state}
    pki = f"{etc}/pki"
    tls = {"ca": f"{pki}/ca.crt", "cert": f"{pki}/node-{name}.crt", "key": f"{pki}/node-{name}.key"}
    return _HEAD + dumps({**settings, "agent": agent, "tls": tls})


def _table(settings: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = settings.get(key, {})
    return value if isinstance(value, dict) else {}


def dumps(document: Mapping[str, Any], path: str = "") -> str:
    """TOML of texts, numbers, switches, lists of these, and tables; all that agent.toml knows."""
    plain = {key: value for key, value in document.items() if not isinstance(value, dict)}
    tables = {key: value for key, value in document.items() if isinstance(value, dict)}
    lines = [f"{_key(key)} = {_value(value)}\n" for key, value in plain.items()]
    for key, table in tables.items():
        full = f"{path}.{_key(key)}" if path else _key(key)
        lines.append(f"\n[{full}]\n{dumps(table, full)}")
    return "".join(lines)


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _text(key)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list):
        return "[" + ", ".join(_value(each) for each in value) + "]"
    return repr(value) if isinstance(value, int | float) else _text(str(value))


def _text(value: str) -> str:
    """JSON's escapes are TOML's, but for DEL and surrogates (TOML 1.0, strings)."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")


def _wrong(path: Path, message: str) -> InvalidInput:
    return InvalidInput(Reason.CONFIG_INVALID, message, file=str(path), remedy="mend this file")
