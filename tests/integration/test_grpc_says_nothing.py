"""gRPC writes nothing of its own beside ours: not at an agent that strangers knock at, not at the command,
and not in a program that uses the library."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from gausscert_common.identity import Role
from gausscert_coordinator import pki
from support.lone_agent import CLUSTER, NAME, LoneAgent, set_of

KNOCKS = (b"GET / HTTP/1.0\r\n\r\n", b"SSH-2.0-scan\r\n", b"\x16\x03\x01\x00\x05hello", b"\x00" * 64, b"")

LIBRARY = """
import asyncio, sys
from gausscert_coordinator import api
async def main():
    async with api.connect(sys.argv[1], record=False) as cluster:
        (node,) = (await cluster.status()).nodes
        print(node.error.reason.value)
asyncio.run(main())
"""

VARIABLE = "GRPC_VERBOSITY"


@pytest.fixture(autouse=True)
def unsaid(monkeypatch: pytest.MonkeyPatch) -> None:
    """What these processes are given is what an operator's shell gives them."""
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoneAgent]:
    made = LoneAgent(tmp_path_factory.mktemp("agent"), set_of(days=400))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(VARIABLE, raising=False)
        made.start()
    yield made
    made.stop()


@pytest.fixture
def stranger(agent: LoneAgent, tmp_path: Path) -> Path:
    """The inventory of somebody who trusts another CA: his handshakes with the agent fail."""
    pki.init(tmp_path / "pki", CLUSTER, None)
    files = pki.issue(tmp_path / "pki", Role.OPERATOR, "mallory")
    inventory = tmp_path / "gausscert.toml"
    inventory.write_text(
        f'[cluster]\nname = "{CLUSTER}"\n[history]\nfile = "{tmp_path / "history.db"}"\n'
        f'[credentials]\nca = "{files.ca}"\ncert = "{files.cert}"\nkey = "{files.key}"\n'
        f'[[node]]\nname = "{NAME}"\naddress = "127.0.0.1:{agent.port}"\n'
    )
    return inventory


def run(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *argv], capture_output=True, text=True, timeout=120, check=False)


def knock(port: int, what: bytes) -> None:
    """Say it, and wait for the agent to hang up."""
    with socket.create_connection(("127.0.0.1", port), 10) as there:
        there.sendall(what)
        there.shutdown(socket.SHUT_WR)
        try:
            while there.recv(4096):
                pass
        except ConnectionError:
            return


def test_a_port_scan_leaves_nothing_but_json_in_an_agents_log(agent: LoneAgent):
    before = len(agent.log())

    for _ in range(10):
        for what in KNOCKS:
            knock(agent.port, what)

    assert agent.gausscert("status").code == 0
    assert len(agent.log()) - before < len(KNOCKS), "each line was parsed as JSON; none is of a knock"


def test_the_command_shows_only_its_own_words_of_a_failed_handshake(stranger: Path):
    done = run("-m", "gausscert_coordinator.cli.entry", "--inventory", str(stranger), "--quiet", "status")

    assert done.returncode == 4, done.stderr
    assert done.stderr == ""


def test_the_library_writes_nothing_of_a_failed_handshake(stranger: Path):
    done = run("-c", LIBRARY, str(stranger))

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert done.stderr == ""


def test_whoever_looks_for_an_error_may_still_ask_for_more(stranger: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(VARIABLE, "INFO")

    done = run("-m", "gausscert_coordinator.cli.entry", "--inventory", str(stranger), "--quiet", "status")

    assert "Handshake failed" in done.stderr, "else the tests above would see nothing"
