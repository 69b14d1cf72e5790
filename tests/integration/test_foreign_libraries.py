"""The shell of the cluster's user, as OM leaves it: its PYTHONPATH leads to OM's own cryptography. Operator's
command and agent are started from it, as real processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.lone_agent import LoneAgent, set_of

BIN = Path(sys.executable).parent


@pytest.fixture
def of_om(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That directory, in the environment of every process from here on."""
    library = tmp_path / "gphome" / "lib"
    for name in ("cryptography", "cffi", "idna", "click", "google", "grpc", "rich", "tenacity"):
        (library / name).mkdir(parents=True)
        (library / name / "__init__.py").write_text(f"raise ImportError('{name} of OM')\n")
    monkeypatch.setenv("PYTHONPATH", f":{library}")
    return library


def said(*argv: str | Path) -> tuple[int, str]:
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_om_would_be_asked_first(of_om: Path):
    code, told = said(sys.executable, "-c", "import cryptography")

    assert (code, "cryptography of OM" in told) == (1, True)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoneAgent]:
    """Its agent was started from a clean shell."""
    with LoneAgent(tmp_path_factory.mktemp("node"), set_of(days=400)) as running:
        yield running


@pytest.mark.parametrize("argv", [("version",), ("pki", "list", "--dir", "{pki}"), ("status",), ("expiry",)])
@pytest.mark.parametrize(
    "program", [(BIN / "gausscert",), (sys.executable, "-m", "gausscert_coordinator.cli.entry")]
)
def test_the_operators_command_has_its_own_libraries(node: LoneAgent, of_om: Path, program, argv):
    words = [word.format(pki=node.root / "pki") for word in argv]

    code, told = said(*program, "--inventory", node.root / "gausscert.toml", *words)

    assert "ImportError" not in told
    assert code == 0, told


@pytest.mark.parametrize("verb", ["check-config", "status", "version"])
def test_the_agents_commands_too(node: LoneAgent, of_om: Path, verb: str):
    named = () if verb == "version" else ("--config", node.config)

    code, told = said(BIN / "gausscert-agent", verb, *named)

    assert "ImportError" not in told
    assert code == 0, told


def test_an_agent_that_was_started_there_has_them_and_so_has_its_child_that_reads_certificates(
    of_om: Path, tmp_path: Path
):
    (tmp_path / "node").mkdir()
    with LoneAgent(tmp_path / "node", set_of(days=400)) as agent:
        expiry = agent.gausscert("expiry", "--output", "json")
        healthy = agent.health()

    assert (healthy, expiry.code) == ("SERVING", 0), expiry.out + expiry.err
    assert len(expiry.document["certificates"]) == 3
    assert not any("no child can describe certificates" in each["event"] for each in agent.log())
