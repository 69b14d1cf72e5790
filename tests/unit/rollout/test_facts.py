"""What a node tells of itself: whoever is in the wrong hands may tell anything."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from gausscert_common.errors import GausscertError, NodeFailure, Reason
from gausscert_coordinator.inventory import AgentInstall, InventoryNode
from gausscert_coordinator.rollout import ssh, units
from gausscert_coordinator.rollout.bundle import Software
from gausscert_coordinator.rollout.decide import Wanted, decide
from gausscert_coordinator.rollout.deploying import Looked, Rollout
from gausscert_coordinator.rollout.facts import Service, of
from support.rollout_fakes import (
    FORMER,
    RELEASE,
    FakeDoctor,
    FakeSsh,
    facts,
    look,
    running,
    software,
    trouble,
)

INSTALLED = look(
    service="system",
    service_state="active",
    release=FORMER,
    releases=[FORMER],
    running=running(FORMER),
    journal={"phase": "NONE"},
    units={"gausscert-agent.service": "unit", "50-gausscert-node.conf": "drop-in"},
)
WRONG = (None, 5, True, "x", "\ud800", [], [5], ["x", "y"], {}, {"x": 5})


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Of everything in a document."""
    if path:
        yield path
    for key, inner in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield from places(inner, (*path, key))


@pytest.fixture
def bundle(tmp_path: Path) -> Software:
    return software(tmp_path)


@pytest.mark.parametrize("place", list(places(INSTALLED)), ids=lambda place: ".".join(map(str, place)))
def test_what_is_of_another_kind_is_that_nodes_failure_and_no_bug_of_ours(bundle: Software, place):
    for wrong in WRONG:
        document = copy.deepcopy(INSTALLED)
        holder: Any = document
        for key in place[:-1]:
            holder = holder[key]
        holder[place[-1]] = wrong
        with suppress(GausscertError):
            seen = of(document)
            _, missing = bundle.chosen(seen.target)
            unit = units.units(bundle.units, Service.SYSTEM, seen, RELEASE, [])
            wanted = Wanted("n1", "prod", RELEASE, Service.AUTO, "config", unit, True, missing)
            plan = decide(seen, wanted)
            json.dumps([each.cause for each in plan.findings]).encode()
            repr(plan).encode()


def test_it_says_what_makes_no_sense():
    with pytest.raises(NodeFailure, match="makes no sense: TypeError int is expected, and not str") as caught:
        of({**INSTALLED, "free_bytes": "much"})
    assert caught.value.reason is Reason.ROLLOUT_FAILED


@pytest.mark.parametrize("answer", [5, [5], {"x": 5}])
def test_what_a_removal_answers_hides_no_other_node(answer):
    fake = FakeSsh({"n1": {"remove": answer}, "n2": {"remove": ["/opt/gausscert"]}})
    nodes = [InventoryNode(name, f"{name}:7443", install=AgentInstall()) for name in ("n1", "n2")]
    rollout = Rollout(nodes, fake, FakeDoctor(), lambda _: "/opt/cm")

    removed, failed = asyncio.run(
        rollout.remove(Looked({"n1": facts(), "n2": facts()}, {}), with_state=False)
    )

    assert removed["n2"] == ["/opt/gausscert"]
    assert all(isinstance(each, str) for gone in removed.values() for each in gone)
    assert [each.node for each in failed] == (["n1"] if answer == 5 else [])


def test_what_a_node_has_to_say_fills_neither_screen_nor_history():
    node = InventoryNode("n1", "127.0.0.1:1")

    with pytest.raises(NodeFailure) as caught:
        ssh.read(node, trouble("x" * ssh.MOST))

    assert len(caught.value.message) == ssh.LONGEST
