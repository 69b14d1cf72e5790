"""`gausscert agents` over a real sshd on loopback: from bare directories to healthy agents and back.

CM is simulated, and there is no service manager: agents are started by a supervisor of the test's own
(--service none). What systemd is told is in test_rollout_as_root.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from gausscert_coordinator.cli import demo_files
from gausscert_sim.cluster import SimulatedCluster
from support import software
from support.local_cluster import wait_until
from support.lone_agent import free_port
from support.rolling import (
    Operator,
    Place,
    Supervisor,
    bare_place,
    by_node,
    findings,
    refused,
    simulated_place,
)
from support.sshd import Sshd, needs_namespaces, needs_sshd

pytestmark = [
    needs_sshd,
    needs_namespaces,
    pytest.mark.timeout(300),  # three installations, on a machine that may be busy
]

NODES = ("n1", "n2")
PORT = 7443


@pytest.fixture
def simulated(tmp_path: Path) -> Iterator[SimulatedCluster]:
    homes = tmp_path / "nodes"
    homes.mkdir(mode=0o700)
    with SimulatedCluster.create(homes, len(NODES), time_scale=0.1) as cluster:
        first = demo_files.first_set()
        for node in cluster.nodes:
            node.install(first)
        cluster.start(timeout_s=20)
        yield cluster


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(software.make(tmp_path_factory.mktemp("software") / "bundle"))


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    """Whoever logs in has the environment that OM gives to the cluster's user (test_foreign_libraries)."""
    (tmp_path / "ssh").mkdir()
    for name in ("cryptography", "idna", "json"):
        (tmp_path / "gphome" / "lib" / name).mkdir(parents=True)
        (tmp_path / "gphome" / "lib" / name / "__init__.py").write_text("raise ImportError('of OM')\n")
    library = str(tmp_path / "gphome" / "lib")
    with Sshd(tmp_path / "ssh", {"PYTHONPATH": library, "LD_LIBRARY_PATH": library}) as running:
        yield running


def operator_of(tmp_path: Path, sshd: Sshd, places: list[Place]) -> Operator:
    (tmp_path / "operator").mkdir(mode=0o700)
    return Operator(tmp_path / "operator", places, sshd.port, sshd.options, software.python())


@pytest.fixture
def operator(tmp_path: Path, sshd: Sshd) -> Operator:
    """Of two nodes without CM, on which no agent is ever started."""
    places = [
        bare_place(tmp_path, name, f"127.0.0.1:{free_port()}", str(tmp_path / f"agent-{name}"))
        for name in NODES
    ]
    return operator_of(tmp_path, sshd, places)


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    made = Supervisor(tmp_path)
    yield made
    made.stop_all()


def modes(directory: Path) -> dict[str, str]:
    """Of everything below it, releases left out."""
    return {
        str(path.relative_to(directory)): oct(stat.S_IMODE(path.lstat().st_mode))
        for path in sorted(directory.rglob("*"))
        if "releases" not in path.parts and not path.is_symlink()
    }


def test_from_a_bare_directory_to_a_healthy_agent_an_upgrade_and_back(
    tmp_path: Path, sshd: Sshd, simulated: SimulatedCluster, supervisor: Supervisor, bundle: str
):
    places = [simulated_place(node, PORT, tmp_path / f"agent-{node.name}") for node in simulated.nodes]
    operator = operator_of(tmp_path, sshd, places)
    deploy = ("--bundle", bundle, "--service", "none")
    operator.revoke("bob")  # before any of the nodes is there

    planned = operator.agents("deploy", *deploy, "--dry-run")

    assert planned.code == 0, planned.out + planned.err
    assert not planned.document["begun"]
    assert not (tmp_path / "agent-n1").exists()

    first = operator.agents("deploy", *deploy)

    assert first.code == 0, first.out + first.err
    wanted = ["upload", "install", "credential", "configure", "activate"]
    assert {name: each["done"] for name, each in by_node(first).items()} == dict.fromkeys(NODES, wanted)
    assert modes(tmp_path / "agent-n1") == {
        ".lock": "0o600",  # keeps a second roll-out waiting
        "etc": "0o700",
        "etc/agent.toml": "0o600",
        "etc/pki": "0o700",
        "etc/pki/ca.crt": "0o400",
        "etc/pki/node-n1.crt": "0o400",
        "etc/pki/node-n1.key": "0o400",
        "state": "0o700",
        "state/deny.list": "0o600",
        "uploads": "0o700",
    }
    for node, command in findings(first, "ROLLOUT_START").items():
        supervisor.start(node, command)

    again = operator.agents("deploy", *deploy)

    assert again.code == 0, again.out + again.err + supervisor.log("n1")
    assert {name: each["state"] for name, each in by_node(again).items()} == dict.fromkeys(NODES, "unchanged")
    assert {name: each["done"] for name, each in by_node(again).items()} == {
        name: ["health"] for name in NODES
    }
    assert again.document["findings"] == []
    status = operator.gausscert("status")
    assert status.code == 0, status.out
    assert refused(operator.status_as("bob")) == dict.fromkeys(NODES, "REVOKED")

    operator.revoke("carol")  # and nobody tells the nodes
    assert refused(operator.status_as("carol")) == {}
    told = operator.agents("deploy", *deploy)
    assert told.code == 0, told.out + told.err
    done = [(each["done"], each["lacked"]) for each in by_node(told).values()]
    assert done == [(["health"], 1)] * len(NODES)
    assert refused(operator.status_as("carol")) == dict.fromkeys(NODES, "REVOKED")
    seen = by_node(operator.agents("status"))
    assert {name: (each["denies"], each["lacks"]) for name, each in seen.items()} == dict.fromkeys(
        NODES, (2, 0)
    )

    newer = ("--bundle", str(software.make(tmp_path / "newer", "0.1.1")), "--service", "none", "--node", "n1")
    upgraded = operator.agents("upgrade", *newer)

    assert upgraded.code == 0, upgraded.out + upgraded.err
    assert set(findings(upgraded, "ROLLOUT_RESTART")) == {"n1"}
    assert by_node(upgraded)["n1"]["done"] == ["upload", "install", "activate", "health"]
    assert supervisor.stop("n1") == 0
    current = tmp_path / "agent-n1" / "current"
    assert current.resolve().name == by_node(upgraded)["n1"]["release"]
    supervisor.start("n1", f": {current}/bin/gausscert-agent serve --config {current.parent}/etc/agent.toml")
    after = operator.agents("upgrade", *newer)
    assert after.code == 0, after.out + after.err
    assert after.document["findings"] == []
    shown = by_node(operator.agents("status"))
    assert {name: each["running"]["release"] for name, each in shown.items()} == {
        "n1": by_node(upgraded)["n1"]["release"],
        "n2": by_node(first)["n2"]["release"],
    }
    assert len(shown["n1"]["releases"]) == 2  # the one before is kept

    removed = operator.agents("remove", "--yes")

    assert removed.code == 0, removed.out + removed.err
    assert [supervisor.ended(node) for node in NODES] == [0, 0]
    assert [sorted(os.listdir(tmp_path / f"agent-{node}")) for node in NODES] == [["state"], ["state"]]
    assert operator.agents("remove", "--yes", "--with-state").code == 0
    assert not (tmp_path / "agent-n1").exists()
    secret = b"PRIVATE KEY"
    assert secret not in b"".join(
        each.out.encode() + each.err.encode() for each in (first, upgraded, removed)
    )


def test_what_is_wrong_with_any_node_is_told_of_all_before_anything_is_begun(
    tmp_path: Path, operator: Operator, bundle: str
):
    text = operator.inventory.read_text()
    head, *nodes = text.split("[[node]]")
    nodes[0] = nodes[0].rstrip() + '\nssh.python = "/usr/bin/false"\n'
    nodes[1] = nodes[1].rstrip() + "\nssh.port = 1\n"
    operator.inventory.write_text("[[node]]".join([head, *nodes]))

    refused = operator.agents("deploy", "--bundle", bundle, "--service", "none")

    assert refused.code == 2
    told = {name: each["error"]["reason"] for name, each in by_node(refused).items()}
    assert told == {"n1": "NODE_UNFIT", "n2": "UNREACHABLE"}
    assert not any((tmp_path / f"agent-{node}").exists() for node in NODES)


def test_a_node_whose_host_key_has_changed_is_told_as_such_and_is_sent_nothing(
    tmp_path: Path, sshd: Sshd, operator: Operator
):
    known = sshd.root / "known_hosts"
    right = known.read_text()
    other = " ".join((sshd.root / "user_key.pub").read_text().split()[:2])
    known.write_text(f"[127.0.0.1]:{sshd.port} {other}\n")

    changed = operator.agents("status")
    known.write_text("")
    unknown = operator.agents("status")

    assert [len(each.document["errors"]) for each in (changed, unknown)] == [len(NODES)] * 2
    errors = [each.document["errors"][0] for each in (changed, unknown)]
    assert [each["reason"] for each in errors] == ["UNREACHABLE"] * 2
    assert "another host key than it had" in errors[0]["message"]
    assert f"{known}:1" in errors[0]["message"]
    assert "host key is not known" in errors[1]["message"]
    assert all("accept" not in each["remedy"] for each in errors)
    assert "Accepted publickey" not in sshd.log()
    known.write_text(right)
    assert operator.agents("status").document["errors"] == []
    assert "Accepted publickey" in sshd.log()


@pytest.fixture
def masters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where masters of connections are, by his own configuration of ssh; sockets need short paths."""
    sockets = Path(tempfile.mkdtemp(dir="/tmp"))
    config = tmp_path / "ssh_config"
    config.write_text(f"ControlMaster auto\nControlPath {sockets}/%n\nControlPersist 5\n")
    program = tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {config} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    yield sockets
    shutil.rmtree(sockets)


def test_no_connection_stays_behind_and_one_that_the_operator_has_opened_is_made_use_of(
    sshd: Sshd, operator: Operator, masters: Path
):
    assert operator.agents("status").document["errors"] == []
    assert os.listdir(masters) == []

    options = [word for option in sshd.options for word in ("-o", option)]
    argv = ["ssh", "-M", "-N", *options, "-p", str(sshd.port), "127.0.0.1"]
    with subprocess.Popen([*argv, "-o", "ControlPersist=no"]) as master:
        try:
            wait_until(lambda: os.listdir(masters) == ["127.0.0.1"])
            (sshd.root / "known_hosts").write_text("")  # no new connection comes about
            assert operator.agents("status").document["errors"] == []
        finally:
            master.terminate()
    assert len(operator.agents("status").document["errors"]) == len(NODES)


@pytest.mark.soak
def test_an_agent_that_lost_its_python_is_installed_anew_with_the_same_bundle(
    tmp_path: Path, operator: Operator, bundle: str
):
    """The operating system was upgraded. Its journal passed for one that cannot be read, and its release for
    complete."""
    deploy = ("--bundle", bundle, "--service", "none", "--node", "n2")
    assert operator.agents("deploy", *deploy).code == 0
    release = (tmp_path / "agent-n2" / "current").resolve()
    agent = release / "bin" / "gausscert-agent"
    (release / "bin" / "python").unlink()
    (release / "bin" / "python").symlink_to("/usr/bin/python3.0")
    shown = by_node(operator.agents("status", "--node", "n2"))["n2"]
    assert (shown["release"], shown["releases"]) == (release.name, [])
    assert "cannot be run" in shown["in_flight"]
    kept = operator.agents("remove", "--yes", "--node", "n2")
    assert (kept.code, agent.exists()) == (2, True)

    mended = operator.agents("deploy", *deploy)

    assert mended.code == 0, mended.out + mended.err
    assert by_node(mended)["n2"]["done"] == ["upload", "install"]
    assert set(findings(mended, "ROLLOUT_CANNOT_RUN")) == {"n2"}
    assert subprocess.run([agent, "version"], capture_output=True, check=False).returncode == 0
    # Another Python under the same name has other libraries.
    (libraries,) = (release / "lib").iterdir()
    libraries.rename(release / "lib" / "python3.0")
    planned = operator.agents("deploy", *deploy, "--dry-run")
    assert by_node(planned)["n2"]["planned"] == ["upload", "install"]
    (release / "lib" / "python3.0").rename(libraries)

    journal = tmp_path / "agent-n2" / "state" / "journal.json"
    journal.touch(0o600)
    journal.write_text("no journal\n" * 1000)
    settings = operator.root / "n2.toml"
    settings.write_text(settings.read_text().replace("drain_s = 5.0", "drain_s = 6.0"))
    damaged = operator.agents("deploy", *deploy)

    assert damaged.code == 2
    (found,) = (each for each in damaged.document["findings"] if each["code"] == "ROLLOUT_JOURNAL")
    assert "JOURNAL_DAMAGED" in found["cause"]
    assert "`A damaged journal`" in found["remedy"]


@pytest.mark.soak
def test_a_configuration_that_the_agent_refuses_is_not_put_in_place(
    tmp_path: Path, operator: Operator, bundle: str
):
    settings = operator.root / "n2.toml"
    settings.write_text(settings.read_text().replace("stopped_for_s", "stoped_for_s"))

    failed = operator.agents("deploy", "--bundle", bundle, "--service", "none", "--node", "n2")

    assert failed.code == 2
    assert by_node(failed)["n2"]["failed_at"] == "configure"
    assert "did you mean 'stopped_for_s'?" in by_node(failed)["n2"]["error"]["message"]
    assert sorted(os.listdir(tmp_path / "agent-n2" / "etc")) == ["pki"]
    settings.write_text(settings.read_text().replace("stoped_for_s", "stopped_for_s"))

    mended = operator.agents("deploy", "--bundle", bundle, "--service", "none", "--node", "n2")

    assert mended.code == 0, mended.out
    assert by_node(mended)["n2"]["done"] == ["configure", "activate"]
