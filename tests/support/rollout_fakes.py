"""Nodes that answer the roll-out as a test says, and an ssh that reaches them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gausscert_common.errors import GausscertError
from gausscert_coordinator.inventory import InventoryNode
from gausscert_coordinator.rollout import facts as facts_of
from gausscert_coordinator.rollout import parcel
from gausscert_coordinator.rollout.bundle import Software, Target, parse
from gausscert_coordinator.rollout.facts import Facts
from gausscert_coordinator.rollout.on_node.main import ANSWER
from gausscert_coordinator.rollout.ssh import Ended

RELEASE = "0.2.0-0123456789ab"
FORMER = "0.1.0-ba9876543210"


def look(**changes: Any) -> dict[str, Any]:
    """What a bare node answers to a look; root is logged in, and systemd is there."""
    denied = changes.get("denied", "").encode()
    return {
        "login": "root",
        "home": "/root",
        "root": True,
        "account": {"name": "omm", "group": "dbgrp"},
        "python": [3, 11],
        "executable": "/usr/bin/python3",
        "implementation": "cpython",
        "machine": "x86_64",
        "libc": ["glibc", "2.28"],
        "free_bytes": 10**10,
        "managers": {"system": True, "user": False, "linger": False},
        "service": "none",
        "service_state": "",
        "service_enabled": changes.get("service", "none") != "none",
        "units": {},
        "open_place": "",
        "closed_place": "",
        "software": "/opt/gausscert",
        "etc": "/etc/gausscert",
        "state": "/var/lib/gausscert",
        "release": "",
        "releases": [],
        "broken": [],
        "denied": "",
        "denied_sha256": hashlib.sha256(denied).hexdigest() if denied else "",
        "config": "",
        "configured_state": "",
        "configured_cluster": "",
        "configured_node": "",
        "running": None,
        "journal": None,
        "credential": {"cert": "", "ca": "", "key_fits": False},
        "others": [],
        **changes,
    }


def facts(**changes: Any) -> Facts:
    """The same as a value."""
    return facts_of.of(look(**changes))


def running(release: str = RELEASE, *, stale: bool = False) -> dict[str, Any]:
    """An agent's process."""
    return {"pid": 4711, "release": release, "started": "boot 1", "stale": stale}


def software(root: Path) -> Software:
    """A bundle of two wheels that are not read."""
    names = ("gausscert-0.2.0-py3-none-any.whl", "grpcio-1.80-cp311-cp311-manylinux2014_x86_64.whl")
    (root / "wheels").mkdir(parents=True, exist_ok=True)
    for name in names:
        (root / "wheels" / name).write_bytes(name.encode())
    wheels = tuple(wheel for name in names if (wheel := parse(root / "wheels" / name)) is not None)
    units = {"gausscert-agent.service": "[Unit]\n", "user/gausscert-agent.service": "[Unit]\n"}
    return Software(root, "0.2.0", RELEASE, b"", ("gausscert", "grpcio"), wheels, units)


TARGET = Target((3, 11), "x86_64", "2.28")


@dataclass
class FakeSsh:
    """An ssh that finds nodes by their address, and their answers by the action they are asked for."""

    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By address, by action: a result, an `Ended`, an exception to raise, a signal to send to ourselves."""
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Address and action, in order."""
    requests: list[dict[str, Any]] = field(default_factory=list)
    sent: list[tuple[Sequence[str], bytes]] = field(default_factory=list)

    async def __call__(self, argv: Sequence[str], stdin: bytes) -> Ended:
        host = argv[argv.index("--") + 1]
        request = read(stdin)["request"]
        self.asked.append((host, request["action"]))
        self.requests.append(request)
        self.sent.append((argv, stdin))
        usual = {"denied": True} if request["action"] == "activate" else None
        answer = self.answers.get(host, {}).get(request["action"], usual)
        if isinstance(answer, signal.Signals):
            os.kill(os.getpid(), answer)
            await asyncio.sleep(60)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Ended) else ok(answer)

    def actions(self, host: str) -> list[str]:
        """What a node was asked for."""
        return [action for asked, action in self.asked if asked == host]


def ok(result: Any) -> Ended:
    """A node that has done it."""
    return Ended(0, f"welcome!\n{ANSWER}{json.dumps({'ok': True, 'result': result})}\n", "")


def trouble(cause: str) -> Ended:
    """A node on which it failed."""
    told = {"cause": cause, "remedy": "mend it", "file": "/x"}
    return Ended(0, f"{ANSWER}{json.dumps({'ok': False, 'trouble': told})}\n", "")


def read(stdin: bytes) -> dict[str, Any]:
    """The header of a parcel."""
    count, _, rest = stdin.partition(b"\n")
    count, _, rest = rest[int(count) :].partition(b"\n")
    header = json.loads(rest[: int(count)])
    assert header["package"] == parcel.PACKAGE
    return dict(header)


@dataclass
class FakeDoctor:
    """Agents as a test says."""

    ill: dict[str, GausscertError] = field(default_factory=dict)
    ill_once: dict[str, GausscertError] = field(default_factory=dict)
    """Of the first agent that is asked there; the next one is well."""
    busy: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    denied: dict[str, bytes] = field(default_factory=dict)
    """What each was told to deny."""
    deaf: dict[str, Exception] = field(default_factory=dict)
    """Agents that do not take it."""
    deaf_once: dict[str, Exception] = field(default_factory=dict)
    """Agents that take it the second time."""
    before_denying: Callable[[], object] = lambda: None

    async def deny(self, node: InventoryNode, entries: bytes) -> None:
        self.before_denying()
        if node.name in self.deaf_once:
            raise self.deaf_once.pop(node.name)
        if node.name in self.deaf:
            raise self.deaf[node.name]
        self.denied[node.name] = entries

    async def in_flight(self, node: InventoryNode) -> str:
        return self.busy.get(node.name, "")

    async def healthy(self, node: InventoryNode) -> None:
        self.asked.append(node.name)
        if node.name in self.ill_once:
            raise self.ill_once.pop(node.name)
        if node.name in self.ill:
            raise self.ill[node.name]
