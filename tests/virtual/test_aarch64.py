"""A node with another processor: its agent comes from the wheels for it, and takes part in a replacement.

The processor is emulated, the rest of the node is this machine.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support import software
from support.emulated_python import emulated_python, missing
from support.local_cluster import LocalCluster, wait_until

pytestmark = [pytest.mark.virtual, pytest.mark.timeout(1800), pytest.mark.xdist_group("virtual")]

PATIENT = {"stop_s": 300.0, "start_s": 300.0, "verify_s": 60.0}


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    assert not (lacking := missing()), f"needed here: {', '.join(lacking)}"
    bundle = tmp_path_factory.mktemp("software") / "bundle"
    build = [sys.executable, str(software.ROOT / "deploy/bundle/build.py"), str(bundle)]
    subprocess.run([*build, "--python", "3.11", "--machine", "aarch64"], check=True)
    return emulated_python("aarch64", bundle)


def test_its_agent_takes_part_in_a_replacement(python: Path, tmp_path: Path):
    machine = subprocess.run(
        [python, "-c", "import platform; print(platform.machine())"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert machine.stdout.strip() == "aarch64"
    with LocalCluster.started(tmp_path, timeouts=PATIENT) as cluster:
        cluster.end_agent("n2")
        with (tmp_path / "emulated.log").open("wb") as log:
            cluster._agents["n2"] = subprocess.Popen(
                [python, "-m", "gausscert_agent.cli", "serve", "--config", tmp_path / "agent-n2.toml"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(lambda: cluster.run("status").code == 0, 300)
        cluster.new_bundle("fresh")

        done = cluster.replace()

        said = done.err + (tmp_path / "emulated.log").read_text()
        assert (done.code, done.document["result"]["verdict"]) == (0, "committed"), said
        assert len(set(cluster.picture().served.values())) == 1
        verified = cluster.run("history", "--verify", "--output", "json")
        assert verified.code == 0, verified.out
        assert cluster.end_agent("n2") == 0


def test_the_command_makes_identities_there(python: Path, tmp_path: Path):
    """The CA's key is what pki has of cryptography: made, encrypted, and read again."""
    (tmp_path / "passphrase").write_text("Passphrase-1\n")
    (tmp_path / "passphrase").chmod(0o600)
    for words in (("init", "--cluster", "prod"), ("issue", "node", "n1", "--out", "for-n1")):
        argv = [python, "-m", "gausscert_coordinator.cli.entry", "pki", *words]
        options = ["--dir", "pki", "--passphrase-file", "passphrase"]
        subprocess.run([*argv, *options], cwd=tmp_path, check=True, stdin=subprocess.DEVNULL)
    assert (tmp_path / "for-n1" / "node-n1.key").stat().st_mode & 0o777 == 0o400
