"""The demo's checks can fail: claims, snapshots, and files."""

from __future__ import annotations

import stat
import tomllib
from pathlib import Path

import pytest
from gausscert_common import certset, factors, validate
from gausscert_common.bundle import Bundle
from gausscert_common.findings import errors
from gausscert_coordinator import bundle_files, inventory_file, issue
from gausscert_coordinator.cli import demo, demo_claims, demo_files
from gausscert_coordinator.cli.demo import FAILURES
from gausscert_coordinator.cli.demo_claims import Claims


class FakeNode:
    """A home on disk without any process."""

    def __init__(self, root: Path, name: str):
        self.name = name
        self.address = "127.65.0.10"
        self.home = root / name / "home"
        self.data_path = root / name / "data"
        self.log_path = root / name / "log"
        self.set_directory = self.home / certset.DIRECTORY
        self.set_directory.mkdir(parents=True)
        self.serves = "ab" * 32

    def environment(self):
        return {"PATH": "/usr/bin", "USER": "someone", "HOME": str(self.home), "PGHOST": "/run/pg"}

    def install(self, files):
        for name, body in files.items():
            (self.set_directory / name).write_bytes(body)
            (self.set_directory / name).chmod(0o400)

    def served_fingerprint(self):
        return self.serves


@pytest.fixture
def node(tmp_path):
    node = FakeNode(tmp_path, "n1")
    node.install(demo_files.first_set())
    return node


def test_a_claim_that_does_not_hold_is_told_and_remembered():
    told = []
    claims = Claims(told.append)

    claims.check("good", True, "never shown")
    assert claims.all_hold
    with pytest.raises(demo_claims.NotSo):
        claims.check("bad", False, "what was found")

    assert not claims.all_hold
    assert [(each.text, each.holds, each.detail) for each in told] == [
        ("good", True, ""),
        ("bad", False, "what was found"),
    ]


def test_a_demo_that_claimed_nothing_proved_nothing():
    assert not Claims(lambda claim: None).all_hold


def test_a_snapshot_sees_changed_bytes_changed_modes_and_new_names(node):
    before = demo_claims.disks([node])
    path = node.set_directory / "server.crt"
    body = path.read_bytes()

    assert demo_claims.disks([node]) == before
    path.chmod(0o600)
    assert demo_claims.disks([node]) != before
    path.write_bytes(body + b"\n")
    path.chmod(0o400)
    assert demo_claims.disks([node]) != before
    path.chmod(0o600)
    path.write_bytes(body)
    path.chmod(0o400)
    assert demo_claims.disks([node]) == before
    (node.set_directory / "stray").write_bytes(b"")
    assert demo_claims.disks([node]) != before


@pytest.mark.parametrize("harm", ["none", "mode", "content", "missing factor file"])
def test_a_node_holds_a_bundle_only_with_all_nine_files_0400_to_the_byte(node, tmp_path, harm):
    bundle = tmp_path / "bundle"
    pem = {name: (node.set_directory / name).read_bytes() for name in certset.PEM_NAMES}
    bundle_files.write_directory(bundle, Bundle(pem), None)
    if harm == "mode":
        (node.set_directory / "client.key.rand").chmod(0o600)
    elif harm == "content":
        (node.set_directory / "client.crt").unlink()
        node.install({"client.crt": pem["server.crt"]})
    elif harm == "missing factor file":
        (node.set_directory / "server.key.cipher").unlink()

    assert demo_claims.holds_bundle(demo_claims.disks([node])["n1"], bundle) is (harm == "none")


def test_the_first_set_is_sound_and_whole():
    from datetime import UTC, datetime

    files = demo_files.first_set()

    assert set(files) == set(certset.NAMES)
    modes = dict.fromkeys(files, stat.S_IFREG | 0o400)
    assert errors(validate.certificate_set(files, modes, now=datetime.now(UTC))) == ()


def test_the_inventory_and_the_agents_configuration_can_be_read(node, tmp_path):
    root = tmp_path / "demo"
    root.mkdir(mode=0o700)
    demo_files.issue_credentials(root, ["n1"])
    demo_files.write_inventory(root, [node])
    config = demo_files.write_agent_config(root, node)

    inventory = inventory_file.load(root / "gausscert.toml")
    assert [(each.name, each.address) for each in inventory.nodes] == [("n1", "127.65.0.10:7443")]
    written = tomllib.loads(config.read_text())
    assert Path(written["tls"]["key"]).is_file()
    assert written["agent"]["name"] == "n1"
    assert written["cm"]["environment"]["PGHOST"] == "/run/pg"
    assert all(not path.stat().st_mode & 0o077 for path in root.rglob("*"))


def test_the_faulty_bundle_has_several_kinds_of_errors(tmp_path):
    from datetime import UTC, datetime

    password = demo_files.password()
    made = issue.issue_bundle(issue.IssueOptions(key_type=issue.KeyType.EC_P256), password, password)
    bundle_files.write_directory(tmp_path / "good", made.bundle, None)

    demo_files.faulty_bundle(tmp_path / "faulty", tmp_path / "good", password, password)

    read = bundle_files.read_directory(tmp_path / "faulty")
    found = errors(validate.bundle(Bundle(read.pem, password, password), now=datetime.now(UTC)))
    assert len({each.code for each in found}) >= 3


def test_passwords_of_the_demo_suit_cm():
    assert all(factors.password_faults(demo_files.password()) == () for _ in range(50))


def test_every_failure_is_one_that_the_simulation_knows():
    from gausscert_sim.faults import EncryptFault, StopFault

    for _, which, words in FAILURES.values():
        assert which in ("first", "last")
        assert words.keys() <= {"encrypt", "stop"}
        assert EncryptFault(words.get("encrypt", "")) is not None
        assert StopFault(words.get("stop", "")) is not None


def test_a_step_alone_means_the_first_kind_of_failure_in_it():
    assert demo.FIRST_OF_STEP == {"prepare": "prepare:fail", "stop": "stop:fail", "start": "start:refuses"}
