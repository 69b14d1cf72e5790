"""A real agent process keeps serving whatever is thrown at it, and does not grow.

How quick it is meanwhile is measured elsewhere (`make bench-abuse`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from gausscert_common.identity import Role, node_dns_name
from gausscert_coordinator import pki
from support.local_cluster import wait_until
from support.lone_agent import CLUSTER, NAME, LoneAgent, set_of

pytestmark = pytest.mark.xdist_group("abuse")

ROOT = Path(__file__).parents[2]
SECONDS = {"silent": 7.0}
"""Of abuse: a silent connection is closed after five."""
GROWTH_MIB = 96
"""A backstop: a bomb that goes off takes 128 MiB or more, and what a thousand calls need stays far below."""
WAITING = 32
"""Descriptors that may be left for a moment."""


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoneAgent]:
    with LoneAgent(tmp_path_factory.mktemp("abused"), set_of(days=400)) as running:
        assert running.gausscert("status").code == 0  # everything is loaded
        yield running


class Attacked:
    """An agent under one kind of abuse; afterwards `met` says what the attacker met."""

    def __init__(self, agent: LoneAgent, kind: str, role: Role) -> None:
        who = agent.root / f"eve-{kind}"
        eve = pki.issue(agent.root / "pki", role, f"eve-{kind}", out=who)
        name = node_dns_name(CLUSTER, NAME)
        paths = (str(eve.ca), str(eve.cert), str(eve.key))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.abuse.attack", kind, f"127.0.0.1:{agent.port}", name, *paths],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        self.met: dict[str, int] = {}

    def end(self) -> dict[str, int]:
        out, _ = self._process.communicate(timeout=90)
        self.met = json.loads(out)
        return self.met


def memory_mib(agent: LoneAgent) -> float:
    """The most that was ever resident."""
    lines = Path(f"/proc/{agent.pid}/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def descriptors(agent: LoneAgent) -> int:
    return len(os.listdir(f"/proc/{agent.pid}/fd"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root sees what a process that is not dumpable has open")
@pytest.mark.parametrize(
    ("kind", "role", "expected"),
    [
        ("silent", Role.OBSERVER, {"closed"}),
        ("strangers", Role.OBSERVER, {"refused"}),
        ("pings", Role.OBSERVER, {"told too_many_pings"}),
        ("calls", Role.OBSERVER, {"OK"}),
        ("denied", Role.OBSERVER, {"PERMISSION_DENIED"}),
        ("unknown", Role.OBSERVER, {"UNIMPLEMENTED"}),
        ("bodies", Role.OBSERVER, {"PERMISSION_DENIED"}),
        ("oversized", Role.OPERATOR, {"RESOURCE_EXHAUSTED"}),
        ("bombs", Role.OPERATOR, {"RESOURCE_EXHAUSTED"}),
        ("bombs", Role.OBSERVER, {"RESOURCE_EXHAUSTED", "PERMISSION_DENIED"}),
    ],
)
def test_an_agent_keeps_serving_beside(agent: LoneAgent, kind: str, role: Role, expected: set[str]):
    before_mib, before = memory_mib(agent), descriptors(agent)
    attacked = Attacked(agent, kind, role)
    ends = time.monotonic() + SECONDS.get(kind, 3.0)
    answered = 0
    while time.monotonic() < ends:
        done = agent.gausscert("status", "--output", "json")
        assert done.code == 0, done.err
        answered += 1
    held = descriptors(agent)
    met = attacked.end()

    assert answered > 0
    assert expected <= met.keys(), met
    assert "let in" not in met
    assert memory_mib(agent) - before_mib < GROWTH_MIB
    assert held < 1024
    wait_until(lambda: descriptors(agent) < before + WAITING)
    assert agent.health() == "SERVING"
