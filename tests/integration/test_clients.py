"""Programs that use a cluster: the library's examples, and what the inventory's verbs make of real nodes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from gausscert_coordinator import inventory_file

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples/python"
NODES = ("n1", "n2", "n3")
PROGRAM = re.compile(r"^```python\n(import asyncio\n.*?)^```", re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.xdist_group("clients")  # one cluster for all of them


def example(cluster, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run where the operator's gausscert.toml lies."""
    return subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py"), *arguments],
        cwd=cluster.root,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize("document", ["README.md", "docs/python.md"])
def test_the_program_in_the_documents_is_the_one_that_is_run(document):
    shown = PROGRAM.findall((ROOT / document).read_text())

    assert shown == [(EXAMPLES / "look.py").read_text()]


def test_every_example_is_run_here():
    assert sorted(path.stem for path in EXAMPLES.glob("*.py")) == ["expiry", "look", "replace"]


def test_the_program_of_five_lines_looks_at_every_node(steady):
    done = example(steady, "look")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [f"{node} ok" for node in NODES]


def test_it_tells_a_node_that_is_down(steady):
    steady.end_agent("n2")
    try:
        done = example(steady, "look")
    finally:
        steady.start_agent("n2")

    first, second, third = done.stdout.splitlines()
    assert (done.returncode, first, third) == (0, "n1 ok", "n3 ok")
    assert second.startswith("n2 n2: nothing listens")


def test_every_certificate_is_listed(steady):
    done = example(steady, "expiry")

    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split()[:3] for line in done.stdout.splitlines()]
    for node in NODES:
        files = {row[2] for row in rows if row[1] == node}
        assert files >= {"cacert.pem", "server.crt", "client.crt", "served"}
        assert any(file.endswith(f"node-{node}.crt") for file in files)  # the agent's own


def test_a_whole_replacement_and_its_way_back(cluster):
    before = cluster.picture()

    done = example(cluster, "replace", "fresh", "server.pw", "client.pw")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "committed"
    assert re.search(r" s swap done n1", done.stdout)
    after = cluster.picture()
    assert len(set(after.served.values())) == 1
    assert after.served != before.served
    refused = example(cluster, "replace", "fresh", "server.pw", "client.pw")
    assert refused.returncode == 2
    assert cluster.picture() == after


def test_a_program_hears_what_nodes_do_for_somebody_else(cluster):
    """And nothing else: what is on its terminal is what it has printed itself."""
    script = (
        "import asyncio\n"
        "from gausscert_coordinator import api\n"
        "async def main():\n"
        "    async with api.connect('gausscert.toml') as cluster:\n"
        "        watched, heard = set(), set()\n"
        "        async for seen in cluster.events():\n"
        "            if watched != (watched := watched | {seen.node}) and len(watched) == 3:\n"
        "                print('listening', flush=True)\n"
        "            heard |= {seen.node} if seen.event and seen.event.transaction_id else set()\n"
        "            if len(heard) == 3:\n"
        "                break\n"
        "    print(*sorted(heard))\n"
        "asyncio.run(main())\n"
    )
    cluster.new_bundle("heard")
    listening = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=cluster.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert listening.stdout is not None
        assert listening.stdout.readline() == "listening\n"
        assert cluster.replace(bundle="heard").code == 0
        assert listening.communicate(timeout=30) == ("n1 n2 n3\n", "")
    finally:
        listening.kill()
        listening.wait()


# ---- the inventory's verbs


def test_the_inventory_of_a_running_cluster_is_checked(steady):
    done = steady.run("inventory", "check", "--output", "json")

    assert done.code == 0
    assert done.document["ok"]
    assert [node["node"] for node in done.document["nodes"]] == list(NODES)
    for node in done.document["nodes"]:
        assert {check["mark"] for check in node["checks"]} == {"ok"}
        assert abs(node["clock_offset_s"]) < 1


def test_what_is_wrong_is_told_of_each_node(steady):
    inventory = steady.root / "gausscert.toml"
    text = inventory.read_text()
    addresses = re.findall(r'^address = "(.*)"', text, re.MULTILINE)
    swapped = (
        text.replace(addresses[1], "swap").replace(addresses[2], addresses[1]).replace("swap", addresses[2])
    )
    other = steady.root / "other.toml"
    other.write_text(swapped)
    steady.end_agent("n1")
    try:
        done = steady.run("inventory", "check", "--inventory", str(other))
    finally:
        steady.start_agent("n1")
        other.unlink()

    assert done.code == 2
    assert "failed UNREACHABLE n1: address: nothing listens" in done.out
    assert "failed CREDENTIAL_INVALID n2: identity: " in done.out
    assert "answers gausscert://demo/node/n3 instead" in done.out
    assert "answers gausscert://demo/node/n2 instead" in done.out
    assert done.out.count("  do: ") == 3


def test_what_cm_ctl_prints_becomes_the_inventory_that_there_is(steady):
    node = steady.node("n1")
    view = subprocess.run(
        [node.home / "bin/cm_ctl", "view"],
        env=os.environ | node.environment(),
        capture_output=True,
        text=True,
        check=True,
    )

    done = steady.run(
        "inventory", "import", "-", "--cluster", "demo", "--operator", "demo", stdin=view.stdout
    )

    assert done.code == 0
    made = inventory_file.parse(done.out, steady.root / "made.toml", require_credentials=True)
    there = inventory_file.load(steady.root / "gausscert.toml")
    assert (made.cluster, made.nodes) == (there.cluster, there.nodes)
    assert made.credentials == there.credentials
